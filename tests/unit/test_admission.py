"""A host that is broken or hostile costs its own row: in the findings and in the reports."""

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.plugin_utils import admission, findings, report, table
from tests.unit import contract
from tests.unit.simfleet import GRADES, MS, Fleet, fault

HOST, OTHER = "node-a1-1", "node-a1-2"
RSS = {"available": True, "function": "toeplitz", "key": "6d5a" * 20, "indirection": [0, 1], "fields": {"tcp4": ["src_ip", "src_port"]}}
FLEET = Fleet(
    faults=[fault(f"host:{HOST}", [(3.0, 0.2), (9.0, 0.1), (15.0, 0.3)]), fault(f"host:{OTHER}", [(5.0, 0.2), (12.0, 0.2), (18.0, 0.1)])],
    cards={HOST: {"rx_queues": 2, "queues": [{"queue": 0, "rps_cpus": []}], "rss": RSS}},
    changes={"layers": ["node", "outside"], "protocols": ["icmp"], "source_ports": 1, "services": []},
)
MANIFEST = FLEET.manifest()
EVIDENCE = FLEET.evidence(MANIFEST)
ABSURD = [
    float("inf"),
    float("-inf"),
    float("nan"),
    10**400,
    -(2**80),
    -1,
    2**63,
    1e300,
    True,
    None,
    "",
    "x" * 9000,
    "\x1b[2J",
    [],
    {},
    [[]],
]


def built(evidence):
    return findings.build(MANIFEST, evidence, GRADES)


def others(found):
    return [{**row, "rank": 0} for row in found["hosts"] if row["host"] != HOST]


def row_of(found):
    return next(row for row in found["hosts"] if row["host"] == HOST)


def with_change(path, value):
    result = copy.deepcopy(EVIDENCE[HOST])
    place = result
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return {**EVIDENCE, HOST: result}


def paths(value, at=()):
    """Every place in a result; of a list the first item."""
    if at:
        yield at
    items = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for key, item in items:
        yield from paths(item, (*at, key))


EVENTFUL = next(position for position, flow in enumerate(EVIDENCE[HOST]["flows"]) if flow["events"])
PATHS = [*paths(EVIDENCE[HOST])]
PATHS += [("flows", EVENTFUL, *path) for path in paths(EVIDENCE[HOST]["flows"][EVENTFUL])]


def test_what_is_measured_is_let_in_as_it_is():
    let_in = admission.admitted(MANIFEST, EVIDENCE)
    assert let_in == EVIDENCE
    assert all(not row["reason"] for row in built(EVIDENCE)["hosts"])


def test_results_of_before_refusals_were_counted_are_read():
    old = copy.deepcopy(EVIDENCE)
    for result in old.values():
        for flow in result["flows"]:
            del flow["refused"]
    assert built(old) == built(EVIDENCE)


WITHOUT = others(built({**EVIDENCE, HOST: {"status": "failed", "reason": "x", "flows": []}}))


@settings(max_examples=80)
@given(st.sampled_from(PATHS), st.sampled_from(ABSURD))
def test_nothing_that_a_host_sends_costs_another_its_row(path, value):
    evidence = with_change(path, value)
    found = built(evidence)
    contract.holds(found)
    assert [row["status"] for row in found["hosts"]].count("stalling") >= 1
    if path == ("status",):
        assert row_of(found)["status"] == "stalling" and "its observer ended as" in row_of(found)["reason"]
    elif admission.admitted(MANIFEST, evidence)[HOST]["status"] == "failed":
        assert others(found) == WITHOUT
        assert "its result makes no sense" in row_of(found)["reason"]
        assert row_of(found)["evidence_files"] == [f"evidence/{HOST}/observe.json"]
    for text in (report.markdown(found), report.html(found), table.render(found, 10, 100)):
        assert "\x1b" not in text


def changed_flow(**changes):
    return with_change(("flows", 0), {**EVIDENCE[HOST]["flows"][0], **changes})


START = EVIDENCE[HOST]["clock"]["started_ns"]
EVENT = {"start_ns": START, "duration_ms": 20.0, "packets": 2, "lost": 0, "max_ms": 20.0, "censored": False, "tx_delay_ms": None}


