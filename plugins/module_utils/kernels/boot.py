# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The boot loader of a host, as far as it is GRUB: what it boots by default and next, and whether an entry can be booted just once."""

import os
import re
from typing import Any, Dict, List, Optional

from ansible_collections.fleet.stall.plugins.module_utils.counters.source import Unavailable, text, text_or_none
from ansible_collections.fleet.stall.plugins.module_utils.kernels import grub
from ansible_collections.fleet.stall.plugins.module_utils.kernels.run import Run

PIN = "/etc/default/grub.d/zz-fleet-stall.cfg"
TRIAL = "fleet_stall_trial"
# Where GRUB itself can't write, as its own grub-mkconfig has it (00_header, check_writable): a one-shot would be booted for ever.
_NO_WRITING = {"diskfilter", "lvm", "btrfs", "cpiofs", "newc", "odc", "romfs", "squash4", "tarfs", "zfs"}
_GRUBS = (("/boot/grub/grub.cfg", "grub"), ("/boot/grub2/grub.cfg", "grub2"))


def trial(value: str) -> Optional[Dict[str, str]]:
    """{phase trying|back, release, boot_id (of the boot in which it began)} of the note in GRUB's environment."""
    words = value.split(",")
    return dict(zip(("phase", "release", "boot_id"), words)) if len(words) == 3 and words[0] in ("trying", "back") else None


def judged(configuration: str, environment: Dict[str, str], rows: Optional[List[Dict[str, Any]]] = None) -> Dict[str, Any]:
    """What is booted by default and next.

    :param rows: the entries, where the configuration does not list them (boot loader specification)
    :returns: {entries, saved bool, panics bool (one that panics reboots),
        saved_entry|null, default|null, next|null (releases), next_entry|null, trial|null}
    """
    tree = grub.menu(configuration)
    found = grub.entries(tree)
    if rows is not None:
        found, tree = rows, [dict(row, id=row["entry"], children=None) for row in rows]
    setting = grub.default_setting(configuration)
    saved = setting == grub.SAVED
    default = grub.booted_by(environment.get("saved_entry", "") if saved else setting, tree)
    once = environment.get("next_entry") or None
    following = grub.booted_by(once, tree) if once else None
    return {
        "entries": found,
        "saved": saved,
        "panics": bool(re.search(r"\spanic=-?[1-9]", configuration)),
        "saved_entry": environment.get("saved_entry") or None,
        "default": default["release"] if default else None,
        "next": following["release"] if following else None,
        "next_entry": once,
        "trial": trial(environment.get(TRIAL, "")),
    }


def read(run: Run) -> Dict[str, Any]:
    """What `judged` returns, and {tool, config, environment, dropins bool, grubby bool, writable bool|null, why|null}.

    `tool` is grub or grub2, `config` and `environment` are paths. Without GRUB there are `tool` (null) and `why` alone.
    """
    path, tool = next(((path, tool) for path, tool in _GRUBS if os.path.exists(path)), (None, None))
    if path is None or tool is None:
        return {"tool": None, "why": "there is no /boot/grub/grub.cfg or /boot/grub2/grub.cfg"}
    if "BOOT_IMAGE=" not in (text_or_none("/proc/cmdline") or ""):
        return {"tool": None, "why": "this boot was not made by GRUB: the kernel's command line has no BOOT_IMAGE="}
    environment = os.path.join(os.path.dirname(path), "grubenv")
    listed = run(tool + "-editenv", environment, "list")
    rows = run("grubby", "--info=ALL")
    try:
        configuration = text(path)
    except Unavailable as reason:
        return {"tool": None, "why": str(reason)}
    answer = judged(configuration, grub.environment(listed.out), grub.grubby_entries(rows.out) if rows.ok else None)
    # The Debian family's grub-mkconfig reads files beside /etc/default/grub; elsewhere the saved entry is all there is to pin.
    dropins = os.path.dirname(PIN)[len("/etc") :] in (text_or_none(f"/usr/sbin/{tool}-mkconfig") or "")
    writable, why = _writable(run, tool, environment)
    answer.update(tool=tool, config=path, environment=environment, dropins=dropins, grubby=rows.ok, writable=writable, why=why)
    return answer


def _writable(run: Run, tool: str, environment: str) -> Any:
    """Whether GRUB can clear a one-shot when it boots it, and else why not; None if that can't be told."""
    path = environment if os.path.exists(environment) else os.path.dirname(environment)
    for kind in ("abstraction", "fs"):
        said = run(tool + "-probe", "--target=" + kind, path)
        if not said.ok:
            return None, f"{tool}-probe does not say what {path} is on: {' '.join((said.err or said.out).split())[:200]}"
        found = _NO_WRITING.intersection(said.out.split())
        if found:
            return False, f"{path} is on {', '.join(sorted(found))}, where GRUB can't write: a one-shot would be booted for ever"
    return True, None
