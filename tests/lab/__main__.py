"""Command line of the lab: `python -m tests.lab up|down|status`, from the root of the checkout."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

from . import preflight

DEFAULT_ID = "default"
NO_INTERPRETER = "/usr/bin/no-python-here"


def main() -> int:
    options = parse(sys.argv[1:])
    problems = preflight.problems()
    if problems:
        print("The lab can't run here:", *(f"- {problem}" for problem in problems), sep="\n", file=sys.stderr)
        return 2
    os.environ["PATH"] = preflight.TOOL_PATH
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return options.run(options)
    except (ValueError, RuntimeError, OSError) as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description="The embedded fleet: raise it, take it down.")
    commands = parser.add_subparsers(required=True)
    up = commands.add_parser("up", help="raise a lab")
    up.add_argument("--id", default=DEFAULT_ID, help="name of the lab; labs of different names can be up side by side")
    up.add_argument("--scenario", default="two_bad", help="which faults it has (default: %(default)s)")
    up.add_argument("--hosts", type=int, default=0, metavar="N", help="N plain hosts instead of the small fleet; without faults")
    up.add_argument("--python", action="append", default=[], metavar="[HOST=]PATH", help="interpreter of all hosts or of one")
    up.add_argument("--no-python", action="append", default=[], metavar="HOST", help="a host whose interpreter does not exist")
    up.set_defaults(run=_up)
    down = commands.add_parser("down", help="take a lab down; safe to repeat")
    down.add_argument("--id", default=DEFAULT_ID)
    down.add_argument("--all", action="store_true", help="every lab of this machine, also what is left of crashed ones")
    down.set_defaults(run=_down)
    status = commands.add_parser("status", help="list the labs of this machine")
    status.set_defaults(run=_status)
    return parser.parse_args(argv)


def asked_for(options: argparse.Namespace) -> dict:
    """What the options of `up` ask for, in the shape of state.Record.asked."""
    pythons = dict(text.split("=", 1) for text in options.python if "=" in text)
    pythons |= dict.fromkeys(options.no_python, NO_INTERPRETER)
    common = [text for text in options.python if "=" not in text]
    scenario = "clean" if options.hosts and options.scenario == "two_bad" else options.scenario
    return {"scenario": scenario, "hosts": options.hosts, "python": common[-1] if common else "", "pythons": pythons}


def _up(options: argparse.Namespace) -> int:
    from . import lab

    record, raised = lab.up(options.id, asked_for(options))
    word = "is up" if raised else "was up already"
    print(f"lab {record.id} ({record.asked['scenario']}) {word}: {Path(record.directory) / 'inventory.yml'}")
    return 0


def _down(options: argparse.Namespace) -> int:
    from . import lab

    if options.all:
        lab.down_all()
    else:
        lab.down(options.id)
    return 0


def _status(options: argparse.Namespace) -> int:
    from . import state

    for record in state.records():
        condition = "up" if record.ready else "not complete: take it down"
        print(f"{record.id}: slot {record.slot}, {record.asked['scenario']}, {condition}, {record.directory}")
    for slot in sorted(state.orphans()):
        print(f"slot {slot}: left behind by a crash; `python -m tests.lab down --all` removes it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
