# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Samples out of a perf.data file. Signatures first; the reader follows."""

from typing import IO, Iterator, Optional

from ansible_collections.fleet.stall.plugins.module_utils.profile.kallsyms import Symbols
from ansible_collections.fleet.stall.plugins.module_utils.profile.sample import Counts, Sample


def read(stream: IO[bytes], symbols: Optional[Symbols], counts: Optional[Counts] = None) -> Iterator[Sample]:
    """In the order of the file: within a CPU oldest first, but newest first in a snapshot of perf record --overwrite.

    Without `symbols` kernel frames are hexadecimal addresses. ProfileError if it is no perf.data or one that is not
    understood (compressed, AUX); a broken one ends early (`counts.ended_at`).
    """
    raise NotImplementedError


def in_time_order(stream: IO[bytes], symbols: Optional[Symbols], counts: Optional[Counts] = None) -> Iterator[Sample]:
    """The same samples, oldest first over all CPUs, in bounded memory."""
    raise NotImplementedError
