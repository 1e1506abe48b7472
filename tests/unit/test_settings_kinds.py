"""The kinds of setting: sysctls and their file, interrupts and RPS, priorities of the process that was seen, quotas; and what is said."""

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.module_utils.settings import change, files, kinds, priority, quota, seen, sysctl_d
from ansible_collections.fleet.stall.plugins.module_utils.settings.change import Change, Memory
from ansible_collections.fleet.stall.plugins.module_utils.settings.rules import Unfit


@pytest.fixture
def memory(tmp_path):
    return Memory(str(tmp_path))


def file(tmp_path, name, value):
    path = tmp_path / name
    path.write_text(value)
    return path


# -- Names and places -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("net.core.netdev_budget", "/proc/sys/net/core/netdev_budget"),
        ("net/ipv4/conf/eth0.100/rp_filter", "/proc/sys/net/ipv4/conf/eth0.100/rp_filter"),
        ("net.ipv4.conf.eth0/100.rp_filter", "/proc/sys/net/ipv4/conf/eth0.100/rp_filter"),
    ],
)
def test_the_file_of_a_sysctl(name, path):
    assert files.sysctl_path(name) == path
    assert files.sysctl_path(files.sysctl_name(path)) == path


@pytest.mark.parametrize("name", ["", "net", "../etc.passwd", "net/../../etc/passwd", "net.core.x y", "/net/core/x", "net..x"])
def test_a_name_that_is_no_sysctl(name):
    with pytest.raises(Unfit, match="is not the name of a sysctl"):
        files.sysctl_path(name)


def test_only_files_of_the_kernel(tmp_path):
    with pytest.raises(Unfit, match="is not below /sys"):
        files.kernel_files({"file": "/sys/../etc/passwd", "value": "1"}, persisted=False)
    with pytest.raises(Unfit, match="is not below /sys"):
        files.kernel_files({"file": str(tmp_path / "x"), "value": "1"}, persisted=False)


@pytest.fixture
def conf(tmp_path, monkeypatch):
    monkeypatch.setattr(sysctl_d, "PATH", str(tmp_path / "etc" / "90-fleet-stall.conf"))
    monkeypatch.setattr(files, "PROC_SYS", str(tmp_path / "sys"))
    (tmp_path / "sys" / "net").mkdir(parents=True)
    (tmp_path / "sys" / "net" / "budget").write_text("300\n")
    return tmp_path


BUDGET = {"sysctl": "net.budget", "times": 2}


def test_a_persisted_sysctl_is_in_its_file_with_what_was(conf, memory):
    made = change.apply(files.kernel_files(BUDGET, persisted=True), memory, check=False)
    written = conf / "etc" / "90-fleet-stall.conf"
    assert written.read_text() == f"{sysctl_d.HEAD}\n# was: 300\nnet.budget = 600\n"
    assert [entry["kind"] for entry in made["undo"]] == ["file", "sysctl_line"]
    change.put_back(kinds.undone(made["undo"]), memory, check=False)
    assert not written.exists() and (conf / "sys" / "net" / "budget").read_text() == "300"


def test_after_a_reboot_the_file_alone_remembers(conf, tmp_path):
    change.apply(files.kernel_files(BUDGET, persisted=True), Memory(str(tmp_path)), check=False)
    (tmp_path / "settings.json").unlink()
    again = change.apply(files.kernel_files(BUDGET, persisted=True), Memory(str(tmp_path)), check=False)
    assert not again["changed"] and (conf / "sys" / "net" / "budget").read_text() == "600"
    assert again["undo"][0]["value"] == "300"


def test_other_lines_of_the_file_stay(conf, memory):
    line = sysctl_d.Line("net.other", was="1")
    line.write("2")
    change.apply(files.kernel_files(BUDGET, persisted=True), memory, check=False)
    assert set(sysctl_d.entries()) == {"net.other", "net.budget"}
    line.write("")
    assert set(sysctl_d.entries()) == {"net.budget"}


names = st.from_regex(r"\A[a-z]{1,8}(\.[a-z_]{1,8}){1,3}\Z")
values = st.from_regex(r"\A[0-9]{1,6}(\t[0-9]{1,6}){0,2}\Z")


@given(st.dictionaries(names, st.tuples(values, st.none() | values), max_size=4))
def test_the_file_reads_as_it_was_written(entries):
    wanted = {name: sysctl_d.Entry(*entry) for name, entry in entries.items()}
    assert sysctl_d.parse(sysctl_d.render(wanted)) == wanted


