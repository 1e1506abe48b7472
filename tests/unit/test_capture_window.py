"""The stalls of a host in the window of its capture, to which few flows are left."""

import copy

import pytest

from ansible_collections.fleet.stall.plugins.plugin_utils import findings
from ansible_collections.fleet.stall.plugins.plugin_utils.capture_window import Window
from tests.unit.simfleet import GRADES, SPARSE, Fleet, fault

HOST = "node-b1-1"
LONG = [(1.0 + 2.317 * number, 0.3) for number in range(6)]
SHORT = [(2.1 + 2.317 * number, 0.07) for number in range(3)]


def kept(flow):
    return flow["protocol"] in ("http_kept", "tcp_kept")


def stalls(blamed, *late):
    """How many flows saw each stall of the host: long ones of `web`, and short ones of these services on kept connections alone.

    `blamed`: components that the first window blames.
    """
    short = [fault(service, SHORT, kept) for service in late]
    fleet = Fleet(faults=[fault("app:web", LONG), *short], changes=SPARSE)
    manifest = copy.deepcopy(fleet.manifest())
    manifest["flows"] = [flow for flow in manifest["flows"] if flow["target"] == HOST]
    manifest["run"]["captured"] = {HOST: "suspect"}
    evidence = fleet.evidence(manifest)
    window = Window(manifest, evidence, findings.judge(manifest, evidence, GRADES), None, None, {}, {HOST: blamed})
    return [len({view.flow for view in stall.events}) for stall in window.stalls(HOST)]


@pytest.mark.parametrize(
    ("blamed", "late", "short"),
    [
        (["app:web", "app:line"], ["app:web", "app:line"], [2, 2, 2]),
        (["app:web"], ["app:web", "app:line"], [1, 1, 1]),
        (["host:node-b1-1"], ["app:web", "app:line"], [1, 1, 1]),
        (["app:web", "app:line"], ["app:line"], []),
    ],
    ids=["both known", "one is not known", "another thing", "one flow alone"],
)
def test_what_flows_saw_of_services_that_are_known_to_be_late_counts(blamed, late, short):
    """But for what one flow alone saw of a service that this window blames for nothing: it may be that flow."""
    found = stalls(blamed, *late)
    assert sorted(found) == sorted([2] * len(LONG) + short)
