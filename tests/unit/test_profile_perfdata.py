"""perf.data files give the samples that perf script shows, in any byte order, and broken ones an end or an error."""

import collections
import functools
import io
import os
import random
import re
import shutil
import subprocess
import sys
import tracemalloc
from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.module_utils.profile import perfdata
from ansible_collections.fleet.stall.plugins.module_utils.profile.kallsyms import Symbols
from ansible_collections.fleet.stall.plugins.module_utils.profile.sample import Counts, ProfileError
from tests.unit import perf_writer
from tests.unit.peak import peak_bytes
from tests.unit.perf_writer import CALLCHAIN, CPU, ID, IDENTIFIER, IP, PERIOD, READ, TID, TIME, USUAL, Writer

NAMES = ["entry", "do_syscall_64", "ksys_read", "vfs_read", "memcg_stat_show", "do_idle"]
LIBC = 0x7F0000001000
MS = 1000000

# What a capture does with the file, or with none
CAPTURED = """
import sys
from ansible_collections.fleet.stall.plugins.module_utils.capture import stacks
gaps = [{"start_ns": at * 10**9, "end_ns": at * 10**9 + 10**8, "cpu": at % 4} for at in range(15)]
found = stacks.read(sys.argv[1:], gaps, 10**6, {0, 1, 2, 3})
assert bool(found.cpus) == bool(sys.argv[1:]), found
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    text, at = perf_writer.kallsyms(NAMES)
    path = tmp_path_factory.mktemp("kernel") / "kallsyms"
    path.write_text(text)
    return Symbols.load(str(path)), at


def read(data, symbols=None, counts=None):
    return list(perfdata.read(io.BytesIO(data), symbols, counts))


def usual(writer, at):
    """A recording of two CPUs in two rounds; the second CPU's buffer is written after the first's."""
    syscall = [at[name] for name in ("memcg_stat_show", "vfs_read", "ksys_read", "do_syscall_64", "entry")]
    writer.comm(10, "cadvisor")
    writer.sample(100, 0, 10, syscall, [LIBC, LIBC + 8])
    writer.sample(300, 0, 10, (), [LIBC])
    writer.sample(200, 1, 0, [at["do_idle"]])
    writer.record(perf_writer.ROUND, b"")
    writer.sample(400, 0, 10, syscall[1:], [LIBC])
    writer.sample(250, 1, 11, [at["entry"]])
    writer.fork(10, 11, 240)
    writer.comm(10, "renamed", time=350)
    writer.lost(3)
    return writer


STACK = ("[user]", "entry", "do_syscall_64", "ksys_read", "vfs_read", "memcg_stat_show")
EXPECTED = [
    (100, 0, 10, 10, "cadvisor", STACK),
    (200, 1, 0, 0, "swapper", ("do_idle",)),
    (250, 1, 11, 11, "cadvisor", ("entry",)),
    (300, 0, 10, 10, "cadvisor", ("[user]",)),
    (400, 0, 10, 10, "renamed", STACK[:-1]),
]


@pytest.mark.parametrize("order", ["<", ">"])
def test_samples_are_named_and_put_in_order(kernel, order):
    symbols, at = kernel
    counts = Counts()
    data = usual(Writer(order), at).file()
    assert list(perfdata.in_time_order(io.BytesIO(data), symbols, counts)) == EXPECTED
    assert vars(counts) == {"samples": 5, "lost": 3, "skipped": 0, "unordered": 0, "crowded": False, "ended_at": None}
    assert [sample.time_ns for sample in read(data, symbols)] == [100, 300, 200, 400, 250]


def test_a_pipe_and_a_file_that_perf_could_not_close(kernel):
    symbols, at = kernel
    writer = usual(Writer(), at)
    assert read(writer.file(data_bytes=0), symbols) == read(writer.file(), symbols)
    piped = read(writer.pipe(), symbols)
    assert [sample.frames for sample in piped] == [sample.frames for sample in read(writer.file(), symbols)]
    assert [sample.comm for sample in piped][:3] == ["cadvisor", "cadvisor", "swapper"]


def test_names_of_a_snapshot_that_has_them_at_its_end(kernel):
    """perf record --overwrite writes newest first, and the tasks' names last."""
    symbols, at = kernel
    writer = Writer()
    for time in range(900, 0, -100):
        writer.sample(time, 0, 5, [at["entry"]])
    writer.comm(5, "late")
    assert [(sample.time_ns, sample.comm) for sample in perfdata.in_time_order(io.BytesIO(writer.file()), symbols)] == [
        (time, "late") for time in range(100, 1000, 100)
    ]


