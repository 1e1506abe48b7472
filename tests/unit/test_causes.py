"""Each cause is found in its case and not in what only looks like it, as sure as the evidence is; a bad file is refused."""

import copy
import json
import random
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.plugin_utils import schema
from ansible_collections.fleet.stall.plugins.plugin_utils.causes import BUILT_IN, SCHEMA, load, match

CATALOGUE = load()
IDS = [cause.id for cause in CATALOGUE.causes]
TABLE = yaml.safe_load((Path(__file__).parent / "causes.yml").read_text(encoding="utf-8"))
FORM = json.loads(SCHEMA.read_text(encoding="utf-8"))
FILES = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in BUILT_IN.iterdir()}


def case_of(row):
    """A row of the table as a case; `stack` is short for stacks of one."""
    stack = row.get("stack")
    return {"stacks": [[stack, 40]] if stack else [], **{key: value for key, value in row.items() if key not in ("stack", "expect")}}


def confidence(row, identity):
    return {found["id"]: found["confidence"] for found in match(CATALOGUE, case_of(row))}.get(identity)


def rows(kind):
    return [pytest.param(identity, row, id=f"{identity}-{n}") for identity, kinds in TABLE.items() for n, row in enumerate(kinds[kind])]


@pytest.mark.parametrize("identity", IDS)
def test_every_cause_has_a_case_and_a_near_miss(identity):
    assert TABLE[identity]["found"] and TABLE[identity]["near"]


def test_the_table_names_no_other_cause():
    assert sorted(TABLE) == IDS


@pytest.mark.parametrize(("identity", "row"), rows("found"))
def test_a_cause_is_found_as_sure_as_its_evidence(identity, row):
    assert confidence(row, identity) == row["expect"]


@pytest.mark.parametrize(("identity", "row"), rows("near"))
def test_what_looks_like_a_cause_is_not_it(identity, row):
    assert confidence(row, identity) is None


def test_the_article():
    """The published case: cadvisor reads memory.stat on CPU 11, and ksoftirqd/11 handles the backlog afterwards."""
    row = next(row for row in TABLE["memcg-zombie-stat"]["found"] if row["expect"] == "confirmed")
    best, *others = match(CATALOGUE, case_of(row))
    assert (best["id"], best["class"], best["confidence"]) == ("memcg-zombie-stat", "T", "confirmed")
    assert others == []
    assert best["remedies"][0] == "drop_caches" and {"drain_reboot", "kernel_upgrade"} <= set(best["remedies"])
    assert "4.19" in best["fix"] and best["source"].startswith("https://github.blog/")
    assert any("22502" in sentence for sentence in best["evidence"])
    assert any("153" in sentence for sentence in best["evidence"])


def test_the_lab_reader_comes_before_the_priority_that_lets_it_block():
    row = {**TABLE["smaps-clear-refs"]["found"][0], "facts": {"threads.napi/eth0-8213.run_delay.ms_per_s": 90}}
    assert [(found["id"], found["confidence"]) for found in match(CATALOGUE, case_of(row))] == [
        ("smaps-clear-refs", "probable"),
        ("rt-hog", "suspected"),
    ]


def test_the_function_that_a_worker_runs_comes_before_the_worker():
    row = {
        "class": "T",
        "stack": "kthread;worker_thread;process_one_work;gc_worker",
        "trigger": {"comm": "kworker/1:2"},
        "handler": "napi/eth0-1",
        "kernel": "5.15.0",
    }
    assert [found["id"] for found in match(CATALOGUE, case_of(row))] == ["ct-gc", "wq-hog"]


def test_a_line_of_yesterday_does_not_put_the_priority_before_the_reader():
    """The kernel says once a boot that it throttled real-time tasks."""
    row = {
        **TABLE["smaps-clear-refs"]["found"][1],
        "log": ["sched: RT throttling activated"],
        "facts": {"kernel_log.rt_throttling.day": 1},
    }
    assert [(found["id"], found["confidence"]) for found in match(CATALOGUE, case_of(row))] == [
        ("smaps-clear-refs", "suspected"),
        ("rt-hog", "suspected"),
    ]