def test_a_file_that_is_read_later_is_named(tmp_path, monkeypatch):
    late, early, last = (
        file(tmp_path, "99-x.conf", "net/budget = 1\n"),
        file(tmp_path, "10-x.conf", "net.budget=1\n"),
        file(tmp_path, "sysctl", ""),
    )
    monkeypatch.setattr(sysctl_d, "LATER", (str(tmp_path / "*.conf"),))
    monkeypatch.setattr(sysctl_d, "LAST", str(last))
    assert sysctl_d.overriding("net.budget") == [str(late)] and early.exists()
    last.write_text("# net.budget = 1\n  net.budget = 7\n")
    assert sysctl_d.overriding("net.budget") == [str(late), str(last)]


# -- Interrupts and RPS ---------------------------------------------------------------------------------------------------------------

BOND = [
    {"name": "bond0", "default_route": True, "lower": ["eth0"], "queues": []},
    {"name": "eth0", "default_route": False, "lower": [], "queues": [{"queue": 0, "irq": "40"}, {"queue": 1, "irq": "41"}]},
    {"name": "eth9", "default_route": False, "lower": [], "queues": [{"queue": 0, "irq": "50"}]},
]


@pytest.fixture
def four_cpus(monkeypatch):
    monkeypatch.setattr(files, "online_cpus", lambda: [0, 1, 2, 3])
    monkeypatch.setattr(files.nic, "read", lambda: {"interfaces": BOND})
    monkeypatch.setattr(files.nic, "named", lambda names: [row for row in BOND if row["name"] in names])


@pytest.mark.parametrize(("current", "wanted"), [("0-3", "0-2"), ("3", "0-2"), ("1", "1"), ("2-3", "2"), ("3,7", "0-2")])
def test_an_interrupt_keeps_off_a_cpu(four_cpus, current, wanted):
    changes = files.irq_affinity({"avoid_cpu": 3})
    assert [made.place.path for made in changes] == ["/proc/irq/40/smp_affinity_list", "/proc/irq/41/smp_affinity_list"]
    assert changes[0].want(current, current) == wanted
    assert changes[0].want(wanted, current) == wanted


@pytest.mark.parametrize(
    ("make", "setting", "words"),
    [
        (files.irq_affinity, {"avoid_cpu": 3, "interfaces": ["bond0"]}, "virtual ones have none"),
        (files.irq_affinity, {"avoid_cpu": 3, "interfaces": ["eth7"]}, "names eth7, which this host does not have"),
        (files.rps, {"cpus": "0-7"}, "cpus is '0-7', online are 0-3: name some of these"),
        (files.rps, {"interfaces": ["eth9"]}, "no receive queue"),
    ],
)
def test_what_cannot_be_spread(four_cpus, make, setting, words):
    with pytest.raises(Unfit, match=words):
        make(setting)


def test_the_only_cpu_cannot_be_avoided(four_cpus, monkeypatch):
    monkeypatch.setattr(files, "online_cpus", lambda: [0])
    for make in (files.irq_affinity, files.rps):
        with pytest.raises(Unfit, match="is the only one that is online"):
            make({"avoid_cpu": 0})


