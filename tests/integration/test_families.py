"""IPv6 beside IPv4."""

from __future__ import annotations

import pytest

from . import run


@pytest.mark.lab
@pytest.mark.slow
def test_both_families_are_probed_and_see_the_stall(labs, tmp_path):
    lab = labs.get("rx_stall")
    done = run.diagnose(lab.inventory, tmp_path, families=[4, 6], layers=["node", "outside"], window_s=8, capture=False)
    assert done.rc == 0, done.screen
    assert done.findings["hosts"][0]["host"] == "node-a1-2", done.screen
    six = {flow["id"]: flow for flow in done.manifest["flows"] if flow["family"] == 6}
    measured = [flow for host in lab.expected["hosts"] for flow in done.evidence(host)["flows"] if flow["id"] in six]
    assert measured and all(flow["received"] for flow in measured)
    assert any(flow["events"] for flow in measured if six[flow["id"]]["target"] == "node-a1-2")
