"""The size of a capture's result: what is left out of it, and that it is counted."""

import base64
import copy
import gzip
import json
import random

import pytest

from ansible_collections.fleet.stall.plugins.module_utils.capture import encoding


def result(gaps=0, runs=0, folded=0, calls=0, heard=0):
    draw = random.Random(7)

    def text(size):
        return "".join(draw.choice("abcdefghijklmnop_;") for _ in range(size))

    handled = [[draw.getrandbits(60), 1, 2, 3, text(10), 4, draw.getrandbits(30)] for _ in range(100)]
    return {
        "schema_version": 1,
        "status": "measured",
        "gaps": [{"start_ns": at * 1000, "end_ns": at * 1000 + 10 + at, "cpu": 1, "handled": handled[: at % 100]} for at in range(gaps)],
        "gaps_omitted": 0,
        "heard": {"1": [[draw.getrandbits(60)] * 2 for _ in range(heard)], "2": [[3, 4]] * bool(heard)},
        "stacks": [text(300) for _ in range(max(runs, folded))],
        "runs": [
            {"start_ns": at, "end_ns": at + 1 + at % 97, "cpu": 0, "pid": 1, "tid": 1, "comm": "a", "stacks": [[at, 3], [0, 1]]}
            for at in range(runs)
        ],
        "folded": {
            "gaps": [["a", at, 1] for at in range(folded)],
            "quiet": [["b", at, 1] for at in range(folded)],
            "gaps_s": 1,
            "quiet_s": 1,
        },
        "slow_calls": [{"start_ns": at, "duration_ms": at, "path": text(60)} for at in range(calls)],
        "processes": {str(at): {"comm": text(12), "cmdline": text(150)} for at in range(calls)},
        "connections": [],
        "packets": None,
        "omitted": {"slow_calls": 2},
    }


def unpacked(packed):
    return json.loads(gzip.decompress(packed))


def test_what_fits_is_left_alone():
    given_result = result(gaps=3, runs=5, folded=5, calls=3, heard=30)
    found = unpacked(encoding.encode(given_result))
    for part in ("gaps", "heard", "slow_calls", "processes", "omitted"):
        assert found[part] == given_result[part]
    stacks_of = [[found["stacks"][at] for at, _n in run["stacks"]] for run in found["runs"]]
    assert stacks_of == [[given_result["stacks"][at] for at, _n in run["stacks"]] for run in given_result["runs"]]


@pytest.mark.parametrize("limit", [100000, 30000, 3000])
@pytest.mark.parametrize(
    "size",
    [
        {"gaps": 900},
        {"runs": 1500},
        {"folded": 300},
        {"calls": 400},
        {"heard": 2000},
        {"gaps": 900, "runs": 1500, "folded": 300, "calls": 400, "heard": 2000},
    ],
)
def test_what_does_not_fit_is_left_out_and_counted(size, limit):
    given_result = result(**size)
    before = copy.deepcopy(given_result)
    packed = encoding.encode(given_result, limit)
    found = unpacked(packed)
    assert given_result == before
    assert len(base64.b64encode(packed)) <= limit
    assert len(found["gaps"]) + found["gaps_omitted"] == len(before["gaps"])
    assert sum(map(len, found["heard"].values())) + found["omitted"].get("heard", 0) == sum(map(len, before["heard"].values()))
    assert len(found["runs"]) + found["omitted"].get("runs", 0) == len(before["runs"])
    assert len(found["slow_calls"]) + found["omitted"]["slow_calls"] == len(before["slow_calls"]) + 2
    pointed = {at for run in found["runs"] for at, _n in run["stacks"]} | {
        row[1] for part in ("gaps", "quiet") for row in found["folded"][part]
    }
    assert pointed == set(range(len(found["stacks"])))


@pytest.mark.parametrize(("limit", "kept"), [(100000, [400, 200]), (2500, [200, 100]), (1200, [100, 50]), (300, [])])
def test_of_the_packets_the_first_of_each_flow_stay(limit, kept):
    chance = random.Random(1)
    packets = [
        {"flow": flow, "numbers": [1] * many, "at_us": [chance.randrange(2**16) for _ in range(many)]}
        for flow, many in ((1, 400), (2, 200))
    ]
    found = unpacked(encoding.encode(dict(result(), packets=packets), limit))
    assert [len(row["numbers"]) for row in found["packets"]] == [len(row["at_us"]) for row in found["packets"]] == kept
    assert [row["at_us"] for row in found["packets"]] == [row["at_us"][:many] for row, many in zip(packets, kept, strict=False)]
    assert found["omitted"].get("packets", 0) == 600 - sum(kept)


def test_handled_rows_next_to_the_end_of_the_gap_stay():
    rows = [[at, 0, 1, 1, "a", 1, at] for at in range(100)]
    found = {"gaps": [{"start_ns": 10, "end_ns": 50, "cpu": 0, "handled": rows}], "omitted": {}}
    encoding._fewer_handled(found, 12)
    assert [row[0] for row in found["gaps"][0]["handled"]] == list(range(47, 59))
    assert found["omitted"] == {"handled": 88}


@pytest.mark.parametrize(("limit", "worst", "telling"), [(30000, 100, 20), (2200, 15, 20), (300, 0, 0)])
def test_of_the_connections_the_worst_stay_and_those_that_tell_who_serves(limit, worst, telling):
    """These come last, as they need not fare badly."""
    chance = random.Random(1)
    rows = [{"local": f"10.0.0.1:{chance.randrange(2**16)}", "peer": str(chance.random()), "tells": at >= 100} for at in range(120)]
    found = unpacked(encoding.encode(dict(result(), connections=copy.deepcopy(rows)), limit))
    assert found["connections"] == rows[:worst] + rows[100 : 100 + telling]
    assert found["omitted"].get("connections", 0) == 120 - worst - telling
