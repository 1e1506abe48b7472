"""Settings: what a rule makes of a value, all or none, what was before is remembered, and only what is still ours is put back."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.module_utils.settings import change, kinds, rules
from ansible_collections.fleet.stall.plugins.module_utils.settings.change import Change, Memory
from ansible_collections.fleet.stall.plugins.module_utils.settings.files import File
from ansible_collections.fleet.stall.plugins.module_utils.settings.rules import Unfit

# -- Rules ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("current", "setting", "expected"),
    [
        ("300", {"value": "600"}, "600"),
        ("300", {"value": 0}, "0"),
        ("300", {"at_least": 600}, "600"),
        ("900", {"at_least": 600}, "900"),
        ("900", {"at_most": 600}, "600"),
        ("300", {"at_most": 600}, "300"),
        ("300", {"times": 2, "most": 1200}, "600"),
        ("900", {"times": 2, "most": 1200}, "1200"),
        # Somebody knew better
        ("5000", {"times": 2, "most": 1200}, "5000"),
        ("300", {"times": 0.5}, "150"),
        ("-1", {"at_least": 5}, "5"),
        ("4096\t131072\t6291456", {"field": 3, "at_most": 4194304}, "4096\t131072\t4194304"),
        ("4\t4\t1\t7", {"field": 1, "value": "3"}, "3\t4\t1\t7"),
        ("madvise", {"value": "defer"}, "defer"),
    ],
)
def test_a_rule(current, setting, expected):
    assert rules.problem(setting) == "" and rules.wanted(current, setting) == expected


@pytest.mark.parametrize(
    ("current", "setting", "words"),
    [
        ("1 2 3", {"times": 2}, "which is not one number: name the one that is meant with field"),
        ("1 2", {"field": 3, "value": "1"}, "has no field 3"),
        ("many", {"at_least": 2}, "which is not a number: only value fits it"),
    ],
)
def test_a_rule_that_does_not_fit(current, setting, words):
    with pytest.raises(Unfit, match=words):
        rules.wanted(current, setting)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({}, "no rule is given: give exactly one of value, at_least, at_most, times"),
        ({"value": 1, "times": 2}, "value, times is given"),
        ({"times": 0}, "times is 0: give a number above 0"),
        ({"times": 2, "most": -1}, "most is -1"),
        ({"at_most": 2, "most": 3}, "most goes with times, not with at_most"),
        ({"value": [1]}, "value is [1]"),
    ],
)
def test_a_rule_that_is_none(setting, words):
    assert words in rules.problem(setting)


@given(st.integers(0, 10**9), st.sampled_from(["at_least", "at_most", "value"]), st.integers(1, 10**9))
def test_a_rule_meets_its_own_result(current, rule, number):
    once = rules.wanted(str(current), {rule: number})
    assert rules.wanted(once, {rule: number}) == once


@given(st.sets(st.integers(0, 300)))
def test_cpus_are_the_same_in_each_form(cpus):
    assert set(rules.cpus_of_list(rules.as_list(cpus))) == cpus
    assert set(rules.cpus_of_mask(rules.as_mask(cpus))) == cpus


@pytest.mark.parametrize(
    ("cpus", "as_list", "as_mask"),
    [({0, 1, 2, 8}, "0-2,8", "107"), ({32}, "32", "1,00000000"), ({0, 1, 32}, "0-1,32", "1,00000003"), (set(), "", "0")],
)
def test_forms_of_cpus(cpus, as_list, as_mask):
    assert (rules.as_list(cpus), rules.as_mask(cpus)) == (as_list, as_mask)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("4096\t131072", "4096 131072", True),
        ("always defer [madvise] never", "madvise", True),
        ("always [defer] madvise never", "madvise", False),
        ("1", "1\n", True),
    ],
)
def test_the_same_value(one, other, expected):
    assert rules.same(one, other) is expected


# -- Read, compare, write, remember ---------------------------------------------------------------------------------------------------


@pytest.fixture
def memory(tmp_path):
    return Memory(str(tmp_path))


def file(tmp_path, name, value):
    path = tmp_path / name
    path.write_text(value)
    return path


def setting(path, **rule):
    return Change(File(str(path)), lambda current, was: rules.wanted(was if "times" in rule else current, rule))


def test_a_change_is_made_once_and_its_undo_stays_known(tmp_path, memory):
    path = file(tmp_path, "budget", "300\n")
    changes = [setting(path, times=2)]
    made = change.apply(changes, memory, check=False)
    assert made["changed"] and path.read_text() == "600"
    again = change.apply(changes, memory, check=False)
    assert not again["changed"] and path.read_text() == "600" and again["undo"] == made["undo"]
    assert made["undo"] == [{"kind": "file", "place": {"path": str(path), "form": "text"}, "value": "300", "made": "600"}]
    undone = change.put_back(kinds.undone(made["undo"]), memory, check=False)
    assert undone["changed"] and path.read_text() == "300"
    assert not change.put_back(kinds.undone(made["undo"]), memory, check=False)["changed"]


def test_a_multiple_is_one_of_what_was_before_the_first_change(tmp_path, memory):
    path = file(tmp_path, "budget", "300")
    change.apply([setting(path, times=2)], memory, check=False)
    change.apply([setting(path, times=3)], memory, check=False)
    assert path.read_text() == "900"
    # Once somebody else has changed it, that is what was
    path.write_text("1000")
    change.apply([setting(path, times=2)], memory, check=False)
    assert path.read_text() == "2000"


def test_a_check_writes_nothing(tmp_path, memory):
    path = file(tmp_path, "budget", "300")
    with memory.held(check=True):
        would = change.apply([setting(path, times=2)], memory, check=True)
    assert would["changed"] and would["settings"][0]["after"] == "600" and path.read_text() == "300"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["budget"]


def test_what_was_is_known_before_anything_is_written(tmp_path, memory, monkeypatch):
    """As if it were killed between the two."""
    path = file(tmp_path, "budget", "300")
    monkeypatch.setattr(change, "write", lambda place, value: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        change.apply([setting(path, times=2)], memory, check=False)
    path.write_text("600")
    monkeypatch.undo()
    assert change.apply([setting(path, times=2)], memory, check=False)["undo"][0]["value"] == "300"
    assert path.read_text() == "600"


def test_all_or_none(tmp_path, memory):
    first, second = file(tmp_path, "first", "1"), file(tmp_path, "second", "many")
    with pytest.raises(Unfit, match="second: holds 'many', which is not a number"):
        change.apply([setting(first, value="2"), setting(second, at_least=5)], memory, check=False)
    assert first.read_text() == "1"


class Deaf(File):
    """Takes every value and keeps its own, as some files of the kernel do."""

    def write(self, value):
        pass


def test_a_value_that_is_not_kept_is_an_error(tmp_path, memory):
    path = file(tmp_path, "deaf", "1")
    with pytest.raises(Unfit, match="was set to '2' and holds '1'"):
        change.apply([Change(Deaf(str(path)), lambda *_: "2")], memory, check=False)


def test_what_could_not_be_put_back_is_said(tmp_path, memory):
    class Once(File):
        def write(self, value):
            if value == "1":
                raise OSError(16, "Device or resource busy")
            super().write(value)

    first, second = file(tmp_path, "first", "1"), file(tmp_path, "second", "many")
    with pytest.raises(Unfit, match="first could not be put back to '1': Device or resource busy"):
        change.apply([Change(Once(str(first)), lambda *_: "2"), setting(second, at_least=5)], memory, check=False)


@pytest.mark.parametrize(("optional", "words"), [(True, ""), (False, "there is no such setting on this host")])
def test_a_setting_that_is_not_there(tmp_path, memory, optional, words):
    changes = [Change(File(str(tmp_path / "missing")), lambda *_: "1", optional)]
    if words:
        with pytest.raises(Unfit, match=words):
            change.apply(changes, memory, check=False)
    else:
        assert change.apply(changes, memory, check=False)["absent"] == [str(tmp_path / "missing")]


@pytest.mark.parametrize(
    ("now", "left", "after"),
    [
        ("600", [], "300"),
        ("300", [], "300"),
        ("700", ["holds '700', which somebody else has made of it since"], "700"),
        (None, ["no longer there"], None),
    ],
)
def test_only_what_is_still_ours_is_put_back(tmp_path, memory, now, left, after):
    path = file(tmp_path, "budget", "300")
    made = change.apply([setting(path, times=2)], memory, check=False)
    path.write_text(now) if now else path.unlink()
    undone = change.put_back(kinds.undone(made["undo"]), memory, check=False)
    assert len(undone["left"]) == len(left) and all(word in " ".join(undone["left"]) for word in left)
    assert (path.read_text() if path.exists() else None) == after


def test_a_memory_that_is_no_json_is_none(tmp_path, memory):
    path = file(tmp_path, "budget", "300")
    (tmp_path / "settings.json").write_text("{")
    assert change.apply([setting(path, times=2)], memory, check=False)["undo"][0]["value"] == "300"
    assert json.loads((tmp_path / "settings.json").read_text())["schema_version"] == 1


@pytest.mark.parametrize(
    "entry",
    [{}, {"kind": "file"}, {"kind": "rm", "place": {}, "value": 1, "made": 2}, {"kind": "file", "place": {"x": 1}, "value": 1, "made": 2}],
)
def test_an_undo_that_is_none(entry):
    with pytest.raises(Unfit, match="which no change has left"):
        kinds.undone([entry])