def test_a_task_has_the_name_of_its_time():
    writer = Writer()
    for comm, time in (("a", 0), ("a", 20), ("b", 40), ("b", 50), ("a", 60)):
        writer.comm(3, comm, time)
    writer.comm(0, "renamed", 5)
    for time in (1, 30, 45, 55, 70):
        writer.sample(time, 0, 3)
    writer.sample(80, 0, 0)
    assert [sample.comm for sample in read(writer.file())] == ["a", "a", "b", "b", "a", "swapper"]


@pytest.mark.parametrize("pipe", [False, True])
def test_a_task_that_is_renamed_without_end_takes_no_time_and_memory(pipe, tmp_path):
    writer = Writer()
    for moment in range(50000, 0, -1):
        writer.comm(3, str(moment), moment)
    writer.sample(49999, 0, 3)
    path = tmp_path / "perf.data"
    path.write_bytes(writer.pipe() if pipe else writer.file())
    began = process_time()
    with path.open("rb") as stream:
        assert len(list(perfdata.read(stream, None))) == 1
    assert process_time() - began < 10
    assert peak_bytes(CAPTURED, path) - peak_bytes(CAPTURED) < 60_000_000


@pytest.mark.parametrize("fields", [USUAL, USUAL & ~IDENTIFIER, USUAL & ~IDENTIFIER | ID, USUAL & ~PERIOD, USUAL | READ])
@pytest.mark.parametrize("read_format", [0, 4, 7, 8 | 4, 15])
def test_fields_before_the_chain(kernel, fields, read_format):
    symbols, at = kernel
    writer = Writer(events=((1, 0, fields, read_format),))
    writer.sample(7, 3, 9, [at["ksys_read"], at["entry"]], [LIBC])
    assert read(writer.file(), symbols) == [(7, 3, 9, 9, ":9", ("[user]", "entry", "ksys_read"))]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (IP | TID | TIME | CPU, (7, 3, 8, 9, ":9", ("ksys_read",))),
        (IP | TID | TIME | CALLCHAIN, (7, -1, 8, 9, ":9", ("entry", "ksys_read"))),
        (IP | TIME | CPU, (7, 3, -1, -1, ":-1", ("ksys_read",))),
    ],
)
def test_what_was_not_recorded(kernel, fields, expected):
    symbols, at = kernel
    writer = Writer(events=((1, 0, fields, 0),))
    writer.sample(7, 3, 9, [at["ksys_read"], at["entry"]], pid=8)
    assert read(writer.file(), symbols) == [expected]


def test_tracepoints_beside_a_clock_are_no_looks_at_the_cpu(kernel):
    symbols, at = kernel
    events = ((1, 0, USUAL, 0), (2, 77, USUAL | READ, 0), (1, 9, USUAL, 0))
    writer = Writer(events=events)
    for event in (0, 1, 2, 0):
        writer.sample(10 + event, 0, 1, [at["entry"]], event=event)
    assert [sample.time_ns for sample in read(writer.file(), symbols)] == [10, 10]
    assert [sample.time_ns for sample in read(writer.pipe(), symbols)] == [10, 10]
    alone = Writer(events=events[1:2])
    alone.sample(5, 0, 1, [at["entry"]])
    assert len(read(alone.file(), symbols)) == 1


def test_without_symbols_addresses_stay():
    writer = Writer()
    writer.sample(1, 0, 1, [0xFFFFFFFF81000080])
    assert read(writer.file())[0].frames == ("0xffffffff81000080",)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "no perf.data"),
        (b"\x7fELF" * 20, "no perf.data"),
        (b"PERFFILE" + bytes(100), "2010"),
        (Writer().file()[:12], "at byte 12"),
        (Writer().file()[:60], "at byte 60"),
        (Writer(events=((1, 0, USUAL & ~TIME, 0),)).file(), "no time"),
        (Writer(events=((1, 0, IP | TIME, 0), (1, 0, IP | TIME | CPU, 0))).file(), "identifier"),
    ],
)
def test_what_cannot_be_read_is_said(data, says):
    with pytest.raises(ProfileError, match=says):
        read(data)


@pytest.mark.parametrize(("kind", "says"), [(81, "compressed"), (11, "AUX"), (71, "AUX")])
def test_records_that_are_not_understood_are_refused_with_their_place(kind, says):
    writer = Writer()
    writer.record(kind, bytes(40))
    with pytest.raises(ProfileError, match=f"byte {len(Writer().file())}: .*{says}"):
        read(writer.file())


