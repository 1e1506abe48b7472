"""A plan as people may edit it: whatever they write is refused with a sentence that names it, or is what will be done."""

import copy
import json
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.plugin_utils import plan_check, plan_file, plan_make, remedies, schema
from ansible_collections.fleet.stall.plugins.plugin_utils.plan_file import PlanError

FORM = json.loads((Path(__file__).resolve().parents[2] / "docs" / "plan.schema.json").read_text())
RUN = "20261125T120000Z-c0de"
STEP = {
    "remedy": "sysctl",
    "causes": ["budget-squeeze"],
    "because": "The receive softirq uses its budget up (probable: 12 times a second)",
    "expect": "The settings have the values that its mitigation asks for.",
    "risk": "low",
    "undo": True,
    "temporary": False,
    "drain": False,
    "parameters": {"settings": [{"sysctl": "net.core.netdev_budget", "times": 2, "most": 1200}], "persisted": False},
}
REBOOT = {**STEP, "remedy": "drain_reboot", "risk": "high", "undo": False, "drain": True, "parameters": {}}
FLEET = {f"node-{rack}{index}": {"rack": f"rack_{rack}"} for rack in "ab" for index in range(3)}
REMEDIES = {name: remedies.load()[name] for name in ("sysctl", "drain_reboot")}


def planned(host, steps=(STEP,)):
    row = {"host": host, "boot_id": "b-1", "domains": dict(FLEET[host]), "stalled_ms_per_s": 12.5, "side": "receiver", "escalate": False}
    return {**row, "steps": copy.deepcopy(list(steps))}


def plan(**changes):
    whole = {
        "schema_version": 1,
        "plan": f"{RUN}-plan",
        "run": RUN,
        "made_at": "2026-11-25T12:02:00Z",
        "valid_until": "2026-11-26T12:01:00Z",
        "limits": {
            "canary": 1,
            "canary_better": True,
            "per_domain": {"fleet": "50%", "rack": 1},
            "failures_most": 0,
            "soak_s": 0,
            "windows": [{"days": ["sat"], "from": "22:00", "to": "05:00", "timezone": "UTC"}],
            "breaker": {"failures": 3, "within_h": 24},
        },
        "down": ["node-b2"],
        "hosts": [planned("node-a0"), planned("node-a1", (STEP, REBOOT))],
        "waves": [["node-a0"], ["node-a1"]],
        "left_out": [{"host": "node-b0", "because": "no known cause was found"}],
    }
    return {**whole, **changes}


def limits(**changes):
    return {**plan()["limits"], **changes}


def edited(**changes):
    row = planned("node-a0")
    row["steps"][0].update(changes)
    return plan(hosts=[row, planned("node-a1")])


def said(value):
    """All sentences that it is refused with."""
    try:
        read = plan_file.parsed(plan_file.text(value, "edited").encode(), "plan.yml")
    except PlanError as error:
        return str(error).splitlines()
    return plan_check.wrong(read, REMEDIES, FLEET)


def test_a_sound_plan():
    assert said(plan()) == []
    jsonschema.Draft202012Validator.check_schema(FORM)
    jsonschema.Draft202012Validator(FORM).validate(plan())


def test_the_check_knows_every_word_of_the_schema():
    def words(node):
        for key, value in node.items():
            if key in ("properties", "$defs"):
                for inner in value.values():
                    yield from words(inner)
            else:
                yield key
                for inner in value if isinstance(value, list) else [value]:
                    yield from words(inner) if isinstance(inner, dict) else ()

    assert set(words(FORM)) <= schema.KEYWORDS


