# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""tracefs for our own eyes: where it is not mounted, a mount namespace of our own gets it and the host stays as it is."""

import os
from typing import Optional

PLACES = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
CLONE_NEWNS = 0x00020000
MS_REC, MS_SLAVE = 0x4000, 0x80000


def see_tracefs() -> Optional[str]:
    """See that tools find tracefs; why they will not, or None. Call in a process that keeps no other promise about its mounts.

    Older tools look in debugfs alone: where that is not mounted, either, they find tracefs below a directory put in its place.
    """
    if any(os.path.exists(os.path.join(place, "events")) for place in PLACES):
        return None
    try:
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
    except ImportError:
        return "tracefs is not mounted, and this Python has no ctypes to mount it with: mount -t tracefs tracefs /sys/kernel/tracing"

    def call(done: int) -> None:
        if done:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    try:
        call(libc.unshare(CLONE_NEWNS))
        # Slave: what the host unmounts goes away here as well, so that we pin nothing.
        call(libc.mount(b"none", b"/", None, MS_REC | MS_SLAVE, None))
        call(libc.mount(b"tracefs", PLACES[0].encode(), b"tracefs", 0, None))
        if not os.listdir(os.path.dirname(PLACES[1])):
            call(libc.mount(b"tmpfs", os.path.dirname(PLACES[1]).encode(), b"tmpfs", 0, b"size=4k"))
            os.mkdir(PLACES[1])
            call(libc.mount(b"tracefs", PLACES[1].encode(), b"tracefs", 0, None))
    except OSError as error:
        if os.path.exists(os.path.join(PLACES[0], "events")):
            return None
        return f"tracefs is not mounted, and can't be mounted for the capture alone ({error.strerror}): mount it at {PLACES[0]}"
    return None