def test_where_a_broken_file_ends_is_counted(kernel):
    symbols, at = kernel
    whole = usual(Writer(), at).file()
    begin = len(Writer().file())
    for end in range(begin, len(whole)):
        counts = Counts()
        samples = read(whole[:end], symbols, counts)
        assert len(samples) == counts.samples <= 5
        assert counts.ended_at is not None and begin <= counts.ended_at <= end
    counts = Counts()
    broken = whole[: begin + 6] + b"\x04\x00" + whole[begin + 8 :]
    assert read(broken, symbols, counts) == [] and counts.ended_at == begin


def mutated(data, draw):
    data = bytearray(data)
    for _ in range(draw(st.integers(1, 12))):
        at = draw(st.integers(0, len(data) - 1))
        kind = draw(st.sampled_from(["bits", "huge", "cut", "repeat"]))
        if kind == "bits":
            data[at] = draw(st.integers(0, 255))
        elif kind == "huge":
            data[at : at + 8] = draw(st.sampled_from([b"\xff" * 8, bytes(8), b"\0" * 6 + b"\xff\x7f", b"\xff" * 4 + bytes(4)]))
        elif kind == "cut":
            del data[at : at + draw(st.integers(1, 64))]
        else:
            data[at:at] = data[at : at + draw(st.integers(1, 64))]
        if not data:
            break
    return bytes(data)


def must_survive(data, symbols):
    """Samples or a ProfileError, and no more memory than a few times the data and what a block and its caches take."""
    tracemalloc.start()
    try:
        counts = Counts()
        for reader in (perfdata.read, perfdata.in_time_order):
            for sample in reader(io.BytesIO(data), symbols, counts):
                assert isinstance(sample.frames, tuple)
    except ProfileError as error:
        assert str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 8000000 + 40 * len(data)


@given(st.data(), st.sampled_from(["<", ">"]), st.booleans())
@settings(max_examples=400)
def test_no_mutation_breaks_the_reader(kernel, data, order, pipe):
    symbols, at = kernel
    writer = usual(Writer(order, events=((1, 0, USUAL | READ, 15), (2, 5, USUAL, 0))), at)
    must_survive(mutated(writer.pipe() if pipe else writer.file(), data.draw), symbols)


@given(st.binary(max_size=300), st.sampled_from(["file", "pipe", "records"]))
def test_no_noise_breaks_the_reader(kernel, noise, where):
    writer = Writer()
    head = {"file": writer.file()[:104], "pipe": writer.pipe()[:16], "records": writer.file(data_bytes=0)}[where]
    must_survive(head + noise, kernel[0])


def test_memory_does_not_grow_with_the_file(kernel, tmp_path):
    symbols, at = kernel

    def file(rounds):
        draw = random.Random(1)
        writer = Writer()
        for number in range(rounds):
            for _ in range(100):
                time = number * 25 * MS + draw.randrange(25 * MS)
                writer.sample(time, draw.randrange(4), draw.randrange(9), [at[draw.choice(NAMES)]], [LIBC] * 60)
            writer.record(perf_writer.ROUND, b"")
        path = tmp_path / str(rounds)
        path.write_bytes(writer.file())
        return path

    few, many = file(100), file(600)
    with many.open("rb") as stream:
        times = [sample.time_ns for sample in perfdata.in_time_order(stream, symbols)]
    assert len(times) == 60_000 and times == sorted(times)
    # both are larger than the three blocks that are held at most
    more = many.stat().st_size - few.stat().st_size
    assert few.stat().st_size > 3 * perfdata.BLOCK_BYTES and more > 20 * perfdata.BLOCK_BYTES
    assert peak_bytes(CAPTURED, many) - peak_bytes(CAPTURED, few) < 0.1 * more


@pytest.mark.parametrize(
    ("limit", "first", "expected", "crowded"),
    [
        (9, {1}, [(at, cpu) for at in range(4) for cpu in (0, 1)], False),
        (8, {1}, [(at, 1) for at in range(4)], True),
        (3, {1, 7}, [(at, 1) for at in range(4)], True),
        (1, {7}, [], True),
        (9, set(), [(at, cpu) for at in range(4) for cpu in (0, 1)], False),
    ],
)
def test_of_too_many_samples_those_of_the_first_cpus_are_kept(monkeypatch, limit, first, expected, crowded):
    monkeypatch.setattr(perfdata, "QUEUE_LIMIT", limit)
    writer, counts = Writer(), Counts()
    for at in range(4):
        for cpu in (0, 1):
            writer.sample(at, cpu, 1)
    found = perfdata.in_time_order(io.BytesIO(writer.file()), None, counts, first)
    assert ([(sample.time_ns, sample.cpu) for sample in found], counts.crowded) == (expected, crowded)