@pytest.mark.parametrize(("when", "expected"), [("log", "confirmed"), ("log_before", "probable")])
def test_a_line_of_the_day_before_confirms_nothing(when, expected):
    row = next(row for row in TABLE["console-printk"]["found"])
    row = {key: value for key, value in row.items() if key != "log"} | {when: ["watchdog: Watchdog detected hard LOCKUP on cpu 3"]}
    (found,) = (found for found in match(CATALOGUE, case_of(row)) if found["id"] == "console-printk")
    assert found["confidence"] == expected and any("hard LOCKUP" in sentence for sentence in found["evidence"])


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"ms_per_s": 3.3}, []),
        (
            {"ms_per_s": 3.3, "max_ms": 6},
            ["against it: most ms in a second that the thread waited for its CPU: 6 (20 or more would speak for it)"],
        ),
    ],
)
def test_an_average_alone_speaks_against_nothing(facts, said):
    """A stall of 100 ms in half a minute is 3.3 ms/s."""
    row = {**TABLE["rt-hog"]["found"][0], "facts": {f"threads.napi/eth0-8213.run_delay.{name}": value for name, value in facts.items()}}
    (found,) = match(CATALOGUE, case_of(row))
    assert [sentence for sentence in found["evidence"] if "against" in sentence] == said


def test_large_numbers_are_written_out():
    row = next(row for row in TABLE["fsnotify-dentries"]["found"])
    (found,) = match(CATALOGUE, case_of({**row, "facts": {"dentries.unused": 7654321}}))
    assert any("unused dentries: 7654321 (5000000 or more speaks for it)" in sentence for sentence in found["evidence"])


def test_nothing_known_gives_nothing():
    assert match(CATALOGUE, {}) == []
    assert (
        match(
            CATALOGUE,
            case_of({"class": "T", "stack": "do_syscall_64;sys_write;my_module_write", "kernel": "4.9.0", "handler": "ksoftirqd/0"}),
        )
        == []
    )


ARTICLE = TABLE["memcg-zombie-stat"]["found"][1]
OTHER = "do_syscall_64;sys_futex;do_futex;futex_wait"


@pytest.mark.parametrize(
    ("quiet", "seconds", "expected"),
    [
        ([[OTHER, 400]], {}, "confirmed"),
        ([[ARTICLE["stack"], 20], [OTHER, 400]], {}, "confirmed"),
        ([[ARTICLE["stack"], 380], [OTHER, 20]], {}, "probable"),
        # The only thing the process ever does, and far less of it in quiet time
        ([[ARTICLE["stack"], 400]], {"stacks_s": 0.04, "quiet_s": 30.0}, "confirmed"),
        ([[ARTICLE["stack"], 30000]], {"stacks_s": 0.04, "quiet_s": 30.0}, "probable"),
        # Too few samples to say how often it is there
        ([[ARTICLE["stack"], 5]], {}, "confirmed"),
    ],
)
def test_what_is_as_frequent_in_quiet_time_counts_less(quiet, seconds, expected):
    found = match(CATALOGUE, {**case_of(ARTICLE), "quiet": quiet, **seconds})
    assert found[0]["id"] == "memcg-zombie-stat" and found[0]["confidence"] == expected


@pytest.mark.parametrize(("weight", "found"), [(2, False), (30, True)])
def test_a_signature_in_few_samples_is_none(weight, found):
    case = {**case_of(ARTICLE), "stacks": [[ARTICLE["stack"], weight], [OTHER, 40]]}
    assert bool(match(CATALOGUE, case)) is found


MASKED = "do_syscall_64;sys_read;vfs_read;seq_read_iter;memory_stat_show;{}"


@pytest.mark.parametrize(
    ("leaf", "handler", "preemption", "expected"),
    [
        ("mem_cgroup_iter", "ksoftirqd/1", "none", "suspected"),
        ("_raw_spin_unlock_irqrestore", "ksoftirqd/1", "none", "probable"),
        ("_raw_spin_lock_bh", "ksoftirqd/1", "full", "probable"),
        ("mem_cgroup_iter", "napi/eth0-3", "none", "probable"),
        ("mem_cgroup_iter", "cadvisor", "none", "suspected"),
    ],
)
def test_from_6_5_on_a_task_alone_holds_no_packets_up(leaf, handler, preemption, expected):
    case = {
        "class": "T",
        "stacks": [[MASKED.format(leaf), 40]],
        "handler": handler,
        "preemption": preemption,
        "kernel": "6.8.0",
        "facts": {"memory_cgroups.dying": 9000, "memory_cgroups.read_ms": 200},
    }
    assert match(CATALOGUE, case)[0]["confidence"] == expected


