# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel packages of the Red Hat family, from what rpm and dnf say."""

import re
from typing import Any, Dict, List

from ansible_collections.fleet.stall.plugins.module_utils.counters.source import text_or_none
from ansible_collections.fleet.stall.plugins.module_utils.kernels import asked
from ansible_collections.fleet.stall.plugins.module_utils.kernels.run import Run
from ansible_collections.fleet.stall.plugins.module_utils.kernels.versions import rpm_key

_KERNEL = re.compile(r"kernel(?:-(?:rt|64k|lt|ml|uek))?(?:-core)?\Z")
_ROW = "%{name} %{version}-%{release}.%{arch}\\n"
_LOCKS = ("/etc/dnf/plugins/versionlock.list", "/etc/yum/pluginconf.d/versionlock.list")
_CONFIGURATIONS = ("/etc/dnf/dnf.conf", "/etc/yum.conf")
_EXCLUDES = re.compile(r"^\s*exclude(?:pkgs)?\s*=\s*(.*)$", re.MULTILINE)


def installed(said: str) -> List[Dict[str, str]]:
    """[{release, package, version}], newest first; kernel-core rather than kernel, which only depends on it."""
    rows = [line.split() for line in said.splitlines() if len(line.split()) == 2]
    found: Dict[str, Dict[str, str]] = {}
    for name, release in rows:
        if _KERNEL.match(name) and (name.endswith("-core") or release not in found):
            found[release] = {"release": release, "package": name, "version": release.rpartition(".")[0]}
    return sorted(found.values(), key=lambda kernel: rpm_key(kernel["release"]), reverse=True)


def held(locks: str, configuration: str) -> List[str]:
    """Patterns that keep a kernel as it is: of the plugin versionlock, and exclude= of dnf.conf."""
    named = [line.strip() for line in locks.splitlines() if line.strip() and not line.startswith("#")]
    named += [word for match in _EXCLUDES.findall(configuration) for word in re.split(r"[\s,]+", match) if word]
    return [name for name in named if re.match(r"!?(?:\d+:)?(?:kernel|\*)", name)]


def read(run: Run) -> Dict[str, Any]:
    """{installed, held [pattern], sane bool, said: what is wrong}"""
    rows = run("rpm", "-qa", "--qf", _ROW, "kernel*")
    return {
        "installed": installed(rows.out),
        "held": held(*("\n".join(text_or_none(path) or "" for path in paths) for paths in (_LOCKS, _CONFIGURATIONS))),
        "sane": rows.ok and not rows.err.strip(),
        "said": " ".join(rows.err.split())[:300],
    }


def target(run: Run, text: str, running: str, has: List[Dict[str, str]]) -> Dict[str, Any]:
    """As of the Debian family; `spec` is for dnf."""
    want = asked.redhat(text)
    spec = "-".join(part for part in (want["package"], want["version"]) if part)
    answer: Dict[str, Any] = dict(want, spec=spec, release=None, installed=False, removes=[], replaces=False, problem=None)
    done = run("dnf", "--quiet", "--cacheonly", "repoquery", "--latest-limit=1", "--qf", _ROW, spec)
    offered = [row[1] for row in (line.split() for line in done.out.splitlines()) if len(row) == 2 and row[0] == want["package"]]
    matching = [kernel["release"] for kernel in has if want["version"] and kernel["release"].startswith(want["version"])]
    releases = sorted(set(offered + matching), key=rpm_key)
    if not releases:
        said = " ".join(done.err.split())[:300]
        answer["problem"] = f"dnf offers no {spec}" + (f": {said}" if said else "")
        return answer
    answer["release"] = releases[-1]
    answer["version"] = releases[-1].rpartition(".")[0]
    answer["spec"] = f"{want['package']}-{releases[-1]}"
    answer["installed"] = any(kernel["release"] == releases[-1] for kernel in has)
    return answer
