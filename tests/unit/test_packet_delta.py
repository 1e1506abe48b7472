"""Two taps of the same probes: what was lost between them, what was late, and on which side of the second a stall arose."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.module_utils.capture import packets
from ansible_collections.fleet.stall.plugins.plugin_utils import packet_delta
from ansible_collections.fleet.stall.plugins.plugin_utils.packet_delta import Passage, arose, delta, passages, sightings
from ansible_collections.fleet.stall.plugins.plugin_utils.stalls_join import Event, Stall
from tests.unit.simcapture import HOST, STALLS, row, stalled

MS = 1_000_000
EPOCH = 1_795_000_000_000 * MS
FLOW = {"id": 7, "source": "s", "target": "t", "protocol": "icmp"}
STALL = range(50, 60)  # the probes of a stall of 100 ms, at 10 ms


def tap(times, flow=7, **changes):
    """capture.json of a host at which these probes {number: ns} passed."""
    rows = [{"flow": flow, "number": number, "at_ns": at} for number, at in times.items()]
    able = {"available": True, "how": "tcpdump", "reason": None}
    return {"status": "measured", "capabilities": {"packets": able}, "packets": packets.columns(rows), **changes}


def lacks(reason):
    return tap({}, capabilities={"packets": {"available": False, "how": None, "reason": reason}}, packets=None)


def left(first=0, offset_s=0.0):
    return {(first + index) % 2**32: EPOCH + index * 10 * MS + round(offset_s * 1e9) for index in range(100)}


def came(late=(), lost=(), first=0, offset_s=0.0):
    """The same at the other tap 1 ms later; `late` were held until the end of the stall."""
    drain = EPOCH + 600 * MS
    times = {(first + at) % 2**32: (drain if at in late else EPOCH + at * 10 * MS) + MS for at in range(100) if at not in lost}
    return {number: at + round(offset_s * 1e9) for number, at in times.items()}


def stall(flow=7, offset_s=0.0):
    start = EPOCH + 500 * MS - round(offset_s * 1e9)
    event = Event(flow, start, start + 100 * MS, start - 10 * MS, 10, 0, False, False)
    return Stall(event.start_ns, event.end_ns, [event])


@pytest.mark.parametrize(
    ("source", "target", "seen", "lost", "max_ms", "place"),
    [
        (left(), came(), 100, 0, 0.0, "behind"),
        (left(), came(late=STALL), 100, 0, 100.0, "before"),
        (left(), came(lost=STALL), 90, 10, 0.0, "before"),
        (left(), came(lost=[20]), 99, 1, 0.0, "behind"),
        (left(), came(lost=range(20)), 80, 0, 0.0, "behind"),
        (left(), came(late=STALL, offset_s=7.5), 100, 0, 100.0, "before"),
        (left(), came(offset_s=-3600.0), 100, 0, 0.0, "behind"),
        (left(first=2**32 - 55), came(late=STALL, first=2**32 - 55), 100, 0, 100.0, "before"),
        ({number: at for number, at in left().items() if number not in STALL}, came(), 90, 0, 0.0, None),
    ],
    ids=[
        "behind",
        "before",
        "lost in the stall",
        "one lost",
        "not yet recording",
        "clocks apart",
        "an hour back",
        "numbers wrap",
        "late to leave",
    ],
)
def test_what_two_taps_tell(source, target, seen, lost, max_ms, place):
    found, missing = delta("t", [(stall(), False)], [FLOW], {"s": tap(source), "t": tap(target)}, {})
    assert missing == []
    (flow,) = found["flows"]
    assert (flow["seen"], flow["lost"], flow["max_ms"], found["stalls"][0]["arose"]) == (seen, lost, max_ms, place)
    assert (found["before"], found["behind"], found["of"]) == (place == "before", place == "behind", 1)
    assert f"Of {seen + lost} probes" in found["sentence"] and f"{lost or 'none'} {'were' if lost > 1 else 'was'} lost" in found["sentence"]


@pytest.mark.parametrize(("late", "kept", "place"), [(STALL, True, "queue"), (STALL, False, "before"), ((), True, "behind")])
def test_a_cpu_that_was_kept_tells_the_receive_queue_from_the_network(late, kept, place):
    found, _ = delta("t", [(stall(), kept)], [FLOW], {"s": tap(left()), "t": tap(came(late=late))}, {})
    assert found["stalls"][0]["arose"] == place and found[place] == found["of"] == 1


def test_the_latest_probes_are_listed_by_their_delay():
    found, _ = delta("t", [], [FLOW], {"s": tap(left()), "t": tap(came(late=STALL))}, {})
    assert [(one["number"], one["delay_ms"]) for one in found["late"]] == [(50 + at, 100.0 - 10 * at) for at in range(10)]
    assert "stall" not in found["sentence"]


@pytest.mark.parametrize("ahead_s", [5.0, -5.0])
def test_a_stall_is_found_by_the_clock_of_its_source(ahead_s):
    """Its times are in the fleet's base, of which that clock is 5 s off."""
    taps, stalls = {"s": tap(left()), "t": tap(came(late=STALL))}, [(stall(offset_s=ahead_s), False)]
    assert delta("t", stalls, [FLOW], taps, {"s": round(ahead_s * 1e9)})[0]["before"] == 1
    assert delta("t", stalls, [FLOW], taps, {})[0]["stalls"][0]["arose"] is None


