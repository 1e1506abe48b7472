"""The text of perf script gives samples, whatever kernel, options and names it is from; what is no text of perf script breaks nothing."""

import io
import itertools
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.module_utils.profile import perfdata, perfscript
from ansible_collections.fleet.stall.plugins.module_utils.profile.kallsyms import Symbols
from ansible_collections.fleet.stall.plugins.module_utils.profile.sample import Counts, lines
from tests.unit.peak import peak_bytes
from tests.unit.test_profile_perfdata import passes_bpf, plain_names, recording

__all__ = ["recording"]

STACK = """\
\tffffffff8118f3a2 mem_cgroup_iter+0x42 ([kernel.kallsyms])
\tffffffff81190f6b memcg_stat_show+0x10b ([kernel.kallsyms])
\tffffffff8105c0f1 nf_hook_slow+0x1 ([nf_conntrack])
\tffffffff81002345 sys_read+0x55 (/usr/lib/debug/boot/vmlinux-4.9.0-8-amd64)
\t           f82ad read+0xd (/lib/x86_64-linux-gnu/libc-2.24.so)
\t    7f0000001234 std::vector<int, (anonymous)>::at(int) (/usr/bin/cad visor (deleted))
"""
FRAMES = ("[user]", "sys_read", "nf_hook_slow", "memcg_stat_show", "mem_cgroup_iter")


def parse(text, **options):
    return list(perfscript.read(text.splitlines(), **options))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("cadvisor 10436 [011] 51.123456:     250000 cpu-clock:pppH: ", (51123456000, 11, 10436, 10436, "cadvisor")),
        ("cadvisor 10137/10436 [011] 51.123456789:     250000 cycles:ppp: ", (51123456789, 11, 10137, 10436, "cadvisor")),
        ("        cadvisor 10137/10436 [011] 51.123456: cycles:", (51123456000, 11, 10137, 10436, "cadvisor")),
        ("cadvisor 10436 51.123456:     250000 cpu-clock: ", (51123456000, -1, 10436, 10436, "cadvisor")),
        ("cadvisor 10436 [011] U 51.123456: cpu-clock:", (51123456000, 11, 10436, 10436, "cadvisor")),
        (
            "cadvisor 10436 [011] d.h. 51.123456: net:netif_receive_skb: dev=eth0 skbaddr=0x1 len=84",
            (51123456000, 11, 10436, 10436, "cadvisor"),
        ),
        ("Web Content 3/4 [001] 1.000001: cpu-clock:", (1000001000, 1, 3, 4, "Web Content")),
        ("a 1 [000] b 7/9 [001] 1.000001: cpu-clock:", (1000001000, 1, 7, 9, "a 1 [000] b")),
        ("a;b\x1b[2J 7/9 [001] 1.000001: cpu-clock:", (1000001000, 1, 7, 9, "a:b?[2J")),
        ("kworker/0:1-eve 7 [000] 1.5: cpu-clock:", (1500000000, 0, 7, 7, "kworker/0:1-eve")),
        (":-1 -1/-1 [000] 1.5: cpu-clock:", (1500000000, 0, -1, -1, ":-1")),
        ("swapper     0 [000] 1.5: cpu-clock:", (1500000000, 0, 0, 0, "swapper")),
        ("swapper/11     0 [011] 1.5: cpu-clock:", (1500000000, 11, 0, 0, "swapper")),
        # -F
        ("cadvisor 10137/10436 ", (0, -1, 10137, 10436, "cadvisor")),
        ("cadvisor 10436 cpu-clock:pppH: ", (0, -1, 10436, 10436, "cadvisor")),
        ("cadvisor 10137/10436 [011] 1001001 cpu-clock: ", (0, 11, 10137, 10436, "cadvisor")),
        ("cadvisor 10436 1001001 cpu-clock: ", (0, -1, 10436, 10436, "cadvisor")),
        ("cadvisor ", (0, -1, -1, -1, "cadvisor")),
        ("51.123456: ", (51123456000, -1, -1, -1, "")),
        ("[011] 51.123456: cpu-clock: ", (51123456000, 11, -1, -1, "")),
        ("", (0, -1, -1, -1, "")),
    ],
)
def test_the_line_about_the_task(header, expected):
    counts = Counts()
    first, second = parse(f"{header}\n{STACK}\n{header}\n{STACK}", counts=counts)
    assert first == second == (*expected, FRAMES)
    assert counts.samples == 2 and counts.skipped == 0


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        (STACK.replace("+0x42", "").replace("+0x10b", ""), FRAMES),
        (
            "\tffffffff8118f3a2 mem_cgroup_iter\n\tffff800008012345 el0_svc\n\t    aaaabbbb1234 main\n",
            ("[user]", "el0_svc", "mem_cgroup_iter"),
        ),
        ("\tc0000000000b1c2c vfs_read+0x8\n", ("vfs_read",)),
        (
            " mem_cgroup_iter ([kernel.kallsyms])\n sys_read ([guest.kernel.kallsyms.12])\n main (/bin/a)\n",
            ("[user]", "sys_read", "mem_cgroup_iter"),
        ),
        (" mem_cgroup_iter\n sys_read\n", ("sys_read", "mem_cgroup_iter")),
        ("\t          123456 s390_read ([kernel.vmlinux])\n\t          ab1234 [unknown] ([unknown])\n", ("[user]", "s390_read")),
        ("\tffffffffc0001234 gc_worker+0x1 (/lib/modules/4.9.0/kernel/net/nf_conntrack.ko.xz)\n", ("gc_worker",)),
        ("\tffffffffc0001234 bpf_prog_6deef7357e7b4530+0x1 (bpf_prog_6deef7357e7b4530)\n", ("bpf_prog_6deef7357e7b4530",)),
        ("\tffffffff8118f3a2 [unknown] ([kernel.kallsyms])\n", ("[unknown]",)),
        ("\tffffffff8118f3a2\n", ("0xffffffff8118f3a2",)),
        ("\tffffffff8118f3a2 ([kernel.kallsyms])\n", ("0xffffffff8118f3a2",)),
        ("\tffffffff8118f3a2 a;b\x1b[31mc+0x3 ([kernel.kallsyms])\n", ("a:b?[31mc",)),
        (
            "\tffffffff8118f3a2 inner (inlined)\n\tffffffff8118f3a2 outer+0x2 ([kernel.kallsyms])\n  kernel/fork.c:12\n"
            "\t    55550001 f (inlined)\n",
            ("[user]", "outer", "inner"),
        ),
        ("\t    7ffc1234 [unknown] ([vdso])\n", ("[user]",)),
        ("\t    55550001 f (/bin/a)\n\tffffffffffffff9c [unknown] ([unknown])\n", ("[user]",)),
        (
            "\tffffffff8118f3a2 vfs_read ([kernel.kallsyms])\n\t    55550001 f (/bin/a)\n\tffffffffffffff9c [unknown] ([unknown])\n",
            ("[user]", "vfs_read"),
        ),
        ("\tffffffffff600000 gettimeofday ([vsyscall])\n", ("[user]",)),
    ],
)
def test_frames(frames, expected):
    (sample,) = parse(f"x 1/2 [000] 1.5: cpu-clock:\n{frames}")
    assert sample.frames == expected


