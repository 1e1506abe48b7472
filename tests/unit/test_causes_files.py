"""Directories of causes: what a user adds or replaces, and what is wrong in a file."""

import pytest
import yaml

from ansible_collections.fleet.stall.plugins.plugin_utils.causes import CatalogueError, load, match


def minimal(**changes):
    row = {
        "id": "mine",
        "title": "It spins",
        "class": ["T"],
        "frames": [["my_module_write"]],
        "seen": "Here.",
        "mitigation": None,
        "fix": None,
        "remedies": [],
        "sources": ["https://example.com"],
    }
    row.update(changes)
    return {key: value for key, value in row.items() if value is not ...}


def write(directory, row, name="mine.yml"):
    (directory / name).write_text(row if isinstance(row, str) else yaml.safe_dump(row), encoding="utf-8")


def test_a_directory_of_the_user_adds_causes(tmp_path):
    write(tmp_path, minimal())
    catalogue = load([tmp_path])
    assert len(catalogue.causes) == len(load().causes) + 1 and catalogue.notes == ()
    found = match(
        catalogue, {"class": "T", "stacks": [["sys_write;my_module_write.isra.0", 9]], "kernel": "4.9.0", "handler": "ksoftirqd/0"}
    )
    assert [(row["id"], row["confidence"], row["mitigation"]) for row in found] == [("mine", "suspected", None)]


def test_a_cause_of_the_user_replaces_one_and_says_so(tmp_path):
    write(tmp_path, minimal(id="steal"), "steal.yml")
    catalogue = load([tmp_path])
    assert len(catalogue.causes) == len(load().causes)
    assert next(cause for cause in catalogue.causes if cause.id == "steal").title == "It spins"
    assert len(catalogue.notes) == 1 and "steal" in catalogue.notes[0] and str(tmp_path) in catalogue.notes[0]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("a: [", "is not YAML"),
        ("- a", "is not a mapping"),
        ("", "None is not a mapping"),
        (minimal(title=...), "title: is missing: add it"),
        (minimal(**{"class": ["Z"]}), "class[0]: 'Z' is none of T, SI, I, Q, X, R"),
        (minimal(**{"class": []}), "class: is empty"),
        (minimal(clas="T"), "clas: is not a key here"),
        (minimal(frames="a;b"), "frames: 'a;b' is not a list"),
        (minimal(frames=[["a;b"]]), "frames[0][0]: 'a;b' does not have the form"),
        (minimal(id="other"), "id: 'other' is not the name of the file"),
        (minimal(frames=...), "frames: is missing, and so are counters, log and trigger"),
        (minimal(sources=[]), "sources: is empty: name one, or set unconfirmed: true"),
        (minimal(log=["("]), "log[0]: '(' is not a regular expression"),
        (minimal(trigger=[{"path": "["}]), "trigger[0].path: '[' is not a regular expression"),
        (minimal(trigger=[{"file": "x"}]), "trigger[0].file: is not a key"),
        (minimal(only_if={"Q": {"policy": "fifo"}}), "only_if.Q: class does not list Q"),
        (minimal(remedies=["reboot"]), "remedies[0]: 'reboot' is none of"),
        (
            minimal(counters=[{"fact": "memory.zombies", "op": ">=", "value": 1, "means": "x"}]),
            "counters[0].fact: 'memory.zombies' is not measured",
        ),
        (minimal(counters=[{"fact": "conntrack.count", "op": ">=", "value": "1", "means": "x"}]), "counters[0].value: '1' is not a number"),
        (
            minimal(counters=[{"fact": "conntrack.count", "op": "gt", "value": 1, "means": "x"}]),
            "counters[0].op: 'gt' is none of >=, >, <=, <, ==",
        ),
        (minimal(kernel={"from": "5.1", "to": "4.9"}), "kernel.to: '4.9' is not after kernel.from '5.1'"),
        (minimal(kernel={"to": 5.1}), "kernel.to: 5.1 is not text in quotes"),
        (minimal(settings={"cpu_quota": {"times": 2}}), "settings.cpu_quota: remedies does not list cpu_quota"),
        (
            minimal(remedies=["sysctl"], settings={"sysctl": {"settings": [{"value": 0}]}}),
            "settings.sysctl.settings[0]: give exactly one of sysctl, file",
        ),
        (
            minimal(remedies=["sysctl"], settings={"sysctl": {"settings": [{"sysctl": "net.core.x", "value": 0, "times": 2}]}}),
            "settings.sysctl.settings[0]: give exactly one of value, at_least, at_most, times",
        ),
        (
            minimal(remedies=["sysctl"], settings={"sysctl": {"settings": [{"file": "/etc/x", "value": 0}]}}),
            "'/etc/x' does not have the form",
        ),
    ],
)
def test_a_bad_file_is_refused_with_file_key_value_and_remedy(tmp_path, row, words):
    write(tmp_path, row)
    with pytest.raises(CatalogueError) as error:
        load([tmp_path])
    assert words in str(error.value) and str(tmp_path / "mine.yml") in str(error.value)


def test_all_that_is_wrong_is_said_at_once(tmp_path):
    write(tmp_path, minimal(title=...))
    with pytest.raises(CatalogueError) as error:
        load([tmp_path, tmp_path / "missing"])
    assert len(str(error.value).splitlines()) == 2 and "stall_cause_dirs" in str(error.value)
