# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""System calls out of the text of strace. Signatures first."""

from typing import Iterable, Iterator, NamedTuple, Optional

from ansible_collections.fleet.stall.plugins.module_utils.profile.sample import Counts


class Call(NamedTuple):
    """One finished system call. `at_s`: its start, in the unit of the log (epoch, time of day; None without -t or with -r alone).

    `result` as printed: "658", "-1 ENOENT (No such file or directory)", "?"; `seconds` from -T; `fd` if the first argument is one;
    `buffer`: the first quoted argument, unescaped where that gives text, without the dots.
    """

    tid: Optional[int]
    at_s: Optional[float]
    name: str
    args: str
    result: Optional[str]
    seconds: Optional[float]
    fd: Optional[int]
    buffer: Optional[str]


def parse(lines: Iterable[str], counts: Optional[Counts] = None, tid: Optional[int] = None) -> Iterator[Call]:
    """In the order in which calls end. `tid`: whose log it is, for the files of -ff. Never raises; other lines count as skipped."""
    raise NotImplementedError
