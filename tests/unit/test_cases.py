"""How sure a known cause is, beside the culprit it is of and beside other causes."""

import pytest

from ansible_collections.fleet.stall.plugins.plugin_utils import cases
from ansible_collections.fleet.stall.plugins.plugin_utils.culprit import Culprit


def made_up(*rows):
    """A catalogue that gives these (id, confidence, symptom), whatever the case."""
    return lambda case: [{"id": name, "confidence": sure, "symptom": symptom, "remedies": []} for name, sure, symptom in rows]


def culprit(confidence="high", events=3, share=1.0, usual=False):
    return Culprit(
        comm="x", pid=1, tid=1, klass="T", events=events, share=share, cpus=[1], held_ms=1.0, longest_ms=1.0, policy=None, vector=None,
        stacks=[], calls=[], confidence=confidence, usual=usual, because=[], syscall=None,
    )  # fmt: skip


def test_a_symptom_comes_after_every_cause_however_sure():
    found = cases.causes(
        [culprit()], [], "T", {}, {}, made_up(("a", "suspected", False), ("b", "confirmed", True), ("c", "probable", False))
    )
    assert [cause["id"] for cause in found] == ["c", "a", "b"]


SURE = {
    "high": (culprit(), ["confirmed"]),
    "doubtful": (culprit("low", 3), ["probable"]),
    "with others": (culprit("low", 0), ["suspected"]),
    "without samples": (culprit("low", 0, None), ["probable"]),
    "usual": (culprit(usual=True), []),
}


@pytest.mark.parametrize(("who", "expected"), SURE.values(), ids=SURE.keys())
def test_no_cause_is_surer_than_its_culprit(who, expected):
    found = cases.causes([who], [], "T", {}, {}, made_up(("a", "confirmed", False)))
    assert [cause["confidence"] for cause in found] == expected