@given(st.lists(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 2)), max_size=20), max_size=8))
def test_by_rounds_and_by_a_sort_the_samples_are_the_same(rounds):
    writer = Writer()
    for number, times in enumerate(rounds):
        # a CPU whose buffer was read first may have more, not yet read, that is older than what another's had
        for time, cpu in times:
            writer.sample(number * 50 + time, cpu, time)
        writer.record(perf_writer.ROUND, b"")
    data, counts = writer.file(), Counts()
    found = list(perfdata.in_time_order(io.BytesIO(data), None, counts))
    assert sorted(found) == sorted(read(data)) and counts.unordered == 0
    assert [sample.time_ns for sample in found] == sorted(sample.time_ns for sample in found)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """Of perf itself, on this machine."""
    if not shutil.which("perf"):
        pytest.skip("needs perf")
    path = tmp_path_factory.mktemp("recording") / "perf.data"
    busy = (
        "import os, threading; f = open('/proc/self/maps'); [(f.seek(0), f.read()) for _ in range(3000)]; os.system('ls /proc >/dev/null')"
    )
    line = ["perf", "record", "-q", "-e", "cpu-clock", "-g", "-F", "999", "-o", str(path), "-a", "--", sys.executable, "-c", busy]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode or not Symbols.load().available:
        pytest.skip(f"perf may not record here: {done.stderr}")
    return path


def test_the_samples_of_a_real_recording_are_those_of_perf_script(recording):
    counts, symbols = Counts(), Symbols.load()
    with open(recording, "rb") as stream:
        ours = sorted(perfdata.in_time_order(stream, symbols, counts), key=lambda sample: sample[:2])
    theirs = sorted(of_perf_script(recording, plain_names()), key=lambda sample: sample[:2])
    assert counts.samples == len(ours) == len(theirs) > 50 and counts.skipped == 0 and counts.ended_at is None
    for our, their in zip(ours, theirs, strict=True):
        if passes_bpf(our.frames):
            our, their = our._replace(frames=()), (*their[:5], ())
        # perf shows no frame at all of a chain whose user part holds nonsense, and no name that is known only later
        assert our._replace(frames=our.frames if their[5] else (), comm=their[4] if their[4].startswith(":") else our.comm) == their


def passes_bpf(frames):
    """Programs of BPF come and go, and their names, with whoever traces this machine beside the test."""
    return any("bpf" in frame for frame in frames)


def of_perf_script(path, names):
    line = ["perf", "script", "--ns", "-F", "comm,pid,tid,cpu,time,ip,sym,dso", "-i", str(path)]
    text = subprocess.run(line, capture_output=True, check=True).stdout.decode(errors="replace")
    for block in filter(None, text.split("\n\n")):
        head, *lines = block.strip("\n").split("\n")
        comm, pid, tid, cpu, seconds, ns = re.match(r"\s*(.*?)\s+(-?\d+)/(-?\d+)\s+\[(\d+)\]\s+(\d+)\.(\d{9}):", head).groups()
        frames = [re.match(r"\s*([0-9a-f]+) (.*) \((.*)\)$", line).groups() for line in reversed(lines)]
        kernel = [names.get(name, name) for _ip, name, file in frames if file.startswith("[kernel")]
        user = ["[user]"] if len(kernel) < len(frames) else []
        yield int(seconds) * 10**9 + int(ns), int(cpu), int(pid), int(tid), comm, tuple(user + kernel)


@functools.lru_cache
def plain_names():
    """Of several names for one address, perf shows any."""
    symbols = Symbols.load()
    names = collections.defaultdict(set)
    with open("/proc/kallsyms") as lines:
        for line in lines:
            address, _kind, name = line.split()[:3]
            names[name].add(symbols.name(int(address, 16)))
    return {name: found.pop() for name, found in names.items() if len(found) == 1 and None not in found}


@given(st.data())
@settings(max_examples=150)
def test_no_mutation_of_a_real_recording_breaks_the_reader(recording, data):
    whole = recording.read_bytes()
    at = data.draw(st.integers(0, len(whole)))
    part = whole[:300] + whole[at : at + data.draw(st.integers(0, 4000))] if data.draw(st.booleans()) else whole[:20000]
    must_survive(mutated(part, data.draw), Symbols.load(os.devnull))
