# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The work is done on the controller, by the action plugin of the same name.

DOCUMENTATION = r"""
---
module: kubernetes_node
short_description: Cordon, drain, check and give back the Kubernetes node of a host
version_added: "0.3.0"
description:
  - Brings the node that the host is into a state, through the modules of the collection C(kubernetes.core), on the controller.
  - A node is marked by the annotation C(fleet.stall/cordoned) as it is cordoned, and given back only where it bears that mark. A node that
    was cordoned already is drained as well, and stays cordoned.
  - Pods are evicted, so that disruption budgets hold. A budget that forbids it now and an API server that is away are tried again until
    O(timeout_s) is over; what is refused for good ends at once.
  - What is common to all states comes from the variables of the role C(fleet.stall.drain), such as C(stall_node_name), and from
    C(stall_kubeconfig) and C(stall_kube_context).
author:
  - fleet.stall contributors (@fleet)
options:
  state:
    description:
      - V(seen) reads what there is, and fails if a pod may not go.
      - V(cordoned) marks and cordons the node.
      - V(drained) evicts its pods and waits until they are gone.
      - V(checked) fails unless it is still cordoned and empty.
      - V(released) uncordons it, if it was cordoned by us.
      - V(ready) waits until the kubelet of the boot O(boot_id) says that it is Ready.
    type: str
    choices: [seen, cordoned, drained, checked, released, ready]
    default: seen
  node:
    description: The name of the node, where it is known. Else C(stall_node_name), else that which has the address or the name of the host.
    type: str
  boot_id:
    description: For V(ready), the kernel's id of the boot that is to be told of.
    type: str
  timeout_s:
    description: How long V(drained) and V(ready) may take, in seconds. By default C(stall_drain_timeout_s).
    type: float
requirements:
  - The collection kubernetes.core 5.1.0 or newer, and the Python package kubernetes, on the controller
attributes:
  check_mode:
    support: full
extends_documentation_fragment:
  - fleet.stall.controller
"""

EXAMPLES = r"""
- name: Cordon the node of the host
  fleet.stall.kubernetes_node:
    state: cordoned
  delegate_to: localhost
  become: false
"""

RETURN = r"""
node:
  description: The name of the node.
  type: str
  returned: success
cordoned:
  description: Whether it is cordoned.
  type: bool
  returned: V(seen) and V(released)
ours:
  description: Whether it is ours to give back, being marked or not cordoned by anybody.
  type: bool
  returned: V(seen), V(cordoned) and V(checked)
pods:
  description: What draining would evict.
  type: list
  elements: str
  returned: V(seen)
  sample: [shop/web-5d9c7b-x2x4z]
staying:
  description: What stays, being static or of a DaemonSet.
  type: list
  elements: str
  returned: V(seen)
evicted:
  description: What was evicted, or had been on its way out; in check mode, what would be.
  type: list
  elements: str
  returned: V(drained)
"""
