"""Where packets are on time and a service is late: whose quota ran out, or who is late by itself."""

import pytest

from tests.unit.simcapture import STALLS, USER, Capture, row


def throttled(**lost):
    """Groups with how often, and for how many microseconds together, each was out of quota in the window."""
    before = {f"/{name}": {"periods": 10, "throttled": 0, "throttled_us": 0} for name in lost}
    after = {f"/{name}": {"periods": 300, "throttled": times, "throttled_us": spent_us} for name, (times, spent_us) in lost.items()}
    return {
        "throttled": {
            "available": True,
            "reason": None,
            "start": {"groups": before},
            "end": {"groups": after, "grown": len(lost), "complete": True},
            "start_ns": 0,
            "end_ns": 30 * 10**9,
            "series": None,
        }
    }


def process(comm, cpu_cgroup, unit=None):
    return {
        "comm": comm,
        "exe": None,
        "unit": unit,
        "cgroup": "/memory/of/all",
        "cpu_cgroup": cpu_cgroup,
        "container": None,
        "policy": "other",
        "priority": None,
        "cmdline": None,
    }


CONNECTION = {
    "local": "10.244.4.1:30080",
    "peer": "198.18.0.1:40001",
    "pid": 8000,
    "comm": "web",
    "rtt_ms": 0.1,
    "min_rtt_ms": 0.1,
    "retransmits": 0,
    "unread_bytes": 100,
    "unacked": 0,
}
LOST = (12, 1_300_000)


def late(processes=None, connections=(CONNECTION,), observe=None, sampled=("batch-job", 7000, 7000)):
    """The row of the host, where a task runs out its quota just before each of twelve late answers of the service `web` (pid 8000)."""
    capture = Capture(more={"processes": processes or {}, "connections": list(connections)})
    for start, _length in STALLS if sampled else []:
        capture.run(start - 0.015, start, sampled, USER, policy="other")
    return row(capture, component="app:web", host="node-b1-1", observe=observe or throttled(pod=LOST))


def confidence(found, cause="cfs-throttle"):
    return next((known["confidence"] for known in found["causes"] if known["id"] == cause), None)


@pytest.mark.parametrize("serving", ["/pod", "/pod/web", "/docker/4711/pod"])
def test_a_service_whose_control_group_ran_out_of_quota(serving):
    found = late({"7000": process("batch-job", "/pod"), "8000": process("web", serving)})
    assert found["blame"]["side"] == "application" and found["capture"]["class"] == "R"
    assert {event["class"] for event in found["events"] if event["window"] == "capture"} == {"R"}
    assert (found["trigger"]["comm"], found["trigger"]["pid"], found["trigger"]["cpu"]) == ("batch-job", 7000, None)
    assert found["capture"]["explained"] == {"events": 12, "of": 12} and found["capture"]["confidence"] == "medium"
    assert "its control group /pod was out of CPU quota 12 times" in found["capture"]["sentence"] and confidence(found) == "probable"


@pytest.mark.parametrize("serving", ["/web", "/podium", "/"])
def test_a_throttled_group_that_the_service_is_not_in_is_not_blamed(serving):
    found = late({"7000": process("batch-job", "/pod", "ci.service"), "8000": process("web", serving)})
    (culprit,) = found["capture"]["culprits"]
    assert (found["trigger"]["comm"], found["trigger"]["pid"], culprit["cgroup"], culprit["events"]) == ("web", 8000, serving, 0)
    assert confidence(found) is None and found["remedies"] == []


def test_of_the_throttled_groups_the_service_s_own_counts():
    """Though another lost more."""
    lost = throttled(pod=LOST, ci=(200, 9_000_000))
    found = late({"7000": process("ci-job", "/ci"), "8000": process("web", "/pod")}, observe=lost, sampled=("ci-job", 7000, 7000))
    (culprit,) = found["capture"]["culprits"]
    assert (culprit["comm"], culprit["cgroup"], culprit["confidence"], confidence(found)) == ("web", "/pod", "medium", "probable")


@pytest.mark.parametrize(
    ("processes", "connections"),
    [
        ({"7000": process("batch-job", "/pod")}, ()),
        ({"7000": process("batch-job", "/pod")}, (CONNECTION,)),
        ({"7000": process("batch-job", "/pod"), "8000": process("web", None) | {"cgroup": None}}, (CONNECTION,)),
    ],
    ids=["no connection", "of nobody known", "of a group not known"],
)
def test_where_it_is_not_known_who_serves_nothing_is_done_about_a_throttled_group(processes, connections):
    """It is what stall_remedy_confidence holds back: a suspected cause."""
    found = late(processes, connections)
    assert (found["trigger"]["comm"], found["capture"]["confidence"], confidence(found)) == ("batch-job", "low", "suspected")
    assert "whether the late service runs in that group is not known" in found["capture"]["sentence"]


def test_a_group_of_which_nobody_was_seen_is_named_as_a_group():
    found = row(Capture(), component="app:web", host="node-b1-1", observe=throttled(pod=LOST))
    assert (found["trigger"]["comm"], found["trigger"]["pid"], found["capture"]["confidence"]) == ("pod", None, "low")
    assert "who of it used that up was not seen" in found["capture"]["sentence"]


def test_a_service_that_is_late_by_itself_is_named_by_its_connections():
    found = row(Capture(more={"connections": [CONNECTION]}), component="app:web", host="node-b1-1")
    (culprit,) = found["capture"]["culprits"]
    assert (culprit["comm"], culprit["pid"], culprit["class"], culprit["confidence"], culprit["events"]) == ("web", 8000, "R", "low", 0)
