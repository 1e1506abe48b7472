"""What strace printed, in any of its forms, becomes calls; what is no call becomes none; nothing breaks the reader."""

import io
import shutil
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.module_utils.profile import stracelog
from ansible_collections.fleet.stall.plugins.module_utils.profile.sample import Counts, lines

ARTICLE = """\
[pid 10436] <... futex resumed> )       = 0 <0.156784>
[pid 10436] <... read resumed> "cache 154234880\\nrss 507904\\nrss_h"..., 4096) = 658 <0.179438>
[pid 10411] <... epoll_ctl resumed> )   = 0 <0.118113>
[pid 10382] <... pselect6 resumed> )    = 0 (Timeout) <0.117717>
[pid 10417] <... read resumed> "cache 0\\nrss 0\\nrss_huge 0\\nmapped_"..., 4096) = 576 <0.154442>
""".splitlines()


def parse(text, **options):
    return list(stracelog.parse(text.splitlines(), **options))


def test_the_article_s_listing_without_the_begin_of_the_calls():
    calls = list(stracelog.parse(ARTICLE))
    assert [(call.tid, call.name, call.result, call.seconds, call.fd) for call in calls] == [
        (10436, "futex", "0", 0.156784, None),
        (10436, "read", "658", 0.179438, None),
        (10411, "epoll_ctl", "0", 0.118113, None),
        (10382, "pselect6", "0 (Timeout)", 0.117717, None),
        (10417, "read", "576", 0.154442, None),
    ]
    assert calls[1].buffer == "cache 154234880\nrss 507904\nrss_h"
    assert calls[0].buffer is None and calls[1].at_s is None


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('read(3, "ab", 4096) = 2', (None, None, "read", "2", None, 3, "ab")),
        ('read(3</proc/meminfo>, "MemTotal:"..., 1024) = 1024 <0.000021>', (None, None, "read", "1024", 0.000021, 3, "MemTotal:")),
        ('read(0, "a) = 5 <0.5>", 4096)       = 14 <0.000002>', (None, None, "read", "14", 0.000002, 0, "a) = 5 <0.5>")),
        (
            'openat(AT_FDCWD, "/nothing", O_RDONLY) = -1 ENOENT (No such file or directory) <0.000009>',
            (None, None, "openat", "-1 ENOENT (No such file or directory)", 0.000009, None, "/nothing"),
        ),
        ("[pid  7] 09:30:01 close(4) = 0", (7, 34201.0, "close", "0", None, 4, None)),
        ("123   09:30:01.250000 close(4) = 0 <0.000001>", (123, 34201.25, "close", "0", 0.000001, 4, None)),
        ("12 1700000000.250000 close(4) = 0", (12, 1700000000.25, "close", "0", None, 4, None)),
        ("1700000000.250000 close(4) = 0", (None, 1700000000.25, "close", "0", None, 4, None)),
        ("     0.000123 close(4)               = 0", (None, 0.000123, "close", "0", None, 4, None)),
        ("09:30:01 (+     0.000123) close(4) = 0", (None, 34201.0, "close", "0", None, 4, None)),
        ("[00007f0000000001] close(4) = 0", (None, None, "close", "0", None, 4, None)),
        ("9 exit_group(0)                     = ?", (9, None, "exit_group", "?", None, 0, None)),
        ("nanosleep({tv_sec=9}, NULL) = ? ERESTART_RESTARTBLOCK (Interrupted by signal)", None),
        ("restart_syscall(<... resuming interrupted nanosleep ...>) = 0 <1.5>", (None, None, "restart_syscall", "0", 1.5, None, None)),
        ("poll([{fd=3, events=POLLIN}], 1, -1) = 1 ([{fd=3, revents=POLLIN}]) <0.02>", None),
        ('write(1, "\\33[31m\\x41\\"q\\"\\t\\303\\251", 9) = 9', (None, None, "write", "9", None, 1, '\x1b[31mA"q"\té')),
        ('read(3, "cut here', (None, None, "read", None, None, 3, "cut here")),
    ],
)
def test_forms_of_a_line(line, expected):
    (call,) = parse(line)
    if expected is not None:
        assert (call.tid, call.at_s, call.name, call.result, call.seconds, call.fd, call.buffer) == expected
    else:
        assert call.result.endswith(")") and call.args.count("(") == 0


