"""The tracer's program and what it prints, perf trace's text, and paths made of what the kernel knows."""

import os
import shutil
import struct
import subprocess
import sys

import pytest

from ansible_collections.fleet.stall.plugins.module_utils import wire
from ansible_collections.fleet.stall.plugins.module_utils.capture import callbudget, callprogram, gaps, rxprogram, rxtrace, syscalls
from ansible_collections.fleet.stall.plugins.module_utils.capture.gaps import Handled
from ansible_collections.fleet.stall.plugins.module_utils.capture.rxlines import Heartbeat, Parser, SlowCall, Watched, path_of


def flow(number, protocol="icmp", family=4, port=None, source_address=None, source_port=None):
    return {
        "id": number,
        "protocol": protocol,
        "family": family,
        "port": port,
        "source_address": source_address,
        "source_port": source_port,
        "interval_ms": 10,
    }


FLOWS = [
    flow(1),
    flow(2, family=6),
    flow(3, "tcp_syn", port=22, source_address="192.0.2.1", source_port=40003),
    flow(4, "http_kept", port=80, source_address="192.0.2.1"),
    flow(5, "tcp_syn", port=30080),
    flow(6, "tcp_connect", family=6, port=22, source_address="2001:db8::1"),
]
MARK = "a1b2c3d4"


def lying(packed):
    """A word of a packet, as the tracer prints it."""
    return int.from_bytes(packed, sys.byteorder)


def signed(packed):
    """Two words, as the tracer prints them."""
    return int.from_bytes(packed, sys.byteorder, signed=True)


def words(first, second):
    return signed(struct.pack("!II", first, second))


def address(text):
    return lying(bytes(map(int, text.split("."))))


def parse(line):
    return Parser(FLOWS, MARK).parse(line)


def tcp(source, source_port, port, sequence=77, family=4):
    return row(5, 1, 2, 3, family, address(source), signed(struct.pack("!HHI", source_port, port, sequence)), comm="ksoftirqd/1")


def row(*key, comm, side="a"):
    return f"@r{MARK}{side}[{', '.join(map(str, key))}]: {comm}"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f"{MARK}h 123 0", Heartbeat(123)),
        (f"{MARK}h 123 1000", Heartbeat(123)),
        (f"{MARK}h 123 1007", Heartbeat(123, 7)),
        (f"{MARK}h 123", None),
        (row(9, 3, 4, 5, 0, 0, words(1, 70000), comm="napi/eth0-1"), Handled(9, 3, 4, 5, "napi/eth0-1", 1, 70000)),
        (row(9, 3, 4, 5, 0, 0, words(99, 0xFFFFFFFF), comm="a b]: c", side="b"), Handled(9, 3, 4, 5, "a b]: c", None, 0xFFFFFFFF)),
        (tcp("192.0.2.1", 40003, 22), Handled(5, 1, 2, 3, "ksoftirqd/1", 3, 77)),
        (tcp("192.0.2.1", 40004, 22), Handled(5, 1, 2, 3, "ksoftirqd/1", None, 77)),
        (tcp("192.0.2.1", 50000, 80), Handled(5, 1, 2, 3, "ksoftirqd/1", 4, 77)),
        (tcp("198.51.100.9", 50000, 30080), Handled(5, 1, 2, 3, "ksoftirqd/1", 5, 77)),
        (tcp("0.0.0.1", 50000, 22, family=6), Handled(5, 1, 2, 3, "ksoftirqd/1", 6, 77)),
        (row(9, 3, 4, comm="x"), None),
        (row(9, "x", 4, 5, 0, 1, 2, comm="x"), None),
        (row(9, 3, 4, 5, 0, 1, 2, 0, comm="x"), None),
        (row(9, 3, 4, 5, 0, 1, 2, comm="x", side="c"), None),
        (f"@r{MARK}a[9, 3", None),
        (f"{MARK}z 1", None),
        ("h 123", None),
        ("@side: 1", None),
        ("", None),
    ],
)
def test_lines(line, expected):
    assert parse(line) == expected


