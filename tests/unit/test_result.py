"""The size of a result on the wire: held whatever was measured, with the most valuable kept and the rest counted."""

import base64
import gzip
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.module_utils import histogram, plan, result
from ansible_collections.fleet.stall.plugins.module_utils.probes import datagram


def flow(number, chance, events, buckets=120):
    return {
        "id": number,
        "sent": chance.randrange(3000),
        "received": chance.randrange(3000),
        "lost": 0,
        "unsent": 0,
        "errors": {},
        "baseline_us": chance.randrange(500),
        "local_address": "192.0.2.7",
        "local_port": chance.randrange(65536),
        "histogram": {str(chance.randrange(600)): chance.randrange(1, 900) for _ in range(buckets)},
        "events": [
            {
                "start_ns": 1795409326560750514 + chance.randrange(30 * 10**9),
                "duration_ms": chance.randrange(10000, 300000) / 1000.0,
                "packets": chance.randrange(30),
                "lost": 0,
                "max_ms": chance.randrange(10000, 300000) / 1000.0,
                "censored": False,
                "tx_delay_ms": None,
            }
            for _ in range(events)
        ],
        "events_total": events,
        "events_own_lateness": 0,
        "events_omitted": 0,
        "events_omitted_ms": 0.0,
    }


def whole(flows, events, cpus=8):
    chance = random.Random(4)
    numbers = {str(cpu): [chance.randrange(10**6) for _ in range(30)] for cpu in range(cpus)}
    counter = {"available": True, "reason": None, "start": {"cpus": numbers}, "end": {"cpus": numbers}, "series": {"increments": numbers}}
    return {
        "schema_version": 1,
        "run": "r",
        "host": "h",
        "status": "measured",
        "flows": [flow(number, chance, events) for number in range(flows)],
        "counters": {name: json.loads(json.dumps(counter)) for name in ("softnet", "interrupts", "pressure")},
    }


def sent(measured, **arguments):
    packed = result.encode(measured, **arguments)
    return len(base64.b64encode(packed)), json.loads(gzip.decompress(packed).decode())


def test_a_small_result_is_whole():
    measured = whole(flows=10, events=5)
    assert sent(measured)[1] == dict(measured, omitted={})


@pytest.mark.parametrize(
    ("flows", "events", "cpus"),
    [(60, 5, 256), (300, 200, 8), (1000, 3, 8), (plan.MOST_FLOWS, 1, 4)],
    ids=["many CPUs", "many events", "many flows", "as many flows as there may be"],
)
def test_at_most_100_kb(flows, events, cpus):
    measured = whole(flows, events, cpus)
    size, found = sent(measured)
    assert size <= 100000
    assert len(found["flows"]) == flows
    assert found["omitted"]
    assert all(kept["sent"] == made["sent"] for kept, made in zip(found["flows"], measured["flows"], strict=True))


def test_series_go_before_events():
    found = sent(whole(flows=30, events=20, cpus=128), limit=50000)[1]
    assert found["omitted"]["series"] == 3
    assert "events" not in found["omitted"]
    assert all(counter["series"] is None for counter in found["counters"].values())


def test_the_longest_events_stay_and_the_rest_is_counted():
    measured = whole(flows=100, events=100)
    found = sent(measured)[1]
    kept = [event["duration_ms"] for one in found["flows"] for event in one["events"]]
    made = sorted((event["duration_ms"] for one in measured["flows"] for event in one["events"]), reverse=True)
    assert sorted(kept, reverse=True) == made[: len(kept)]
    assert 0 < len(kept) < len(made)
    for one in found["flows"]:
        assert len(one["events"]) + one["events_omitted"] == one["events_total"]
    omitted_ms = sum(one["events_omitted_ms"] for one in found["flows"])
    assert omitted_ms == pytest.approx(sum(made) - sum(kept), abs=0.1)


def test_clock_samples_that_strangers_sent_do_not_break_the_limit():
    """Whoever knows the token of a run can send packets of it, with any number for the flow."""
    chance = random.Random(5)
    strange = {str(chance.randrange(1 << 32)): {"min_ns": chance.randrange(1 << 62), "n": 1} for _ in range(datagram.SAMPLED_FLOWS)}
    for flows, limit, kept in ((100, 100000, datagram.SAMPLED_FLOWS), (100, 20000, 0)):
        size, found = sent(dict(whole(flows, events=5), clock_samples=strange), limit=limit)
        assert (size <= limit, len(found["flows"]), len(found["clock_samples"])) == (True, flows, kept)
        assert found["omitted"].get("clock_samples", 0) == datagram.SAMPLED_FLOWS - kept


def test_a_counter_left_out_is_not_shown_as_read():
    found = sent(whole(flows=20, events=2), limit=9000)[1]
    interrupts = found["counters"]["interrupts"]
    assert interrupts["available"] is False
    assert "size" in interrupts["reason"]


@given(st.dictionaries(st.integers(0, histogram.BUCKETS - 1).map(str), st.integers(1, 1000)), st.integers(1, 3))
def test_coarser_histograms_keep_every_probe_and_never_flatter(counts, bits):
    merged = result._merged(counts, (1 << bits) - 1)
    assert sum(merged.values()) == sum(counts.values())
    fine, coarse = (
        histogram.Histogram.from_dict(counts),
        histogram.Histogram.from_dict({i: n for i, n in merged.items() if int(i) < histogram.BUCKETS}),
    )
    for share in (0.5, 0.99, 1.0):
        assert fine.quantile(share) <= coarse.quantile(share)


def test_raw_samples_stay_on_the_host(tmp_path):
    raw = {"format": "f", "samples": 3, "omitted": 1, "data": "QUJD"}
    found = result.save_raw(str(tmp_path / "raw.gz"), {"status": "measured", "raw": raw})
    assert found["raw"] == {"path": str(tmp_path / "raw.gz"), "bytes": (tmp_path / "raw.gz").stat().st_size, "samples": 3, "omitted": 1}
    assert json.loads(gzip.decompress((tmp_path / "raw.gz").read_bytes()).decode()) == raw
    assert result.save_raw("unused", {"status": "measured"}) == {"status": "measured"}


def test_raw_samples_that_can_not_be_kept_say_why(tmp_path):
    found = result.save_raw(str(tmp_path / "no" / "raw.gz"), {"raw": {"samples": 1}})
    assert found["raw"]["path"] is None
    assert "No such file" in found["raw"]["reason"]
