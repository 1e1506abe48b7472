# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    """The attributes of what an action plugin does on the controller. One that can run in check mode says so itself."""

    DOCUMENTATION = r"""
attributes:
  action:
    description: Runs on the controller.
    support: full
  check_mode:
    description: Can run in check mode and return what it would do, changing nothing.
    support: none
  diff_mode:
    description: Returns what was changed in diff mode.
    support: none
  platform:
    description: The systems it can be used on.
    support: full
    platforms: posix
"""
