# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the counters of a host say, as flat names with a number, which is how a cause asks for them.

A name that is absent was not measured, which is not the same as 0. TABLE has all names; `<..>` in a name stands for one of several.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils.case import is_number
from ansible_collections.fleet.stall.plugins.plugin_utils.reading import Reading, growth, listing, mapping

# name, unit, what it is
TABLE: tuple[tuple[str, str, str], ...] = (
    ("memory_cgroups.live", "groups", "memory cgroups that exist as directories"),
    ("memory_cgroups.dying", "groups", "memory cgroups that were removed and still have memory charged to them"),
    ("memory_cgroups.read_ms", "ms", "one timed read of memory.stat on a CPU that serves no probe queue"),
    ("cgroups.<controller>.num", "groups", "cgroups of a controller, dying ones included (/proc/cgroups)"),
    ("throttled.groups_grown", "groups", "groups that were throttled in the window"),
    ("throttled.worst.ms_per_s", "ms/s", "time for which the group that lost most was throttled"),
    ("throttled.groups.<path>.ms_per_s", "ms/s", "time for which a group was throttled; {cgroup}: that of the trigger and those above it"),
    ("throttled.groups.<path>.times_per_s", "1/s", "periods in which a group was throttled"),
    ("throttled.groups.<path>.ms_per_time", "ms", "time for which it was in one such period, on average, all CPUs together"),
    ("softnet.<column>.growth", "count", "processed, dropped, time_squeeze, received_rps, flow_limit of softnet_stat, all CPUs"),
    ("softnet.<column>.per_s", "1/s", "the same by second"),
    ("softnet.<cpu>.<column>.growth", "count", "the same of one CPU"),
    ("softnet.busiest_share", "share", "packets that the busiest CPU processed, of all; of two CPUs or more and 1000 packets or more"),
    ("softirqs.<vector>.per_s", "1/s", "runs of a softirq vector (NET_RX, TIMER, RCU, ..), all CPUs"),
    (
        "threads.<name>.run_delay.ms_per_s",
        "ms/s",
        "time for which ksoftirqd/N or a napi thread was runnable and not run; {handler}: that of the stall",
    ),
    ("threads.<name>.run_delay.max_ms", "ms", "the most of it between two samples, a second apart"),
    ("threads.run_delay.worst_ms_per_s", "ms/s", "run delay of the thread that waited most"),
    ("cpu.<cpu>.<kind>.share", "share", "irq, softirq, steal or idle time of a CPU"),
    ("cpu.<kind>.worst_share", "share", "the same of the CPU with most of it"),
    ("cpu.<cpu>.steal.max_ms", "ms", "the most that was stolen between two samples, a second apart"),
    ("cpu.steal.max_ms", "ms", "the same of the CPU that lost most so"),
    ("pressure.<resource>.some.share", "share", "time for which some task waited for cpu, io or memory (PSI)"),
    ("pressure.<resource>.full.share", "share", "time for which all did; for irq, time that interrupts took"),
    ("sockets.<protocol>.<state>", "sockets", "of /proc/net/sockstat: inuse, orphan, tw, alloc; mem in pages"),
    ("conntrack.count", "entries", "connections that are tracked"),
    ("conntrack.used_share", "share", "entries of the most allowed"),
    ("conntrack.<counter>.growth", "count", "drop, early_drop, insert_failed, search_restart, chain_toolong, .."),
    ("dentries.<state>", "entries", "dentries, unused, negative of dentry-state"),
    ("ipvs.services", "services", "IPVS services"),
    ("ipvs.destinations", "servers", "IPVS real servers"),
    ("ipvs.run_estimation", "0 or 1", "whether IPVS estimates rates; absent before 5.16, where it always does"),
    ("rules.<family>", "rules", "entries of ip_tables, ip6_tables; rules of nf_tables"),
    ("kernel_log.<kind>.growth", "lines", "lines of a kind (module_utils/counters/kernel_log.py) logged in the window"),
    ("kernel_log.<kind>.day", "lines", "lines of a kind in the day before the window"),
    ("vmstat.<name>.growth", "count", "of /proc/vmstat: compact_stall, drop_pagecache, drop_slab, allocstall, .."),
    ("vmstat.<name>.per_s", "1/s", "the same by second"),
    ("netstat.<name>.growth", "count", "of /proc/net/netstat: PruneCalled, TCPRcvCollapsed, .."),
    ("netstat.<name>.per_s", "1/s", "the same by second"),
    ("neighbours.<table>.entries", "entries", "neighbours in arp_cache or ndisc_cache"),
    ("neighbours.<table>.<name>.growth", "count", "forced_gc_runs, table_fulls, periodic_gc_runs of such a table"),
    ("machine.cpus", "CPUs", "CPUs that are online"),
    ("machine.virtual", "0 or 1", "whether something says that this is a virtual machine"),
)
_NAMES = tuple(re.compile(re.sub(r"<\w+>", ".+", re.escape(name).replace(r"\<", "<").replace(r"\>", ">")) + r"\Z") for name, _, _ in TABLE)
_BUSY_PACKETS = 1000
# To what length perf and BPF know the name of a thread (TASK_COMM_LEN); /proc has all of a kernel thread's from 5.17 on (d6986ce24fc0)
_COMM = 15
# The kernel counts these in an unsigned int of each CPU: at a million packets a second one lasts for an hour
_U32 = 2**32