def test_the_two_parts_of_a_call_are_one():
    calls = parse(
        "[pid 1] 1700000000.000000 read(5,  <unfinished ...>\n"
        "[pid 2] 1700000000.100000 read(6,  <unfinished ...>\n"
        '[pid 1] 1700000000.200000 <... read resumed> "x", 10) = 1 <0.200000>\n'
        '[pid 2] 1700000000.300000 <... read resumed>"y", 10) = 1 <0.200000>\n'
        "[pid 2] 1700000001.000000 <... write resumed>) = 1 <0.250000>\n"
    )
    assert [(call.tid, call.fd, call.args, call.buffer) for call in calls[:2]] == [(1, 5, '5, "x", 10', "x"), (2, 6, '6, "y", 10', "y")]
    assert [call.at_s for call in calls] == [1700000000.0, 1700000000.1, 1700000000.75]


def test_what_a_dead_task_had_begun_is_not_another_s():
    calls = parse("4 exit(0 <unfinished ...>\n4 +++ exited with 0 +++\n4 <... exit resumed>) = ?\n")
    assert [(call.name, call.args, call.result) for call in calls] == [("exit", "", "?")]


def test_what_is_no_call():
    counts = Counts()
    text = "strace: Process 12 attached\n[pid 12] --- SIGCHLD {si_signo=SIGCHLD} ---\n12 +++ killed by SIGKILL +++\nreal 0m0.153s\n\n"
    assert parse(text, counts=counts) == [] and counts.skipped == 2


def test_relative_times_add_up():
    assert [call.at_s for call in parse("     0.000000 close(1) = 0\n     0.500000 close(2) = 0\n     0.250000 close(3) = 0")] == [
        0.0,
        0.5,
        0.75,
    ]


def test_a_file_of_ff_belongs_to_its_task():
    assert parse("close(1) = 0", tid=77)[0].tid == 77


PIECES = st.sampled_from(
    [*ARTICLE, "read(3,", '"', "\\", ") = ", "<unfinished ...>", "<... read resumed>", "[pid 3] ", "12:00:01 ", " = ? ", "\x1b[2J"]
)


@given(st.lists(st.one_of(PIECES, st.text()), max_size=12).map("".join))
def test_no_line_breaks_the_reader(text):
    for call in stracelog.parse(text.splitlines()):
        assert call.name and isinstance(call.args, str)


@given(st.binary(max_size=600), st.integers(1, 40))
def test_lines_are_cut_at_the_limit_and_none_is_made_up(data, limit):
    got = list(lines(io.BytesIO(data), limit))
    parts = data.split(b"\n")
    assert len(got) == len(parts) - (parts[-1] == b"")
    assert all(len(line) <= limit for line in got)


@pytest.mark.parametrize(
    "line", ["read(" + ") " * 30000, "read(" + "= " * 30000, 'read("' + "\\" * 60001, " " * 65536, "<... read resumed>" + '"' * 60000]
)
def test_a_long_line_takes_no_longer_than_its_length(line):
    """Would not end if a pattern went over the line once for each of its characters: 10^9 steps and more."""
    assert len(parse(line)) <= 1


@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")
@pytest.mark.parametrize("options", [["-f"], ["-f", "-ttt"], ["-tt", "-y"], ["-f", "-r"], ["-t", "-i"]])
def test_a_real_log(tmp_path, options):
    (tmp_path / "data").write_bytes(b"cache 1\nrss 2\n")
    program = "import os; f = os.open('data', os.O_RDONLY); os.read(f, 4096); os.close(f)"
    log = tmp_path / "log"
    done = subprocess.run(
        ["strace", "-T", *options, "-o", str(log), sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"strace may not trace here: {done.stderr}")
    counts = Counts()
    with open(log, "rb") as stream:
        calls = list(stracelog.parse(lines(stream), counts))
    (read,) = [call for call in calls if call.buffer == "cache 1\nrss 2\n"]
    assert read.name == "read" and read.result == "14" and read.fd is not None and read.seconds > 0
    assert (read.tid is None) == ("-f" not in options)
    assert (read.at_s is None) == (options == ["-f"])
    assert counts.skipped == 0 and calls[-1].name == "exit_group"


@pytest.mark.parametrize(
    ("arguments", "fd", "path"),
    [
        ('7</proc/1/net/tcp6>, ""..., 4096', 7, "/proc/1/net/tcp6"),
        ('7<TCP:[10.0.0.1:22->10.0.0.2:50000]>, ""..., 4096', 7, "TCP:[10.0.0.1:22->10.0.0.2:50000]"),
        ("7</tmp/a, b>", 7, "/tmp/a, b"),
        ('7, "</tmp/a>", 9', 7, None),
        ("7", 7, None),
        ("7 /* [0 1] */", None, None),
    ],
)
def test_a_descriptor_with_what_strace_says_of_it(arguments, fd, path):
    (call,) = stracelog.parse([f"read({arguments}) = 1 <0.1>"])
    assert (call.fd, call.path) == (fd, path)
