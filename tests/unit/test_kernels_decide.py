"""What is left of an upgrade, what speaks against it, and that no death of the controller loses the way."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.module_utils.kernels import decide

OLD, NEW = "6.1.0-50-cloud-amd64", "6.1.0-56-cloud-amd64"
ALL = list(decide.PHASES)


def boot(**other):
    entries = [{"entry": release, "title": release, "release": release, "recovery": False} for release in (NEW, OLD)]
    return {
        "tool": "grub",
        "why": None,
        "writable": True,
        "dropins": True,
        "saved": False,
        "panics": False,
        "saved_entry": None,
        "entries": entries,
        "default": OLD,
        "next": None,
        "trial": None,
        **other,
    }


def host(**other):
    return {
        "boot_id": "one",
        "running": OLD,
        "running_entry": OLD,
        "build": "#1 SMP PREEMPT_DYNAMIC 2026-06-01",
        "installed": [{"release": OLD, "version": "6.1.176-1"}, {"release": NEW, "version": "6.1.192-2"}],
        "family": "debian",
        "sane": True,
        "said": "",
        "busy": None,
        "held": [],
        "free_mb": {"/boot": 900, "/": 9000},
        "boot": boot(),
        **other,
    }


def target(**other):
    return {**decide.NO_TARGET, "package": "linux-image-cloud-amd64", "version": "6.1.192-2", "release": NEW, "spec": "x", **other}


ALL_BUT_INSTALL = [phase for phase in ALL if phase != "install"]
PINNED = {"saved": True, "panics": True, "saved_entry": OLD, "default": OLD}
TRYING = {"phase": "trying", "release": NEW, "boot_id": "one"}
THERE = target(installed=True)


@pytest.mark.parametrize(
    ("found", "wanted", "resumed", "left"),
    [
        (host(), target(), False, ALL),
        (host(boot=boot(**PINNED)), target(), True, ALL[1:]),
        (host(boot=boot(saved=True)), target(), False, ALL),
        # Kept from an earlier trial, which a panic would hang now; where there are no drop-ins, nothing can be done about it
        (host(boot=boot(**{**PINNED, "panics": False})), target(), False, ALL),
        (host(boot=boot(**{**PINNED, "panics": False}, dropins=False)), target(), False, ALL[1:]),
        (host(boot=boot(**PINNED)), THERE, True, ["one_shot", "reboot", "gate", "make_default"]),
        (host(boot=boot(saved=True, default=NEW)), THERE, False, ["pin", "one_shot", "reboot", "gate", "make_default"]),
        (host(boot=boot(**PINNED, next=NEW, trial=TRYING)), THERE, True, ["reboot", "gate", "make_default"]),
        (host(boot=boot(**PINNED, next=NEW)), THERE, False, ["one_shot", "reboot", "gate", "make_default"]),
        (host(boot_id="two", running=NEW, boot=boot(**PINNED, trial=TRYING)), THERE, True, ["gate", "make_default"]),
        (host(boot_id="two", running=NEW, boot=boot(default=NEW, trial=TRYING)), THERE, True, ["gate", "make_default"]),
        (host(running=NEW, boot=boot(default=NEW)), THERE, False, []),
        (host(running=NEW, build="#1 SMP Debian 6.1.192-2 (2026-11-01)", boot=boot(default=NEW)), THERE, False, []),
        (host(running=NEW, build="#1 SMP Debian 6.1.190-1 (2026-11-01)", boot=boot(default=NEW)), THERE, False, ALL_BUT_INSTALL),
        (host(running=NEW, boot=boot(default=NEW)), target(), False, ["pin", "install", "one_shot", "reboot", "gate", "make_default"]),
        (host(boot_id="two", boot=boot(**PINNED, trial=TRYING)), THERE, True, ["rollback"]),
        (host(boot_id="two", boot=boot(**PINNED, trial=TRYING)), THERE, False, ["one_shot", "reboot", "gate", "make_default"]),
        (host(running=NEW, boot=boot(**PINNED, trial={**TRYING, "phase": "back"})), THERE, True, ["rollback"]),
        (host(boot=boot(**PINNED, trial={**TRYING, "phase": "back"})), THERE, True, ["rollback"]),
        (host(boot=boot(**PINNED, trial={**TRYING, "release": "6.6.6"})), THERE, True, ["one_shot", "reboot", "gate", "make_default"]),
        (host(boot={"tool": None, "why": "no GRUB"}), target(), False, ALL),
    ],
)
def test_what_is_left(found, wanted, resumed, left):
    assert decide.left(found, wanted, resumed) == left


NEW_BUILD, OLD_BUILD = (f"#1 SMP PREEMPT_DYNAMIC Debian {version} (2026-11-01)" for version in ("6.1.192-2", "6.1.190-1"))
LIMITS = {"/boot": 150, "/": 600}


@pytest.mark.parametrize(
    ("found", "wanted", "words"),
    [
        (host(family=None), target(), ["neither of the Debian nor of the Red Hat family"]),
        (host(busy="apt-get (pid 7)"), target(), ["apt-get (pid 7)"]),
        (host(sane=False, said="half-configured: x"), target(), ["half-configured: x"]),
        (host(boot={"tool": None, "why": "there is no grub.cfg"}), target(), ["there is no grub.cfg"]),
        (host(boot=boot(writable=False, why="on lvm")), target(), ["tried just once: on lvm"]),
        (host(boot=boot(dropins=False)), target(), ["default is not its saved entry"]),
        (host(boot=boot(entries=[])), target(), ["no entry for the running kernel"]),
        (host(), target(problem="Unable to locate package x"), ["Unable to locate package x"]),
        (host(), target(removes=["dkms"]), ["would remove dkms"]),
        (host(held=["linux-image-cloud-amd64"]), target(), ["held back on purpose: linux-image-cloud-amd64"]),
        (host(held=["linux-image-cloud-amd64"]), THERE, []),
        (host(held=["bash"]), target(), []),
        (host(free_mb={"/boot": 149, "/": None}), target(), ["149 MB are free on /boot, fewer than 150", "free on / is not known"]),
        (host(free_mb={"/boot": 1, "/": 1}), THERE, []),
        (host(running=NEW), target(replaces=True), ["would replace the files of the running kernel"]),
        (host(running=NEW, build=OLD_BUILD), THERE, [f"another build of {NEW} runs than is installed (6.1.192-2)"]),
        (host(running=NEW, build=NEW_BUILD), THERE, []),
        (host(), target(), []),
    ],
)
def test_what_speaks_against_it(found, wanted, words):
    refused = decide.refusals(found, wanted, LIMITS)
    assert len(refused) == len(words) and all(word in row["what"] for word, row in zip(words, refused, strict=True)), refused
    assert all(row["remedy"] for row in refused)


class Machine:
    """A host as its role changes it.

    `saved`: GRUB_DEFAULT=saved, with no entry saved; `boots`: whether the new kernel comes up; `healthy`: whether it passes the gate.
    """

    def __init__(self, saved, boots, healthy):
        self.found, self.installed, self.boots, self.healthy = host(boot=boot(saved=saved)), False, boots, healthy
        self.tried = self.boot_number = 0
        self.passed = False

    def target(self):
        return target(installed=self.installed)

    def do(self, phase):
        grub = self.found["boot"]
        if phase == "pin":
            grub.update(saved=True, panics=True, saved_entry=self.found["running"], default=self.found["running"])
        elif phase == "install":
            self.installed = True
            if not (grub["saved"] and grub["saved_entry"]):
                grub["default"] = NEW
        elif phase == "one_shot":
            grub.update(next=NEW, trial={"phase": "trying", "release": NEW, "boot_id": self.found["boot_id"]})
        elif phase == "reboot":
            self.reboot()
        elif phase == "gate":
            self.passed = self.found["running"] == NEW and self.healthy
            return self.passed
        elif phase == "make_default":
            grub.update(saved_entry=NEW, default=NEW, trial=None, next=None)
        elif phase == "rollback":
            grub.update(next=None, trial={"phase": "back", "release": NEW, "boot_id": self.found["boot_id"]})
            if self.found["running"] == NEW:
                self.reboot()
        return True

    def reboot(self):
        grub = self.found["boot"]
        into, grub["next"] = grub["next"] or grub["default"], None
        self.tried += into == NEW
        self.boot_number += 1
        self.found.update(boot_id=f"boot {self.boot_number}", running=OLD if into == NEW and not self.boots else into)
        self.found["running_entry"] = self.found["running"]


def run(machine, resumed, kills):
    """One run of the role; True: done, False: failed and rolled back, None: killed."""
    for phase in decide.left(copy.deepcopy(machine.found), machine.target(), resumed):
        if phase == "rollback" or not machine.do(phase):
            machine.do("rollback")
            return None if next(kills) else False
        assert machine.passed or machine.found["boot"]["default"] == OLD, f"after {phase} an untried kernel is the default"
        if next(kills):
            return None
    return True


@given(st.booleans(), st.booleans(), st.booleans(), st.lists(st.booleans(), max_size=12))
def test_killed_anywhere_and_resumed_it_ends_where_it_would_have(saved, boots, healthy, kills):
    machine = Machine(saved, boots, healthy)
    killing = iter([*kills, *[False] * 20])
    outcome = run(machine, False, killing)
    while outcome is None:
        outcome = run(machine, True, killing)
    assert outcome == (boots and healthy)
    assert machine.tried == 1, "a kernel is tried just once"
    wanted = NEW if outcome else OLD
    assert (machine.found["running"], machine.found["boot"]["default"]) == (wanted, wanted)
    if outcome:
        assert decide.left(machine.found, machine.target(), False) == []
