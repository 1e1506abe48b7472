# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Samples out of the text of perf script. Signatures first."""

from typing import Iterable, Iterator, Optional

from ansible_collections.fleet.stall.plugins.module_utils.profile.sample import Counts, Sample


def read(lines: Iterable[str], counts: Optional[Counts] = None, keep_user: bool = False) -> Iterator[Sample]:
    """In the order of the text. `keep_user`: user frames by name instead of as "[user]".

    A field that was not printed: cpu and pid -1 (pid: the tid), time 0. Never raises; what is not understood counts as skipped.
    """
    raise NotImplementedError
