"""Files are told by what is in them; nothing that is in a directory can stop the import, act on anything or be taken for a healthy host."""

import gzip
import json
import os
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.plugin_utils import causes, report, table
from ansible_collections.fleet.stall.plugins.plugin_utils.imports import build, logs, packetlog, profiles, straces, timing
from tests.unit import contract

CATALOGUE = causes.load()
ASKED = build.Asked("20261124T000000Z-abcd", 10.0, {"critical": 20, "major": 2})

HPING = "".join(
    f"len=46 ip=10.0.0.2 ttl=64 id=1 icmp_seq={n} rtt={120 - 10 * (n - 40) if 40 <= n < 52 else 0.3:.1f} ms\n" for n in range(200)
)
PACKETS = "".join(f"{pid}\t{pid}\t{comm}\t{n}\n" for n, (pid, comm) in enumerate([(7, "agent")] * 40 + [(76, "ksoftirqd/3")] * 12, 0))
STRACE = '[pid 7] read(5, "cache 0\\nrss 0\\nrss_huge 0\\nmapped_"..., 4096) = 577 <0.228091>\n' * 3
SCRIPT = """agent 7/8 [003] 100.001000: 1001001 cpu-clock:
\tffffffff811a6a9b mem_cgroup_nr_lru_pages+0x4b ([kernel.kallsyms])
\tffffffff811a6bcd memcg_stat_show+0x6d ([kernel.kallsyms])
\tffffffff81203b5f seq_read+0xff ([kernel.kallsyms])

"""
STACKS = "agent;do_syscall_64;sys_read;vfs_read\nksoftirqd/3;kthread;run_ksoftirqd;net_rx_action\n"
FORMS = {
    "probes": HPING,
    "packets": PACKETS,
    "perf_script": SCRIPT,
    "stacks": STACKS,
    "strace": STRACE,
    "facts": "Linux node-7 4.9.0-8-amd64 #1 SMP Debian 4.9.144-3 (2019-02-02) x86_64 GNU/Linux\n",
}


def findings(directory):
    read = logs.read(directory, 10)
    found = build.findings(read, ASKED, lambda case: causes.match(CATALOGUE, case), 1.8e9)
    contract.holds(found)
    for shown in (table.render(found, 10, 100), report.markdown(found), report.html(found)):
        assert all(character == "\n" or character.isprintable() for character in shown)
    return found


@pytest.mark.parametrize("kind", FORMS)
def test_a_file_is_told_by_its_content_whatever_its_name(tmp_path, kind):
    (tmp_path / "notes.dat").write_text(FORMS[kind])
    assert [log.kind for log in logs.read(tmp_path, 10).logs] == [kind]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "empty"),
        (b"\n \n", "empty"),
        (b"\x7fELF\0\0\0", "binary"),
        (b"PERFILE2\x68\0\0", "perf script"),
        (gzip.compress(b"PERFILE2\x68\0\0"), "perf script"),
        (b"\xfd7zXZ\0\0", "packed by xz: unpack it"),
        (b"To whom it may concern; hello; world\n" + b"and many more lines of prose\n" * 9, "no log that is understood"),
        (b"<html><body>1 2 three 4</body></html>\n", "no log that is understood"),
    ],
)
def test_what_is_no_log_is_named_and_the_rest_is_used(tmp_path, content, why):
    (tmp_path / "odd").write_bytes(content)
    (tmp_path / "hping").write_text(HPING)
    read = logs.read(tmp_path, 10)
    assert [log.name for log in read.logs] == ["hping"] and any("odd" in warning and why in warning for warning in read.warnings)


def test_no_pipe_is_waited_for_and_no_link_is_followed(tmp_path):
    directory = tmp_path / "logs"
    directory.mkdir()
    (directory / "hping").write_text(HPING)
    (directory / "dir").mkdir()
    os.mkfifo(directory / "pipe")
    (tmp_path / "secret").write_text(HPING)
    (directory / "link").symlink_to(tmp_path / "secret")
    (directory / "zero").symlink_to("/dev/zero")
    (directory / "about.yml").symlink_to("/dev/zero")
    read = logs.read(directory, 10)
    assert [log.name for log in read.logs] == ["hping"]
    assert sum(name in read.warnings[-1] for name in ("pipe", "link", "zero", "dir")) == 4


