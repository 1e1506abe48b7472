"""The article's own listings give the article's verdict; what differs from them in the point that matters does not."""

import shutil
from pathlib import Path

import pytest

from ansible_collections.fleet.stall.plugins.plugin_utils import causes, report, table
from ansible_collections.fleet.stall.plugins.plugin_utils.imports import build, logs
from tests.unit import contract

HERE = Path(__file__).parent
ARTICLE = HERE / "article" / "logs"
CATALOGUE = causes.load()
ASKED = build.Asked("20261124T000000Z-abcd", 10.0, {"critical": 20, "major": 2})

# Made up after the prose, in the spelling of a 4.9 kernel; the published text has no such listing
READ = "cadvisor;entry_SYSCALL_64_fastpath;do_syscall_64;sys_read;vfs_read;__vfs_read;kernfs_fop_read;seq_read;cgroup_seqfile_show"
MEMORY_STAT = f"{READ};memcg_stat_show;mem_cgroup_nr_lru_pages"
OTHER_READ = "cadvisor;entry_SYSCALL_64_fastpath;do_syscall_64;sys_read;vfs_read;ext4_file_read_iter;copy_page_to_iter"
DRAIN = "ksoftirqd/{};ret_from_fork;kthread;smpboot_thread_fn;run_ksoftirqd;__do_softirq;net_rx_action;ip_rcv"
IDLE = "swapper;cpu_startup_entry;default_idle"


def samples(before: str, cpu: int = 11, times: int = 3, lasting: int = 100) -> str:
    """A line a millisecond: idle, then `before`, then the thread for packets."""
    part = [IDLE] * 200 + [before] * lasting + [DRAIN.format(cpu)] * 3
    return "\n".join(part * times) + "\n"


@pytest.fixture
def directory(tmp_path):
    return Path(shutil.copytree(ARTICLE, tmp_path / "logs"))


def findings(directory: Path, asked: build.Asked = ASKED) -> dict:
    found = build.findings(logs.read(directory, 10), asked, lambda case: causes.match(CATALOGUE, case), 1.8e9)
    contract.holds(found)
    return found


def bad(found: dict) -> dict:
    return next(row for row in found["hosts"] if row["host"] == "kube-node-bad")


def confidence(row: dict, cause: str = "memcg-zombie-stat") -> str | None:
    return next((found["confidence"] for found in row["causes"] if found["id"] == cause), None)


def test_the_verdict_of_the_article():
    row = bad(findings(ARTICLE))
    assert row["status"] == "stalling"
    assert (row["blame"]["side"], row["blame"]["layer"], row["blame"]["confidence"]) == ("receiver", "node", "high")
    assert {item["what"] for item in row["blame"]["ruled_out"]} == {"sender", "nat", "overlay", "application"}
    assert row["trigger"] | {"unit": None} == {
        "comm": "cadvisor",
        "pid": 10137,
        "unit": None,
        "container": None,
        "syscall": "read",
        "path": "memory.stat",
        "cpu": 11,
    }
    cause = row["causes"][0]
    assert (cause["id"], cause["class"], cause["confidence"]) == ("memcg-zombie-stat", "T", "probable")
    assert {"drop_caches", "drain_reboot", "kernel_upgrade"} <= set(cause["remedies"])
    assert "until" in cause["mitigation"] and "4.19" in cause["fix"]
    assert {"drop_caches", "drain_reboot", "kernel_upgrade"} <= {remedy["name"] for remedy in row["remedies"]}
    assert row["capture"]["culprits"][0]["calls"][0]["count"] == 3 and row["capture"]["culprits"][0]["tid"] == 10436


def test_the_pair_of_listings_is_two_stalls_with_their_backlogs():
    handled = [event for event in bad(findings(ARTICLE))["events"] if event["handled_by"]]
    assert [(event["duration_ms"], event["packets"], event["cpu"], event["handled_by"], event["class"]) for event in handled] == [
        (99.3, 10, 11, "ksoftirqd/11", "T"),
        (75.7, 8, 11, "ksoftirqd/11", "T"),
    ]
    assert all(event["blocker"]["comm"] == "cadvisor" and event["blocker"]["pid"] == 10137 for event in handled)
    assert all(event["blocker"]["share"] is None for event in handled), "the listings do not say for how long it ran"


