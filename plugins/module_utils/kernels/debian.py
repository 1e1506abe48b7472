# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel packages of the Debian family, from what dpkg-query, apt-get --simulate and apt-cache say."""

import re
from typing import Any, Dict, List, Optional

from ansible_collections.fleet.stall.plugins.module_utils.kernels import asked
from ansible_collections.fleet.stall.plugins.module_utils.kernels.run import Run
from ansible_collections.fleet.stall.plugins.module_utils.kernels.versions import release_key

_IMAGE = re.compile(r"linux-image-(?:unsigned-)?(\d+\.\d+\.\d\S*?)(?:-unsigned)?\Z")
_STEP = re.compile(r"(Inst|Remv) (\S+)(?: \[(\S+)\])?(?: \((\S+))?")
_ROWS = "${db:Status-Abbrev} ${Package} ${Version}\\n"


def release_of_package(name: str) -> Optional[str]:
    """linux-image-6.1.0-9-amd64 holds 6.1.0-9-amd64; None for a metapackage and for debugging symbols."""
    found = _IMAGE.match(name.partition(":")[0])
    return found.group(1) if found and not name.endswith("-dbg") else None


def installed(said: str) -> List[Dict[str, str]]:
    """[{release, package, version}], newest first, of the rows of dpkg-query."""
    rows = [line.split() for line in said.splitlines()]
    found = [
        {"release": release, "package": row[1], "version": row[2]}
        for row in rows
        if len(row) == 3 and row[0][1] == "i"
        for release in [release_of_package(row[1])]
        if release
    ]
    return sorted(found, key=lambda kernel: release_key(kernel["release"]), reverse=True)


def simulated(said: str) -> Dict[str, Dict[str, Any]]:
    """{installs {package: {version, former|null}}, removes {package: version|null}} of apt-get --simulate install."""
    found: Dict[str, Dict[str, Any]] = {"installs": {}, "removes": {}}
    for verb, name, former, version in (match.groups() for match in map(_STEP.match, said.splitlines()) if match):
        if verb == "Inst":
            found["installs"][name] = {"version": version, "former": former}
        else:
            found["removes"][name] = former
    return found


def complaint(said: str) -> str:
    """What apt or dpkg found wrong, in its own words."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line[2:].strip() for line in lines if line.startswith("E:")]
    return "; ".join(errors or lines[-2:])[:300]


def depended_on(said: str) -> Optional[str]:
    """The release of the kernel that a metapackage depends on, of apt-cache show."""
    names = re.findall(r"[^\s,|(]+", next((line for line in said.splitlines() if line.startswith("Depends:")), ""))
    return next((release for release in map(release_of_package, names) if release), None)


def read(run: Run) -> Dict[str, Any]:
    """{installed, held [package], sane bool, said: what is wrong}"""
    held = run("apt-mark", "showhold")
    audit = run("dpkg", "--audit")
    return {
        # dpkg-query fails where no package has such a name: there is none then.
        "installed": installed(run("dpkg-query", "--show", "--showformat=" + _ROWS, "linux-image-*").out),
        "held": held.out.split() if held.ok else [],
        "sane": audit.ok and not audit.out.strip(),
        "said": " ".join((audit.out or audit.err).split())[:300],
    }


def target(run: Run, text: str, running: str, has: List[Dict[str, str]]) -> Dict[str, Any]:
    """What is asked for, resolved: {package, version|null, release|null, spec, installed, removes [..], replaces bool, problem|null}.

    `spec` is what to install; `replaces`: the files of a kernel of that release that is there already.

    :param has: what is installed
    """
    want = asked.debian(text, running)
    spec = "=".join(part for part in (want["package"], want["version"]) if part)
    answer: Dict[str, Any] = dict(want, spec=spec, release=None, installed=False, removes=[], replaces=False, problem=None)
    done = run("apt-get", "--simulate", "--option", "Debug::NoLocking=1", "install", spec)
    if not done.ok:
        answer["problem"] = complaint(done.err or done.out)
        return answer
    steps = simulated(done.out)
    package = steps["installs"].get(want["package"])
    if package:
        answer["version"] = package["version"]
    answer["spec"] = "=".join(part for part in (want["package"], answer["version"]) if part)
    images = {release: row for release, row in ((release_of_package(name), row) for name, row in steps["installs"].items()) if release}
    answer["release"] = (
        release_of_package(want["package"] or "")
        or max(images, key=release_key, default=None)
        or depended_on(run("apt-cache", "show", "--no-all-versions", answer["spec"]).out)
    )
    answer["removes"] = sorted(steps["removes"])
    answer["installed"] = not package and not images
    answer["replaces"] = bool(images.get(answer["release"], {}).get("former"))
    if answer["installed"] and answer["version"] is None:
        answer["version"] = next((kernel["version"] for kernel in has if kernel["release"] == answer["release"]), None)
    if answer["release"] is None:
        answer["problem"] = f"the package {spec} brings no kernel"
    return answer