def is_known(name: str) -> bool:
    """Whether TABLE has the name; {cpu}, {handler} and {cgroup} stand in for parts of one."""
    return any(pattern.match(name) for pattern in _NAMES)


def facts(observe_result: Mapping[str, Any] | None, capture_result: Mapping[str, Any] | None) -> dict[str, float]:
    """``{name: number}`` of the names in TABLE, as far as they were measured; never raises on what a host sent.

    :param observe_result: observe.json of the host, for its counters
    :param capture_result: capture.json of the host; where both measured the same, the capture's, which is of the same time as its stacks
    """
    found: dict[str, float] = {}
    counters = mapping(mapping(observe_result).get("counters"))
    for name, part in _PARTS.items():
        reading = Reading(mapping(counters.get(name)))
        if reading.available:
            found.update({fact: float(value) for fact, value in part(reading) if is_number(value)})
    found.update({fact: float(value) for fact, value in _of_capture(mapping(capture_result)) if is_number(value)})
    return found


def kernel_log(observe_result: Mapping[str, Any] | None, parts: tuple[str, ...] = ("start", "end")) -> list[str]:
    """Lines of the kernel log that were kept: of the day before the window (start) and of the window (end), oldest first, each once."""
    reading = mapping(mapping(mapping(observe_result).get("counters")).get("kernel_log"))
    rows = [row for part in parts for row in listing(mapping(reading.get(part)).get("lines")) if isinstance(row, Mapping)]
    return list({row.get("sequence", position): str(row.get("text", "")) for position, row in enumerate(rows)}.values())


