"""Machines of the VM lab, raised for a module and taken down after it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
import yaml

from tests.integration import run
from tests.integration.conftest import Lab
from tests.lab.vm import image

RAISED_WITHIN_S = 700
REBOOTED_WITHIN_S = 600


@dataclass(frozen=True)
class Machines(Lab):
    """A lab of machines. `raised_s`: how long it took to raise it."""

    raised_s: float = field(default=0.0, compare=False)

    @property
    def names(self) -> list[str]:
        return list(yaml.safe_load(self.inventory.read_text())["all"]["hosts"])

    def ssh(self, host: str, command: str, timeout: float = 120) -> str:
        """What the command prints there; the host key must be the one that the lab wrote down."""
        variables = yaml.safe_load(self.inventory.read_text())["all"]
        options = variables["vars"]["ansible_ssh_common_args"].split()
        key = variables["vars"]["ansible_ssh_private_key_file"]
        line = ["ssh", "-i", key, *options, "-o", "ConnectTimeout=10", f"root@{variables['hosts'][host]['ansible_host']}", command]
        done = subprocess.run(line, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL, check=False)
        assert done.returncode == 0, f"{command} on {host}: {done.stdout}{done.stderr}\n{self.console(host)[-2000:]}"
        return done.stdout.strip()

    def console(self, host: str) -> str:
        return (self.dir / "log" / f"console-{host}.log").read_text(errors="replace")

    def boot_id(self, host: str) -> str:
        return self.ssh(host, "cat /proc/sys/kernel/random/boot_id")

    def reboot(self, host: str) -> None:
        """Until it answers with another boot id."""
        before = self.boot_id(host)
        self.ssh(host, "systemd-run --on-active=1 --timer-property=AccuracySec=100ms systemctl reboot")
        deadline = time.monotonic() + REBOOTED_WITHIN_S
        while time.monotonic() < deadline:
            time.sleep(2)
            try:
                if self.boot_id(host) != before:
                    return
            except (AssertionError, subprocess.TimeoutExpired):
                continue
        raise AssertionError(f"{host} did not come back within {REBOOTED_WITHIN_S} s:\n{self.console(host)[-2000:]}")


def lab(*words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.lab", *words], cwd=run.CHECKOUT, capture_output=True, text=True, timeout=RAISED_WITHIN_S, check=False
    )
    assert done.returncode == 0, f"lab {words}: {done.stdout}{done.stderr}"


@pytest.fixture(scope="session", autouse=True)
def built() -> None:
    """The image, so that no test has to wait for it and no time is measured with it."""
    os.chdir(run.CHECKOUT)
    image.ensure()


@pytest.fixture(scope="module")
def machines() -> Iterator[Callable[[str], Machines]]:
    """Raises the machines of a scenario; one lab at a time."""
    name = f"test-vm-{os.getpid()}"

    def raised(scenario: str) -> Machines:
        begun = time.monotonic()
        lab("up", "--scenario", scenario, "--id", name)
        return Machines(name, scenario, time.monotonic() - begun)

    yield raised
    lab("down", "--id", name)
