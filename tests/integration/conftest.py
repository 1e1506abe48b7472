"""Labs with real faults, and one diagnosis of each that several tests look at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.lab import namespaces, state, topology

from . import run
from .truth import Interval


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() == 0:
        return
    for item in items:
        if "integration" in item.path.parts:
            item.add_marker(pytest.mark.skip(reason="the lab makes network namespaces: run as root (`make integration` uses sudo)"))


@dataclass(frozen=True)
class Lab:
    id: str
    scenario: str

    @property
    def dir(self) -> Path:
        return run.CHECKOUT / ".lab" / self.id

    @property
    def inventory(self) -> Path:
        return self.dir / "inventory.yml"

    @property
    def expected(self) -> dict:
        return yaml.safe_load((self.dir / "expected.yml").read_text())

    def on(self, host: str, script: str) -> None:
        """Run a line of shell as root in the host's own namespaces, past SSH; its mounts are the host's alone."""
        record = state.find(self.id)
        assert record
        daemon = min(namespaces.processes(f"{topology.slot_prefix(record.slot)}-{host}"))
        subprocess.run(["nsenter", "-t", str(daemon), "-m", "-u", "-n", "sh", "-euc", script], check=True, timeout=30)

    def truth(self, host: str) -> list[dict]:
        """What the injectors did to the host: {start_ns, end_ns, kind, pid, comm, cpu} each."""
        path = self.dir / "truth" / f"{host}.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


class Labs:
    """Raises a lab when it is asked for and takes down the one before: two at once would share the stall CPU."""

    def __init__(self) -> None:
        self._up: Lab | None = None

    def get(self, scenario: str, *options: str) -> Lab:
        wanted = Lab(f"test-{os.getpid()}", scenario)
        lab_command("up", "--scenario", scenario, "--id", wanted.id, *options)
        self._up = wanted
        return wanted

    def fresh(self, scenario: str) -> Lab:
        """For who is not to find what a test before did to it: a remedy that helped."""
        self.close()
        return self.get(scenario)

    def close(self) -> None:
        if self._up:
            lab_command("down", "--id", self._up.id)
            self._up = None


def lab_command(*words: str) -> subprocess.CompletedProcess:
    done = subprocess.run(
        [sys.executable, "-m", "tests.lab", *words], cwd=run.CHECKOUT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, f"lab {words}: {done.stdout}{done.stderr}"
    return done


@pytest.fixture(scope="session")
def labs() -> Iterator[Labs]:
    labs = Labs()
    yield labs
    labs.close()


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all diagnoses of the session leave their results."""
    return tmp_path_factory.mktemp("runs")


@dataclass
class Diagnosis:
    """One run on one scenario, with what had to be found and what the injectors did meanwhile; the lab itself may be gone."""

    run: run.Run
    expected: dict
    who: dict[str, list[dict]]

    @property
    def truth(self) -> dict[str, list[Interval]]:
        return {host: [(entry["start_ns"], entry["end_ns"]) for entry in entries] for host, entries in self.who.items()}


class Diagnoses:
    def __init__(self, labs: Labs, runs: Path) -> None:
        self._labs, self._runs = labs, runs
        self._done: dict[str, Diagnosis] = {}

    def of(self, scenario: str) -> Diagnosis:
        """Of a scenario, made when first asked for. The clean one is watched for minutes, for that is its point."""
        if scenario not in self._done:
            lab = self._labs.get(scenario)
            options = {"window_s": WINDOWS_S.get(scenario, SHORT_WINDOW_S), "capture_s": CAPTURE_S}
            options |= CAPTURED.get(scenario, {"capture": scenario == "clean"})
            limit = options["window_s"] + options["capture_s"] + 240
            self.keep(lab, run.diagnose(lab.inventory, self._runs / scenario, timeout=limit, **options))
        return self._done[scenario]

    def keep(self, lab: Lab, done: run.Run) -> None:
        """The diagnosis of the lab's scenario, for who asks for it later."""
        expected = lab.expected
        who = {host: lab.truth(row.get("truth", host)) for host, row in expected["hosts"].items()}
        self._done[lab.scenario] = Diagnosis(done, expected, who)


SHORT_WINDOW_S = 10
CAPTURE_S = 12
SOAK = bool(os.environ.get("FLEET_STALL_SOAK"))
# Scenarios of which the suspects are opened up too, with what differs for them; the longer ones only in `make soak`.
CAPTURED: dict[str, dict] = {
    "two_bad": {},
    "rt_hog": {"capture_control": False},
    "app_throttled": {"capture_control": False},
    "two_readers": {"window_s": 6},
    "busy_innocent": {"window_s": 6},
}
if SOAK:
    CAPTURED |= {
        "rx_stall": {},
        "rx_stall_mild": {"capture_s": 30},
        "burst": {"window_s": 62, "capture_s": 62},
        # The fault is not on the host that is opened up
        "rack_path": {"capture_hosts": ["node-a2-1"]},
        "source_stall": {"capture_hosts": ["node-a1-1"]},
    }
# The clean one is watched for long, for that is its point
WINDOWS_S = {"clean": int(os.environ.get("FLEET_STALL_CLEAN_S", "30"))}
if not SOAK:
    # These are held against the injectors' truth, and at their slowest make fifty stalls in that time
    WINDOWS_S |= {"rx_stall": 20, "rx_stall_mild": 20, "two_bad": 24, "rt_hog": 20}


@pytest.fixture(scope="session")
def diagnoses(labs: Labs, runs: Path) -> Diagnoses:
    return Diagnoses(labs, runs)
