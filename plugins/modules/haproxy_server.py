#!/usr/bin/python
# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
---
module: haproxy_server
short_description: Take the servers of a host out of an HAProxy, and give back what was taken
version_added: "0.3.0"
description:
  - Runs where the HAProxy runs, and speaks to its runtime socket.
  - What is taken is noted on that machine before it is taken, until its next boot. Only that is given back; servers that somebody else has
    drained or put into maintenance stay as they are.
author:
  - fleet.stall contributors (@fleet)
options:
  state:
    description:
      - V(seen) reads what there is, and fails if a backend can't do without the host.
      - V(drained) has the servers take no new sessions.
      - V(empty) waits until they have no session left, and fails if they are in use again.
      - V(ready) gives back what was taken.
    type: str
    choices: [seen, drained, empty, ready]
    default: seen
  host:
    description: The host that is to be taken out, as the inventory calls it. A server of that name, or of its first part, is the host.
    type: str
    required: true
  addresses:
    description: Addresses of the host. A server with one of them is the host.
    type: list
    elements: str
    default: []
  servers:
    description: The servers that are the host, C(backend/server) each, instead of those that are found.
    type: list
    elements: str
    default: []
  socket:
    description: The runtime socket of the HAProxy with level admin, a path or C(address:port).
    type: str
    default: /run/haproxy/admin.sock
  least:
    description: How many servers each of its backends has to keep in use.
    type: int
    default: 1
  timeout_s:
    description: For V(empty), how long to wait, in seconds.
    type: float
    default: 600
  retry_s:
    description: For V(empty), how long to wait between two looks, in seconds.
    type: float
    default: 5
attributes:
  check_mode:
    description: Can run in check mode and return what it would do, changing nothing.
    support: full
  diff_mode:
    description: Returns what was changed in diff mode.
    support: none
  platform:
    description: The systems it can be used on.
    support: full
    platforms: linux
requirements:
  - Python 3.6 or later and HAProxy 1.8 or later where it runs
"""

EXAMPLES = r"""
- name: Take the host out of the load balancer
  fleet.stall.haproxy_server:
    state: drained
    host: "{{ inventory_hostname }}"
  delegate_to: lb-1
  become: true
"""

RETURN = r"""
servers:
  description: The servers that are the host; of V(drained) and V(ready), those that are taken or given back.
  type: list
  elements: str
  returned: success
  sample: [web/node-1]
ours:
  description: Whether something of it is in use, or was taken by us.
  type: bool
  returned: V(seen)
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.fleet.stall.plugins.module_utils import haproxy, statedir
from ansible_collections.fleet.stall.plugins.module_utils.haproxy_drain import NOTES, Drain

ARGUMENTS = {
    "state": {"type": "str", "choices": ["seen", "drained", "empty", "ready"], "default": "seen"},
    "host": {"type": "str", "required": True},
    "addresses": {"type": "list", "elements": "str", "default": []},
    "servers": {"type": "list", "elements": "str", "default": []},
    "socket": {"type": "str", "default": "/run/haproxy/admin.sock"},
    "least": {"type": "int", "default": 1},
    "timeout_s": {"type": "float", "default": 600},
    "retry_s": {"type": "float", "default": 5},
}


def main():
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        module.exit_json(**_bring(module.params, module.check_mode))
    except (haproxy.HaproxyError, statedir.Refusal, OSError) as error:
        module.fail_json(msg=f"{module.params['host']}: {error}")


def _bring(wanted, only_check):
    names = sorted({wanted["host"], wanted["host"].partition(".")[0]})
    drain = Drain(
        haproxy.Socket(wanted["socket"]),
        statedir.locate(os.geteuid(), os.environ) + NOTES,
        wanted["host"],
        lambda servers: haproxy.of_host(servers, wanted["servers"], names, wanted["addresses"]),
        wanted["least"],
    )
    if wanted["state"] == "ready":
        given_back = drain.taken() if only_check else drain.give_back()
        return {"changed": bool(given_back), "servers": given_back}
    if wanted["state"] == "empty":
        if not only_check:
            drain.wait(wanted["timeout_s"], wanted["retry_s"])
        return {"changed": False, "servers": []}
    found = drain.look()
    if wanted["state"] == "seen":
        return {
            "changed": False,
            "servers": [server.name for server in found],
            "ours": bool(drain.taken()) or any(not server.out for server in found),
        }
    taken = [server.name for server in found if not server.out] if only_check else drain.take()
    return {"changed": bool(taken), "servers": taken}


if __name__ == "__main__":
    main()
