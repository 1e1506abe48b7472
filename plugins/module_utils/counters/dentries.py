# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""/proc/sys/fs/dentry-state: the dentry cache, whose size some long kernel paths grow with."""

from typing import Any, Dict

from ansible_collections.fleet.stall.plugins.module_utils.counters.source import text

NAMES = ("dentries", "unused", "age_limit_s", "want_pages", "negative")


def parse(content: str) -> Dict[str, int]:
    """{dentries, unused, age_limit_s, want_pages, negative}; before 5.0 the fifth number is not the negative ones, but it is then 0."""
    return dict(zip(NAMES, (int(word) for word in content.split())))


def read() -> Dict[str, Any]:
    return parse(text("/proc/sys/fs/dentry-state"))
