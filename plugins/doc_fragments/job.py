# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    """What the modules that leave a job behind on a host (an observer, a capture) have in common; see module_utils/entry.py."""

    DOCUMENTATION = r"""
options:
  state:
    description:
      - V(started) leaves behind what follows O(plan).
      - V(stopped) ends what O(run) left behind on O(host), if it still runs, and removes all that it left.
    type: str
    choices: [started, stopped]
    default: started
  plan:
    description:
      - What to do, when, and within which bounds, as the plan action made it for this host. The keys are described in
        C(docs/ARCHITECTURE.md).
      - Times are those of the controller. If this host's clock does not agree with the time of dispatch, the window counts from now.
    type: dict
  run:
    description: Id of the run to end.
    type: str
  host:
    description: Inventory name of the host, as in the plan of that run.
    type: str
attributes:
  check_mode:
    description: Can run in check mode and say what it would do; nothing is sent, recorded or written.
    support: full
  diff_mode:
    description: Shows what would change.
    support: none
    details: Nothing on the host is changed.
  platform:
    description: Systems that the module runs on.
    support: full
    platforms: linux
author:
  - fleet.stall contributors
"""
