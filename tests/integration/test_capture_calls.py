"""The system calls that a real capture sees: of a 32-bit program, beside a process that makes too many to look at each."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.fleet.stall.plugins.module_utils.capture import bounded, session

from .test_capture_safety import plan

SECONDS = 12.0
pytestmark = [
    pytest.mark.skipif(bounded.find("bpftrace") is None or os.geteuid() != 0, reason="needs root and bpftrace"),
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="runs a program for the i386"),
]
# Some 150000 calls a second: more than are looked at on a small host, fewer than would make them be given up.
LOUD = "import os, time\nwhile True:\n    for _ in range(1500): os.getppid()\n    time.sleep(0.0085)"
ORIGIN, CODE_AT, READ_BYTES, READS = 0x08048000, 52 + 32, 32 << 20, 200


def reader() -> bytes:
    """An i386 program that reads its standard input in long reads: read(2) is its call 3, which is close(2) by the other table."""
    buffer = ORIGIN + 0x1000
    begin = b"\xbe" + struct.pack("<I", READS)
    read = (
        b"\xb8" + struct.pack("<I", 3) + b"\x31\xdb\xb9" + struct.pack("<I", buffer) + b"\xba" + struct.pack("<I", READ_BYTES) + b"\xcd\x80"
    )
    again = b"\x4e\x75" + struct.pack("<b", -len(read) - 3)
    code = begin + read + again + b"\xb8" + struct.pack("<I", 1) + b"\x31\xdb\xcd\x80"
    head = b"\x7fELF\x01\x01\x01".ljust(16, b"\0") + struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, ORIGIN + CODE_AT, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    size = CODE_AT + len(code)
    segment = struct.pack("<IIIIIIII", 1, 0, ORIGIN, ORIGIN, size, READ_BYTES + 0x2000, 7, 0x1000)
    return head + segment + code


@pytest.fixture
def reading(tmp_path: Path) -> Iterator[int]:
    program = tmp_path / "reader32"
    program.write_bytes(reader())
    program.chmod(0o755)
    with open("/dev/urandom", "rb") as source:
        try:
            process = subprocess.Popen([str(program)], stdin=source)
        except OSError as error:
            pytest.skip(f"this kernel runs no 32-bit programs: {error}")
    yield process.pid
    process.kill()
    process.wait()


@pytest.fixture
def loud() -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-c", LOUD])
    yield process.pid
    process.kill()
    process.wait()


def test_a_32_bit_reader_beside_a_loud_process(tmp_path: Path, reading: int, loud: int) -> None:
    found = session.capture(dict(plan("r", SECONDS), strace_s=0, strace_bytes=0), lambda: False, str(tmp_path / "work"))
    assert (found["status"], found["reason"]) == ("measured", None)
    calls = [call for call in found["slow_calls"] if call["pid"] == reading]
    assert {(call["call"], call["fd"], call["path"]) for call in calls} == {("read", 0, "/dev/urandom")}
    assert found["capabilities"]["slow_calls"]["available"], found["capabilities"]["slow_calls"]
    assert any(f"(pid {loud}," in warning for warning in found["warnings"]), found["warnings"]
    assert all(part >= 0 for part in found["cost"]["window_cpu_s"].values())
    assert not any(call["pid"] == loud for call in found["slow_calls"])
