"""What dropping caches did, in words."""

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.fleet.stall.plugins.filter.dropped import dropped


def measured(dying, read_ms, uptime_s=1000.0, why=None):
    groups = {"live": 50, "dying": dying, "read_ms": read_ms, "read_cpu": 1}
    return {"memory_cgroups": groups, "uptime_s": uptime_s, "reasons": {"memory_cgroups": why} if why else {}}


@pytest.mark.parametrize(
    ("before", "after", "later", "words"),
    [
        (
            measured(22502, 193.42),
            measured(61, 0.21),
            None,
            ["Dying memory cgroups: 22502 before, 61 after.", "193 ms before, 0.21 ms after"],
        ),
        (measured(3000, 9), measured(40, 1), measured(100, None, 1030.0), ["120 a minute come back (100 after 30 s)."]),
        (measured(3000, 9), measured(40, 1), measured(40, None, 1030.0), ["None came back within 30 s"]),
        (measured(3000, 9), measured(40, 1), measured(30, None, 1030.0), ["None came back within 30 s"]),
        (
            measured(None, None, why="no hierarchy"),
            measured(None, None),
            None,
            ["was not measured: no hierarchy.", "was not timed: no hierarchy."],
        ),
        (measured(3000, 9), measured(40, 1), measured(None, None, 1030.0), ["How soon they come back was not measured."]),
        ({}, {}, {"uptime_s": None}, None),
    ],
)
def test_what_it_did(before, after, later, words):
    if words is None:
        with pytest.raises(AnsibleFilterError, match="fleet.stall.measure"):
            dropped(before, after, later)
        return
    said = dropped(before, after, later)
    assert any("temporary" in sentence for sentence in said)
    for word in words:
        assert any(word in sentence for sentence in said), said
