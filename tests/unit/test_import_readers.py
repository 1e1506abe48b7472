"""The readers of foreign logs: packet logs, the output of short commands, strace, perf script and collapsed stacks."""

import pytest

from ansible_collections.fleet.stall.plugins.plugin_utils.imports import about, blockers, logs, packetlog, profiles, straces, timing
from ansible_collections.fleet.stall.plugins.plugin_utils.imports.sawtooth import Stall
from tests.unit.test_import_logs import findings

STALL = Stall(0, 90.0, 3, 9, 9, 0, False)


@pytest.mark.parametrize(
    ("rows", "handler", "cpu", "backlog", "before"),
    [
        ([(7, "agent", 2), *((76, "ksoftirqd/3", n) for n in range(3, 12))], "ksoftirqd/3", 3, 9, "agent"),
        ([(7, "agent", 2), *((76, "ksoftirqd/3", n) for n in range(3, 30))], "ksoftirqd/3", 3, 9, "agent"),
        ([(7, "agent", 2), *((76, "ksoftirqd/3", n) for n in range(3, 6)), (8, "other", 6)], "ksoftirqd/3", 3, 3, "agent"),
        ([*((76, "napi/eth0-8", n) for n in range(3, 12))], "napi/eth0-8", None, 9, None),
        ([(7, "agent", 900), *((76, "ksoftirqd/3", n) for n in range(3, 12))], "ksoftirqd/3", 3, 9, None),
        ([(7, "agent", 2), *((7, "agent", n) for n in range(3, 12))], "agent", None, 9, "agent"),
    ],
)
def test_a_backlog_is_what_one_task_handled_in_a_row(rows, handler, cpu, backlog, before):
    log = packetlog.read(f"{pid}\t{pid}\t{comm}\t{number}" for pid, comm, number in rows)
    found = packetlog.of_stall(log, STALL)
    assert (found.handler.comm, found.cpu, found.backlog, found.before.comm if found.before else None) == (handler, cpu, backlog, before)


def test_numbers_may_have_their_bytes_swapped_and_go_on_after_65535():
    """hping3 sends them in the byte order of its host, and a trace may take them for those of the network."""
    swapped = packetlog.read(f"76\t76\tksoftirqd/3\t{(n & 255) << 8 | n >> 8}" for n in range(250, 300))
    assert [row.number for row in swapped.rows] == list(range(250, 300))
    plain = packetlog.read(f"76\t76\tksoftirqd/3\t{n % 65536}" for n in range(65500, 65600))
    assert [row.number for row in plain.rows] == list(range(65500, 65600))


@pytest.mark.parametrize(
    "lines",
    [
        ["TGID    PID     PROCESS NAME    ICMP_SEQ", "7       8       my agent        3"],
        ["TGID\tPID\tCOMM\tSEQ\tCPU", "7\t8\tmy agent\t3\t5"],
        ["PID TID CPU TIME SEQ COMM", "7 8 5 12.25 3 my-agent"],
        ["7\t8\tmy agent\t3\t5\t12.25"],
        ["time  pid  comm  seq", "12.25  8  agent  3"],
        ["TIME(s)  CPU  PID  TID  COMM  SEQ", "5.000001  5  7  8  my agent  3"],
        ["# CPU PID    TID    COMM             SEQ", "  5 7      8      my agent         3"],
        ["PID    TID    COMM             CPU SEQ", "7      8      my agent         5   3"],
        ["PID TID COMM CPU SEQ", "7 8 my agent 5 3"],
        ["7 8 my agent 3 5"],
    ],
)
def test_a_heading_orders_the_columns(lines):
    (row,) = packetlog.read(lines).rows
    assert (row.task.tid, row.number) == (8, 3) and "agent" in row.task.comm
    assert row.cpu == (5 if any(" 5" in line or "\t5" in line for line in lines) else None)


