# Copyright: (c) 2026, fleet.stall contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Samples out of the text of perf script, of any kernel, architecture and choice of fields (-F).

Source: tools/perf/Documentation/perf-script.txt of the kernel. A sample is a line about the task, then its frames, innermost first,
then an empty line; without call chains the one frame stands at the end of the line.
"""

import re
from typing import Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple

from ansible_collections.fleet.stall.plugins.module_utils.profile.sample import IDLE, UNKNOWN, USER, Counts, Sample, safe

LINE_LIMIT = 4096
DEPTH_LIMIT = 1024
NAME_LIMIT = 512
CACHE_LIMIT = 20000

TIME = re.compile(r"(\d{1,12})\.(\d{1,9}):", re.ASCII)
CPU = re.compile(r"\[(\d{1,6})\]", re.ASCII)
TASK = re.compile(r"(-?\d{1,10})(?:/(-?\d{1,10}))?", re.ASCII)
# the task's name may hold anything; flags of the interrupted context (-F +misc, latency format) may stand before the time
HEADER = re.compile(
    r"\s{0,40}(\S.{0,62}?)\s{1,40}" + TASK.pattern + r"\s{1,10}(?:" + CPU.pattern + r"\s{1,10})?(?:[A-Za-z.][^\s:]{0,15}\s{1,16})?"
    r"" + TIME.pattern + r"(?=\s|$)",
    re.ASCII,
)
LONE_FRAME = re.compile(r"\s([0-9a-f]{6,16}\s{1,4}(?!\S+:(?:\s|$))\S.*\))\s{0,10}$", re.ASCII)
ADDRESS = re.compile(r"([0-9a-f]{1,16})\s+(?=\S)|([0-9a-f]{8,16})$", re.ASCII)
KERNEL_ADDRESS = re.compile(r"(?:ffff[0-9a-f]|c000)[0-9a-f]*$", re.ASCII)
OFFSET = re.compile(r"\+0x[0-9a-f]{1,16}$", re.ASCII)
SOURCE_LINE = re.compile(r"\S+:\d+$|\S+\[[0-9a-f]+\]$", re.ASCII)
DELETED = " (deleted))"
INLINED = " (inlined)"
USER_MAPPINGS = ("[vdso", "[vsyscall", "[heap", "[stack", "[anon", "[uprobes", "[vvar", "[JIT")
KERNEL_FILE = re.compile(
    r"\.ko(?:\.(?:gz|xz|zst|bz2))?$|(?:^|/)(?:vmlinu[xz]|kcore|kallsyms)(?:[-.][^/]*)?$|^bpf_(?:prog|trampoline|dispatcher)_"
)


class Frame(NamedTuple):
    """`kernel` None: neither the file nor the address says."""

    name: str
    kernel: Optional[bool]


def read(lines: Iterable[str], counts: Optional[Counts] = None, keep_user: bool = False) -> Iterator[Sample]:
    """In the order of the text. `keep_user`: user frames by name instead of as "[user]".

    A field that was not printed: cpu, pid and tid -1, time 0, comm empty; one number is taken for both pid and tid. Where neither
    files nor addresses were printed, user frames cannot be told from kernel frames and stay. Never raises; lines that are not
    understood count as skipped. `sample.lines` gives the lines of a file in bounded memory.
    """
    counts = counts or Counts()
    stacks = Stacks(keep_user)
    header = ""
    block: List[str] = []
    for line in lines:
        first = line[:1]
        if first == "\t" or (first == " " and (header or block) and not HEADER.match(line)):
            if len(block) < DEPTH_LIMIT:
                block.append(line[:LINE_LIMIT])
            else:
                counts.skipped += 1
            continue
        if header or block:
            yield from _sample(header, block, stacks, counts)
            block = []
        header = "" if first == "#" or line.isspace() else line[:LINE_LIMIT]
    if header or block:
        yield from _sample(header, block, stacks, counts)


def _sample(header: str, block: List[str], stacks: "Stacks", counts: Counts) -> Iterator[Sample]:
    frames = stacks.frames(block, counts)
    task = _task(header)
    if not frames and task is not None:
        lone = LONE_FRAME.search(header, header.find(": "))
        frames = stacks.frames([lone.group(1)], counts) if lone else ()
    if task is None and not frames:
        counts.skipped += 1
        return
    counts.samples += 1
    time_ns, cpu, pid, tid, comm = task or (0, -1, -1, -1, header.strip())
    comm = IDLE if tid == 0 and comm.startswith(IDLE) else safe(comm[:64])
    yield Sample(time_ns, cpu, pid, tid, comm, frames)


def _task(header: str) -> Optional[Tuple[int, int, int, int, str]]:
    """Time, cpu, pid, tid and comm; None if the line says neither who nor when."""
    match = HEADER.match(header)
    if match:
        comm, first, second, cpu, seconds, fraction = match.groups()
        return _ns(seconds, fraction), int(cpu or -1), int(first), int(second or first), comm
    words = header.split()
    at = next((index for index, word in enumerate(words) if TIME.fullmatch(word)), len(words))
    time = TIME.fullmatch(words[at]) if at < len(words) else None
    if time is None:
        while words and words[-1].endswith(":"):  # the event
            words.pop()
        if len(words) > 2 and words[-1].isdecimal() and (CPU.fullmatch(words[-2]) or TASK.fullmatch(words[-2])):
            words.pop()  # its period
    words = words[:at]
    cpus = CPU.fullmatch(words[-1]) if words else None
    if cpus:
        words.pop()
    task = TASK.fullmatch(words[-1]) if words else None
    if task:
        words.pop()
    if time is None and task is None and cpus is None:
        return None
    pid = int(task.group(1)) if task else -1
    tid = int(task.group(2) or pid) if task else -1
    return _ns(*time.groups()) if time else 0, int(cpus.group(1)) if cpus else -1, pid, tid, " ".join(words)


def _ns(seconds: str, fraction: str) -> int:
    return int(seconds) * 1000000000 + int(fraction.ljust(9, "0"))


class Stacks:
    """Blocks of frame lines to frames. Blocks repeat, lines even more."""

    def __init__(self, keep_user: bool) -> None:
        self._keep_user = keep_user
        self._blocks: Dict[Tuple[str, ...], Tuple[str, ...]] = {}
        self._lines: Dict[str, Optional[Frame]] = {}

    def frames(self, block: List[str], counts: Counts) -> Tuple[str, ...]:
        """Outermost first."""
        key = tuple(block)
        known = self._blocks.get(key)
        if known is not None:
            return known
        read_ones = [frame for frame in map(self._frame, block) if frame is not None]
        counts.skipped += len(block) - len(read_ones)
        frames = self._folded(read_ones)
        if len(self._blocks) >= CACHE_LIMIT:
            self._blocks.clear()
        self._blocks[key] = frames
        return frames

    def _frame(self, line: str) -> Optional[Frame]:
        if line in self._lines:
            return self._lines[line]
        if len(self._lines) >= CACHE_LIMIT:
            self._lines.clear()
        frame = self._lines[line] = _frame(line.strip())
        return frame

    def _folded(self, innermost_first: List[Frame]) -> Tuple[str, ...]:
        user: List[str] = []
        kernel: List[str] = []
        in_kernel: Optional[bool] = None
        for frame in reversed(innermost_first):
            # what does not say (an inlined function) is where its caller is; a stack that says nothing is the kernel's
            in_kernel = in_kernel if frame.kernel is None else frame.kernel
            if in_kernel is False and kernel:
                # nothing in user mode is called from the kernel: what looked like it was rubbish on the user's stack
                user, kernel = user + kernel, []
            (user if in_kernel is False else kernel).append(frame.name)
        return tuple((user if self._keep_user else [USER] if user else []) + kernel)


def _frame(text: str) -> Optional[Frame]:
    """None for a line of source code, or what is no frame."""
    inlined = text.endswith(INLINED)
    if inlined:
        text = text[: -len(INLINED)]
    file = ""
    at = text.rfind(" (", 0, -len(DELETED) if text.endswith(DELETED) else len(text)) if text.endswith(")") and not inlined else -1
    if at > 0:
        text, file = text[:at], text[at + 2 : -1]
    address = ADDRESS.match(text)
    name = text[address.end() :] if address else text
    name = OFFSET.sub("", name.strip())
    if not (address or file or inlined) and (" " in name or SOURCE_LINE.match(name) or not name):
        return None
    number = (address.group(1) or address.group(2)) if address else ""
    if not name:
        name = "0x" + number if number else UNKNOWN
    return Frame(safe(name[:NAME_LIMIT]), _in_kernel(file, number))


def _in_kernel(file: str, number: str) -> Optional[bool]:
    if file and file != UNKNOWN:
        if file.startswith("["):
            return not file.startswith(USER_MAPPINGS)
        return KERNEL_FILE.search(file) is not None
    return (len(number) == 16 and KERNEL_ADDRESS.match(number) is not None) if number else None