def test_a_name_with_a_line_feed_can_not_pose_as_a_line():
    assert parse("@ra[9, 3, 4, 5, 0, 1, 2]: ksoftirqd/0") is None
    assert parse("c 1000 130000000 129000000 1 20 21 0 0 5 a|b|c|d|e|f") is None


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of x86_64")
@pytest.mark.parametrize(
    ("rest", "call", "fd", "file"),
    [
        ("0 0 5 cat|proc|smaps_rollup|77|/|/", "read", 5, ("proc", "smaps_rollup", "77", "/", "/")),
        ("0 0 5 a|b c|proc|maps|77|/|/", "read", 5, ("proc", "maps", "77", "/", "/")),
        ("9 0 5 cat|ext4|lib.so|lib|usr|/", "mmap", None, ()),
        ("257 0 4294967196 cat|||||", "openat", None, ()),
        ("9999 0 0 cat|||||", "syscall_9999", None, ()),
        ("3 2 5 old|ext4|f|d|/|/", "read", 5, ("ext4", "f", "d", "/", "/")),
        ("3 0 5 new|ext4|f|d|/|/", "close", 5, ("ext4", "f", "d", "/", "/")),
        ("9999 2 0 old|||||", "32-bit call 9999", None, ()),
    ],
)
def test_slow_calls(rest, call, fd, file):
    found = parse(f"{MARK}c 1000 130000000 129000000 1 20 21 {rest}")
    assert isinstance(found, SlowCall)
    assert (found.call, found.fd, found.file, found.start_ns, found.duration_ns, found.pid, found.tid) == (
        call,
        fd,
        file,
        1000,
        130000000,
        20,
        21,
    )


@pytest.mark.parametrize(
    ("file", "link", "path"),
    [
        (("proc", "smaps_rollup", "77", "/", "/"), None, "/proc/77/smaps_rollup"),
        (("cgroup2", "memory.stat", "pod1", "kubepods", "/"), None, "/sys/fs/cgroup/kubepods/pod1/memory.stat"),
        (("cgroup", "memory.stat", "a", "b", "c"), None, "/sys/fs/cgroup/*/*/c/b/a/memory.stat"),
        (("ext4", "f", "c", "b", "a"), None, "*/a/b/c/f"),
        (("ext4", "f", "c", "b", "a"), "/mnt/a/b/c/f", "/mnt/a/b/c/f"),
        (("ext4", "f", "c", "b", "a"), "/mnt/other", "*/a/b/c/f"),
        (("ext4", "f", "c", "b", "a"), "/mnt/f (deleted)", "/mnt/f (deleted)"),
        (("ext4", "n" * 39, "c", "b", "a"), "/c/" + "n" * 60, "/c/" + "n" * 60),
        (("sockfs", "TCP", "TCP", "TCP", "TCP"), None, "socket:TCP"),
        ((), "/tmp/x", None),
    ],
)
def test_paths(file, link, path):
    assert path_of(file, link) == path


NETNS = 4026531840


@pytest.mark.parametrize(
    ("flows", "there", "not_there"),
    [
        ([flow(1)], ["len == 52", "*$e == 8 &&", "ns.inum == 4026531840"], ["*$e == 128 &&", "@tcp = $n"]),
        ([flow(1, family=6)], ["len == 72", "*$e == 128 &&"], ["*$e == 8 &&"]),
        ([flow(1, "tcp_syn", port=22)], ["($f & 18) == 2)"], ["*$e == 8 &&", "*$e == 128 &&"]),
    ],
)
def test_the_program_looks_for_the_plans_probes_only(flows, there, not_there):
    text = rxprogram.program("tracepoint", 7, flows, NETNS, 10, MARK)
    assert all(part in text for part in there)
    assert not any(part in text for part in not_there)
    assert all(part.startswith(f'("{MARK}') for part in text.split("printf")[1:])


def test_the_program_without_slow_calls_and_without_btf():
    text = rxprogram.program("tracepoint", 7, FLOWS, NETNS, 0, MARK, btf=False)
    assert "raw_syscalls" not in text
    assert text.startswith("#include <linux/skbuff.h>")
    assert str(lying(struct.pack("!I", wire.MAGIC))) in text


@pytest.mark.skipif(
    not shutil.which("bpftrace") or os.geteuid() != 0 or not os.path.exists(rxtrace.BTF),
    reason="needs root, bpftrace and a kernel with BTF",
)
@pytest.mark.parametrize("source", ["tracepoint", "kprobe"])
@pytest.mark.parametrize("flows", [FLOWS, [flow(1)], [flow(5, "tcp_syn", port=30080)], [flow(2, family=6)]])
def test_bpftrace_understands_the_program(tmp_path, source, flows):
    path = tmp_path / "rx.bt"
    path.write_text(rxprogram.program(source, 7, flows, NETNS, 10, MARK, passed_over=range(10**6, 10**6 + callbudget.MOST_PASSED_OVER)))
    there = os.path.exists("/sys/kernel/tracing/events")
    mounted = "true" if there else "mount -t tracefs tracefs /sys/kernel/tracing"
    words = [
        "unshare",
        "-m",
        "--propagation",
        "slave",
        "sh",
        "-c",
        f"{mounted} && BPFTRACE_STRLEN={rxprogram.NAME_BYTES} bpftrace -d {path}",
    ]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout[-2000:]


