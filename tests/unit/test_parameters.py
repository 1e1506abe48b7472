"""Every variable is described once; a wrong one is refused with its name, its value and the remedy, all of them at once."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.plugin_utils import parameters

ROLES = Path(__file__).resolve().parents[2] / "roles"
SERVICE = {"name": "web", "protocol": "http", "node_port": 30080}


@pytest.mark.parametrize("role", parameters.ROLES)
def test_the_defaults_of_a_role_are_those_it_describes(role):
    options = yaml.safe_load((ROLES / role / "meta" / "argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    defaults = yaml.safe_load((ROLES / role / "defaults" / "main.yml").read_text())
    # A default that is a template is described in words: a specification shows values.
    computed = {name: value for name, value in defaults.items() if "default" not in options.get(name, {}) and "{{" in str(value)}
    assert defaults == {name: option.get("default") for name, option in options.items()} | computed


def test_the_defaults_are_sound():
    values, errors = parameters.validate({})
    assert errors == []
    assert values["window_s"] == 30 and values["tcp_interval_ms"] == values["interval_ms"] == 10


@pytest.mark.parametrize(
    ("raw", "name", "value"),
    [
        ({"stall_interval_ms": "20"}, "interval_ms", 20.0),
        ({"stall_interval_ms": 20}, "tcp_interval_ms", 20.0),
        ({"stall_layers": "node,http"}, "layers", ["node", "http"]),
        ({"stall_families": ["4", 6]}, "families", [4, 6]),
        ({"stall_become": "false"}, "become", False),
        ({"stall_window_s": None}, "window_s", 30.0),
        ({"stall_services": [SERVICE]}, "fail_on", ""),
    ],
)
def test_values_take_their_type_as_ansible_gives_it(raw, name, value):
    values, errors = parameters.validate(raw)
    assert errors == [] and values[name] == value


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"stall_interval_ms": "-5"}, ["stall_interval_ms is -5", "from 1 to 10000 milliseconds"]),
        ({"stall_interval_ms": 0.5}, ["stall_interval_ms is 0.5"]),
        ({"stall_interval_ms": "nan"}, ["stall_interval_ms is nan"]),
        ({"stall_top": float("inf")}, ["stall_top is inf"]),
        ({"stall_interval_ms": "soon"}, ["stall_interval_ms is 'soon'", "a number"]),
        ({"stall_window_s": 0.05}, ["stall_window_s is 0.05", "from 0.1"]),
        ({"stall_window_s": 0.15, "stall_interval_ms": 20}, ["stall_window_s is 0.15", "ten intervals", "0.2 seconds"]),
        ({"stall_window_s": 0.5, "stall_services": [SERVICE]}, ["ten intervals", "stall_http_new_interval_ms"]),
        ({"stall_targets": ""}, ["stall_targets is empty", "'all'"]),
        ({"stall_layers": []}, ["stall_layers is empty"]),
        ({"stall_layers": ["nod"]}, ["stall_layers is ['nod']", "'node'"]),
        ({"stall_fail_on": "bad"}, ["stall_fail_on is 'bad'", "'critical'"]),
        ({"stall_grades": {"critical": 1, "major": 2}}, ["stall_grades", "critical must be above major"]),
        ({"stall_grades": {"critical": 1}}, ["stall_grades", "major"]),
        ({"stall_domains": {"rack": ""}}, ["stall_domains.rack"]),
        ({"stall_services": [{"name": "a"}]}, ["'a' needs either node_port, or target and port"]),
        ({"stall_services": [{**SERVICE, "target": "x", "port": 1}]}, ["'web' needs either"]),
        ({"stall_services": [{"name": "a", "protocol": "syn", "target": "x", "port": 1}]}, ["'a' has protocol 'syn'", "node_port"]),
        ({"stall_services": [SERVICE, SERVICE]}, ["'web' is there more than once"]),
        ({"stall_services": [{**SERVICE, "node_port": 70000}]}, ["'web' has node_port 70000"]),
        ({"stall_services": [{**SERVICE, "endpoints": ["10.244.4.10"]}]}, ["'web' has the endpoint '10.244.4.10'", "10.244.4.10:8080"]),
        ({"stall_services": [{**SERVICE, "path": "/ HTTP/1.1\r\nX:"}]}, ["'web' has path", "control character"]),
        ({"stall_services": [{**SERVICE, "name": "a\x1b[31m"}]}, ["a\\x1b[31m"]),
        ({"stall_services": [{"nam": "a"}]}, ["stall_services", "nam"]),
        ({"stall_run": ["x"], "stall_top": 0}, ["stall_top is 0"]),
        ({"stall_capture_s": 0.5}, ["stall_capture_s is 0.5", "from 1 to 3600 seconds"]),
        ({"stall_capture_s": 5, "stall_interval_ms": 1000}, ["stall_capture_s is 5", "ten intervals", "10 seconds"]),
        ({"stall_suspects_max": 0}, ["stall_suspects_max is 0", "hosts"]),
        ({"stall_stack_hz": 20000}, ["stall_stack_hz is 20000", "samples a second"]),
        ({"stall_strace_s": -1}, ["stall_strace_s is -1", "seconds"]),
        ({"stall_capture_bytes": "much"}, ["stall_capture_bytes is 'much'"]),
        ({"stall_capture_hosts": [f"h{n}" for n in range(51)]}, ["stall_capture_hosts names 51 hosts", "at most 50"]),
    ],
)
def test_a_mistake_is_named_with_its_value_and_the_remedy(raw, words):
    _values, errors = parameters.validate(raw)
    assert errors
    assert all(word in " ".join(errors) for word in words), errors


def test_all_mistakes_are_told_at_once():
    _values, errors = parameters.validate({"stall_interval_ms": -5, "stall_window_s": "x", "stall_targets": "", "stall_top": 0})
    assert len(errors) == 4


@given(
    st.sampled_from(sorted(parameters.specs())),
    st.none() | st.text() | st.floats() | st.lists(st.text()) | st.dictionaries(st.text(), st.text()),
)
def test_no_value_breaks_the_check(name, value):
    values, errors = parameters.validate({name: value})
    assert set(values) == {name.removeprefix("stall_") for name in parameters.specs()}
    assert all(error.isprintable() for error in errors)
