# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The work is done on the controller, by the action plugin of the same name.

DOCUMENTATION = r"""
---
module: campaign_report
short_description: Report a rolling upgrade of the kernel
version_added: "0.3.0"
description:
  - Shows, host by host, the kernel and the stall severity before and after, and the fleet by kernel and severity, before and now.
  - Writes C(campaign.md) and C(campaign.html) into the directory of the run that the campaign is measured against.
  - Leaves plans of other kinds alone.
author:
  - fleet.stall contributors (@fleet)
options:
  dir:
    description: The directory of the campaign, C(runs/<run>/remediation/<plan>).
    type: path
    required: true
extends_documentation_fragment:
  - fleet.stall.controller
"""

EXAMPLES = r"""
- name: Report the fleet by kernel
  fleet.stall.campaign_report:
    dir: runs/20261122T101500Z-4f2a/remediation/20261122T101500Z-4f2a-campaign
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
report:
  description: The path of campaign.html.
  type: str
  returned: if the plan is of a kernel campaign
"""