def test_user_frames_are_kept_on_request():
    (sample,) = parse(f"x 1/2 [000] 1.5: cpu-clock:\n{STACK}", keep_user=True)
    assert sample.frames == ("std::vector<int, (anonymous)>::at(int)", "read", *FRAMES[1:])


def test_without_chains_the_frame_is_on_the_line():
    text = """\
         swapper     0 [000]   188.508480:    1001001 cpu-clock:  ffffffff82204bc0 pv_native_safe_halt+0xb ([kernel.kallsyms])
            bash  1234 [001]   188.508490:    1001001 cpu-clock:      7f12345678 main+0xb (/bin/bash)
            bash  1234 [001]   188.508499: sched:sched_wakeup: comm=perf pid=1
"""
    assert [(sample.comm, sample.time_ns, sample.frames) for sample in parse(text)] == [
        ("swapper", 188508480000, ("pv_native_safe_halt",)),
        ("bash", 188508490000, ("[user]",)),
        ("bash", 188508499000, ()),
    ]


def test_comments_and_what_is_no_sample_are_left_out():
    counts = Counts()
    text = f"# captured on: Mon\n#\n\nWarning:\nx 1/2 [000] 1.5: cpu-clock:\n{STACK}\ttwo words\n\nProcessed 5 events\n"
    assert [sample.frames for sample in parse(text, counts=counts)] == [FRAMES]
    assert counts.samples == 1 and counts.skipped == 3


PIECES = st.sampled_from(
    [
        "x 1/2 [000] 1.5: cpu-clock:",
        "\n",
        "\n\n",
        *STACK.splitlines(keepends=True),
        "\t",
        " ",
        "1.5:",
        "[000]",
        "(",
        ")",
        " (inlined)",
        "+0x",
        ";",
        "\x1b[2J",
    ]
)


