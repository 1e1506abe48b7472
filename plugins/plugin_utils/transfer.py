# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One host's result on its way to the controller: the shell line that prints it, and the reading of what was printed."""

from __future__ import annotations

import base64
import binascii
import json
import shlex
import zlib
from typing import Any

from ansible_collections.fleet.stall.plugins.plugin_utils.jobs import OBSERVE, Job

BEGIN, END, MISSING, RUNNING = "FLEET-STALL-BEGIN", "FLEET-STALL-END", "FLEET-STALL-MISSING", "FLEET-STALL-RUNNING"
WIRE_LIMIT = 4_000_000
CONTENT_LIMIT = 64_000_000


class TransferError(Exception):
    """The result did not arrive; the message says why."""


def read_command(result: str, pid: int, grace_s: int) -> str:
    """Print the file `result` as base64 between two marks, once it is there: at most `grace_s` seconds while process `pid` lives."""
    path = shlex.quote(result)
    return (
        f"n=0; while [ ! -s {path} ] && [ -d /proc/{int(pid)} ] && [ $n -lt {int(grace_s)} ]; do sleep 1; n=$((n+1)); done; "
        f"if [ -s {path} ]; then echo {BEGIN}; head -c {WIRE_LIMIT + 1} {path} | base64; echo {END}; "
        f"elif [ -d /proc/{int(pid)} ]; then echo {RUNNING}; else echo {MISSING}; fi"
    )


def remove_command(directory: str) -> str:
    return f"rm -rf -- {shlex.quote(directory)}"


def content(printed: str, run: str, host: str, job: Job = OBSERVE) -> dict[str, Any]:
    """What the command printed, as the content of the job's result. Nothing in it is trusted but its shape. Raises TransferError."""
    if RUNNING in printed:
        raise TransferError(f"its {job.noun} had not finished")
    if MISSING in printed:
        raise TransferError(f"its {job.noun} ended without a result")
    begin, end = printed.find(BEGIN), printed.rfind(END)
    if begin < 0 or end < begin:
        raise TransferError("the connection broke while the result was read")
    try:
        compressed = base64.b64decode("".join(printed[begin + len(BEGIN) : end].split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise TransferError(f"the result arrived damaged ({error})") from error
    if len(compressed) > WIRE_LIMIT:
        raise TransferError(f"the result is larger than {WIRE_LIMIT} bytes")
    return _checked(_unpacked(compressed), run, host)


def _unpacked(compressed: bytes) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        plain = unpacker.decompress(compressed, CONTENT_LIMIT)
    except zlib.error as error:
        raise TransferError(f"the result is no gzip file ({error})") from error
    if unpacker.unconsumed_tail:
        raise TransferError(f"the result holds more than {CONTENT_LIMIT} bytes")
    if not unpacker.eof:
        raise TransferError("the result is cut off")
    return plain


def _checked(plain: bytes, run: str, host: str) -> dict[str, Any]:
    try:
        found = json.loads(plain)
    except (ValueError, RecursionError) as error:
        raise TransferError("the result is no JSON") from error
    if not isinstance(found, dict) or found.get("schema_version") != 1:
        raise TransferError("the result is of another version of the collection")
    if found.get("run") != run or found.get("host") != host:
        raise TransferError("the result is that of another run or host")
    if not isinstance(found.get("flows", []), list):
        raise TransferError("the result has no list of flows")
    return found
