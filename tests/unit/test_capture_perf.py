"""What perf tells where bpftrace does not work: its text, its clock, what it may cost, and how it ends."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.module_utils.capture import rxperf, rxtrace

from .test_capture_lines import FLOWS, Printing, flow, parse

ANOTHER = "3487600.000 (35.108 ms): other/43 read(fd: 3, buf: 0x7f, count: 4) = 1"


@given(st.text())
def test_no_line_breaks_the_parser(line):
    parse(line)
    rxperf.parse(line)
    rxtrace.complaint(line)


PERF_TRACE = """\
3486264.182 (118.031 ms): smaps-reader/19080 read(fd: 4</proc/19081/smaps_rollup>, buf: 0x5595475d7fc0, count: 65536) = 698
3486382.635 (29.532 ms): smaps-reader/19080 read(fd: 7<pipe:[605129]>, buf: 0x7fb5b6a49340, count: 1)             = 1
3486807.827 (16.050 ms): ssh/22478 munmap(addr: 0x7f258e443000, len: 36619)                              = 0
3486900.000 (50.200 ms): a b/c/999999999 read(fd: 3, buf: 0x7f, count: 4) = 1
     ? (         ): cat/1 read(...)
3487532.500 (35.108 ms): python3/42 rt_sigtimedwait(uthese: 0x7fff6fa4e170, sigsetsize: 8) = -1 EAGAIN (Resource temporarily unavailable)
3487600.000 (35.108 ms): other/43 rt_sigtimedwait(uthese: 0x7fff6fa4e170, sigsetsize: 8) = -1 EAGAIN (Resource temporarily unavailable)
"""


def test_perf_trace_on_our_clock():
    marks = [(1000000000, 15000000), (9000000000, 35000000)]
    found = rxperf.slow_calls(PERF_TRACE.splitlines(), 42, marks)
    offset = 9000000000 - 3487532500000
    assert [(call.comm, call.tid, call.call, call.path, call.start_ns - offset) for call in found] == [
        ("smaps-reader", 19080, "read", "/proc/19081/smaps_rollup", 3486264182000),
        ("ssh", 22478, "munmap", None, 3486807827000),
        ("a b/c", 999999999, "read", None, 3486900000000),
    ]
    assert all(call.how == "perf_trace" and call.on_cpu_ns is None for call in found)


@pytest.mark.parametrize("marks", [[], [(5, 80000000)]])
def test_perf_trace_without_a_mark_of_ours_tells_no_time(marks):
    assert rxperf.slow_calls(PERF_TRACE.splitlines(), 42, marks) is None


def test_lengths_of_probes():
    assert rxperf.lengths([flow(1)]) == {52}
    assert rxperf.lengths([flow(1, family=6), flow(2, "tcp_syn")]) == {72, 40, 60}


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of x86_64")
@pytest.mark.parametrize(
    ("named", "is_32_bit", "call", "fd", "path"),
    [
        ("close(fd: 4</proc/1/maps>)", False, "close", 4, "/proc/1/maps"),
        ("close(fd: 4</proc/1/maps>)", True, "read", 4, "/proc/1/maps"),
        ("munmap(addr: 0x7f, len: 5)", True, "execve", None, None),
        ("lseek(fd: 4</x>, offset: 1)", True, "creat", None, None),
    ],
)
def test_perf_trace_names_32_bit_programs_by_the_wrong_table(named, is_32_bit, call, fd, path):
    found = rxperf.rightly_named(rxperf.parse(f"3486264.182 (118.031 ms): old/19080 {named} = 0"), is_32_bit)
    assert (found.call, found.fd, found.path) == (call, fd, path)


class Costing:
    """A tool that takes this share of a CPU."""

    ended = None

    def __init__(self, share):
        self.share, self.was_told = share, False

    def poll(self):
        return True

    def cpu_s(self):
        return self.share * rxperf.time.monotonic()

    def end(self):
        self.was_told = True


def test_perf_is_bounded_by_us(tmp_path, monkeypatch):
    """--max-size came with perf 5.5: an older one prints its usage and ends."""
    started = []
    monkeypatch.setattr(rxperf.recorder, "unavailable", lambda: None)
    monkeypatch.setattr(rxperf.bounded, "find", lambda name: name)
    monkeypatch.setattr(rxperf.bounded, "Tool", lambda *given: started.append(given))
    assert rxperf.PerfTrace({"flows": FLOWS, "slow_call_ms": 10}, 10, str(tmp_path), "", 1 << 20).start()
    assert [(argv[1], most_bytes) for argv, _, most_bytes, _ in started] == [("record", 1 << 19), ("trace", 1 << 19)]
    assert not any("--max-size" in word for argv, *_ in started for word in argv)


@pytest.mark.parametrize(("share", "ended"), [(0.02, False), (0.2, True)])
def test_perf_trace_is_ended_where_it_costs_too_much(tmp_path, monkeypatch, share, ended):
    trace = rxperf.PerfTrace({"flows": FLOWS, "slow_call_ms": 10}, 10, str(tmp_path), "bpftrace is not installed")
    monkeypatch.setattr(rxperf, "WEIGHED_S", 0.05)
    trace.ready, trace._tools = True, {"packets": Costing(0), "calls": Costing(share)}
    trace.poll()
    rxperf.time.sleep(0.06)
    trace.poll()
    assert trace._tools["calls"].was_told is ended
    found = trace.capabilities()
    assert found["rx_trace"]["available"]
    assert found["slow_calls"]["available"] is not ended
    assert ("perf trace took 20 % of a CPU (limit 5 %)" in found["slow_calls"]["reason"]) is ended


@pytest.mark.parametrize(
    ("said", "is_marked", "code", "calls", "reason"),
    [
        (ANOTHER, True, None, 1, None),
        (ANOTHER, False, None, 0, "perf trace did not show the calls of ours that tell its clock"),
        ("", False, None, 0, "perf trace did not show the calls of ours that tell its clock"),
        (
            "Error: No permissions to read events",
            False,
            255,
            0,
            "not watched to the end: perf trace ended: Error: No permissions to read events",
        ),
        (ANOTHER, True, 153, 1, "not watched to the end: perf trace ended: with code 153"),
        ("", False, 1, 0, "not watched to the end: perf trace ended: with code 1"),
    ],
)
def test_a_perf_trace_that_tells_nothing_is_not_available(tmp_path, monkeypatch, said, is_marked, code, calls, reason):
    monkeypatch.setattr(rxperf.signal, "sigtimedwait", lambda *_: None)
    trace = rxperf.PerfTrace({"flows": FLOWS, "slow_call_ms": 10}, 10, str(tmp_path), "no bpftrace")
    mark = f"3487532.500 (35.000 ms): python3/{os.getpid()} rt_sigtimedwait(uthese: 0x7f, sigsetsize: 8) = -1\n" if is_marked else ""
    trace.ready, trace._tools = True, {"calls": Printing(tmp_path / "calls.out", mark + said, code)}
    _rows, found = trace.finish()
    assert len(found) == calls
    stated = trace.capabilities()["slow_calls"]
    assert stated["available"] is (reason is None)
    assert stated["reason"] == "; ".join(filter(None, ("no bpftrace", reason)))


@pytest.mark.parametrize(("writes", "said"), [(600_000, "was ended, its file was full (0 MB)"), (100, "ended: with code 0")])
def test_a_trace_of_packets_that_ends_too_soon_is_said(tmp_path, monkeypatch, writes, said):
    """What ends it is real: the limit on its file, or itself."""
    perf = tmp_path / "perf"
    perf.write_text(f'#!/bin/sh\nfor output; do :; done\n[ "$1" = trace ] || exec head -c {writes} /dev/zero > "$output"\nexec sleep 20\n')
    perf.chmod(0o700)
    monkeypatch.setattr(rxperf.recorder, "unavailable", lambda: None)
    monkeypatch.setattr(rxperf.bounded, "find", lambda name: str(perf))
    trace = rxperf.PerfTrace({"flows": FLOWS, "slow_call_ms": 10}, 10, str(tmp_path), "no bpftrace", 1 << 20)
    assert trace.start() and trace.problems() == []
    until = rxperf.time.monotonic() + 10
    while trace._tools["packets"].ended is None and rxperf.time.monotonic() < until:
        trace._see_ends()
    try:
        assert trace.problems() == [f"the trace of packets does not reach the end of the window: perf record {said}"]
    finally:
        for tool in trace.tools:
            tool.finish()
