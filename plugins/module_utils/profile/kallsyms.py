# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Kernel addresses to names, by /proc/kallsyms.

Only text is named; what lies beyond a symbol of data is not. Of several names for one address the plainest is taken: not
weak, global before local, fewest leading underscores, shortest (perf may show another: "__pi_memcpy" for "memcpy").
"""

from bisect import bisect_right
from functools import partial
from itertools import islice
from typing import Dict, List, Optional, Tuple

from ansible_collections.fleet.stall.plugins.module_utils.profile.sample import safe

LINE_LIMIT = 4096
SYMBOL_LIMIT = 4000000
CACHE_LIMIT = 100000
TEXT = b"tTwW"


class Symbols:
    """Read on first use, and kept as the lines of the file, sorted: few addresses are asked for, and a line is parsed only then."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._loaded = False
        self._reason: Optional[str] = None
        self._lines: List[bytes] = []
        self._digits = 0
        self._cache: Dict[int, Optional[str]] = {}

    @classmethod
    def load(cls, path: str = "/proc/kallsyms") -> "Symbols":
        return cls(path)

    @property
    def available(self) -> bool:
        self._load()
        return self._reason is None

    @property
    def reason(self) -> Optional[str]:
        """Why there are no names; None if there are."""
        self._load()
        return self._reason

    def name(self, address: int) -> Optional[str]:
        """The symbol that covers the address, without offset and module; None if there is none."""
        try:
            return self._cache[address]
        except KeyError:
            self._load()
        if len(self._cache) >= CACHE_LIMIT:
            self._cache.clear()
        name = self._cache[address] = self._find(address)
        return name

    def _find(self, address: int) -> Optional[str]:
        at = bisect_right(self._lines, b"%0*x!" % (self._digits, address)) - 1
        if at < 0:
            return None
        start = self._lines[at][: self._digits]
        candidates = []
        while at >= 0 and self._lines[at].startswith(start):
            kind, name = _parsed(self._lines[at], self._digits)
            if kind in TEXT:
                candidates.append((_rank(kind, name), name))
            at -= 1
        return safe(min(candidates)[1].decode("ascii", "backslashreplace")) if candidates else None

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        try:
            with open(self._path, "rb") as file:
                lines = list(islice(iter(partial(file.readline, LINE_LIMIT), b""), SYMBOL_LIMIT))
        except OSError as error:
            self._reason = f"cannot read {self._path}: {error.strerror or error}"
            return
        digits = self._digits = max(0, lines[0].find(b" ")) if lines else 0
        hidden = b"0" * digits + b" "
        self._lines = [line for line in lines if line[digits : digits + 3 : 2] == b"  " and line[digits + 3 :].strip()]
        self._lines = [line for line in self._lines if not line.startswith(hidden)]
        self._lines.sort()
        if not self._lines:
            self._reason = f"{self._path} shows no addresses (kernel.kptr_restrict, or not root)"


def _parsed(line: bytes, digits: int) -> Tuple[bytes, bytes]:
    """Kind and name."""
    return line[digits + 1 : digits + 2], line[digits + 3 :].split(None, 1)[0]


def _rank(kind: bytes, name: bytes) -> Tuple[bool, bool, int, int]:
    return kind in b"wW", kind in b"tw", len(name) - len(name.lstrip(b"_")), len(name)
