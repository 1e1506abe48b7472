# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of two versions is the newer one, as dpkg (deb-version(7)) and rpm (rpmvercmp) order them: keys to sort and compare by."""

import re
from typing import Any, List, Tuple

_DEB_PART = re.compile(r"(\D*)(\d*)")
_RPM_PART = re.compile(r"~|\^|[A-Za-z]+|[0-9]+")
_RPM_END = (1,)


def deb_key(version: str) -> Tuple[Any, ...]:
    """Key of a package version: [epoch:]upstream[-revision]."""
    epoch, colon, rest = version.partition(":")
    if not colon:
        epoch, rest = "0", version
    upstream, _, revision = rest.rpartition("-") if "-" in rest else (rest, "", "0")
    return (int(epoch) if epoch.isdecimal() else 0, _deb_parts(upstream), _deb_parts(revision))


def release_key(release: str) -> Tuple[Any, ...]:
    """Key of a Debian kernel's release, as uname -r says it: no epoch, no revision."""
    return _deb_parts(release)


def _deb_parts(text: str) -> Tuple[Any, ...]:
    parts: List[Any] = []
    for word, digits in _DEB_PART.findall(text):
        parts += [tuple(_deb_order(sign) for sign in word) + (0,), int(digits or 0)]
    return tuple(parts)


def _deb_order(sign: str) -> int:
    if sign == "~":
        return -1
    return ord(sign) if sign.isalpha() else ord(sign) + 256


def rpm_key(version: str) -> Tuple[Any, ...]:
    """Key of a version, a release, or both as in a kernel's release: 5.14.0-503.el9.x86_64."""
    return tuple(_rpm_part(part) for part in _RPM_PART.findall(version)) + (_RPM_END,)


def _rpm_part(part: str) -> Tuple[Any, ...]:
    if part == "~":
        return (0,)
    if part == "^":
        return (2,)
    return (4, int(part)) if part.isdecimal() else (3, part)
