# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import time
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils import boots
from ansible_collections.fleet.stall.plugins.plugin_utils.actions import failed
from ansible_collections.fleet.stall.plugins.plugin_utils.boots import BootError
from ansible_collections.fleet.stall.plugins.plugin_utils.reach import ReachAction, Silent, said
from ansible_collections.fleet.stall.plugins.plugin_utils.text import printable

_SEND_S = 60


class ActionModule(ReachAction):
    """Reboot a host, and wait until it runs another boot."""

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        host = printable((task_vars or {})["inventory_hostname"])
        if self._connection.transport == "local":
            return failed([f"{host} is reached by a local connection: rebooting it would reboot the controller. Remedy: reach it by ssh."])
        was, begun = str(self._task.args["boot_id"]), time.monotonic()
        if self._task.check_mode:
            return {"changed": True, "boot_id": was}
        try:
            self._send()
            now = boots.wait_for_another(was, self._look, float(self._task.args.get("timeout_s", 600)), time.monotonic, time.sleep)
        except BootError as error:
            return failed([f"{host} {error}."])
        return {"changed": True, "boot_id": now, "waited_s": round(time.monotonic() - begun, 1)}

    def _send(self) -> None:
        """A connection that breaks says nothing: the boot id will tell. Raises BootError where the host refuses."""
        argv = self._task.args.get("command") or ["systemctl", "reboot"]
        try:
            done = self.ask(self.bounded(argv, _SEND_S))
        except Silent:
            return
        # Ended by the shutdown it asked for, or too slow to say so
        if done["rc"] not in (0, 124, 137, 143, 255):
            raise BootError(f"refuses to reboot: {printable(' '.join(map(str, argv)))} ended with {done['rc']} ({said(done)})")

    def _look(self) -> boots.Look:
        self.fresh()
        try:
            done = self.ask(f"cat {boots.PATH}")
        except Silent as error:
            return boots.Look(silent=str(error))
        return boots.Look(boots.boot_id(done["stdout"]), printable(done["stderr"].strip(), 200))
