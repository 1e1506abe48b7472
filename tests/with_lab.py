"""Raises the lab, runs a command on it, and takes the lab down, whatever happens: `python -m tests.with_lab SCENARIO COMMAND ...`.

`{lab}` in the command stands for the lab's directory. KEEP=1 leaves the lab up. Signals reach the command as an interrupt, once.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(scenario: str, *command: str) -> int:
    name = f"run-{os.getpid()}"
    lab = [sys.executable, "-m", "tests.lab"]
    try:
        if _run([*lab, "up", "--scenario", scenario, "--id", name]) != 0:
            return 1
        return _run([word.replace("{lab}", f".lab/{name}") for word in command])
    finally:
        for number in STOPS:
            signal.signal(number, signal.SIG_IGN)
        if os.environ.get("KEEP") == "1":
            print(f"fleet.stall: the lab is kept; `make diagnose INVENTORY=.lab/{name}/inventory.yml`, then `make lab-down ID={name}`")
        else:
            subprocess.run([*lab, "down", "--id", name])


def _run(command: list[str]) -> int:
    """The exit code of `command`; a stop that only this process was sent is passed on."""
    child = subprocess.Popen(command)

    def stop(number, frame):
        # A terminal sends Ctrl-C to the whole group: the command has it already
        if number != signal.SIGINT and child.poll() is None:
            child.send_signal(signal.SIGINT)

    for number in STOPS:
        signal.signal(number, stop)
    code = child.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
