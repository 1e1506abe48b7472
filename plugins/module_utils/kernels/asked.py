# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `stall_kernel` asks for, as a package: a name, name=version, a release as uname -r says it, a version, or nothing: the newest."""

import re
from typing import Any, Dict

FORM = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9.+~^:_=-]*)?\Z")
_RELEASE = re.compile(r"\d\S*-[a-z]")
_BEFORE_FLAVOUR = re.compile(r"\d[^-]*(?:-\d+)*-")


def flavour(release: str) -> str:
    """What a Debian kernel's release ends with: cloud-amd64 of 6.1.0-9-cloud-amd64; empty if it has no such end."""
    found = _BEFORE_FLAVOUR.match(release)
    return release[found.end() :] if found else ""


def debian(text: str, running: str) -> Dict[str, Any]:
    """{package, version|null}; a version alone is one of the metapackage of the running kernel's flavour."""
    name, _, version = text.partition("=")
    if not name:
        name = "linux-image-" + flavour(running)
    elif name[0].isdecimal():
        name, version = ("linux-image-" + name, version) if _RELEASE.match(name) else ("linux-image-" + flavour(running), name)
    return {"package": name, "version": version or None}


def redhat(text: str) -> Dict[str, Any]:
    """{package, version|null}; the version may end with the architecture."""
    name, _, version = text.partition("=")
    if not name or name[0].isdecimal():
        name, version = "kernel", name
    return {"package": name, "version": version or None}