@pytest.mark.parametrize(
    ("make", "words"), [("nothing", "it is empty"), ("absent", "No such file"), ("file", "Not a directory"), ("odd", "odd (binary)")]
)
def test_a_directory_without_logs_is_an_error_that_says_why(tmp_path, make, words):
    directory = tmp_path / "logs"
    if make == "file":
        directory.write_text("x")
    elif make != "absent":
        directory.mkdir()
    if make == "odd":
        (directory / "odd").write_bytes(b"\0\1")
    with pytest.raises(logs.LogsError, match="stall_logs is") as raised:
        logs.read(directory, 10)
    assert words in str(raised.value)


HOSTILE = b"\x1b]0;owned\x07<script>alert(1)</script>{{ 7*7 }};a;b"


def test_hostile_names_and_contents_are_only_text(tmp_path):
    name = HOSTILE.decode().replace("/", "_")
    (tmp_path / name).write_text(HPING)
    (tmp_path / "packets").write_text(PACKETS.replace("agent", "\x1b[31m<b>ag\u202eent"))
    (tmp_path / "odd\n\x1b[2J").write_bytes(b"\0")
    (tmp_path / "about.yml").write_text(json.dumps({"host": "<b>\x1b[1mnode", "files": {name: {"source": "\x1b[31mx", "layer": "node"}}}))
    found = findings(tmp_path)
    assert found["hosts"][0]["status"] == "stalling" and "<b>" not in report.html(found)


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        ("host: [a", "can't be read"),
        ("- a", "no mapping"),
        ("host: 7\nkernel: [1]", "kernel"),
        ("interval_ms: -1", "interval_ms"),
        ("interval_ms: .nan", "interval_ms"),
        ("files: {hping: {layer: moon}}", "layer"),
        ("files: {hping: 7}", "files.hping"),
        ("files: {hping: {what: spoon}}", "what"),
        ("files: {gone: {layer: node}}", "not there"),
        ("hots: a", "hots"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nhost: *c", "host"),
        ("x" * 70000, "no mapping"),
        ("!!python/object/apply:os.system [id]", "can't be read"),
    ],
)
def test_what_is_wrong_in_the_about_file_is_said_and_not_used(tmp_path, content, wrong):
    (tmp_path / "hping").write_text(HPING)
    (tmp_path / "about.yml").write_text(content)
    found = findings(tmp_path)
    assert any(wrong in warning for warning in found["warnings"]), found["warnings"]
    assert found["hosts"][0]["severity"]["events"] == 1


def test_the_about_file_names_what_the_logs_cannot(tmp_path):
    (tmp_path / "hping").write_text(HPING)
    (tmp_path / "from-shell-overlay.txt").write_text(HPING)
    (tmp_path / "about.yml").write_text(
        "host: node-7\nkernel: 5.4\noutside: [shell]\nfiles: {hping: {layer: node, source: shell, interval_ms: 20}, missing.txt: {}}\n"
    )
    found = findings(tmp_path)
    flows = {event["flow"]["layer"]: event["flow"]["source"] for event in found["hosts"][0]["events"]}
    assert flows == {"outside": "shell", "overlay": "(source not named)"}
    assert found["hosts"][0]["host"] == "node-7"