@pytest.mark.parametrize("heading", ["TIME(s)  CPU  PID  TID  COMM  SEQ", "CPU TIME TID PID SEQ COMM"])
def test_a_packet_log_may_begin_with_the_time_or_the_cpu(tmp_path, heading):
    values = {"time(s)": "5.000001", "time": "5.000001", "cpu": "11", "pid": "76", "tid": "76", "comm": "ksoftirqd/11"}
    rows = [" ".join(values.get(column, str(500 + n)) for column in heading.lower().split()) for n in range(5)]
    (tmp_path / "packets.txt").write_text("\n".join(["Attaching 1 probe...", heading, *rows]) + "\n")
    (log,) = logs.read(tmp_path, 10).logs
    assert log.kind == "packets" and [(row.cpu, row.at_s, row.number) for row in log.content.rows] == [
        (11, 5.000001, 500 + n) for n in range(5)
    ]


@pytest.mark.parametrize("line", ["7\t8\tWorker 5\t300", "7      8      Worker 5        300", "7\t8\tWorker 5\t300\t2"])
def test_a_name_that_ends_in_a_number_keeps_it(line):
    (row,) = packetlog.read([line]).rows
    assert (row.task.comm, row.number) == ("Worker 5", 300)


@pytest.mark.parametrize("line", ["76\t76\tksoftirqd/3\t3735928559", "76 76 ksoftirqd/3 3735928559"])
def test_the_number_of_a_tcp_segment_is_no_reason_to_lose_its_row(line):
    assert [row.number for row in packetlog.read([line]).rows] == [3735928559]
    assert [row.number for row in packetlog.read(["PID TID COMM SEQ", line]).rows] == [3735928559]


