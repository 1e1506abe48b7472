"""Which remedies are chosen, in which order, with what parameters; and why none is."""

import copy

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.plugin_utils import causes as catalogue
from ansible_collections.fleet.stall.plugins.plugin_utils import plan_check, plan_file, plan_make, remedies, remedy_choice

ALL = remedies.load()
CAUSES = {each.id: each for each in catalogue.load().causes}
DEFAULT = [name for name in ALL if name != "kernel_upgrade"]
RUN = {"id": "20261125T120000Z-c0de", "started_at": "2026-11-25T12:00:00+00:00", "finished_at": "2026-11-25T12:01:00+00:00"}
TRIGGER = {
    "comm": "cadvisor",
    "pid": 10137,
    "unit": "cadvisor.service",
    "container": None,
    "syscall": "read",
    "path": "/sys/fs/cgroup/x",
    "cpu": 1,
}


def cause(identity="memcg-zombie-stat", confidence="probable", settings=None, **more):
    known = CAUSES[identity]
    row = {
        "id": identity,
        "title": known.title,
        "class": "T",
        "confidence": confidence,
        "evidence": ["frames"],
        "remedies": list(known.remedies),
    }
    return {**row, "settings": dict(known.settings) if settings is None else settings, **more}


def host(**changes):
    row = {
        "host": "node-a",
        "status": "stalling",
        "reason": None,
        "blame": {"side": "receiver"},
        "causes": [cause()],
        "trigger": dict(TRIGGER),
        "capture": {"role": "suspect"},
        "severity": {"stalled_ms_per_s": 100.0},
    }
    return {**row, **changes}


def chosen(row, names=DEFAULT, confidence="probable"):
    return remedy_choice.of_host(row, RUN, {name: ALL[name] for name in names}, confidence)


def test_cheapest_and_most_reversible_first_with_reason_and_what_to_expect():
    steps, _ = chosen(host())
    assert [step["remedy"] for step in steps] == ["drop_caches", "reconfigure_unit", "drain_reboot"]
    first = steps[0]
    assert first["causes"] == ["memcg-zombie-stat"] and first["temporary"] and not first["undo"]
    assert first["because"].startswith("Reading memory.stat visits memory cgroups") and first["because"].endswith("(probable: frames)")
    assert "\n" not in first["expect"] and first["risk"] == ALL["drop_caches"].row["risk"]
    assert first["parameters"]["pagecache"] is False and steps[-1]["drain"]


def test_the_order_is_that_of_the_descriptions():
    named = cause(remedies=list(reversed(DEFAULT)))
    steps, _ = chosen(host(causes=[named]))
    orders = [ALL[step["remedy"]].row["order"] for step in steps]
    assert orders == sorted(orders) and len(steps) >= 5


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({"status": "suspect"}, "it is only suspected to stall"),
        ({"status": "not_measured", "reason": "ssh: refused"}, "not measured (ssh: refused)"),
        ({"blame": {"side": "sender"}}, "the fault is blamed on: sender"),
        ({"blame": {"side": "path"}}, "the fault is blamed on: path"),
        ({"blame": {"side": "unknown"}}, "the fault is blamed on: unknown"),
        ({"blame": None}, "the fault is blamed on: unknown"),
        ({"causes": []}, "no known cause was found"),
        ({"causes": [], "capture": None}, "it was not opened up"),
        ({"causes": [cause(confidence="suspected")]}, "no cause is confirmed or probable: the likeliest, memcg-zombie-stat, is suspected"),
        ({"causes": [cause(remedies=[])]}, "no remedy is known for memcg-zombie-stat"),
        ({"causes": [cause(remedies=["kernel_upgrade"])]}, "kernel_upgrade: not in stall_remedies"),
        ({"causes": [cause(remedies=["restart_unit"])], "trigger": None}, "restart_unit: parameters.unit: is missing"),
    ],
)
def test_why_nothing_is_done(changes, because):
    steps, said = chosen(host(**changes))
    assert steps == [] and said.startswith(because)


def test_a_suspected_cause_is_acted_on_where_that_is_allowed():
    row = host(causes=[cause(confidence="suspected")])
    assert chosen(row, confidence="suspected")[0] and not chosen(row, confidence="probable")[0]
    assert not chosen(host(), confidence="confirmed")[0]


def test_what_was_found_goes_before_the_default_and_what_the_cause_asks_for_before_both():
    row = host(causes=[cause(remedies=["set_priority"])])
    (step,) = chosen(row)[0]
    assert step["parameters"] == {
        "policy": "other",
        "pid": 10137,
        "comm": "cadvisor",
        "seen_at": RUN["started_at"],
        "unit": "cadvisor.service",
    }
    row = host(causes=[cause(remedies=["set_priority"], settings={"set_priority": {"policy": "idle", "pid": 7, "nice": None}})])
    (step,) = chosen(row)[0]
    assert (step["parameters"]["policy"], step["parameters"]["pid"]) == ("idle", 7)
    # A null asks for nothing
    assert "nice" not in step["parameters"]


def test_what_was_found_and_does_not_fit_is_as_if_it_had_not_been():
    row = host(causes=[cause(remedies=["set_priority"])], trigger={**TRIGGER, "unit": ""})
    (step,) = chosen(row)[0]
    assert "unit" not in step["parameters"]