HOSTILE = [
    (edited(remedy="rm_rf"), "hosts: node-a0: steps[0].remedy: rm_rf is none of stall_remedies: drain_reboot, sysctl"),
    (edited(remedy="../../../etc/cron.d/x"), "plan.yml: hosts[0].steps[0].remedy: '../../../etc/cron.d/x' does not have the form"),
    (edited(remedy="/etc/passwd"), "plan.yml: hosts[0].steps[0].remedy: '/etc/passwd' does not have the form"),
    (edited(parameters={}), "hosts: node-a0: steps[0].parameters.settings: is missing"),
    (edited(parameters={**STEP["parameters"], "more": 1}), "hosts: node-a0: steps[0].parameters.more: is not a key here"),
    (edited(parameters={"settings": "all"}), "hosts: node-a0: steps[0].parameters.settings: 'all' is not a list"),
    (edited(because="{{ lookup('pipe', 'id') }}"), "plan.yml: hosts[0].steps[0].because: \"{{ lookup('pipe', 'id') }}\" is a template"),
    (
        edited(parameters={"settings": [{"{% x %}": 1}]}),
        "plan.yml: a key of hosts[0].steps[0].parameters.settings[0]: '{% x %}' is a template",
    ),
    (edited(risk="some"), "plan.yml: hosts[0].steps[0].risk: 'some' is none of none, low, medium, high"),
    (
        plan(hosts=[planned("node-a0", [{**REBOOT, "drain": False}]), planned("node-a1")]),
        "hosts: node-a0: steps[0].drain: drain_reboot needs",
    ),
    (plan(hosts=[planned("node-a0", [STEP, STEP]), planned("node-a1")]), "hosts: node-a0: steps has a remedy twice"),
    (plan(hosts=[planned("node-a0", []), planned("node-a1")]), "plan.yml: hosts[0].steps: is empty"),
    (plan(waves=[["node-a0"], ["node-a1"], ["elsewhere"]]), "waves: the inventory has no host elsewhere: take it out"),
    (plan(waves=[["node-a0"], ["node-a1"], ["nod-b1"]]), "waves: the inventory has no host nod-b1: did you mean node-b1?"),
    (plan(waves=[["node-a0"], ["node-a1"], ["node-b1"]]), "waves: node-b1 is in a wave, and hosts does not say what is to be done"),
    (plan(waves=[]), "waves: node-a0 is in no wave: put it in one, or take it out of hosts"),
    (plan(waves=[[], ["node-a0"], ["node-a1"]]), "plan.yml: waves[0]: is empty"),
    (plan(waves=[["node-a0"], ["node-a1"], ["node-a0"]]), "waves: node-a0 is in 2 waves: leave it in one"),
    (plan(waves=[["node-a0"], ["node-a1", "node-a1"]]), "plan.yml: waves[1]: ['node-a1', 'node-a1'] lists something twice"),
    (plan(waves=[["node-a0", "node-a1"]]), "waves[0]: rack rack_a: 2 hosts would be away at once, and 1 may be: make it smaller"),
    (plan(hosts=[planned("node-a0"), planned("node-b0")], waves=[["node-a0", "node-b0"]]), "waves[0]: rack rack_b: 2 hosts would be away"),
    (plan(hosts=[planned("node-a0"), planned("node-a0"), planned("node-a1")]), "hosts: node-a0 is there 2 times: leave one"),
    (plan(limits=limits(per_domain={"rack": "0%"})), "plan.yml: limits.per_domain.rack: '0%' does not have the form"),
    (plan(limits=limits(per_domain={"rack": "200%"})), "plan.yml: limits.per_domain.rack: '200%' does not have the form"),
    (plan(limits=limits(per_domain={"rack": 0})), "plan.yml: limits.per_domain.rack: 0 must be at least 1"),
    (plan(limits=limits(per_domain={"row": 1})), "limits.per_domain.row: no host is in such a domain: the levels here are fleet, rack"),
    (plan(limits=limits(canary=0)), "plan.yml: limits.canary: 0 must be at least 1"),
    (plan(limits=limits(failures_most=-1)), "plan.yml: limits.failures_most: -1 must be at least 0"),
    (plan(limits=limits(windows=[{"from": "22:00", "to": "22:00"}])), "limits.windows[0].to: is the same as from"),
    (
        plan(limits=limits(windows=[{"from": "22:00", "to": "23:00", "timezone": "../x"}])),
        "plan.yml: limits.windows[0].timezone: '../x' does not",
    ),
    (plan(plan="../../x"), "plan.yml: plan: '../../x' does not have the form"),
    (plan(run="latest"), "plan.yml: run: 'latest' does not have the form"),
    (plan(run="20261125T120000Z-beef"), "plan: '20261125T120000Z-c0de-plan' does not begin with the run's id"),
    (plan(valid_until="2026-13-45T99:00:00Z"), "valid_until: '2026-13-45T99:00:00Z' is no moment there is"),
    (plan(valid_until="tomorrow"), "plan.yml: valid_until: 'tomorrow' does not have the form"),
    (plan(schema_version=2), "plan.yml: schema_version: 2 is none of 1"),
    (plan(more=1), "plan.yml: more: is not a key here"),
    ({}, "plan.yml: schema_version: is missing"),
    ([], "plan.yml: file: [] is not a mapping"),
    (None, "plan.yml: file: None is not a mapping"),
]


