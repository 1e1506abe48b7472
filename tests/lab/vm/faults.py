"""Faults of machines, each as files that its seed brings: pure data. `of(fault, kernels)` is the way in.

stall_injector  {length_ms, spread_ms, every_s, until: upgraded | restarted | reconfigured}: stats-reader.service reads the injector's file
                every so often. The injector is there for the older kernel alone. `restarted`: only the process that started with the
                machine reads it; `reconfigured`: as `upgraded`, yet meant for who makes its interval longer (STATS_INTERVAL_S).
bad_gate        {}: node-agent.service fails on any kernel but the older one.
zombies         {count, per_s, kept}: zombie-maker.service leaves that many dying memory cgroups, then so many more a second. Their pages
                are page cache, which drop_caches frees, but for each `kept`-th, whose pages a file in a tmpfs holds.
"""

from __future__ import annotations

from pathlib import Path

from . import units
from .archive import Entry, program, text

HERE = Path(__file__).parent
STATS = "/proc/stall_injector/stats"
DETAILED = "/run/stats-reader.detailed"
ON_OLD_KERNEL = "ConditionPathExists=/lib/modules/%v/extra/stall_injector.ko\n"
LOADED = "Wants=stall-injector.service\nAfter=stall-injector.service\n"


def of(fault: dict, kernels: dict[str, str]) -> dict[str, Entry]:
    return KINDS[fault["kind"]](fault, kernels)


def _stall_injector(fault: dict, kernels: dict[str, str]) -> dict[str, Entry]:
    once = fault["until"] == "restarted"
    command = f"/usr/local/bin/stats-reader {f'--detailed-once {DETAILED} ' if once else ''}{STATS}"
    files = {
        "usr/local/bin/stats-reader": program((HERE / "stats_reader.py").read_text()),
        "etc/modprobe.d/stall_injector.conf": text(
            f"options stall_injector length_ms={fault['length_ms']} spread_ms={fault['spread_ms']}\n"
        ),
        **units.service(
            "stall-injector",
            "Injector of the fleet.stall lab: loads the module that stalls its readers on purpose",
            "/sbin/modprobe stall_injector",
            unit=ON_OLD_KERNEL,
            lines="Type=oneshot\nRemainAfterExit=yes\n",
        ),
        **units.service(
            "stall-truth",
            "Injector of the fleet.stall lab: hands out what it did",
            "/bin/cat /proc/stall_injector/truth",
            unit=ON_OLD_KERNEL + LOADED,
            lines="StandardOutput=file:/dev/virtio-ports/truth\nRestart=on-failure\n",
        ),
        **units.service(
            "stats-reader",
            "Collector of kernel statistics",
            command,
            unit=LOADED,
            lines=f"Environment=STATS_INTERVAL_S={fault['every_s']}\nRestart=on-failure\n",
        ),
    }
    if once:
        files["etc/tmpfiles.d/stats-reader.conf"] = text(f"f {DETAILED}\n")
    return files


def _bad_gate(fault: dict, kernels: dict[str, str]) -> dict[str, Entry]:
    check = f"""/bin/sh -c 'test "$(uname -r)" = {kernels["old"]}'"""
    return units.service("node-agent", "Agent that only knows one kernel", check, lines="Type=oneshot\nRemainAfterExit=yes\n")


def _zombies(fault: dict, kernels: dict[str, str]) -> dict[str, Entry]:
    command = f"/usr/local/sbin/zombie-maker --count {fault['count']} --per-s {fault['per_s']} --kept {fault['kept']}"
    return {
        "usr/local/sbin/zombie-maker": program((HERE / "zombie_maker.py").read_text()),
        **units.service("zombie-maker", "Injector of the fleet.stall lab: leaves dying memory control groups", command),
    }


KINDS = {"stall_injector": _stall_injector, "bad_gate": _bad_gate, "zombies": _zombies}
