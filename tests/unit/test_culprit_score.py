"""How the lab's tests count whom a capture names: each stall that an injector made is told right, told wrongly or missed."""

import pytest

from tests.integration import culprits

MS = 1_000_000
CAPTURED = (1000 * MS, 9000 * MS)
READER = {"comm": "smaps-reader", "class": "T", "syscall": "read", "path": r"/proc/\d+/smaps", "on_stall_cpu": True}
BATCH = {"comm": "batch-job", "class": "R", "syscall": None, "path": None}
NAMED = {"comm": "smaps-reader", "pid": 70, "class": "T", "syscall": "read", "path": "/proc/71/smaps"}


def made(start_ms, end_ms, comm="smaps-reader", pid=70):
    return {"start_ns": start_ms * MS, "end_ns": end_ms * MS, "comm": comm, "pid": pid}


def event(start_ms, end_ms, blocker="smaps-reader", pid=70, **more):
    return {
        "start": "then",
        "start_ns": start_ms * MS,
        "duration_ms": float(end_ms - start_ms),
        "window": "capture",
        "class": "T",
        "cpu": 1,
        "blocker": blocker and {"comm": blocker, "pid": pid},
    } | more


def score(events, truth, expected=READER, named=(NAMED,)):
    row = {"host": "node", "capture": {"culprits": list(named)}, "events": events}
    return culprits.score(row, truth, [expected], 1, CAPTURED)


@pytest.mark.parametrize(
    ("events", "truth", "judged", "missed"),
    [
        # all right; of twenty stalls three are seen, all three right
        ([event(2000, 2100)], [made(2000, 2100)], 1, 0),
        ([event(2000 + at, 2100 + at) for at in (0, 200, 400)], [made(2000 + at, 2100 + at) for at in range(0, 4000, 200)], 20, 17),
        # not in the time of the capture, or cut by its ends
        ([], [made(500, 600), made(950, 1050), made(8950, 9050), made(9500, 9600)], 0, 0),
        ([event(950, 1050), event(8950, 9050)], [made(950, 1050), made(8950, 9050)], 0, 0),
        ([], [made(1000, 1100), made(8900, 9000)], 2, 2),
        # too short for the probes to see it for sure; seen, but shorter than what is judged
        ([], [made(2000, 2029)], 0, 0),
        ([], [made(2000, 2030)], 1, 1),
        ([event(2000, 2019)], [made(2000, 2035)], 0, 0),
        # an event that only touches it, one of the first window, one that no injector made
        ([event(2100, 2150)], [made(2000, 2100)], 1, 1),
        ([event(2000, 2100, window="observe")], [made(2000, 2100)], 1, 1),
        ([event(3000, 3100)], [], 0, 0),
        # two stalls that the probes saw as one
        ([event(2000, 2210)], [made(2000, 2100), made(2105, 2205)], 1, 0),
    ],
)
def test_stalls_that_were_not_seen_are_misses(events, truth, judged, missed):
    found = score(events, truth)
    assert (found.events, len(found.misses)) == (judged, missed)
    assert found.right == (1 - missed / judged if judged else 0.0)


@pytest.mark.parametrize(
    ("told", "named", "said"),
    [
        ({}, NAMED, None),
        ({"blocker": None}, NAMED, "comm is None, not smaps-reader"),
        ({"pid": 8}, NAMED, "pid is 8, not 70"),
        ({"class": "Q"}, NAMED, "class is Q, not T"),
        ({"cpu": 0}, NAMED, "cpu is 0, not 1"),
        ({}, NAMED | {"path": None}, "path is None"),
        ({}, NAMED | {"syscall": "write"}, "syscall is write, not read"),
    ],
)
def test_who_kept_the_cpu(told, named, said):
    found = score([event(2000, 2100, **told)], [made(2000, 2100)], named=[named])
    assert found.events == 1 and [said in miss for miss in found.misses] == ([True] if said else [])


@pytest.mark.parametrize(
    ("klass", "named", "said"),
    [
        ("R", {"class": "R", "comm": "batch-job", "pid": 9}, None),
        ("T", {"class": "R", "comm": "batch-job", "pid": 9}, "class is T, not R"),
        ("R", {"class": "R", "comm": "fsl12", "pid": None}, "comm is fsl12, not batch-job; pid is None, not 9"),
        ("R", {"class": "R", "comm": "batch-job", "pid": 10}, "pid is 10, not 9"),
        ("R", {"class": "T", "comm": "batch-job", "pid": 9}, "comm is None"),
    ],
)
def test_a_late_service_is_put_down_to_the_process_that_used_the_quota_up(klass, named, said):
    late = event(2000, 2085, blocker=None, **{"class": klass})
    found = score([late], [made(2000, 2085, "batch-job", 9)], BATCH, [named])
    assert found.events == 1 and [said in miss for miss in found.misses] == ([True] if said else [])
