"""Probes are sent when they were planned to be, or not at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.module_utils import pacing

MS = 1000000


@pytest.mark.parametrize(
    ("now", "window"),
    [
        pytest.param(1002.0, (1005.0, 1035.0, 0.0), id="clocks agree"),
        pytest.param(999.5, (1005.0, 1035.0, 0.0), id="half a second behind"),
        pytest.param(1059.0, (1005.0, 1035.0, 0.0), id="slow to connect"),
        pytest.param(4600.0, (4605.0, 4635.0, 3600.0), id="an hour ahead"),
        pytest.param(900.0, (905.0, 935.0, -100.0), id="behind"),
    ],
)
def test_the_common_window_on_a_host_whose_clock_differs(now, window):
    assert pacing.agree(1005.0, 1035.0, 1000.0, now) == window


flow_lists = st.lists(st.sampled_from([1, 2, 10, 20, 100]), min_size=1, max_size=40).map(lambda ms: [(k, m * MS) for k, m in enumerate(ms)])


@given(flow_lists, st.text(max_size=5), st.integers(0, 10**9))
def test_no_drift(flows, seed, late_by):
    """However late it is asked, every flow has its turns at whole intervals from its phase, each sent once or missed."""
    schedule = pacing.Schedule(pacing.groups(flows, seed, "h"), 0)
    turns = {k: 0 for k, _ in flows}
    for now in (late_by, 2 * late_by, 2 * late_by + 500 * MS):
        for group, missed in schedule.due(now):
            for place in group.members:
                turns[place] += missed + 1
    for place, interval in flows:
        assert abs(turns[place] - (2 * late_by + 500 * MS) // interval) <= 1


@given(flow_lists)
def test_flows_share_wake_ups_and_hosts_do_not_send_in_step(flows):
    groups = pacing.groups(flows, "s", "host-a")
    assert sorted(place for group in groups for place in group.members) == [place for place, _ in flows]
    grid = pacing.grid_ns([interval for _, interval in flows])
    assert len({group.phase_ns % grid for group in groups}) == 1
    assert all(group.phase_ns < group.interval_ns + grid for group in groups)
    assert groups == pacing.groups(flows, "s", "host-a")
    assert groups[0].phase_ns % grid != pacing.groups(flows, "s", "host-b")[0].phase_ns % grid


@given(st.text(max_size=5), st.integers(2, 12), st.integers(0, 30))
def test_the_flows_to_one_target_watch_all_of_an_interval(seed, count, others):
    """Few as they are: none of the pauses between them is much longer than where they are spread evenly."""
    flows = [(number, 50 * MS) for number in range(others + count)] + [(99, 10 * MS)]
    groups = [group for group in pacing.groups(flows, seed, "host") if group.interval_ns == 50 * MS]
    phases = sorted(group.phase_ns for group in groups for place in group.members if place >= others)
    pauses = [after - before for before, after in zip(phases, [*phases[1:], phases[0] + 50 * MS], strict=True)]
    assert max(pauses) <= 1.8 * 50 * MS / count + pacing.grid_ns([10 * MS])


def test_missed_turns_are_not_made_up_for():
    schedule = pacing.Schedule([pacing.Group(10 * MS, 0, (0,))], 0)
    assert [missed for _, missed in schedule.due(0)] == [0]
    assert [missed for _, missed in schedule.due(57 * MS)] == [4]
    assert schedule.due(59 * MS) == []
    assert schedule.next_due() == 60 * MS


def test_the_budget_holds_whatever_is_asked():
    bucket = pacing.TokenBucket(rate=100, burst=5, now_ns=0)
    granted = 0
    for ms in range(10001):
        bucket.refill(ms * MS)
        granted += sum(bucket.take() for _ in range(3))
    assert 1000 <= granted <= 1011


def test_no_flows_no_groups():
    assert pacing.groups([], "s", "h") == []
