"""What the host says to a plan that is not sound, and by which clock it follows a sound one."""

import copy
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.module_utils import plan as plans

FLOW = {"id": 1, "target": "node-b", "protocol": "icmp", "address": "192.0.2.1", "interval_ms": 10}
PLAN = {
    "schema_version": 1,
    "run": "r",
    "host": "node-a",
    "token": 7,
    "starts_at": 1000.0,
    "ends_at": 1030.0,
    "dispatched_at": 997.0,
    "threshold_ms": 10,
    "reply_timeout_ms": 2000,
    "budget_pps": 3000,
    "seed": "s",
    "keep_raw": False,
    "counters": True,
    "event_limit": 200,
    "flows": [FLOW],
}


def test_sound_plans():
    assert plans.problems(PLAN) == []
    assert plans.problems(dict(PLAN, flows=[])) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema_version": 2}, "schema_version is 2"),
        ({"run": ""}, "plan.run is ''"),
        ({"host": None}, "plan.host is None"),
        ({"ends_at": math.nan}, "plan.ends_at is nan"),
        ({"ends_at": 1000.0}, "the window is 0 s long"),
        ({"ends_at": 1000.09}, "shorter than 10 intervals of 10 ms: make it 0.1 s"),
        ({"ends_at": 1000.0 + 86401}, "at most 86400 s"),
        ({"threshold_ms": 0}, "plan.threshold_ms is 0"),
        ({"budget_pps": "many"}, "plan.budget_pps is 'many'"),
        ({"token": "x"}, "plan.token is 'x'"),
        ({"event_limit": -1}, "plan.event_limit is -1"),
        ({"flows": "all"}, "plan.flows is 'all'"),
        ({"flows": [dict(FLOW, interval_ms=-10)]}, "flow 1 (to 'node-b'): interval_ms is -10: give 1 ms or more"),
        ({"flows": [dict(FLOW, protocol="smoke")]}, "protocol 'smoke' is unknown"),
        ({"flows": [dict(FLOW, address="")]}, "address is ''"),
        ({"flows": [{"target": "x"}]}, "no integer id"),
        ({"flows": [FLOW] * (plans.MOST_FLOWS + 1)}, "at most"),
    ],
)
def test_what_is_wrong_with_a_plan(change, said):
    found = plans.problems(dict(copy.deepcopy(PLAN), **change))
    assert len(found) == 1
    assert said in found[0]


@given(
    st.dictionaries(
        st.sampled_from(sorted(PLAN)), st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers())
    )
)
def test_any_plan_is_judged(change):
    assert isinstance(plans.problems(dict(PLAN, **change)), list)


@pytest.mark.parametrize(
    ("now", "starts_at", "skew_s"),
    [
        (997.5, 1000.0, 0.0),  # half a second of connecting
        (1050.0, 1000.0, 0.0),  # slow, but it can be
        (900.0, 903.0, -97.0),  # a clock that is behind
        (4597.0, 4600.0, 3600.0),  # a clock in another time zone
    ],
)
def test_window_by_this_hosts_clock(now, starts_at, skew_s):
    local = plans.in_local_time(PLAN, now)
    assert (local["starts_at"], local["ends_at"], local["skew_s"]) == (starts_at, starts_at + 30.0, skew_s)
    assert local["dispatched_at"] == now


@given(st.text(min_size=1), st.text(min_size=1))
def test_job_name_is_one_safe_name_whatever_the_host_is_called(run, host):
    name = plans.job_name(run, host)
    assert "/" not in name
    assert name.isprintable()
    assert name.strip(".") and len(name.encode()) < 100


@pytest.mark.parametrize(("one", "other"), [(("r", "a"), ("r", "b")), (("r/1", "a"), ("r_1", "a")), (("../..", "a"), ("", "a"))])
def test_job_names_differ(one, other):
    assert plans.job_name(*one) != plans.job_name(*other)