def test_the_calls_that_only_wait_are_left_out_at_both_ends():
    """Else the end of a poll() would be taken for that of the read() before it, with all that was computed in between."""
    text = rxprogram.program("tracepoint", 7, FLOWS, NETNS, 10, MARK, passed_over=[4711])
    probes = [line for line in text.splitlines() if line.startswith("tracepoint:raw_syscalls:")]
    assert len(probes) == 2
    for number in syscalls.waits():
        assert all(f"args->id != {number}" in probe for probe in probes)
    assert all("pid != 4711" in probe for probe in probes)


def test_how_many_calls_were_looked_at():
    share = callprogram.COUNTED_SHARE
    assert parse(f"@n{MARK}: 123456") == Watched(None, share * 123456)
    assert parse(f"@l{MARK}[77]: 5") == Watched(77, share * 5)
    for line in ("@nffffffff: 123456", f"@n{MARK}: x", f"@l{MARK}[x]: 5", f"@l{MARK}[5]"):
        assert parse(line) is None


def trace_of(tmp_path, text):
    """What a trace makes of what the tracer printed."""
    trace = rxtrace.RxTrace({"flows": FLOWS}, 10, str(tmp_path))
    trace._mark, trace._parser = MARK, Parser(FLOWS, MARK)
    trace._calls = True
    path = tmp_path / "rx.out"
    path.write_text(text)
    trace._read(rxtrace.Tail(str(path)))
    return trace


def calls_of(own, others):
    """A turn in which this process and others made so many system calls."""
    share = callprogram.COUNTED_SHARE
    return f"@l{MARK}[{os.getpid()}]: {own // share}\n@n{MARK}: {(own + others) // share}\n{MARK}h 5 0\n"


def test_the_calls_of_a_loud_process_are_passed_over(tmp_path):
    trace = trace_of(tmp_path, calls_of(35200, 5000) * 4)
    assert trace._pids_passed_over() == [os.getpid()]
    assert trace.capabilities()["slow_calls"]["available"]
    assert f"(pid {os.getpid()}, 140800 a second)" in trace.problems()[-1]


def test_slow_calls_are_given_up_where_all_are_loud(tmp_path):
    trace = trace_of(tmp_path, calls_of(64, 40000) * 4)
    found = trace.capabilities()
    assert not found["slow_calls"]["available"]
    assert "the host makes 160256 system calls a second" in found["slow_calls"]["reason"]
    assert found["rx_trace"]["available"]
    assert trace.problems() == []


def handled_rows(times):
    return "".join(row(at, 0, 1, 1, 0, 0, words(1, number), comm="x") + "\n" for number, at in enumerate(times))


@pytest.mark.parametrize(("times_seen", "between_us"), [(1, 0), (2, 3), (3, 3)])
def test_a_probe_that_passes_a_port_and_its_bridge_counts_once(tmp_path, times_seen, between_us):
    """Four probes were lost on the way; the ones before and after them are seen on each device."""
    ms = 1000000
    sent = [number for number in range(200) if not 100 <= number < 104]
    seen = [(10 * ms * number + 1000 * between_us * again, number) for number in sent for again in range(times_seen)]
    lines = "".join(row(at, 0, 1, 1, 0, 0, words(1, number), comm="x") + "\n" for at, number in seen)
    trace = trace_of(tmp_path, lines + f"{MARK}h {3000 * ms} 0\n")
    assert [each.number for each in trace.rows] == sent
    assert [each["packets"] for each in gaps.handlers(trace.rows)] == [len(sent)]
    assert gaps.find(trace.rows, gaps.intervals(FLOWS), 10 * ms) == []


def test_what_the_live_search_gets_is_each_probe_once_in_whichever_turn(tmp_path):
    trace = trace_of(tmp_path, "")
    path = tmp_path / "more.out"
    path.write_text("".join(row(at, 0, 1, 1, 0, 0, words(1, 7), comm="x") + f"\n{MARK}h {at + 1} 0\n" for at in (5, 9)))
    rows, _ = trace._read(rxtrace.Tail(str(path)))
    assert [each.at_ns for each in rows] == [5]


def test_probes_beyond_the_room_for_them_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(rxtrace, "MOST_ROWS", 3)
    trace = trace_of(tmp_path, handled_rows(range(5)) + f"{MARK}h 5 1003\n")
    assert (len(trace.rows), trace.rows_omitted, trace.rows_refused) == (3, 2, 3)
    assert trace.problems() == [
        "2 probes that were handled after the first 3 were not looked at",
        "3 TCP segments to probed ports were not looked at: more than 1000 in 0.25 s",
    ]


