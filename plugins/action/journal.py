# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils.actions import ControllerAction
from ansible_collections.fleet.stall.plugins.plugin_utils.journal_state import Host
from ansible_collections.fleet.stall.plugins.plugin_utils.remediation import Remediation


class ActionModule(ControllerAction):
    """Say in the journal what is about to be done with a host, or was; and what the journal knows of it."""

    in_check_mode = True

    def act(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        arguments, host = self._task.args, task_vars["inventory_hostname"]
        if not arguments.get("dir"):
            return _known(Host(host))
        campaign = Remediation(arguments["dir"])
        if arguments.get("event") and not self._task.check_mode:
            campaign.note(arguments["event"], host=host, data=arguments.get("data") or {})
        return _known(campaign.state().hosts.get(host) or Host(host))


def _known(host: Host) -> dict[str, Any]:
    return {
        "cordoned": host.cordoned,
        "drained": host.drained,
        "reboot": host.reboot,
        "rebooted_from": host.rebooted_from,
        "gate": host.gate,
        "undrain": host.cordoned and host.is_healthy,
        "healthy": host.is_healthy,
    }
