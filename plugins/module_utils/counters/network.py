# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Receive queues of the interfaces that carry addresses, and the CPUs that serve them (see module_utils/nic.py)."""

from typing import Any, Dict

from ansible_collections.fleet.stall.plugins.module_utils import nic


def read() -> Dict[str, Any]:
    return nic.read()