def test_probes_that_a_full_map_refused_are_estimated(tmp_path, monkeypatch):
    """Full after a fifth of the time: four times as many were refused."""
    monkeypatch.setattr(rxtrace, "map_keys", lambda *_: 100)
    lines = handled_rows(range(0, 100000, 1000)) + f"{MARK}h 500000 0\n"
    trace = trace_of(tmp_path, lines)
    assert trace.rows_lost == pytest.approx(400, abs=10)
    assert "went unseen: more than 100 in 0.25 s" in trace.problems()[0]
    assert trace_of(tmp_path, handled_rows(range(0, 99000, 1000)) + f"{MARK}h 500000 0\n").rows_lost == 0


def test_threads_beyond_the_room_for_them_are_said(tmp_path, monkeypatch):
    monkeypatch.setattr(rxtrace, "threads_here", lambda: 300000)
    assert trace_of(tmp_path, "").problems() == [f"slow system calls were watched of {rxtrace.MOST_KEYS} threads, this host has 300000"]


@pytest.mark.parametrize(
    ("flows", "threads", "keys"),
    [
        ([], 0, 1 << 11),
        ([flow(1)] * 500, 500, 1 << 15),
        ([flow(1)], 20000, 1 << 16),
        ([flow(1)] * 500, 4000000, 1 << 17),
    ],
)
def test_room_in_the_programs_maps(flows, threads, keys):
    assert rxtrace.map_keys(flows, threads) == keys


def test_how_many_threads_there_are():
    assert rxtrace.threads_here() > 1


def test_names_of_calls():
    assert syscalls.name(0, "x86_64") == "read"
    assert syscalls.name(63, "aarch64") == "read"
    assert syscalls.name(63, "riscv64") == "syscall_63"
    assert syscalls.waits("riscv64") == [-1]
    for machine, table in syscalls.TABLES.items():
        assert not set(table) & set(syscalls.waits(machine)), machine
        assert len(set(table.values())) == len(table), machine


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ERROR: Unknown error -1: couldn't set RLIMIT_MEMLOCK for bpftrace.\n", ""),
        (
            "ERROR: couldn't set RLIMIT_MEMLOCK\nwarning: x\nrx.bt:1: ERROR: tracepoint not found: net:y\n",
            "rx.bt:1: ERROR: tracepoint not found: net:y",
        ),
        ("Killed\n", "Killed"),
    ],
)
def test_complaints_of_bpftrace(text, said):
    assert rxtrace.complaint(text) == said


@pytest.mark.parametrize(
    ("number", "machine", "call"),
    [(3, "x86_64", "read"), (0, "x86_64", "32-bit call 0"), (3, "aarch64", "32-bit call 3"), (3, "riscv64", "32-bit call 3")],
)
def test_calls_of_32_bit_programs_have_numbers_of_their_own(number, machine, call):
    assert syscalls.name(number, machine, compat=True) == call


@pytest.mark.parametrize(("named", "call"), [("close", "read"), ("read", "32-bit call 0"), ("prctl", "32-bit call"), ("stat", "write")])
def test_what_was_named_by_the_table_of_64_bit_programs(named, call):
    assert syscalls.of_32_bit(named, "x86_64") == call


@pytest.mark.parametrize("is_ready", [False, True], ids=["at first", "as it starts anew"])
def test_a_program_that_can_not_be_written_costs_the_trace_alone(tmp_path, monkeypatch, is_ready):
    monkeypatch.setattr(rxtrace, "unavailable", lambda: None)
    monkeypatch.setattr(rxtrace.bounded, "find", lambda name: name)
    plan = {"flows": FLOWS, "token": 7, "slow_call_ms": 10}
    trace = rxtrace.RxTrace(plan, 10, str(tmp_path / "full"))
    trace.ready, trace._tool = is_ready, Printing(tmp_path / "rx.out", "", 0) if is_ready else None
    assert not trace.start() and not trace.live
    assert (trace.poll(), trace.finish()) == (([], []), ([], []))
    stated = trace.capabilities()["rx_trace"]
    assert stated["available"] is is_ready and stated["reason"] == "bpftrace: No such file or directory"


class Printing:
    """A perf trace that has printed this, and has ended before the window did with this code (None: not)."""

    def __init__(self, path, text, code):
        self.output, self.code, self.ended = str(path), code, None if code is None else 1.0
        path.with_name(path.name + ".err").write_text(text)

    def poll(self):
        return self.ended is None

    def finish(self):
        self.ended = self.ended or 2.0

    def is_full(self):
        return False

    def cpu_s(self):
        return 0.0

    def size(self):
        return 0

    def complaint(self):
        return (open(self.output + ".err").read().splitlines() or [""])[-1]
