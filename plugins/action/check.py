# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import request
from ansible_collections.fleet.stall.plugins.plugin_utils.actions import ControllerAction


class ActionModule(ControllerAction):
    """Refuse a request that can't be met, before any host is contacted."""

    in_check_mode = True

    def act(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        checked = request.read(task_vars, self._templar.template, self._loader)
        request.catalogue(checked.parameters)
        if checked.parameters["run"]:
            request.find_run(task_vars, self._templar.template)
        return {"hosts": len(checked.hosts)}