@pytest.mark.parametrize(
    ("lines", "facts"),
    [
        (
            ["$ time cat /sys/fs/cgroup/memory/memory.stat >/dev/null", "real\t0m0.153s", "user\t0m0.000s", "sys\t0m0.152s"],
            {"memory_cgroups.read_ms": 153.0},
        ),
        (
            ["cat /sys/fs/cgroup/memory/memory.stat > /dev/null  0.00s user 1.25s system 99% cpu 1.256 total"],
            {"memory_cgroups.read_ms": 1256.0},
        ),
        (["$ time -p cat memory.stat", "real 0.15", "user 0.00", "sys 0.15"], {"memory_cgroups.read_ms": 150.0}),
        (["$ time ls", "real\t0m9.000s"], {}),
        (["real\t0m9.000s"], {}),
        (["#subsys_name\thierarchy\tnum_cgroups\tenabled", "cpu\t2\t60\t1", "memory\t9\t22563\t1"], {"cgroups.memory.num": 22563.0}),
        (["nr_descendants 61", "nr_dying_descendants 22502"], {"memory_cgroups.live": 61.0, "memory_cgroups.dying": 22502.0}),
        (
            ["memory\t9\t3\t1", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/memory/a"],
            {"cgroups.memory.num": 3.0, "memory_cgroups.live": 2.0, "memory_cgroups.dying": 1.0},
        ),
    ],
)
def test_facts_of_short_commands(lines, facts):
    assert timing.read(lines).named() == facts


def test_what_is_timed_may_be_named_by_the_file_alone():
    assert timing.read(["real\t0m0.153s"], "time-memory.stat.txt").read_ms == 153.0


@pytest.mark.parametrize(
    ("buffer", "contents"),
    [
        ("cache 154234880\nrss 507904\nrss_h", "memory.stat"),
        ("anon 12\nfile 4096\nkernel 0", "memory.stat"),
        ("cache is full\n", None),
        ("  sl  local_address rem_address", "/proc/net/tcp"),
        (None, None),
    ],
)
def test_a_file_is_told_by_its_first_bytes(buffer, contents):
    assert straces.contents(buffer) == contents


@pytest.mark.parametrize("form", ["one file, -f", "one file a thread, -ff", "one process, -p", "its own words"])
def test_calls_are_of_the_thread_that_made_them(tmp_path, form):
    call = 'read(5, "cache 0\\nrss 0\\nrss_h"..., 4096) = 577 <0.228091>'
    wait = "futex(0x7f, FUTEX_WAIT, 0, NULL) = 0 <0.9>"
    text = {
        "one file, -f": f"[pid 8] {call}\n[pid 9] {wait}\n",
        "one file a thread, -ff": f"{call}\n{wait}\n",
        "one process, -p": f"# strace -T -p 7\n{call}\n",
        "its own words": f"strace: Process 7 attached\n{call}\n",
    }[form]
    (tmp_path / ("trace.8" if "-ff" in form else "trace")).write_text(text)
    (log,) = logs.read(tmp_path, 10).logs
    calls = log.content.of(7, 8)
    assert [(found.name, found.contents) for found in calls] == [("read", "memory.stat")]
    assert log.content.of(70, 80) == []


def script(times, cpu=3):
    """perf script text: agent in the kernel for 100 ms, then ksoftirqd for 3, then idle; so many times."""
    text, at = [], 100.0
    for _ in range(times):
        for comm, pid, count, symbols in (
            ("agent", 7, 100, ("memcg_stat_show", "seq_read", "vfs_read", "sys_read", "do_syscall_64")),
            (f"ksoftirqd/{cpu}", 76, 3, ("net_rx_action", "run_ksoftirqd", "kthread")),
            ("swapper", 0, 200, ("default_idle", "cpu_startup_entry")),
        ):
            for _ in range(count):
                at += 0.001
                text.append(f"{comm} {pid}/{pid} [{cpu:03d}] {at:.6f}: 1001001 cpu-clock: ")
                text += [f"\tffffffff811a{index:04x} {name}+0x1 ([kernel.kallsyms])" for index, name in enumerate(symbols)]
                text.append("")
    return "\n".join(text) + "\n"


@pytest.mark.parametrize(("stall_ms", "cpu", "comm"), [(80.0, 3, "agent"), (80.0, None, "agent"), (140.0, 3, "agent"), (300.0, 3, None)])
def test_the_samples_show_who_had_the_cpu_before_a_hand_over(stall_ms, cpu, comm):
    profile = profiles.read_script(script(4).splitlines())
    found = next(iter(blockers.blockers(profile, stall_ms, cpu)), None)
    assert (found.task.comm if found else None) == comm
    if found:
        assert (found.cpu, found.hand_overs, found.of, found.klass) == (3, 4, 4, "T")
        assert found.stacks[0][0].endswith("seq_read;memcg_stat_show") and sum(ms for _, ms in found.stacks) == pytest.approx(400, rel=0.05)
        assert all("memcg_stat_show" not in stack for stack, _ in found.quiet)


def test_stacks_of_another_place_of_the_recording_are_not_next_to_each_other():
    """grep -B leaves `--` between its matches."""
    lines = ["agent;do_syscall_64;sys_read;memcg_stat_show"] * 50 + ["--"] + ["ksoftirqd/3;kthread;run_ksoftirqd"] * 3
    assert blockers.blockers(profiles.read_folded(lines), 40.0, 3) == []
    lines.remove("--")
    assert blockers.blockers(profiles.read_folded(lines), 40.0, 3)[0].task.comm == "agent"


def test_stacks_beyond_those_that_are_kept_are_counted_and_said(tmp_path, monkeypatch):
    monkeypatch.setattr(profiles, "FOLDED_LIMIT", 20)
    (tmp_path / "stacks").write_text("agent;do_syscall_64;sys_read;vfs_read\n" * 50)
    assert profiles.read_folded((tmp_path / "stacks").read_text().splitlines()).omitted == 30
    assert "stacks: 30 rows more than are kept were left out" in findings(tmp_path)["warnings"]


def test_a_name_that_is_told_is_taken_over_the_content(tmp_path):
    (tmp_path / "a").write_text("1 2 x 3\n")
    (tmp_path / "about.yml").write_text("files: {a: {what: facts}}")
    assert [log.kind for log in logs.read(tmp_path, 10).logs] == ["facts"]
    assert about.About().of("3-overlay-icmp.log").layer == "overlay"
