"""Where packets are on time and a service is late: whose quota ran out, or who is late by itself."""

from tests.unit.simcapture import STALLS, USER, Capture, row


def throttled(times, spent_us):
    groups = [
        {"/pod": {"periods": 10, "throttled": 0, "throttled_us": 0}},
        {"/pod": {"periods": 300, "throttled": times, "throttled_us": spent_us}},
    ]
    return {
        "throttled": {
            "available": True,
            "reason": None,
            "start": {"groups": groups[0]},
            "end": {"groups": groups[1], "grown": 1},
            "start_ns": 0,
            "end_ns": 30 * 10**9,
            "series": None,
        }
    }


def test_a_service_whose_control_group_ran_out_of_quota():
    batch = {
        "comm": "batch-job",
        "exe": None,
        "unit": None,
        "cgroup": "/memory/of/all",
        "cpu_cgroup": "/pod",
        "container": None,
        "policy": "other",
        "priority": None,
        "cmdline": None,
    }
    capture = Capture(more={"processes": {"7000": batch}})
    for start, _length in STALLS:
        capture.run(start - 0.015, start, ("batch-job", 7000, 7000), USER, policy="other")
    found = row(capture, component="app:web", host="node-b1-1", observe=throttled(12, 1_300_000))
    assert found["blame"]["side"] == "application" and found["capture"]["class"] == "R"
    assert {event["class"] for event in found["events"] if event["window"] == "capture"} == {"R"}
    assert (found["trigger"]["comm"], found["trigger"]["pid"], found["trigger"]["cpu"]) == ("batch-job", 7000, None)
    assert found["capture"]["explained"] == {"events": 12, "of": 12} and found["capture"]["confidence"] == "medium"
    assert "out of CPU quota 12 times" in found["capture"]["sentence"] and "cfs-throttle" in [cause["id"] for cause in found["causes"]]


def test_a_group_of_which_nobody_was_seen_is_named_as_a_group():
    found = row(Capture(), component="app:web", host="node-b1-1", observe=throttled(12, 1_300_000))
    assert (found["trigger"]["comm"], found["trigger"]["pid"], found["capture"]["confidence"]) == ("pod", None, "low")
    assert "who of it used that up was not seen" in found["capture"]["sentence"]


def test_a_service_that_is_late_by_itself_is_named_by_its_connections():
    connection = {
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
    found = row(Capture(more={"connections": [connection]}), component="app:web", host="node-b1-1")
    (culprit,) = found["capture"]["culprits"]
    assert (culprit["comm"], culprit["pid"], culprit["class"], culprit["confidence"], culprit["events"]) == ("web", 8000, "R", "low", 0)
