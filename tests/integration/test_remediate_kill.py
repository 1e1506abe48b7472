"""The controller killed with -9 behind each line of the journal, or a while later, and the same command run again: it goes on where it was.

A campaign of three hosts in a network namespace of its own: a user's remedy on drained hosts, and the real sysctl remedy. The test sees the
journal from outside, as anybody could; nothing in the product knows of it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.campaign import Fleet

from . import run

SYSCTL = "net.ipv4.ip_default_ttl"
TTL = 93
DRAINED = ("node-a-01", "node-b-01")
# One run, in lines of the journal: two for the campaign, two for each of two waves, seven for a drained host, three for another
LINES = 2 + 2 * 2 + 7 * 2 + 3
ONCE = ("step_begun", "step_done", "verified")


@dataclass
class Killed:
    """The campaign, the namespace it runs in, and what really happened there."""

    fleet: Fleet
    namespace: subprocess.Popen

    @property
    def journal(self) -> Path:
        return self.fleet.campaign / "journal.jsonl"

    @property
    def out(self) -> set[str]:
        """Hosts out of service."""
        return {path.name for path in (self.fleet.base / "out").iterdir()}

    def start(self) -> subprocess.Popen:
        out = self.fleet.base / "out"
        variables = self.fleet.variables(
            plan="latest",
            confirm=True,
            drain_driver="command",
            drain_command=["touch", f"{out}/{{{{ inventory_hostname }}}}"],
            undrain_command=["rm", "-f", f"{out}/{{{{ inventory_hostname }}}}"],
        )
        playbook = [run.command("ansible-playbook"), "remediate.yml", "-i", str(self.fleet.inventory), "-e", json.dumps(variables)]
        with open(self.fleet.base / "screen", "w") as screen:
            return subprocess.Popen(
                ["nsenter", "-t", str(self.namespace.pid), "-n", *playbook],
                cwd=run.CHECKOUT,
                env=run.environment(),
                stdin=subprocess.DEVNULL,
                stdout=screen,
                stderr=subprocess.STDOUT,
            )

    @property
    def screen(self) -> str:
        return (self.fleet.base / "screen").read_text()

    def lines(self) -> list[dict]:
        content = self.journal.read_bytes() if self.journal.exists() else b""
        return [json.loads(line) for line in content[: content.rfind(b"\n") + 1].splitlines()]

    def kill_after(self, lines: int, delay_s: float = 0.0) -> bool:
        """Run it until the journal has so many more lines, and a while longer, and kill it; whether it lived until then."""
        wanted = len(self.lines()) + lines
        process = self.start()
        try:
            deadline = time.monotonic() + 180
            while process.poll() is None and len(self.lines()) < wanted:
                assert time.monotonic() < deadline, self.screen
                time.sleep(0.005)
            time.sleep(delay_s)
            lived = process.poll() is None
        finally:
            # nsenter has become ansible-playbook: the controller itself, and not the forks of it that are at work.
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
            process.wait()
        self.check_that_all_was_announced()
        return lived

    def finish(self) -> None:
        process = self.start()
        assert process.wait(300) == 0, self.screen

    def set_windows(self, windows: list[dict]) -> None:
        """As if the clock had gone on: the windows of the plan that was begun, and of the one that is named, which must be the same."""
        plan = json.loads((self.fleet.campaign / "plan.json").read_text())
        plan["limits"]["windows"] = windows
        for path in (self.fleet.campaign / "plan.json", self.fleet.plan):
            path.write_text(json.dumps(plan))

    def check_that_all_was_announced(self) -> None:
        """What was done is in the journal, and who is out of service is known to be."""
        begun = {line["host"] for line in self.lines() if line["event"] == "step_begun"}
        cordoned = {line["host"] for line in self.lines() if line["event"] == "cordon_begun"}
        assert {path.name for path in self.fleet.settled.iterdir()} <= begun and self.out <= cordoned
        if self.ttl() == TTL:
            assert "node-a-02" in begun

    def check_the_end(self) -> None:
        """As if nobody had been killed."""
        assert "The campaign is done." in self.screen
        assert {path.name: path.read_text() for path in self.fleet.settled.iterdir()} == dict.fromkeys(DRAINED, "settled\n")
        assert self.ttl() == TTL and self.out == set()
        assert (self.fleet.runs / "campaign.lock").read_text() == ""
        lines = self.lines()
        for event in ONCE:
            assert Counter(line["host"] for line in lines if line["event"] == event) == Counter(list(self.fleet.hosts))
        assert [line["wave"] for line in lines if line["event"] == "wave_passed"] == [1, 2]
        assert [line["data"]["outcome"] for line in lines if line["event"] == "closed"] == ["done"]
        first = {line["host"]: line for line in lines if line["event"] == "step_done"}
        assert first["node-a-02"]["data"]["undo"], "what a rollback needs was lost"
        # Each host is given back after its step, and once: a second time only where it is not known that it was.
        for host in DRAINED:
            names = [line["event"] for line in lines if line["host"] == host]
            assert names.index("step_done") < names.index("undrain_begun") and names.count("undrained") == 1

    def ttl(self) -> int:
        done = subprocess.run(
            ["nsenter", "-t", str(self.namespace.pid), "-n", "sysctl", "-n", SYSCTL], capture_output=True, text=True, check=True, timeout=30
        )
        return int(done.stdout)


@pytest.fixture
def killed(tmp_path: Path) -> Iterator[Killed]:
    settings = {"settings": [{"sysctl": SYSCTL, "value": TTL}]}
    fleet = Fleet(tmp_path, {"a": 2, "b": 1}, settings={"pause_s": 0.3}, others={"node-a-02": ("sysctl", settings)}).make()
    (tmp_path / "out").mkdir()
    more = {name.removeprefix("stall_"): value for name, value in fleet.variables(limits={"rack": 2}).items() if name != "stall_runs_dir"}
    planned = run.play("remediate.yml", fleet.inventory, fleet.runs, **more)
    assert planned.rc == 0, planned.screen
    plan = fleet.plan.read_text()
    assert plan.count("drain: false") == 3
    for host in DRAINED:
        before, name, after = plan.partition(f"- host: {host}\n")
        plan = before + name + after.replace("drain: false", "drain: true", 1)
    fleet.plan.write_text(plan)
    # Whoever enters it before it has its own network would set this machine's
    namespace = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo apart; exec sleep 1800"], stdout=subprocess.PIPE, text=True)
    try:
        assert namespace.stdout and namespace.stdout.readline() == "apart\n"
        yield Killed(fleet, namespace)
    finally:
        namespace.kill()
        namespace.wait()


# Behind each line, and where more than the next line comes of it, while that is done
POINTS = [(line, 0.0) for line in range(1, LINES)] + [(line, 0.4) for line in range(2, 21)]
# In `make test`; the others in `make soak`
FEW = {(5, 0.4)}


def marked(point: tuple[int, float]) -> object:
    line, delay_s = point
    return pytest.param(line, delay_s, id=f"line {line} and {delay_s} s", marks=[] if point in FEW else [pytest.mark.slow])


@pytest.mark.parametrize(("line", "delay_s"), [marked(point) for point in POINTS])
def test_killed_once_and_run_again(killed, line, delay_s):
    killed.kill_after(line, delay_s)
    killed.finish()
    killed.check_the_end()


@pytest.mark.slow
def test_a_run_has_as_many_lines_as_there_are_kill_points(killed):
    killed.finish()
    killed.check_the_end()
    assert len(killed.lines()) == LINES


def test_a_window_that_has_closed_meanwhile_gives_the_host_back_and_waits(killed):
    killed.kill_after(5)
    assert killed.out == {"node-a-01"} and killed.lines()[-1]["event"] in ("cordoned", "drained")
    closed = [{"days": ["mon"], "from": "00:00", "to": "00:01"}]
    killed.set_windows(closed)
    killed.finish()
    assert killed.out == set() and list(killed.fleet.settled.iterdir()) == []
    assert [line["event"] for line in killed.lines()][-4:] == ["undrain_begun", "undrained", "stopped", "closed"]
    assert "only what must not be left as it is gets finished, on node-a-01" in " ".join(killed.screen.split())
    killed.set_windows([])
    killed.finish()
    assert "The campaign is done." in killed.screen and killed.out == set()
    assert {path.name for path in killed.fleet.settled.iterdir()} == set(DRAINED)


@pytest.mark.slow
def test_killed_again_and_again(killed):
    """Each life gets a few lines further: `resumed`, the wave, the two of the drain that is looked at again, and what comes then."""
    lives = 0
    while killed.kill_after(2 + lives % 5):
        lives += 1
        assert lives < 2 * LINES, killed.screen
    if killed.lines()[-1]["event"] != "closed":
        killed.finish()
    assert lives >= 5
    assert [line["event"] for line in killed.lines()].count("resumed") >= lives
    killed.check_the_end()
