"""Random loss without delay: some of the packets that reach the host are dropped. SSH of the controller is spared.

Parameters: share (0..1).
"""

from __future__ import annotations


def apply(raised, fault: dict) -> None:
    spare = f"! -s {raised.controller}"
    drop = f"-m statistic --mode random --probability {fault['share']} -j DROP"
    rules = [f"-A PREROUTING -i eth0 {spare} -p {protocol} {drop}" for protocol in ("icmp", "tcp --dport 22", "tcp --sport 22")]
    raised.rules(fault["at"], "iptables", "raw", rules)