# -- Files ----------------------------------------------------------------------------------------------------------------------------


# -- Hostile input --------------------------------------------------------------------------------------------------------------------

scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20))
anything = st.recursive(
    scalars, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)), max_leaves=8
)
names = st.sampled_from(
    sorted({name for cause in FILES.values() for frames in cause.get("frames", []) for name in frames}) + ["[user]", "", "a b"]
)
stacks = st.lists(st.tuples(st.lists(names, max_size=6).map(";".join), st.floats(-1, 1000)), max_size=6)
fact_names = sorted({counter["fact"] for cause in FILES.values() for counter in cause.get("counters", [])})
CASE_KEYS = (
    "class",
    "stacks",
    "quiet",
    "stacks_s",
    "quiet_s",
    "trigger",
    "on_rx_cpu",
    "cpu",
    "handler",
    "preemption",
    "kernel",
    "log",
    "facts",
)
fields = ("comm", "pid", "cgroup", "syscall", "path", "buffer", "policy")


@given(
    st.dictionaries(st.sampled_from(CASE_KEYS), anything),
)
def test_no_case_makes_it_raise(case):
    match(CATALOGUE, case)


@given(
    st.sampled_from(["T", "SI", "I", "Q", "X", "R", None]),
    stacks,
    stacks,
    st.dictionaries(st.sampled_from(fact_names), st.floats()),
    st.dictionaries(st.sampled_from(fields), st.text(max_size=30)),
    st.randoms(use_true_random=False),
)
def test_the_order_of_what_was_measured_does_not_matter(kind, before, quiet, facts, trigger, draw):
    case = {
        "class": kind,
        "stacks": before,
        "quiet": quiet,
        "facts": facts,
        "trigger": trigger,
        "kernel": "5.4.0",
        "handler": "ksoftirqd/0",
    }
    found = match(CATALOGUE, case)
    other = copy.deepcopy(case)
    draw.shuffle(other["stacks"])
    draw.shuffle(other["quiet"])
    other["facts"] = dict(sorted(facts.items(), reverse=True))
    assert match(CATALOGUE, other) == found
    for row in found:
        assert row["confidence"] in ("confirmed", "probable", "suspected") and row["evidence"]
        assert all(sentence.isprintable() for sentence in row["evidence"])
    if kind is not None:
        assert {row["class"] for row in found} <= {kind}


def test_the_order_of_the_causes_does_not_matter(tmp_path):
    shuffled = list(CATALOGUE.causes)
    random.Random(3).shuffle(shuffled)
    for kinds in TABLE.values():
        for row in kinds["found"]:
            assert match(type(CATALOGUE)(tuple(shuffled)), case_of(row)) == match(CATALOGUE, case_of(row))


# -- The schema -----------------------------------------------------------------------------------------------------------------------


def keywords(node):
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("properties", "$defs"):
                for inner in value.values():
                    yield from keywords(inner)
            else:
                yield key
                if key != "enum":
                    yield from keywords(value)


def test_the_check_knows_every_word_of_the_schema():
    assert set(keywords(FORM)) <= schema.KEYWORDS
    jsonschema.Draft202012Validator.check_schema(FORM)


@pytest.mark.parametrize("identity", IDS)
def test_the_files_fit_by_jsonschema_as_well(identity):
    jsonschema.Draft202012Validator(FORM).validate(FILES[identity])


@given(st.sampled_from(IDS), st.data())
def test_the_check_agrees_with_jsonschema(identity, data):
    row = copy.deepcopy(FILES[identity])
    for _ in range(data.draw(st.integers(1, 3))):
        key = data.draw(st.sampled_from([*sorted(FORM["properties"]), "more"]))
        choice = data.draw(st.sampled_from(["drop", "replace", "borrow"]))
        if choice == "drop":
            row.pop(key, None)
        elif choice == "replace":
            row[key] = data.draw(anything)
        elif key in (other := FILES[data.draw(st.sampled_from(IDS))]):
            row[key] = copy.deepcopy(other[key])
    expected = not list(jsonschema.Draft202012Validator(FORM).iter_errors(row))
    assert (schema.errors(row, FORM) == []) is expected
