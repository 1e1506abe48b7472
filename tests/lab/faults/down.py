"""A dead host: its link is down."""

from __future__ import annotations


def apply(raised, fault: dict) -> None:
    raised.link_down(fault["at"])