@pytest.mark.parametrize(
    ("captures", "said"),
    [
        ({"s": tap(left()), "t": lacks("tcpdump is not installed")}, ["when the probes reached it (tcpdump is not installed)"]),
        ({"s": tap(left()), "t": lacks("switched off")}, []),
        ({"s": lacks("tcpdump is not installed"), "t": tap(came())}, ["when the probes of s left (tcpdump is not installed)"]),
        ({"t": tap(came())}, ["when the probes of s left (no result came from it)"]),
        ({"s": {"status": "failed", "reason": "no room"}, "t": tap(came())}, ["when the probes of s left (no room)"]),
        ({"s": tap(left(), flow=8), "t": tap(came())}, ["no flow was seen on both ends"]),
        ({"s": tap(left(), packets=[{"flow": 7, "numbers": [1, 2], "at_us": [1]}]), "t": tap(came())}, ["makes no sense (ValueError)"]),
        ({"s": tap(left(), packets=[{"flow": 7, "numbers": [1], "at_us": [1e99]}]), "t": tap(came())}, ["makes no sense (ValueError)"]),
        ({"s": tap(left(), packets=[7]), "t": tap(came())}, ["makes no sense (TypeError)"]),
        ({"s": tap(left(), capabilities=None), "t": tap(came())}, ["makes no sense (TypeError)"]),
    ],
)
def test_an_end_that_recorded_nothing_is_said(captures, said):
    found, missing = delta("t", [(stall(), False)], [FLOW], captures, {})
    assert found is None and len(missing) == len(said) and all(words in missing[0] for words in said)


@pytest.mark.parametrize("cut", ["s", "t"])
def test_that_a_result_had_no_room_for_all_is_said(cut):
    taps = {"s": tap(left()), "t": tap(came())}
    taps[cut]["omitted"] = {"packets": 5}
    found, missing = delta("t", [], [FLOW], taps, {})
    assert found["flows"] and missing == [f"not known: how the later probes fared ({cut} recorded more than a result has room for)"]


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["flow", "numbers", "at_us", "packets", "x"]), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(end=st.sampled_from("st"), part=st.sampled_from(["packets", "capabilities", "omitted", "status"]), junk=JUNK)
def test_whatever_one_end_sends_costs_the_packets_alone(end, part, junk):
    taps = {"s": tap(left()), "t": tap(came())}
    taps[end][part] = junk
    found, missing = delta("t", [(stall(), False)], [FLOW], taps, {})
    assert found or missing


def test_of_two_sources_one_may_lack_it():
    flows = [FLOW, dict(FLOW, id=8, source="s2"), dict(FLOW, id=9, source="t"), dict(FLOW, id=10, protocol="http_new")]
    found, missing = delta("t", [(stall(), False)], flows, {"s": tap(left()), "t": tap(came()), "s2": lacks("no root")}, {})
    assert [flow["source"] for flow in found["flows"]] == ["s"] and missing == ["not known: when the probes of s2 left (no root)"]


@pytest.mark.parametrize(
    ("extras_ms", "place"), [((90, 1), "before"), ((1, 90), "before"), ((1, 1), "behind"), ((None, 1), "before"), ((1, 49), "behind")]
)
def test_views_of_one_stall_and_probes_of_one_view(extras_ms, place):
    """One late probe in its first half tells; so do lost ones, if they are half of them."""
    start = stall().start_ns
    passed = [Passage(at, start + at * 10 * MS, None if extra is None else extra * MS) for at, extra in enumerate(extras_ms)]
    assert arose(stall(), {7: passed}, {}) == place
    other = [stall(8).events[0], stall(9).events[0]]
    assert arose(Stall(start, start + 100 * MS, [*stall().events, *other]), {8: [Passage(1, start, 0)], 7: passed}, {}) == place


def test_what_columns_pack_sightings_unpack():
    times = {5: 3000, 4: 2000, 2**32 - 1: 9000}
    assert sightings(tap(times)) == ({7: times}, None)


def test_probes_that_no_tap_saw_twice_tell_nothing():
    assert passages({1: 5}, {2: 6}) == []


def test_the_row_of_a_suspect_has_it():
    """The fleet's probes have no packets here, so that the row says what is missing; asked for or not."""
    asked = row(stalled(STALLS).json(), taps={})["capture"]
    assert asked["packets"] is None and any("when the probes of" in said and "no result came" in said for said in asked["missing"])
    unasked = row(stalled(STALLS))["capture"]
    assert unasked["packets"] is None and not any("probes of" in said for said in unasked["missing"])


def test_the_row_of_a_suspect_whose_probes_were_recorded(monkeypatch):
    found = delta("t", [(stall(), False)], [FLOW], {"s": tap(left()), "t": tap(came(late=STALL))}, {})
    monkeypatch.setattr(packet_delta, "delta", lambda host, *_: found if host == HOST else (None, []))
    assert row(stalled(STALLS), taps={})["capture"]["packets"]["before"] == 1
