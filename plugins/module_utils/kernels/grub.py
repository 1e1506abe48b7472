# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What GRUB would boot: its configuration as grub-mkconfig writes it, and its environment block.

An entry is {entry (what next_entry and saved_entry call it: ids from the menu down, joined by ">"), title, release|null, recovery bool}.
"""

import re
import shlex
from typing import Any, Dict, List, Optional

SAVED = "${saved_entry}"
_IMAGE = re.compile(r"(?:vmlinuz|vmlinux|kernel|linux)-(\S+)$")
_DEFAULT = re.compile(r'^\s*set default="([^"]*)"')
_ID_OPTIONS = ("--id", "$menuentry_id_option")


def environment(text: str) -> Dict[str, str]:
    """The variables of an environment block (grubenv, or what grub-editenv lists)."""
    rows = (line.partition("=") for line in text.splitlines() if not line.startswith("#"))
    return {name: value for name, equals, value in rows if equals}


def release_of(image: str) -> Optional[str]:
    """The release of the kernel in a file: /boot/vmlinuz-6.1.0-9-amd64 is 6.1.0-9-amd64."""
    found = _IMAGE.search(image.strip().strip('"').rpartition("/")[2])
    return found.group(1) if found else None


def default_setting(text: str) -> str:
    """What the configuration boots where nothing was asked for once: `SAVED`, a number, or an entry."""
    found = [match.group(1) for match in map(_DEFAULT.match, text.splitlines()) if match]
    rest = [value for value in found if value != "${next_entry}"]
    return rest[-1] if rest else "0"


def menu(text: str) -> List[Dict[str, Any]]:
    """The menu as a tree: [{title, id|null, release|null, recovery, children [..]|null}]; children is null but for a submenu."""
    top: List[Dict[str, Any]] = []
    within: List[Optional[Dict[str, Any]]] = []
    for line in text.splitlines():
        words = _words(line)
        if not words:
            continue
        if words[-1] == "{":
            item = _item(words)
            if item:
                parent = next((open_ for open_ in reversed(within) if open_ and open_["children"] is not None), None)
                (parent["children"] if parent else top).append(item)
            within.append(item)
        elif words == ["}"] and within:
            within.pop()
        elif words[0] in ("linux", "linux16", "linuxefi") and len(words) > 1 and within and within[-1]:
            within[-1].update(
                release=release_of(words[1]), recovery=within[-1]["recovery"] or bool({"single", "recovery"} & set(words[2:]))
            )
    return top


def _words(line: str) -> List[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:
        return []


def _item(words: List[str]) -> Optional[Dict[str, Any]]:
    if words[0] not in ("menuentry", "submenu") or len(words) < 3:
        return None
    named = [after for option, after in zip(words[2:], words[3:]) if option in _ID_OPTIONS]
    recovery = any("-recovery-" in name for name in named) or "(recovery mode)" in words[1]
    children: Optional[List[Any]] = [] if words[0] == "submenu" else None
    return {"title": words[1], "id": named[0] if named else None, "release": None, "recovery": recovery, "children": children}


def entries(tree: List[Dict[str, Any]], above: str = "") -> List[Dict[str, Any]]:
    """The entries of a menu, in its order."""
    found: List[Dict[str, Any]] = []
    for item in tree:
        entry = above + (item["id"] or item["title"]).replace(">", ">>")
        if item["children"] is not None:
            found += entries(item["children"], entry + ">")
        else:
            found.append({"entry": entry, "title": item["title"], "release": item["release"], "recovery": item["recovery"]})
    return found


def entry_of(release: str, found: List[Dict[str, Any]]) -> Optional[Dict[str, Any]]:
    """The entry that boots a release and will go on doing so: one named after it before one that is named "the newest"."""
    fitting = [entry for entry in found if entry["release"] == release and not entry["recovery"]]
    named = [entry for entry in fitting if release in entry["entry"].rpartition(">")[2]]
    return next(iter(named or fitting), None)


def booted_by(setting: str, tree: List[Dict[str, Any]]) -> Optional[Dict[str, Any]]:
    """The item of the menu that a setting ("0", "1>2", ids or titles) boots; the first one where there is no such item, as GRUB does."""
    items, found = tree, None
    for name in re.split(r"(?<!>)>(?!>)", setting):
        found = _named(name.replace(">>", ">"), items)
        if found is None:
            break
        items = found["children"] or []
    found = found or (tree[0] if tree else None)
    while found and found["children"] is not None:
        found = found["children"][0] if found["children"] else None
    return found


def _named(name: str, items: List[Dict[str, Any]]) -> Optional[Dict[str, Any]]:
    if name.isdecimal():
        return items[int(name)] if int(name) < len(items) else None
    return next((item for item in items if name in (item["id"], item["title"])), None)


def grubby_entries(text: str) -> List[Dict[str, Any]]:
    """The entries that `grubby --info=ALL` lists."""
    found: List[Dict[str, str]] = []
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if name == "index":
            found.append({})
        if equals and found:
            found[-1].setdefault(name, value.strip('"'))
    return [_grubby_entry(row) for row in found if row.get("kernel")]


def _grubby_entry(row: Dict[str, str]) -> Dict[str, Any]:
    release = release_of(row["kernel"])
    title = row.get("title", row["kernel"])
    recovery = "rescue" in (release or "")
    return {"entry": row.get("id") or title.replace(">", ">>"), "title": title, "release": release, "recovery": recovery}
