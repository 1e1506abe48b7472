"""A firewall as a bastion has it: nothing new comes in but from the controller. Not a fault in itself."""

from __future__ import annotations


def apply(raised, fault: dict) -> None:
    raised.rules(fault["at"], "iptables", "filter", [f"-A INPUT -i eth0 ! -s {raised.controller} -m conntrack --ctstate NEW -j DROP"])
    raised.rules(fault["at"], "ip6tables", "filter", ["-A INPUT -i eth0 -m conntrack --ctstate NEW -j DROP"])
