# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Kernel addresses to names. Signatures first."""

from typing import Optional


class Symbols:
    available = False
    reason: Optional[str] = None

    @classmethod
    def load(cls, path: str = "/proc/kallsyms") -> "Symbols":
        """Read on first use; `available` False and a `reason` where the addresses are hidden."""
        raise NotImplementedError

    def name(self, address: int) -> Optional[str]:
        """The symbol that covers the address, without offset and module; None if there is none."""
        raise NotImplementedError