@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        (changed_flow(sent=float("inf")), "flows[0].sent is inf and not an integer"),
        (changed_flow(received=-1), "flows[0].received is -1"),
        (changed_flow(received=10**6), "received and lost"),
        (changed_flow(refused=10**6), "1000000 refused, of "),
        (changed_flow(refused="all"), "flows[0].refused is 'all' and not"),
        (changed_flow(sent=10**9), "that can have been"),
        (changed_flow(histogram={"260": 10**9}), "in the histogram"),
        (changed_flow(histogram={"-3": 1}), "not a key of it"),
        (changed_flow(id=EVIDENCE[OTHER]["flows"][0]["id"]), "which it was not asked to probe"),
        (changed_flow(id=EVIDENCE[HOST]["flows"][1]["id"]), "twice"),
        (changed_flow(events=[{**EVENT, "duration_ms": 1e9}]), "an event of 1e+09 ms"),
        (changed_flow(events=[{**EVENT, "start_ns": START + 3600 * 1000 * MS}]), "outside its window"),
        (changed_flow(events=[EVENT] * 201), "lists 201 events"),
        (with_change(("clock", "observed_s"), 1e6), "observed for 1e+06 s, in a window of 30 s"),
        (with_change(("clock",), None), "clock is None and not a mapping"),
        (with_change(("lateness", "late"), [[1, 2, 3]]), "lateness.late[0]"),
        (with_change(("flows",), {"a": 1}), "flows is {'a': 1} and not a list"),
    ],
)
def test_the_reason_names_what_makes_no_sense(evidence, words):
    row = row_of(built(evidence))
    assert words in row["reason"] and admission.NONSENSE_REMEDY in row["reason"]
    assert len(row["reason"]) < 1000


def test_a_card_that_makes_no_sense_is_an_unknown_card():
    interface = {"name": "eth0", "addresses": [MANIFEST["hosts"][HOST]["address"]], "rss": {**RSS, "indirection": [{}, "x"]}}
    found = built(with_change(("counters", "nic", "start", "interfaces"), [interface]))
    assert row_of(found)["coverage"]["queues_how"] == "unknown"
    assert row_of(found)["status"] == "stalling"


def test_warnings_are_cut_to_what_can_be_read():
    found = built(with_change(("warnings",), ["\x1b[31m" + "x" * 5000, {"a": 1}, *range(100)]))
    said = [text for text in found["warnings"] if text.startswith(HOST)]
    assert len(said) == admission.WARNINGS + 1 and said[-1] == f"{HOST}: 82 more warnings"
    assert all(len(text) < 400 and text.isprintable() for text in said)


def test_a_sample_of_a_flow_to_another_host_ties_no_clock():
    flow = next(flow for flow in MANIFEST["flows"] if flow["target"] == OTHER)
    samples = {**EVIDENCE[HOST]["clock_samples"], str(flow["id"]): {"min_ns": -(2**60), "n": 1}}
    assert others(built(with_change(("clock_samples",), samples))) == others(built(EVIDENCE))


@pytest.mark.parametrize(("local", "counts"), [("127.0.1.1", False), ("::1", False), ("192.0.2.9", True), ("0.0.0.0", True), (None, True)])
def test_probes_of_others_that_never_left_their_host_count_for_nothing(local, counts):
    """As where a prober's own files resolve the name of another host to the loopback."""
    evidence = copy.deepcopy(EVIDENCE)
    for flow in evidence[OTHER]["flows"]:
        flow["local_address"] = local
    admitted = admission.admitted(MANIFEST, evidence)[OTHER]
    assert bool(admitted["flows"]) == counts and any("never left it" in warning for warning in admitted["warnings"]) != counts
    found = built(evidence)
    assert any(warning.startswith(f"{OTHER}: its probes of ") for warning in found["warnings"]) != counts
    assert counts or all(row["coverage"]["sources"] < 3 for row in found["hosts"] if row["host"] == HOST)


def test_a_host_alone_may_probe_itself_by_the_loopback():
    fleet = Fleet(hosts={HOST: {**FLEET.hosts[HOST], "address": "127.0.0.1"}}, changes={"services": []})
    manifest = fleet.manifest()
    assert findings.build(manifest, fleet.evidence(manifest), GRADES)["hosts"][0]["status"] == "clear"
