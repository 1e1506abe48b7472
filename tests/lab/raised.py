"""A lab that is up, as the faults see it: where to act and what with."""

from __future__ import annotations

import json
import os
import select
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from . import namespaces, network, overlay, preflight, services, topology
from .faults import injector
from .state import REGISTRY, lock
from .topology import Topology

READY_WITHIN_S = 30
NAPI_PRIORITY = 1
SEGMENTATION = ("tso", "tx-tcp-ecn-segmentation", "tx-tcp6-segmentation", "tx-tcp-mangleid-segmentation")


class Raised:
    """`pids`: host or "pod" -> pid of its sshd or services."""

    def __init__(self, lab: Topology, directory: Path, pids: dict[str, int]) -> None:
        self.lab, self.directory, self.pids = lab, directory, pids
        self.stall_cpu, self.host_cpus = preflight.stall_cpu(), preflight.host_cpus()
        self.controller = network.controller_address(lab)
        self.prefix = topology.slot_prefix(lab.slot)
        self.node_ports = list(services.NODE_PORTS)
        self.overlay_device = overlay.DEVICE
        self._starting: list[tuple[str, int]] = []
        self._threads: dict[str, int] = {}

    def inject(self, fault: dict, module: str, arguments: dict, *, cpus: Sequence[int], priority: int, netns: str = "") -> None:
        """Start the program of a fault; `wait_for_injectors` sees that it came up."""
        at = fault["at"]
        reading, writing = os.pipe()
        os.set_inheritable(writing, True)
        common = {
            "kind": fault["kind"],
            "truth": str(self.directory / "truth" / f"{at}.jsonl"),
            "cpus": list(cpus),
            "priority": priority,
            "ready_fd": writing,
            "seed": f"{module}:{at}:{arguments['comm']}",
        }
        argv = [sys.executable, "-m", f"tests.lab.faults.{module}", json.dumps({**common, **arguments})]
        log = self.directory / "log" / f"{arguments['comm']}-{at}.log"
        namespaces.spawn(self.lab.netns(netns or at), argv, cpus, log)
        os.close(writing)
        self._starting.append((str(log), reading))

    def wait_for_injectors(self) -> None:
        """Raises RuntimeError with the end of the log of an injector that did not come up."""
        deadline = time.monotonic() + READY_WITHIN_S
        for log, reading in self._starting:
            readable = select.select([reading], [], [], max(0, deadline - time.monotonic()))[0]
            if not readable or os.read(reading, 16) != injector.READY:
                raise RuntimeError(f"a fault did not come up within {READY_WITHIN_S} s:\n{Path(log).read_text()[-2000:]}")
            os.close(reading)
        self._starting.clear()

    def pin_receive_queue(self, host: str) -> int:
        """Have a NAPI thread on the stall CPU handle what the host receives; returns its pid."""
        if host not in self._threads:
            self._threads[host] = self._thread_of(host)
            os.sched_setaffinity(self._threads[host], [self.stall_cpu])
            # its delay must be the fault's alone, not that of whatever else this machine does on that CPU
            os.sched_setscheduler(self._threads[host], os.SCHED_FIFO, os.sched_param(NAPI_PRIORITY))
            (REGISTRY / "napi").mkdir(exist_ok=True)
            (REGISTRY / "napi" / f"{self.lab.slot}-{self._threads[host]}").touch()
        return self._threads[host]

    def _thread_of(self, host: str) -> int:
        namespaces.run(self.lab.netns(host), ["ethtool", "-K", "eth0", "gro", "on"])
        # veth passes by NAPI what GRO can't use, such as ICMP, as long as the sender may leave segmentation to it
        peer = network.peer_name(self.lab.host(host))
        off = [word for feature in SEGMENTATION for word in (feature, "off")]
        namespaces.run(self.lab.netns(network.FABRIC), ["ethtool", "-K", peer, *off])
        switch = Path(f"/proc/{self.pids[host]}/root/sys/class/net/eth0/threaded")
        if not switch.exists():
            raise RuntimeError(f"kernel {os.uname().release} has no threaded NAPI: the scenario needs Linux 5.12 or newer")
        with lock():
            before = _napi_threads()
            switch.write_text("1")
            (thread,) = _napi_threads() - before
        return thread

    def rules(self, netns: str, family: str, table: str, rules: Sequence[str]) -> None:
        """Append firewall rules in a namespace of the lab. `family`: iptables or ip6tables."""
        namespaces.run(self.lab.netns(netns), [f"{family}-restore", "--noflush"], "\n".join([f"*{table}", *rules, "COMMIT", ""]))

    def link_down(self, host: str) -> None:
        with namespaces.links(self.lab.netns(host)) as inside:
            inside.link("set", index=network.index_of(inside, "eth0"), state="down")


def _napi_threads() -> set[int]:
    found = set()
    for pid in namespaces.all_pids():
        try:
            comm = Path(f"/proc/{pid}/comm").read_text()
        except OSError:
            continue
        if comm.startswith("napi/eth0-"):
            found.add(pid)
    return found