# -- Processes ------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def sleeper():
    process = subprocess.Popen([sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"], stdout=subprocess.PIPE)
    process.stdout.readline()
    yield process.pid
    process.kill()
    process.wait()


def comm(pid):
    with open(f"/proc/{pid}/comm") as name:
        return name.read().strip()


@pytest.mark.parametrize(
    ("change_", "words"),
    [
        ({"seen_s_ago": 3600}, "it is another one, and was not touched"),
        ({"comm": "other"}, "and not 'other': another one has its number by now"),
        ({"pid": 4194300}, "has ended: nothing was touched"),
    ],
)
def test_another_process_is_not_touched(sleeper, change_, words):
    who = {"pid": sleeper, "comm": comm(sleeper), "seen_s_ago": 0, **change_}
    with pytest.raises(Unfit, match=words):
        seen.verified(**who)
    with pytest.raises(Unfit, match=words):
        priority.priority(who)


def test_the_process_that_was_seen(sleeper):
    assert seen.verified(sleeper, comm(sleeper), 0) > 0


@pytest.mark.parametrize(
    ("current", "setting", "wanted"),
    [
        ("fifo 50 nice 0", {}, "other 0 nice 0"),
        ("rr 3 nice -5 reset_on_fork", {"policy": "batch"}, "batch 0 nice -5 reset_on_fork"),
        ("deadline 0 nice 0", {}, "other 0 nice 0"),
        ("fifo 50 nice 0", {"nice": 10}, "other 0 nice 10"),
        ("other 0 nice 0", {"nice": 10}, "other 0 nice 10"),
        ("other 0 nice 15", {"nice": 10}, "other 0 nice 15"),
        ("batch 0 nice 3", {}, "batch 0 nice 3"),
        ("other 0 nice 0", {"policy": "idle"}, "idle 0 nice 0"),
    ],
)
def test_the_priority_of_a_thread(sleeper, current, setting, wanted):
    (made,) = priority.priority({"pid": sleeper, "comm": comm(sleeper), "seen_s_ago": 0, **setting})
    assert made.want(current, current) == wanted and made.want(wanted, current) == wanted


def test_the_niceness_of_a_process_and_back_for_real(sleeper, memory):
    was = os.getpriority(os.PRIO_PROCESS, sleeper)
    wanted = min(19, was + 3)
    made = change.apply(priority.priority({"pid": sleeper, "comm": comm(sleeper), "seen_s_ago": 0, "nice": wanted}), memory, check=False)
    assert os.getpriority(os.PRIO_PROCESS, sleeper) == wanted and made["changed"] is (wanted != was)
    if os.geteuid() == 0:
        change.put_back(kinds.undone(made["undo"]), memory, check=False)
        assert os.getpriority(os.PRIO_PROCESS, sleeper) == was


def test_a_thread_with_a_reused_number_is_gone(sleeper):
    place = priority.Thread(sleeper, sleeper, 1)
    assert not place.exists()
    with pytest.raises(Unfit, match="has ended"):
        place.write("other 0 nice 0")


# -- Quotas ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("span", "percent"), [("infinity", "none"), ("500ms", "50"), ("1s 500ms", "150"), ("2s", "200"), ("333us", "0.0333")]
)
def test_a_quota_as_systemd_prints_it(span, percent):
    assert quota.percent(span) == percent


def test_a_quota_that_is_none():
    with pytest.raises(Unfit, match="which is no time"):
        quota.percent("")


@pytest.mark.parametrize("version", [1, 2])
def test_the_quota_of_a_group(tmp_path, memory, version):
    def held():
        return [(tmp_path / name).read_text() for name in names]

    if version == 1:
        names = ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
        file(tmp_path, names[0], "50000\n"), file(tmp_path, names[1], "100000\n")
    else:
        names = ["cpu.max"]
        file(tmp_path, names[0], "50000 100000\n")
    place = quota.Group(str(tmp_path))
    assert place.read() == "50"
    made = change.apply([Change(place, quota._want({"times": 3}))], memory, check=False)
    assert held()[0].split()[0] == "150000" and place.read() == "150"
    change.apply([Change(place, quota._want({"percent": 0}))], memory, check=False)
    assert held()[0].split()[0] == ("-1" if version == 1 else "max") and place.read() == "none"
    with pytest.raises(Unfit, match="no quota that could be multiplied"):
        quota._want({"times": 2})("none", "none")
    change.put_back([(place, "50", "none")], memory, check=False)
    assert held()[0].split()[0] == "50000" and made["undo"][0]["value"] == "50"


def test_a_group_without_the_controller(tmp_path):
    with pytest.raises(Unfit, match="no CPU quota can be set here"):
        quota.Group(str(tmp_path)).read()


# -- Words ----------------------------------------------------------------------------------------------------------------------------


def test_what_is_said():
    answer = {
        "settings": [
            {"what": "net.budget", "before": "300", "after": "600", "changed": True},
            {"what": "net.other", "before": "1", "after": "1", "changed": False},
            {"what": "net.budget in a file", "before": "", "after": "600", "changed": True},
        ],
        "absent": ["net.none"],
        "overridden": {"net.budget": ["/etc/sysctl.conf"]},
    }
    assert kinds.sentences(answer, check=False) == [
        "net.budget is 600, and was 300",
        "net.budget in a file is 600, and was not there",
        "net.none is not there: this kernel does without it",
        "net.budget is set by /etc/sysctl.conf as well, which is read later at boot: change it there",
    ]
    assert kinds.sentences(answer, check=True)[0] == "net.budget would be 600, and was 300"