def test_a_whole_log_is_graded_and_a_quiet_one_is_clear_with_its_bound(tmp_path):
    (tmp_path / "hping").write_text("# hping3 --icmp -i u10000 10.0.0.2\n" + HPING)
    row = findings(tmp_path)["hosts"][0]
    assert (
        row["host"] == "10.0.0.2"
        and row["severity"]["events"] == 1
        and row["severity"]["stalled_ms_per_s"] == pytest.approx(119.7 / 2, rel=0.01)
    )
    assert row["severity"]["grade"] == "critical" and row["coverage"]["observed_s"] == 2.0
    assert row["blame"]["side"] == "unknown" and "its source may as well be to blame" in row["reason"]
    (tmp_path / "hping").write_text(
        "# hping3 --icmp -i u10000 10.0.0.2\n" + "".join(line for line in HPING.splitlines(True) if "rtt=0.3" in line)
    )
    quiet = findings(tmp_path)["hosts"][0]
    assert quiet["status"] == "stalling", "the probes that are missing were lost: an outage"
    (tmp_path / "hping").write_text(
        "# hping3 --icmp -i u10000 10.0.0.2\n" + "".join(f"len=46 ip=10.0.0.2 icmp_seq={n} rtt=0.3 ms\n" for n in range(3000))
    )
    clear = findings(tmp_path)["hosts"][0]
    assert (clear["status"], clear["coverage"]["observed_s"], clear["coverage"]["upper_bound_ms_per_s"]) == ("clear", 30.0, 10.0)


def test_without_an_interval_there_is_no_rate_and_nothing_is_clear(tmp_path):
    (tmp_path / "hping").write_text("".join(f"len=46 ip=10.0.0.2 icmp_seq={n} rtt=0.3 ms\n" for n in range(3000)))
    row = findings(tmp_path)["hosts"][0]
    assert row["status"] == "not_measured" and "interval" in row["reason"]


def test_the_rate_of_a_log_without_its_command_is_not_made_of_the_jitter_of_its_path(tmp_path):
    """3 stalls of 100 ms in 30 s, over a path of 40 ms: its round trips fall by tenths of a millisecond nearly always."""
    held = {n: 100 - 10 * (n % 1000 - 500) for n in range(3000) if 500 <= n % 1000 < 510}
    (tmp_path / "hping").write_text(
        "".join(f"len=46 ip=10.0.0.2 icmp_seq={n} rtt={40 + n % 4 * 0.3 + held.get(n, 0):.1f} ms\n" for n in range(3000))
    )
    row = findings(tmp_path)["hosts"][0]
    assert row["coverage"]["observed_s"] == pytest.approx(30, rel=0.03) and row["severity"]["events"] == 3
    assert row["severity"]["stalled_ms_per_s"] == pytest.approx(10, rel=0.05)


def test_logs_without_probes_tell_no_stall(tmp_path):
    (tmp_path / "packets").write_text(PACKETS)
    (tmp_path / "strace").write_text(STRACE)
    row = findings(tmp_path)["hosts"][0]
    assert row["status"] == "not_measured" and row["causes"] == [] and row["trigger"] is None
    assert row["capture"]["handlers"][0]["comm"] == "agent"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=300),
            st.sampled_from([text.encode() for text in FORMS.values()]),
            st.tuples(st.sampled_from([text.encode() for text in FORMS.values()]), st.integers(0, 400), st.binary(max_size=8)).map(
                lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] + 3 :]
            ),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_nothing_in_a_directory_can_break_the_import(tmp_path_factory, contents):
    directory = tmp_path_factory.mktemp("logs")
    for number, content in enumerate(contents):
        (directory / f"file{number}").write_bytes(content)
    try:
        findings(directory)
    except logs.LogsError:
        pass


@given(st.lists(st.text(alphabet=st.sampled_from('0123456789 \t;:[]()<>=."\\\nabrs_/+-*é\x1b\x00'), max_size=120), max_size=12))
def test_no_reader_breaks_on_lines_that_look_like_its_own(lines):
    for read in (packetlog.read, profiles.read_script, profiles.read_folded, timing.read, lambda rows: straces.read(rows, 0)):
        read(lines)


def test_a_large_log_takes_little_memory(tmp_path):
    """60 MB of one line without an end, and of what is no log, beside a real one."""
    (tmp_path / "hping").write_text(HPING)
    with open(tmp_path / "long", "wb") as stream:
        stream.write(HPING.encode())
        stream.write(b"x" * 60_000_000)
    tracemalloc.start()
    read = logs.read(tmp_path, 10)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(read.logs) == 2 and peak < 20_000_000


