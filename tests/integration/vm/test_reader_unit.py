"""A unit that stalls its machine is restarted by a campaign: what was found is gone, and that is seen by the same probes."""

from __future__ import annotations

import re

import pytest

from .edited import Campaign

pytestmark = pytest.mark.vm

HOST, UNIT = "vm-a1-1", "stats-reader.service"
WINDOW_S = 30


def test_a_reader_is_restarted_and_the_stalls_are_gone(machines, tmp_path):
    campaign = Campaign(machines("vm_reader_unit"), tmp_path, WINDOW_S)
    assert campaign.found.host(HOST)["status"] == "stalling", campaign.found.screen
    parameters = {"unit": UNIT, "seen_at": campaign.found.findings["run"]["finished_at"]}
    campaign.plan(HOST, "restart_unit", parameters=parameters)
    code, output = campaign.confirm()
    assert code == 0 and re.search(r"restart_unit +changed +better", output), output
    again, output = campaign.confirm()
    assert again == 0 and set(re.findall(r"changed=(\d+)", output)) == {"0"}, output
