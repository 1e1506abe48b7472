"""Faults, one module a kind: `apply(raised, fault)` puts it into a raised lab. Those that act in time run as a program."""