def test_a_log_longer_than_is_read_is_cut_and_said(tmp_path, monkeypatch):
    monkeypatch.setattr(logs, "BYTES_LIMIT", 4000)
    (tmp_path / "hping").write_text(HPING)
    read = logs.read(tmp_path, 10)
    assert len(read.logs[0].content.numbers) < 100 and any("only the first" in warning for warning in read.warnings)


@pytest.mark.parametrize("kind", FORMS)
def test_a_log_may_be_packed_by_gzip(tmp_path, kind):
    (tmp_path / "log.8.gz").write_bytes(gzip.compress(FORMS[kind].encode()))
    (tmp_path / "plain").write_text(FORMS[kind])
    read = logs.read(tmp_path, 10)
    assert [log.kind for log in read.logs] == [kind, kind]
    assert [said.partition(": ")[2] for said in read.warnings[::2]] == [said.partition(": ")[2] for said in read.warnings[1::2]]


def test_a_packed_file_that_breaks_off_is_read_as_far_as_it_goes(tmp_path):
    packed = gzip.compress("".join(f"len=46 ip=10.0.0.2 icmp_seq={n} rtt={n % 97 / 7:.1f} ms\n" for n in range(20000)).encode())
    (tmp_path / "cut.gz").write_bytes(packed[: len(packed) // 2])
    (tmp_path / "head.gz").write_bytes(packed[:5])
    read = logs.read(tmp_path, 10)
    assert len(read.logs[0].content.numbers) > 5000
    assert any("cut.gz: it is packed and broken" in said for said in read.warnings) and any("head.gz" in said for said in read.warnings)


def test_what_unpacks_to_much_more_is_cut_in_memory_and_time(tmp_path, monkeypatch):
    monkeypatch.setattr(logs, "BYTES_LIMIT", 20_000_000)
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(HPING.encode() + b"x" * 200_000_000))
    tracemalloc.start()
    read = logs.read(tmp_path, 10)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(read.logs[0].content.numbers) == 200 and peak < 5_000_000
    assert any("only the first 19 MB" in said for said in read.warnings)


@pytest.mark.parametrize("cpus", [1, 3000])
def test_the_header_of_a_recording_names_the_host_and_its_kernel(tmp_path, cpus):
    header = "# ========\n# captured on    : Thu Nov 26 2026\n# hostname : node-7\n# os release : 4.9.0-8-amd64\n# arch : x86_64\n"
    caches = "".join(f"#  L1 Data                 32K [{cpu}]\n" for cpu in range(cpus))
    (tmp_path / "script").write_text(f"{header}{caches}# ========\n#\n{SCRIPT}# hostname : other\n")
    (log,) = logs.read(tmp_path, 10).logs
    assert log.kind == "perf_script" and (log.facts.host, log.facts.kernel) == ("node-7", "4.9.0-8-amd64")
    assert findings(tmp_path)["hosts"][0]["host"] == "node-7"


@pytest.mark.parametrize("kind", ["probes", "packets", "strace", "stacks", "perf_script"])
@pytest.mark.parametrize(("odd", "is_said"), [(0, False), (3, False), (20, True), (600, True)])
def test_rows_that_are_not_understood_are_counted_and_the_first_is_shown(tmp_path, kind, odd, is_said):
    text = FORMS[kind] * (100 // FORMS[kind].count("\n") + 1)
    (tmp_path / "log").write_text(text + "what is \x1b[1m this\n" + "an odd line\n" * (odd - 1) if odd else text)
    (tmp_path / "about.yml").write_text(f"files: {{log: {{what: {kind}}}}}")
    warnings = [said for said in logs.read(tmp_path, 10).warnings if "not understood" in said]
    assert len(warnings) == is_said
    if is_said:
        lines = odd + sum(bool(line) for line in text.splitlines())
        assert warnings[0].startswith(f"log: {odd} of {lines} lines were not understood")
        assert ("the first: what is" in warnings[0]) == (kind in ("probes", "packets")) and "\x1b" not in warnings[0]
