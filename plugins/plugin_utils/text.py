# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What comes from a host, an inventory or a file, made fit to be shown: nothing of it may act on a terminal, a page or a reader's eye."""

from __future__ import annotations

import re

# What Markdown takes for markup anywhere, and what it does at the beginning of a line alone
_MARKUP = re.compile(r"([\\`*_\[\]<>|~&#])")
_BLOCK = re.compile(r"\A(\d+(?=[.)]\s)|(?=[-+]\s|[-=]+\s*\Z))")


def printable(value: object, limit: int = 400) -> str:
    """The value as one line of visible characters, at most `limit` long; what can't be shown appears as its escape (`\\x1b`)."""
    text = value if isinstance(value, str) else str(value)
    # isprintable: no control, terminal code, invisible or bidirectional formatting, surrogate, or space but the plain one
    shown = "".join(character if character.isprintable() else _escape(character) for character in text[: limit + 1])
    return shown if len(text) <= limit and len(shown) <= limit else shown[: limit - 1] + "…"


def markdown(value: object, limit: int = 4000) -> str:
    """The same as text of a Markdown document, in a line or a cell of its own."""
    return _BLOCK.sub(r"\1\\", _MARKUP.sub(r"\\\1", printable(value, limit).lstrip()))


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def host_count(number: int) -> str:
    """So many hosts."""
    return "1 host" if number == 1 else f"{number} hosts"


def and_more(items: list[str], limit: int = 10) -> str:
    """A list for a sentence: the first `limit` items and how many are left."""
    shown = ", ".join(printable(item) for item in items[:limit])
    return f"{shown} and {len(items) - limit} more" if len(items) > limit else shown