def test_the_elimination_of_the_article():
    ruled_out = {item["what"]: item["because"] for item in bad(findings(ARTICLE))["blame"]["ruled_out"]}
    assert ruled_out["nat"].startswith("the node address stalls as well")
    assert ruled_out["overlay"].startswith("the node address stalls as well")
    assert "both see it" in ruled_out["sender"] and "kube-node-client sends to shell does not stall so" in ruled_out["sender"]


def test_what_the_listings_cannot_say_is_not_measured():
    """The reverse direction shows no slow reply of three figures, and the filter hides the one of a second: that is not health."""
    found = findings(ARTICLE)
    row, shell = bad(found), next(row for row in found["hosts"] if row["host"] == "shell")
    assert shell["status"] == "not_measured" and shell["severity"]["grade"] is None
    assert row["severity"]["stalled_ms_per_s"] is None and row["severity"]["ci95"] is None and row["severity"]["grade"] is None
    assert "no rate" in row["reason"] and row["severity"]["events"] == 16 and row["severity"]["max_ms"] == 141.3
    assert row["coverage"]["observed_s"] is None and row["coverage"]["probes_sent"] is None
    assert {event["start"] for event in row["events"]} == {None}
    assert any("what ran on the CPU" in sentence for sentence in row["capture"]["missing"])
    assert any("dying" in sentence for sentence in row["capture"]["missing"])


def test_every_view_names_the_verdict():
    found = findings(ARTICLE)
    for shown in (table.render(found, 10, 120), report.markdown(found), report.html(found)):
        words = " ".join(shown.replace("\\", "").split())
        assert all(word in words for word in ("kube-node-bad", "cadvisor", "10137", "ksoftirqd/11", "memcg-zombie-stat", "shell")), words


def test_without_their_about_file_the_listings_say_less_and_nothing_wrong(directory):
    (directory / "about.yml").unlink()
    found = findings(directory, build.Asked("x", 10.0, {"critical": 20, "major": 2}, host="node-7", kernel="4.9.0-8-amd64"))
    (row,) = found["hosts"]
    assert row["host"] == "node-7" and row["trigger"]["pid"] == 10137 and confidence(row) == "probable"
    assert row["blame"]["side"] == "receiver" and row["blame"]["confidence"] == "medium"
    assert "sender" not in {item["what"] for item in row["blame"]["ruled_out"]}, "no log names its source"


def test_samples_and_counted_zombies_confirm_it(directory):
    (directory / "12-stacks.txt").write_text(samples(MEMORY_STAT))
    (directory / "13-cgroups.txt").write_text("#subsys_name\thierarchy\tnum_cgroups\tenabled\nmemory\t9\t68680\t1\n")
    (directory / "14-find.txt").write_text("".join(f"/sys/fs/cgroup/memory/a{number}\n" for number in range(240)))
    row = bad(findings(directory))
    assert confidence(row) == "confirmed"
    assert row["capture"]["memory_cgroups"] == {"live": 240, "dying": 68440, "read_ms": 153.0, "read_path": None, "reason": None}
    assert row["capture"]["culprits"][0]["share"] > 0.9 and row["capture"]["explained"] == {"events": 2, "of": 2}
    assert row["capture"]["culprits"][0]["stack"][-1] == "mem_cgroup_nr_lru_pages"


def test_the_same_frames_without_zombies_are_no_verdict(directory):
    (directory / "12-stacks.txt").write_text(samples(MEMORY_STAT))
    (directory / "13-cgroup.stat").write_text("nr_descendants 240\nnr_dying_descendants 0\n")
    row = bad(findings(directory))
    assert confidence(row) not in ("confirmed", "probable")
    assert any("against it" in sentence for cause in row["causes"] for sentence in cause["evidence"])


def test_zombies_with_other_frames_are_no_verdict(directory):
    (directory / "12-stacks.txt").write_text(samples(OTHER_READ))
    (directory / "13-cgroup.stat").write_text("nr_descendants 240\nnr_dying_descendants 68440\n")
    (directory / "10-strace.log").unlink()
    row = bad(findings(directory))
    assert row["trigger"]["comm"] == "cadvisor" and row["trigger"]["path"] is None
    assert confidence(row) is None