@pytest.mark.parametrize(("value", "sentence"), HOSTILE, ids=[sentence[:60] for _, sentence in HOSTILE])
def test_a_hostile_edit_is_refused_with_a_sentence(value, sentence):
    found = said(value)
    assert any(line.startswith(sentence) for line in found), found


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a: &x [1]\nb: *x\n", "an alias in line 2"),
        (b"plan: one\nplan: two\n", "plan is there twice"),
        (b"hosts:\n- host: a\n  host: b\n", "host is there twice"),
        (b"!!python/object/apply:os.system [id]\n", "is not YAML"),
        (b"a: [", "is not YAML"),
        (b"\xff\xfe\x00", "is not YAML"),
        (b"[" * 5000, "is not YAML"),
        (b"? {a: 1}\n: 2\n", "is not YAML"),
        (b"a: 1\n---\nb: 2\n", "is not YAML"),
    ],
)
def test_what_is_no_plan_file(content, words):
    with pytest.raises(PlanError, match="plan.yml") as caught:
        plan_file.parsed(content, "plan.yml")
    assert words in str(caught.value)


def test_a_plan_that_is_not_there(tmp_path):
    with pytest.raises(PlanError, match="No such file.*stall_plan names the plan.yml"):
        plan_file.read(tmp_path / "plan.yml")
    with pytest.raises(PlanError, match="Is a directory"):
        plan_file.read(tmp_path)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def places(value, at=()):
    yield at
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(item, (*at, key))


@given(st.data())
def test_any_edit_is_judged_as_jsonschema_would_and_never_raises(data):
    whole = plan()
    for _ in range(data.draw(st.integers(1, 3))):
        *path, last = data.draw(st.sampled_from([at for at in places(whole) if at]))
        node = whole
        for key in path:
            node = node[key]
        if data.draw(st.booleans()):
            del node[last]
        else:
            node[last] = data.draw(anything)
        if not isinstance(whole, dict):
            return
    found = said(whole)
    if not jsonschema.Draft202012Validator(FORM).is_valid(whole):
        assert found
    assert all(isinstance(sentence, str) and sentence.isprintable() for sentence in found)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_judged(content):
    with pytest.raises(PlanError):
        plan_file.parsed(content, "plan.yml")


def test_a_plan_that_is_too_old_is_refused():
    assert plan_check.expired(plan(), plan_check.moment("2026-11-26T12:01:00Z")) == ""
    assert plan_check.expired(plan(), plan_check.moment("2026-11-26T12:01:01Z")).startswith("the plan was valid until 2026-11-26T12:01:00Z")


@pytest.mark.parametrize(
    ("known", "now", "own", "is_refused"),
    [
        ("b-1", "b-1", [], False),
        ("b-1", "b-2", [], True),
        ("b-1", "b-2", ["b-2"], False),
        (None, "b-2", [], False),
        ("b-1", None, [], False),
    ],
)
def test_another_boot_is_another_host_unless_we_rebooted_it(known, now, own, is_refused):
    assert bool(plan_check.rebooted({"boot_id": known}, now, own)) is is_refused


def test_two_plans_are_the_same_whenever_they_were_made():
    later = plan(plan=f"{RUN}-plan-2", made_at="2026-11-25T13:00:00Z", valid_until="2026-11-27T12:01:00Z")
    assert plan_make.same(plan(), later)
    assert not plan_make.same(plan(), plan(waves=[["node-a1"], ["node-a0"]]))