def test_causes_that_want_the_same_remedy_share_a_step_and_the_settings_of_both():
    both = [cause("budget-squeeze"), cause("neigh-gc")]
    (step,) = [step for step in chosen(host(causes=both))[0] if step["remedy"] == "sysctl"]
    wanted = [row for each in both for row in each["settings"]["sysctl"]["settings"]]
    assert step["causes"] == ["budget-squeeze", "neigh-gc"] and step["parameters"]["settings"] == wanted
    assert ALL["sysctl"].wrong(step["parameters"]) == []


def test_a_template_from_a_host_is_never_planned():
    row = host(causes=[cause(remedies=["set_priority"])], trigger={**TRIGGER, "comm": "{{ lookup('pipe', 'id') }}"})
    steps, because = chosen(row)
    assert steps == [] and "is a template" in because


def test_all_hosts_but_the_clear_ones_are_accounted_for():
    found = {"run": RUN, "hosts": [host(), host(host="b", status="clear", causes=[]), host(host="c", causes=[])]}
    choice = remedy_choice.choose(found, ALL, "probable")
    assert [row["host"] for row in choice.hosts] == ["node-a"] and [row["host"] for row in choice.left_out] == ["c"]


# -- The whole plan, whatever the findings say

text = st.text(max_size=30) | st.sampled_from(
    ["{{ 7*7 }}", "../../etc", "a: b", "- x", "null", "\x1b]0;x\x07", "{% raw %}", "yes", "1e3", "2026-11-25"]
)
rows = st.builds(
    host,
    status=st.sampled_from(["stalling", "stalling", "suspect", "clear", "not_measured"]),
    reason=text,
    blame=st.builds(dict, side=st.sampled_from(["receiver", "receiver", "application", "sender", "unknown"])),
    causes=st.lists(
        st.builds(
            cause,
            st.sampled_from(["memcg-zombie-stat", "budget-squeeze", "rt-hog", "cfs-throttle", "smaps-clear-refs"]),
            st.sampled_from(["confirmed", "probable", "suspected"]),
            title=text,
            evidence=st.lists(text, max_size=5),
        ),
        max_size=3,
        unique_by=lambda each: each["id"],
    ),
    trigger=st.none() | st.builds(dict, comm=text, pid=st.integers(), unit=text | st.none(), cgroup=text),
    severity=st.builds(dict, stalled_ms_per_s=st.floats(0, 1000)),
)
PARAMETERS = {
    "canary": 1,
    "canary_better": True,
    "limits": {"fleet": "50%", "rack": 1},
    "failures_most": 0,
    "soak_s": 0,
    "maintenance": [],
    "breaker": {"failures": 3, "within_h": 24},
    "plan_valid_h": 24,
    "escalate": True,
    "domains": {"rack": "rack_*"},
}


@given(st.lists(rows, max_size=6), st.data())
def test_any_findings_make_a_plan_that_is_accepted_as_it_was_written(hosts, data):
    names = [f"node-{index}" for index in range(len(hosts))]
    found = {"run": RUN, "hosts": [{**copy.deepcopy(row), "host": name} for row, name in zip(hosts, names, strict=True)]}
    fleet = {name: {"rack": f"rack_{data.draw(st.integers(0, 2))}"} for name in [*names, "other-1", "other-2"]}
    allowed = {name: ALL[name] for name in DEFAULT}
    choice = remedy_choice.choose(found, allowed, "probable")
    now = plan_check.moment("2026-11-25T12:02:00Z")
    plan = plan_make.build(
        name=f"{RUN['id']}-plan",
        run=RUN["id"],
        now=now,
        found_at=now,
        hosts=choice.hosts,
        left_out=choice.left_out,
        down=[row["host"] for row in found["hosts"] if row["status"] == "not_measured"],
        domains=fleet,
        parameters=PARAMETERS,
    )
    written = plan_file.text(plan, "A heading\nof two lines")
    assert plan_file.parsed(written.encode(), "plan.yml") == plan == yaml.safe_load(written)
    assert plan_check.wrong(plan, allowed, fleet) == []
    assert plan_make.wrong_limits(PARAMETERS, fleet) == []
    accounted = [row["host"] for row in plan["hosts"]] + [row["host"] for row in plan["left_out"]]
    assert sorted(accounted) == sorted(row["host"] for row in found["hosts"] if row["status"] != "clear")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"limits": {"rak": 1}}, "stall_limits.rak: is no level of failure domains: there are fleet, rack"),
        ({"limits": {"rack": "200%"}}, "stall_limits.rack: '200%' does not have the form"),
        ({"limits": {"rack": 0}}, "stall_limits.rack: 0 must be at least 1"),
        ({"maintenance": [{"from": "25:00", "to": "05:00"}]}, "stall_maintenance[0].from: '25:00' does not have the form"),
        ({"breaker": {"failures": 0, "within_h": 1}}, "stall_breaker.failures: 0 must be at least 1"),
    ],
)
def test_limits_that_cannot_be_are_named_as_the_variable_is(change, said):
    (sentence,) = plan_make.wrong_limits({**PARAMETERS, **change}, {"a": {"rack": "rack_1"}})
    assert sentence.startswith(said)
