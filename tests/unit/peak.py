"""The memory that code takes, in a process of its own: tracemalloc would tell as well, and make it take sixteen times as long."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Not ru_maxrss, which a process has from the one that started it
REPORT = "\nprint([line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')][0])"


def peak_bytes(program: str, *arguments: object) -> int:
    """The most that was resident while `program` ran, the interpreter and what it imports included; arguments are its sys.argv[1:]."""
    line = [sys.executable, "-c", program + REPORT, *map(str, arguments)]
    done = subprocess.run(line, cwd=ROOT, env={"PYTHONPATH": "collections"}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1]) * 1024
