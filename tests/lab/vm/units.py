"""systemd units as files of a machine: pure data."""

from __future__ import annotations

from .archive import Entry, link, text

PLACE = "etc/systemd/system"


def service(name: str, description: str, exec_start: str, *, unit: str = "", lines: str = "") -> dict[str, Entry]:
    """A service that starts with the machine. `unit`, `lines`: further lines of [Unit] and [Service], each with its newline."""
    content = (
        f"[Unit]\nDescription={description}\n{unit}\n"
        f"[Service]\nExecStart={exec_start}\n{lines}\n"
        "[Install]\nWantedBy=multi-user.target\n"
    )  # fmt: skip
    return {
        f"{PLACE}/{name}.service": text(content),
        f"{PLACE}/multi-user.target.wants/{name}.service": link(f"/{PLACE}/{name}.service"),
    }