def _most(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _peak(reading: Reading, key: str, units_per_ms: float) -> float | None:
    """The most that a series grew by from one sample to the next, in ms."""
    sampled = [value for value in listing(reading.series.get(key)) if is_number(value)]
    return max(sampled) / units_per_ms if sampled and units_per_ms > 0 else None


def _machine(reading: Reading) -> Iterator[tuple[str, Any]]:
    if "virtualisation" in reading.last:
        yield "machine.virtual", 0 if reading.last["virtualisation"] is None else 1
    online = reading.last.get("cpus_online")
    if isinstance(online, str) and re.fullmatch(r"\d{1,5}(-\d{1,5})?(,\d{1,5}(-\d{1,5})?)*", online):
        ranges = [[int(end) for end in part.split("-")] for part in online.split(",")]
        yield "machine.cpus", sum(ends[-1] - ends[0] + 1 for ends in ranges)


def _softnet(reading: Reading) -> Iterator[tuple[str, Any]]:
    cpus = mapping(reading.end.get("cpus"))
    columns = sorted({column for row in cpus.values() for column in mapping(row)} - {"backlog"})
    grown = {column: {cpu: reading.grown("cpus", cpu, column, wraps=_U32) for cpu in cpus} for column in columns}
    for column, rows in grown.items():
        measured = [value for value in rows.values() if value is not None]
        for cpu, value in rows.items():
            yield f"softnet.{cpu}.{column}.growth", value
        if measured:
            yield f"softnet.{column}.growth", sum(measured)
            yield f"softnet.{column}.per_s", sum(measured) / reading.seconds if reading.seconds else None
    processed = [value for value in grown.get("processed", {}).values() if value is not None]
    if len(processed) > 1 and sum(processed) >= _BUSY_PACKETS:
        yield "softnet.busiest_share", max(processed) / sum(processed)


def _softirqs(reading: Reading) -> Iterator[tuple[str, Any]]:
    for vector, after in mapping(reading.end.get("vectors")).items():
        before, after = listing(mapping(reading.start.get("vectors")).get(vector)), listing(after)
        if before and reading.seconds and all(is_number(count) for count in [*before, *after]):
            yield f"softirqs.{vector}.per_s", sum(growth(*pair, wraps=_U32) for pair in zip(before, after, strict=False)) / reading.seconds


def _threads(reading: Reading) -> Iterator[tuple[str, Any]]:
    """Of threads whose names are the same as far as a stall tells them, the one that waited most counts."""
    delays: dict[str, list[float | None]] = {}
    peaks: dict[str, list[float | None]] = {}
    for pid, row in mapping(reading.end.get("threads")).items():
        name = str(mapping(row).get("name"))[:_COMM]
        delays.setdefault(name, []).append(reading.share(reading.grown("threads", pid, "run_delay_ns"), 1e6))
        peaks.setdefault(name, []).append(_peak(reading, pid, 1e6))
    for name, measured in delays.items():
        yield f"threads.{name}.run_delay.ms_per_s", _most(measured)
        yield f"threads.{name}.run_delay.max_ms", _most(peaks[name])
    yield "threads.run_delay.worst_ms_per_s", _most(delay for measured in delays.values() for delay in measured)


def _cpu(reading: Reading) -> Iterator[tuple[str, Any]]:
    for kind in ("irq", "softirq", "steal", "idle"):
        shares: dict[str, float | None] = {}
        for cpu in mapping(reading.end.get("cpus")):
            part, whole = reading.grown("cpus", cpu, kind), reading.grown("cpus", cpu, "total")
            shares[cpu] = part / whole if part is not None and whole else None
            yield f"cpu.{cpu}.{kind}.share", shares[cpu]
        yield f"cpu.{kind}.worst_share", _most(shares.values())
    ticks_per_s = reading.start.get("ticks_per_s")
    stolen = {cpu: _peak(reading, cpu, ticks_per_s / 1000) for cpu in reading.series} if is_number(ticks_per_s) else {}
    for cpu, peak in stolen.items():
        yield f"cpu.{cpu}.steal.max_ms", peak
    yield "cpu.steal.max_ms", _most(stolen.values())


def _pressure(reading: Reading) -> Iterator[tuple[str, Any]]:
    for resource, kinds in reading.end.items():
        for kind in mapping(kinds):
            yield f"pressure.{resource}.{kind}.share", reading.share(reading.grown(resource, kind, "total"), 1e6)


def _sockets(reading: Reading) -> Iterator[tuple[str, Any]]:
    for protocol, states in reading.last.items():
        for state, count in mapping(states).items():
            yield f"sockets.{protocol}.{state}", count


def _conntrack(reading: Reading) -> Iterator[tuple[str, Any]]:
    count, most = reading.last.get("count"), reading.last.get("max")
    yield "conntrack.count", count
    yield "conntrack.used_share", count / most if is_number(count) and is_number(most) and most else None
    for name in mapping(reading.end.get("stats")):
        yield f"conntrack.{name}.growth", reading.grown("stats", name)


def _dentries(reading: Reading) -> Iterator[tuple[str, Any]]:
    for state in ("dentries", "unused", "negative"):
        yield f"dentries.{state}", reading.last.get(state)


def _ipvs(reading: Reading) -> Iterator[tuple[str, Any]]:
    for name in ("services", "destinations", "run_estimation"):
        yield f"ipvs.{name}", reading.last.get(name)


def _rules(reading: Reading) -> Iterator[tuple[str, Any]]:
    for family in ("ip_tables", "ip6_tables"):
        tables = reading.last.get(family)
        if isinstance(tables, Mapping):
            yield f"rules.{family}", sum(count for count in tables.values() if is_number(count))
    yield "rules.nf_tables", reading.last.get("nf_tables")


def _cgroups(reading: Reading) -> Iterator[tuple[str, Any]]:
    for controller, row in mapping(reading.last.get("controllers")).items():
        yield f"cgroups.{controller}.num", mapping(row).get("num_cgroups")
    memory = mapping(reading.last.get("memory"))
    yield "memory_cgroups.live", memory.get("live")
    yield "memory_cgroups.dying", memory.get("dying")


def _throttled(reading: Reading) -> Iterator[tuple[str, Any]]:
    """The reader left out the groups that were not throttled: of those it looked at, the others were throttled for 0 ms."""
    if not reading.end or not reading.seconds:
        return
    before = mapping(reading.start.get("groups"))
    worst = 0.0
    for path, row in mapping(reading.end.get("groups")).items():
        grown: dict[str, float] = {}
        for key, name, units in (("throttled_us", "ms", 1000.0), ("throttled", "times", 1.0)):
            after, earlier = mapping(row).get(key), mapping(before.get(path)).get(key, 0)
            if is_number(after) and is_number(earlier):
                grown[name] = max(0.0, (after - earlier) / units)
                yield f"throttled.groups.{path}.{name}_per_s", grown[name] / reading.seconds
        worst = max(worst, grown.get("ms", 0.0) / reading.seconds)
        if "ms" in grown and grown.get("times"):
            yield f"throttled.groups.{path}.ms_per_time", grown["ms"] / grown["times"]
    yield "throttled.worst.ms_per_s", worst if worst or reading.end.get("complete") is True else None
    yield "throttled.groups_grown", reading.end.get("grown")


def _kernel_log(reading: Reading) -> Iterator[tuple[str, Any]]:
    for kind, count in mapping(reading.start.get("counts")).items():
        yield f"kernel_log.{kind}.day", count
    for kind, count in mapping(reading.end.get("counts")).items():
        yield f"kernel_log.{kind}.growth", count


def _cumulative(prefix: str) -> Any:
    def part(reading: Reading) -> Iterator[tuple[str, Any]]:
        for name in reading.end:
            yield from reading.growth(f"{prefix}.{name}", name)

    return part


def _neighbours(reading: Reading) -> Iterator[tuple[str, Any]]:
    for table, row in reading.last.items():
        yield f"neighbours.{table}.entries", mapping(row).get("entries")
        for name in mapping(row):
            if name != "entries":
                yield f"neighbours.{table}.{name}.growth", reading.grown(table, name)


def _of_capture(capture: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    memory = mapping(capture.get("memory_cgroups"))
    for name in ("live", "dying", "read_ms"):
        yield f"memory_cgroups.{name}", memory.get(name)


_PARTS: dict[str, Any] = {
    "machine": _machine,
    "softnet": _softnet,
    "softirqs": _softirqs,
    "threads": _threads,
    "cpu": _cpu,
    "pressure": _pressure,
    "sockets": _sockets,
    "conntrack": _conntrack,
    "dentries": _dentries,
    "ipvs": _ipvs,
    "rules": _rules,
    "cgroups": _cgroups,
    "throttled": _throttled,
    "kernel_log": _kernel_log,
    "vmstat": _cumulative("vmstat"),
    "netstat": _cumulative("netstat"),
    "neighbours": _neighbours,
}
