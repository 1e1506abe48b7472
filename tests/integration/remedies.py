"""Run one remedy on one host as a campaign does, and read back what it left."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml

from . import run

DESCRIPTIONS = run.CHECKOUT / "roles" / "remediate" / "files" / "remedies"
# Network settings, /run and /etc/sysctl.d of its own: what is changed goes with the last process in it.
APART = ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-euc"]
PRIVATE = "mount -t tmpfs tmpfs /run; mount -t tmpfs tmpfs /etc/sysctl.d; ip link set lo up; "


@dataclass
class Done:
    rc: int
    screen: str
    result: dict | None

    @property
    def changed(self) -> int:
        """Tasks that say they changed something."""
        return sum(map(int, re.findall(r"changed=(\d+)", self.screen)))


class Place:
    """Where a remedy is run: this machine, or namespaces of its own that live as long as their process."""

    def __init__(self, tmp_path: Path, enter: list[str] | None = None, target: list[str] | None = None, timeout_s: float = 180) -> None:
        self._tmp, self._enter, self._timeout_s = tmp_path, enter or [], timeout_s
        self._target = target or ["-i", "localhost,", "-c", "local", "-e", "ansible_python_interpreter=/usr/bin/python3"]

    def remedy(self, name: str, *arguments: str, resumed: bool = False, before: dict | None = None, **parameters: object) -> Done:
        step = {
            "remedy": name,
            "host": "localhost",
            "wave": 0,
            "resumed": resumed,
            "before": before,
            "parameters": defaults(name) | parameters,
        }
        return self._play(name, {"stall_step": step}, arguments)

    def undo(self, name: str, undo: dict, *arguments: str) -> Done:
        return self._play(f"undo/{name}", {"stall_step": {"remedy": name, "host": "localhost", "undo_with": undo}}, arguments)

    def _play(self, tasks: str, variables: dict, arguments: tuple[str, ...]) -> Done:
        left = self._tmp / "left.json"
        left.unlink(missing_ok=True)
        extra = json.dumps({"remedy": tasks, "left": str(left), **variables})
        line = [run.command("ansible-playbook"), "tests/integration/remedy.yml", *self._target, "-e", extra, "--diff", *arguments]
        environment = run.environment(ANSIBLE_HOME=str(self._tmp / "home"), ANSIBLE_DISPLAY_OK_HOSTS="1")
        done = subprocess.run(
            [*self._enter, *line],
            cwd=run.CHECKOUT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=self._timeout_s,
            check=False,
        )
        result = json.loads(left.read_text()) if left.exists() else None
        return Done(done.returncode, run.TERMINAL_CODES.sub("", done.stdout), result)

    def run(self, script: str) -> str:
        """A line of shell there."""
        return subprocess.run([*self._enter, "sh", "-euc", script], capture_output=True, text=True, check=True, timeout=30).stdout.strip()

    def read(self, path: str) -> str:
        """A file as a process there sees it."""
        return self.run(f"cat {path}")

    def exists(self, path: str) -> bool:
        return subprocess.run([*self._enter, "test", "-e", path], check=False, timeout=30).returncode == 0


class Namespace(Place):
    """Namespaces held open by a process that sleeps."""

    def __init__(self, tmp_path: Path, prepare: str = "", shares_network: bool = False) -> None:
        unshare = [word for word in APART if word != "--net" or not shares_network]
        self._holder = subprocess.Popen([*unshare, f"{PRIVATE}{prepare} echo up; exec sleep 600"], stdout=subprocess.PIPE, text=True)
        assert self._holder.stdout and self._holder.stdout.readline() == "up\n", "no namespaces of its own"
        super().__init__(tmp_path, ["nsenter", "-t", str(self._holder.pid), "-n", "-m", "env", "-C", str(run.CHECKOUT)])

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()


def defaults(name: str) -> dict:
    """The parameters of a remedy that have a default, as a plan has them."""
    described = yaml.safe_load((DESCRIPTIONS / f"{name}.yml").read_text())["parameters"]
    return {key: parameter["default"] for key, parameter in described.items() if "default" in parameter}
