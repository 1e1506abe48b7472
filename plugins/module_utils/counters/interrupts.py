# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""/proc/interrupts: the lines of network devices, per CPU."""

import os
import re
from typing import Any, Dict, Iterable, List

from ansible_collections.fleet.stall.plugins.module_utils.counters.source import Unavailable, text

PATH = "/proc/interrupts"
SYS_NET = "/sys/class/net"
MOST_LINES = 512
# A line has eleven characters for each CPU, and a host can have hundreds of CPUs and thousands of lines.
LIMIT = 32 << 20
# Drivers that name their interrupts after neither the interface nor a queue of it.
NET_NAME = re.compile(
    r"mlx[45]|virtio\d+-(?:in|out)put|(?:^|[ -])(?:tx-?)?rx-?\d*$|tx-?rx|ixgbe|i40e|igb|iavf|\bice\b|\bena\b|gve|bnxt|vmxnet|hv_netvsc",
    re.IGNORECASE,
)


def parse(content: str, names: Iterable[str] = (), irqs: Iterable[str] = ()) -> Dict[str, Any]:
    """{lines: {"<irq>": {name, counts {"<cpu>": n, only those above 0}}}, omitted: n}

    Kept: interrupts in `irqs`, those whose name holds one of `names` (interfaces), and those of known network drivers.
    """
    lines = content.splitlines()
    cpus = [word[3:] for word in lines[0].split() if word.startswith("CPU")] if lines else []
    if not cpus:
        raise Unavailable(f"{PATH}: no header of CPUs")
    wanted = set(irqs)
    of_interface = [re.compile(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])") for name in names]
    kept: Dict[str, Any] = {}
    omitted = 0
    for line in lines[1:]:
        irq, _, rest = line.partition(":")
        irq, words = irq.strip(), rest.split()
        label = " ".join(words[len(cpus) :])
        if irq not in wanted and not (irq.isdecimal() and (NET_NAME.search(label) or any(name.search(label) for name in of_interface))):
            continue
        if len(kept) >= MOST_LINES:
            omitted += 1
            continue
        kept[irq] = {
            "name": device_of(words[len(cpus) :]),
            "counts": {cpu: int(n) for cpu, n in zip(cpus, words) if n.isdecimal() and n != "0"},
        }
    return {"lines": kept, "omitted": omitted}


def names(content: str) -> Dict[str, str]:
    """{irq: what its driver called it} of all numbered interrupts."""
    lines = content.splitlines()
    columns = len([word for word in lines[0].split() if word.startswith("CPU")]) if lines else 0
    rows = ((line.partition(":")[0].strip(), line.partition(":")[2].split()[columns:]) for line in lines[1:])
    return {irq: device_of(words) for irq, words in rows if irq.isdecimal()}


def device_of(words: List[str]) -> str:
    """What the driver called the interrupt: all after chip, hardware number and trigger, such as "eth0-TxRx-3"."""
    for position, word in enumerate(words):
        if re.search(r"-?(?:edge|level|fasteoi|Edge|Level)$", word):
            return " ".join(words[position + 1 :])
    return " ".join(words[-1:])


def read() -> Dict[str, Any]:
    return parse(text(PATH, LIMIT), names=_with_device())


def _with_device() -> List[str]:
    """Interfaces that can have an interrupt: not the thousand that containers have."""
    try:
        return [name for name in os.listdir(SYS_NET) if os.path.exists(f"{SYS_NET}/{name}/device")]
    except OSError:
        return []
