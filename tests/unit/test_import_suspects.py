"""Who is to blame by foreign logs: what ties a task to the stalls, and what does not."""

import re
from pathlib import Path

import pytest

from ansible_collections.fleet.stall.plugins.plugin_utils import causes
from ansible_collections.fleet.stall.plugins.plugin_utils.imports import build, logs
from tests.unit import contract

CATALOGUE = causes.load()
ASKED = build.Asked("20261124T000000Z-abcd", 10.0, {"critical": 20, "major": 2})
STALLS = (500, 1500, 2500)


def hping(stalls=STALLS, length_ms=100):
    """3000 probes, 10 ms apart: three stalls, out of which those that were held come at once."""
    late = {first + step: length_ms - 10 * step for first in stalls for step in range(length_ms // 10)}
    head = "HPING bad (eth0 10.0.0.7): icmp mode set, 28 headers + 0 data bytes\n"
    return head + "".join(f"len=46 ip=10.0.0.7 ttl=64 id=1 icmp_seq={n} rtt={late.get(n, 0) + 0.3:.1f} ms\n" for n in range(3000))


READ = ["sys_read", "vfs_read", "seq_read", "memcg_stat_show", "mem_cgroup_nr_lru_pages"]
SPIN = ["sys_getpid", "do_spin"]
DRAIN = ["kthread", "run_ksoftirqd", "net_rx_action"]


def sample(comm, pid, cpu, at_ms, frames):
    on = "" if cpu is None else f" [{cpu:03}]"
    stack = "".join(f"\tffffffff81000000 {name} ([kernel.kallsyms])\n" for name in reversed(frames))
    return at_ms, f"{comm} {pid}{on} {at_ms / 1000:.6f}: 1001001 cpu-clock: \n{stack}\n"


def held(cpu, task, frames, times, length_ms=104, label=True):
    """A task on a CPU for so long up to each of these times, when ksoftirqd takes over."""
    shown = cpu if label else None
    for end in times:
        yield from (sample(*task, shown, end - length_ms + step, frames) for step in range(length_ms))
        yield from (sample(f"ksoftirqd/{cpu}", 70 + cpu, shown, end + step, DRAIN) for step in range(3))


def text(*parts):
    return "".join(line for _at, line in sorted(row for part in parts for row in part))


CADVISOR, BURNER = ("cadvisor", 10137), ("burner", 4242)
ENDS = (5100, 15100, 25100)
READER = list(held(11, CADVISOR, READ, ENDS))
LOUD = list(held(3, BURNER, SPIN, range(200, 29000, 120)))
CALLS = '[pid 10137] read(7, "cache 0\\nrss 0\\nrss_huge 0\\nmapped_"..., 4096) = 577 <0.104>\n' * 3
ANONYMOUS = CALLS.replace("[pid 10137] ", "")


@pytest.fixture
def drop(tmp_path):
    def made(**files):
        for name, content in files.items():
            (Path(tmp_path) / (f"{name}.txt" if name != "about" else "about.yml")).write_text(content)
        found = build.findings(logs.read(tmp_path, 10), ASKED, lambda case: causes.match(CATALOGUE, case), 1.8e9)
        contract.holds(found)
        (row,) = found["hosts"]
        return row, found["warnings"]

    return made


def missing(row):
    return " ".join(row["capture"]["missing"])


def test_without_a_packet_log_the_sentence_says_what_ties_it_and_what_does_not(drop):
    row, _ = drop(hping=hping(), perf=text(READER), strace=CALLS)
    assert row["status"] == "stalling" and row["severity"]["events"] == 3
    assert row["trigger"]["comm"] == "cadvisor" and row["causes"][0]["id"] == "memcg-zombie-stat"
    said = row["capture"]["sentence"]
    assert said.startswith(
        "No trace of packets ties it to the stalls, yet cadvisor (pid 10137), in read() of memory.stat, is the likely one"
    )
    assert "before 3 of 3 hand-overs" in said and "(memcg-zombie-stat)" in said and "No stall was seen" not in said


@pytest.mark.parametrize(
    ("more", "named"),
    [({}, "cadvisor"), ({"strace": CALLS}, "cadvisor"), ({"strace": CALLS.replace("10137", "4242")}, "burner")],
    ids=["as often as stalls", "slow calls", "slow calls of the other"],
)
def test_of_tasks_on_several_cpus_not_the_loudest_is_named(drop, more, named):
    row, _ = drop(hping=hping(), perf=text(READER, LOUD), **more)
    assert row["trigger"]["comm"] == named


def test_who_is_busy_between_probes_that_are_handled_is_not_named(drop):
    """On the CPU at fault: the thread for packets takes it for each of them, and one stall was shorter than the others."""
    busy = [
        row
        for at in range(3000, 29000, 10)
        if not any(end - 110 < at <= end + 5 for end in ENDS)
        for row in held(11, BURNER, ["[user]"], [at], length_ms=8)
    ]
    row, _ = drop(hping=hping().replace("icmp_seq=700 rtt=0.3", "icmp_seq=700 rtt=14.3"), perf=text(READER, busy), strace=CALLS)
    assert row["severity"]["events"] == 4 and row["trigger"]["comm"] == "cadvisor"


def test_nobody_is_named_where_nothing_tells_which_cpu_it_was(drop):
    row, _ = drop(hping=hping(), perf=text(READER, held(3, BURNER, SPIN, ENDS)))
    assert row["trigger"] is None and row["causes"] == []
    assert "the samples show several tasks before hand-overs: burner on CPU 3, cadvisor on CPU 11" in missing(row)


def test_samples_without_a_cpu_are_not_taken_for_those_of_one(drop):
    perf = text(held(11, CADVISOR, READ, ENDS, label=False), held(3, BURNER, SPIN, range(200, 29000, 120), label=False))
    row, warnings = drop(hping=hping(), perf=perf)
    assert row["trigger"] is None and any("do not say of which CPU they are (perf script -F +cpu)" in said for said in warnings)


@pytest.mark.parametrize("idle", ["swapper/11", "swapper"])
def test_a_loud_task_of_another_cpu_is_not_put_on_the_one_that_is_named(drop, idle):
    """Only the CPU at fault has a thread for packets; the other's samples come in between."""
    loud = [sample(*BURNER, None, at + 0.3, SPIN) for end in ENDS for at in range(end - 104, end)]
    rest = [sample(idle, 0, None, at, ["cpu_startup_entry", "default_idle"]) for at in range(3000, 4000)]
    row, warnings = drop(hping=hping(), perf=text(held(11, CADVISOR, READ, ENDS, label=False), loud, rest))
    assert row["trigger"] is None and any("do not say of which CPU they are" in said for said in warnings)


def test_samples_of_several_cpus_without_times_have_no_order(drop):
    perf = re.sub(r" \d+\.\d+: 1001001", " 1001001", text(READER, LOUD))
    row, warnings = drop(hping=hping(), perf=perf)
    assert row["trigger"] is None and any("do not say when they were taken (perf script -F +time)" in said for said in warnings)


def test_reads_of_one_file_in_several_cgroups_are_one_call(drop):
    strace = "".join(CALLS.replace("read(7,", f"read(7</sys/fs/cgroup/memory/{name}/memory.stat>,") for name in "abc")
    row, _ = drop(hping=hping(), perf=text(READER), strace=strace)
    (call,) = row["capture"]["culprits"][0]["calls"]
    assert (call["count"], call["path"]) == (9, "/sys/fs/cgroup/memory/a/memory.stat")
    assert "9 slow calls of its own, up to 104 ms, on /sys/fs/cgroup/memory/a/memory.stat" in row["capture"]["sentence"]
    assert len(row["capture"]["slow_calls"]) == 3


def test_what_a_process_writes_names_no_process(drop):
    row, _ = drop(hping=hping(), strace='write(3, "Process 12 attached", 19) = 19 <0.2>\n')
    assert [call["call"] for call in row["capture"]["slow_calls"]] == ["write"]


def test_samples_without_a_cpu_that_can_only_be_of_one_are(drop):
    row, warnings = drop(hping=hping(), perf=text(held(11, CADVISOR, READ, ENDS, label=False)))
    assert row["trigger"]["comm"] == "cadvisor" and not any("of which CPU" in said for said in warnings)


@pytest.mark.parametrize(
    ("strace", "about", "path", "said"),
    [
        (ANONYMOUS, None, "memory.stat", "strace.txt does not say whose calls they are (pid in about.yml): taken for those of cadvisor"),
        (ANONYMOUS, "files: {strace.txt: {pid: 10137}}\n", "memory.stat", ""),
        (ANONYMOUS, "files: {strace.txt: {pid: 9}}\n", None, ""),
        ("Process 10137 attached\n" + ANONYMOUS, None, "memory.stat", ""),
        ("strace: Process 10137 attached\n" + ANONYMOUS, None, "memory.stat", ""),
        (CALLS.replace("10137]", "10137<cadvisor>]"), None, "memory.stat", ""),
        (CALLS.replace("read(7,", "read(7</sys/fs/cgroup/memory/a/memory.stat>,"), None, "/sys/fs/cgroup/memory/a/memory.stat", ""),
        (CALLS.replace("read(7,", "read(7<socket:[5]>,"), None, "memory.stat", ""),
        ('[pid 10137] read(7</proc/1/net/tcp6>, ""..., 4096) = 4096 <0.104>\n', None, "/proc/1/net/tcp6", ""),
    ],
    ids=["no pid", "told", "told another", "old strace", "new strace", "-Y", "-y", "-y of a socket", "-s 0"],
)
def test_whose_slow_calls_they_are_and_on_which_file(drop, strace, about, path, said):
    row, _ = drop(hping=hping(), perf=text(READER), strace=strace, **({"about": about} if about else {}))
    assert row["trigger"]["comm"] == "cadvisor" and row["trigger"]["path"] == path
    assert (said in missing(row)) if said else "whose calls" not in missing(row)
    assert row["capture"]["slow_calls"], "they are shown, whoever made them"


def test_calls_of_nobody_known_are_said_and_shown(drop):
    row, _ = drop(hping=hping(), strace=ANONYMOUS)
    assert row["trigger"] is None and "not known: whose calls are in strace.txt (pid in about.yml)" in missing(row)
    assert [(call["call"], call["path"], call["duration_ms"]) for call in row["capture"]["slow_calls"]] == [("read", "memory.stat", 104.0)]


def test_slow_calls_are_shown_though_no_probe_measured_a_stall(drop):
    row, _ = drop(perf=text(READER), strace=CALLS.replace("10137]", "10137<cadvisor>]"))
    assert row["status"] == "not_measured" and row["trigger"] is None
    assert [(call["comm"], call["pid"], call["path"]) for call in row["capture"]["slow_calls"]] == [("cadvisor", 10137, "memory.stat")]
    assert row["capture"]["sentence"] == "No stall is in these logs, so that nobody is looked for."


@pytest.mark.parametrize("value", [0, -1, "x", [], True])
def test_a_pid_that_is_none_is_said(drop, value):
    _row, warnings = drop(hping=hping(), about=f"files: {{hping.txt: {{pid: {value!r}}}}}\n".replace("True", "true"))
    assert any("files.hping.txt.pid is" in said and "a number above 0" in said for said in warnings)