@pytest.mark.parametrize("how", ["by its column", "by the samples"])
def test_the_reader_on_another_cpu_is_no_verdict(directory, how):
    """It reads as slowly, and nothing waits for it: another task handled the packets before."""
    log = (directory / "09-bcc-icmp_echo-stalls.log").read_text()
    if how == "by its column":
        rows = [line.split("**")[0].split() for line in log.splitlines()]
        log = "".join("\t".join([*row, "3" if row[2] == "cadvisor" else "11"]) + "\n" for row in rows)
    else:
        log = "\n".join(line.replace("10137", "0").replace("10436", "0").replace("cadvisor", "swapper/11") for line in log.splitlines())
        (directory / "12-stacks.txt").write_text(samples(MEMORY_STAT, cpu=3))
    (directory / "09-bcc-icmp_echo-stalls.log").write_text(log)
    row = bad(findings(directory))
    assert row["causes"] == [] and row["trigger"] is None
    assert [event["blocker"] for event in row["events"] if event["handled_by"] == "ksoftirqd/11"] == [None, None]
    assert any("another CPU" in sentence or "it kept none of them waiting" in sentence for sentence in row["capture"]["missing"])


def test_a_wait_is_no_slow_call(directory):
    """The longest calls of the listing are futex; without the reads nothing says what cadvisor did."""
    kept = [line for line in (directory / "10-strace.log").read_text().splitlines() if "read" not in line]
    (directory / "10-strace.log").write_text("\n".join(kept) + "\n")
    row = bad(findings(directory))
    assert row["trigger"] is None and row["causes"] == []
    assert any("no log tells what it did" in sentence for sentence in row["capture"]["missing"])


def test_samples_that_show_another_task_on_the_cpu_overrule_the_packet_log(directory):
    (directory / "12-stacks.txt").write_text(samples(MEMORY_STAT.replace("cadvisor", "agent")))
    row = bad(findings(directory))
    assert row["trigger"]["comm"] == "agent" and row["capture"]["culprits"][0]["confidence"] == "low"


TOTALS = "\n".join(
    (
        "curl;entry_SYSCALL_64_fastpath;do_syscall_64;sys_read 12",
        f"{IDLE} 90000",
        "java;[unknown];Interpreter;call_stub 5000",
        f"{DRAIN.format(11)} 40",
        "node;[unknown];uv_run 7",
    )
)


@pytest.mark.parametrize(
    ("stacks", "why"),
    [
        (TOTALS, "its stacks have counts"),
        ("\n".join(sorted(line.rpartition(" ")[0] for line in TOTALS.splitlines())), "its stacks are sorted, each once"),
        ("\n".join(sorted(f"{line.rpartition(' ')[0]} 1" for line in TOTALS.splitlines())), "its stacks are sorted, each once"),
    ],
    ids=["counts", "sorted", "counts of one"],
)
def test_stacks_that_were_added_up_say_nothing_about_what_ran_before(directory, stacks, why):
    """What stands before the thread for packets there is what comes before it in the alphabet, or as the file was put together."""
    before = bad(findings(directory))
    (directory / "12-perf.folded").write_text(stacks + "\n")
    found = findings(directory)
    row = bad(found)
    assert (row["trigger"], row["causes"], row["blame"]) == (before["trigger"], before["causes"], before["blame"])
    assert [said for said in found["warnings"] if "12-perf.folded" in said and why in said and "give the output of perf script" in said]
    assert "not known: what ran on the CPU meanwhile (stacks without their order)" in row["capture"]["missing"]


def test_stacks_that_were_added_up_leave_those_in_order_their_say(directory):
    (directory / "12-perf.folded").write_text(TOTALS)
    (directory / "13-stacks.txt").write_text(samples(MEMORY_STAT.replace("cadvisor", "agent")))
    row = bad(findings(directory))
    assert row["trigger"]["comm"] == "agent" and not any("without their order" in said for said in row["capture"]["missing"])


def test_a_packet_log_of_another_time_is_not_joined(directory):
    shutil.copy(directory / "07-bcc-icmp_echo.log", directory / "09-bcc-icmp_echo-stalls.log")
    row = bad(findings(directory))
    assert {event["cpu"] for event in row["events"]} == {None} and row["trigger"] is None
    assert row["blame"]["side"] == "receiver", "two sources see it"