@given(st.lists(st.one_of(PIECES, st.text(max_size=20)), max_size=20).map("".join), st.booleans())
def test_no_text_breaks_the_reader(text, keep_user):
    for sample in parse(text, keep_user=keep_user):
        assert sample.comm.isprintable() and len(sample.comm) <= 64
        assert all(frame and frame.isprintable() and ";" not in frame for frame in sample.frames)


@given(st.binary(max_size=2000))
def test_no_binary_breaks_the_reader(data):
    assert isinstance(list(perfscript.read(lines(io.BytesIO(data)))), list)


@pytest.mark.parametrize("piece", ["x ", " ", "1 ", "1.5: ", "[0] ", "\t", "(", " (", "a+0x1", "f"])
def test_a_line_takes_no_longer_than_its_length(piece):
    """Would not end if a pattern went over the line once for each of its characters."""
    line = piece * 60000
    assert len(list(perfscript.read([line, "x 1 [0] 1.5: c:", "\t" + line, "  " + line, line.replace(" ", "\t")]))) <= 4


# So many lines, no two of them alike, and nothing kept
LINES = r"""
import sys
from ansible_collections.fleet.stall.plugins.module_utils.profile import perfscript

def lines(source, size):
    for number in range(size):
        frame = f"\tffffffff{number:08x} f{number} ([kernel.kallsyms])"
        if source == "noise":
            yield f"noise {number} {number * 7919:x}"
        elif source == "frames":
            yield frame
        else:
            yield from (f"t{number} {number} [000] {number}.5: cpu-clock:", frame, "")

samples = sum(1 for _ in perfscript.read(lines(sys.argv[1], int(sys.argv[2]))))
assert samples == int(sys.argv[2]) or sys.argv[1] != "samples", samples
"""


@pytest.mark.parametrize("source", ["samples", "frames", "noise"])
def test_memory_does_not_grow_with_the_text(source):
    nothing, small, large = (peak_bytes(LINES, source, size) for size in (0, 40000, 160000))
    assert large - nothing < 1.2 * (small - nothing) + 1_000_000


@pytest.mark.parametrize(
    "options", [["--ns"], [], ["--ns", "-F", "comm,pid,tid,cpu,time,period,event,ip,sym,symoff,dso"], ["--ns", "-F", "+misc,-period"]]
)
def test_the_text_of_a_real_recording_gives_its_samples(recording, options):
    symbols = Symbols.load()
    text = subprocess.run(["perf", "script", *options, "-i", str(recording)], capture_output=True, check=True).stdout
    read = sorted(perfscript.read(lines(io.BytesIO(text))), key=lambda sample: sample[:2])
    with open(recording, "rb") as stream:
        # without --ns, two CPUs may have a sample in one microsecond
        unit = 1 if "--ns" in options else 1000
        direct = [sample._replace(time_ns=sample.time_ns // unit * unit) for sample in perfdata.read(stream, symbols)]
        direct.sort(key=lambda sample: sample[:2])
    names = plain_names()
    assert len(read) == len(direct) > 50
    for ours, theirs in zip(read, direct, strict=True):
        assert (ours.time_ns, ours.cpu, ours.tid) == (theirs.time_ns, theirs.cpu, theirs.tid)
        assert ours.comm in (theirs.comm, f":{ours.tid}")
        # perf shows no frame at all of a chain whose user part holds nonsense
        if ours.frames and not passes_bpf(theirs.frames):
            assert tuple(names.get(frame, frame) for frame in ours.frames) == theirs.frames


def test_two_hundred_megabytes_of_anything(tmp_path):
    """In a process of its own, whose memory is limited."""
    unit = STACK.encode() * 20 + bytes(range(256)) * 16 + b"x 1 [000] 1.5: c:\n" + b"\xff" * 3000
    path = tmp_path / "text"
    with path.open("wb") as file:
        for _ in itertools.repeat(None, 200_000_000 // len(unit)):
            file.write(unit)
    program = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (200 << 20, 200 << 20))\n"
        "from ansible_collections.fleet.stall.plugins.module_utils.profile import perfscript, sample\n"
        f"with open({str(path)!r}, 'rb') as stream: print(sum(1 for _ in perfscript.read(sample.lines(stream))))"
    )
    done = subprocess.run([sys.executable, "-c", program], env={"PYTHONPATH": "collections"}, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and int(done.stdout) > 0, done.stderr
