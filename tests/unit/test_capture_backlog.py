"""Which probes a gap's backlog holds: those that were overdue and those on their heels, and none of the ordinary ones after them."""

from __future__ import annotations

import pytest

from ansible_collections.fleet.stall.plugins.module_utils.capture import gaps

MS = 1_000_000
THRESHOLD = 10 * MS


def handled(interval_ms: int, stall: tuple[int, int], until_ms: int, flow: int, phase_us: int = 0) -> list[gaps.Handled]:
    """A flow's probes, those due within the stall handled at its end, 20 us apart."""
    rows, held = [], 0
    for number, due_ms in enumerate(range(0, until_ms, interval_ms)):
        at = due_ms * MS + phase_us * 1000
        if stall[0] * MS <= at < stall[1] * MS:
            held += 1
            at = stall[1] * MS + held * 20_000 + flow
        rows.append(gaps.Handled(at, 1, 9, 9, "napi/eth0-1", flow, number))
    return rows


@pytest.mark.parametrize(
    ("flows", "stall", "backlog"),
    [
        pytest.param([(10, 0)], (100, 144), 4 + 1, id="one flow"),
        pytest.param([(10, 0), (10, 2500), (10, 5000), (10, 7500)], (100, 144), 5 + 5 + 4 + 4, id="four flows on a grid"),
        pytest.param([(10, 0), (50, 1000)], (100, 230), 13 + 3, id="a slow flow beside a fast one"),
        pytest.param([(50, 0)], (100, 330), 5, id="a slow flow alone"),
    ],
)
def test_the_backlog_ends_where_probes_come_in_their_turn_again(flows, stall, backlog):
    rows = [row for flow, (interval, phase) in enumerate(flows, 1) for row in handled(interval, stall, 1000, flow, phase)]
    intervals = {flow: interval * MS for flow, (interval, _) in enumerate(flows, 1)}
    (gap,) = gaps.find(rows, intervals, THRESHOLD)
    drained = [row for row in gap["handled"] if row.at_ns >= gap["end_ns"]]
    assert len(drained) == backlog
    assert gap["end_ns"] == min(row.at_ns for row in drained)
