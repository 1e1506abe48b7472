# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One way to ask a program of the host: in the C locale, without input, for so long and no longer."""

import os
import subprocess
from subprocess import DEVNULL, PIPE
from typing import Callable, NamedTuple, Optional

PATIENCE_S = 60.0
_PATHS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Said(NamedTuple):
    """`code` is None where the program is missing or took too long; `err` says so."""

    code: Optional[int]
    out: str
    err: str

    @property
    def ok(self) -> bool:
        return self.code == 0


Run = Callable[..., Said]


def run(*words: str) -> Said:
    environment = dict(os.environ, LC_ALL="C", LANGUAGE="C", PATH=_PATHS, DEBIAN_FRONTEND="noninteractive")
    try:
        with subprocess.Popen(words, env=environment, stdin=DEVNULL, stdout=PIPE, stderr=PIPE) as process:
            try:
                out, err = process.communicate(timeout=PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                return Said(None, "", f"{words[0]} did not answer within {PATIENCE_S:.0f} s")
    except OSError as error:
        return Said(None, "", f"{words[0]}: {error.strerror or error}")
    return Said(process.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))
