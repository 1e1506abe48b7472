# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Kernel addresses to names, by /proc/kallsyms.

Only text is named; what lies beyond a symbol of data is not. Of several names for one address the plainest is taken: not
weak, global before local, fewest leading underscores, shortest (perf may show another: "__pi_memcpy" for "memcpy").
"""

from array import array
from bisect import bisect_right
from struct import Struct
from typing import Dict, Iterable, List, Optional, Tuple

from ansible_collections.fleet.stall.plugins.module_utils.profile.sample import safe

LINE_LIMIT = 4096
SYMBOL_LIMIT = 4000000
CACHE_LIMIT = 100000
TEXT = b"tTwW"
DATA = (1 << 64) - 1
KEY = Struct(">QQ")


class Symbols:
    """Read on first use; some 50 bytes a symbol."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._loaded = False
        self._reason: Optional[str] = None
        self._starts = array("Q")
        self._ends_of_names = array("Q", [0])
        self._names = b""
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
        index = bisect_right(self._starts, address) - 1
        if index < 0:
            return None
        name = self._names[self._ends_of_names[index] : self._ends_of_names[index + 1]]
        return safe(name.decode("ascii", "backslashreplace")) if name else None

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        try:
            with open(self._path, "rb") as file:
                listed = _listed(iter(lambda: file.readline(LINE_LIMIT), b""))
        except (OSError, ValueError) as error:
            self._reason = f"cannot read {self._path}: {error}"
            return
        if not listed:
            self._reason = f"{self._path} shows no addresses (kernel.kptr_restrict, or not root)"
            return
        self._starts, self._ends_of_names, self._names = _packed(listed)


def _listed(lines: Iterable[bytes]) -> List[bytes]:
    """Address, rank and name of each symbol in one sortable string, which takes a third of the memory of a tuple."""
    listed = []
    for line in lines:
        fields = line.split(None, 3)
        if len(fields) < 3 or len(fields[1]) != 1 or len(fields[0]) > 16:
            continue
        try:
            address = int(fields[0], 16)
        except ValueError:
            continue
        if address > 0:
            text = fields[1] in TEXT
            listed.append(KEY.pack(address, _rank(fields[1], fields[2]) if text else DATA) + (fields[2] if text else b""))
            if len(listed) >= SYMBOL_LIMIT:
                break
    return listed


def _rank(kind: bytes, name: bytes) -> int:
    underscores = len(name) - len(name.lstrip(b"_"))
    return (kind in b"wW") << 41 | (kind in b"tw") << 40 | underscores << 20 | len(name)


def _packed(listed: List[bytes]) -> Tuple["array[int]", "array[int]", bytes]:
    """Addresses, where in the names each name ends (one more, a zero, before), and the names."""
    listed.sort()
    starts, ends, names = array("Q"), array("Q", [0]), bytearray()
    for entry in listed:
        address = KEY.unpack_from(entry)[0]
        if starts and starts[-1] == address:
            continue
        names += entry[KEY.size :]
        starts.append(address)
        ends.append(len(names))
    return starts, ends, bytes(names)
