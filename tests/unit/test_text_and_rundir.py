"""Names from outside never become a path or act on a terminal; the run directory is whole or says why not."""

import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.plugin_utils import rundir, text
from ansible_collections.fleet.stall.plugins.plugin_utils.jobs import CAPTURE, OBSERVE
from ansible_collections.fleet.stall.plugins.plugin_utils.rundir import RunDir, RunDirError

NAMES = st.text(max_size=300)


@given(NAMES)
def test_a_slug_is_one_plain_visible_file_name(name):
    slug = rundir.slug(name)
    assert slug and "/" not in slug and "\0" not in slug and not slug.startswith(".")
    assert len(slug) <= 255 and slug.isascii() and slug.isprintable()


@given(NAMES, NAMES)
def test_two_hosts_never_share_a_slug(one, other):
    assert (rundir.slug(one) == rundir.slug(other)) == (one == other)


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("web1.example.com", "web1.example.com"),
        ("../../x", "%2E.%2F..%2Fx"),
        ("{{ 7*7 }}", "%7B%7B%207%2A7%20%7D%7D"),
        (".", "%2E"),
        ("..", "%2E."),
        ("", "%"),
        ("a\x1b[31m", "a%1B%5B31m"),
        ("50%", "50%25"),
    ],
)
def test_a_slug_can_be_read(name, slug):
    assert rundir.slug(name) == slug


@given(st.text(max_size=500), st.integers(min_value=2, max_value=100))
def test_what_is_printed_is_one_short_line_of_visible_characters(value, limit):
    shown = text.printable(value, limit)
    assert len(shown) <= limit
    assert not any(ord(character) < 32 or ord(character) in (0x7F, 0x9B, 0x200B, 0x202E, 0x2028) for character in shown)


def test_terminal_codes_and_bidi_overrides_are_shown_not_obeyed():
    assert text.printable("a\x1b[31m\u202eb\n") == "a\\x1b[31m\\u202eb\\n"


def run_with(tmp_path, hosts=("one", "two")):
    run = RunDir.create(tmp_path / "runs", 1_800_000_000)
    manifest = {"run": {"id": run.id}, "hosts": {host: {} for host in hosts}}
    run.write_plan(manifest, {OBSERVE: {host: {"host": host} for host in hosts}})
    return run


def test_a_run_is_found_by_its_id_and_as_the_latest(tmp_path):
    first, second = run_with(tmp_path), run_with(tmp_path)
    assert first.id.startswith("20270115T080000Z-")
    assert RunDir.find(tmp_path / "runs", first.id).path == first.path
    assert RunDir.find(tmp_path / "runs", "latest").path == second.path


@pytest.mark.parametrize("asked", ["../runs", "20270115T080000Z-ffff/../x", "nonsense", "latest", "."])
def test_what_is_no_run_is_refused_with_the_runs_there_are(tmp_path, asked):
    run = RunDir.create(tmp_path / "runs", 0)
    with pytest.raises(RunDirError, match=f"stall_run is '{asked}'.*{run.id}"):
        RunDir.find(tmp_path / "runs", asked)


def test_a_run_that_is_not_planned_leaves_nothing_and_the_latest_as_it_was(tmp_path):
    kept = run_with(tmp_path)
    failed = RunDir.create(tmp_path / "runs", 1)
    failed.reserve(1000)
    failed.host_dir("one").mkdir()
    failed.discard()
    assert sorted(os.listdir(tmp_path / "runs")) == sorted([kept.id, "latest"])
    assert RunDir.find(tmp_path / "runs", "latest").id == kept.id


def test_evidence_is_what_was_measured_else_the_reason_why_not(tmp_path):
    run = run_with(tmp_path, ("measured", "both", "refused", "silent", "damaged"))
    run.write_host("measured", "observe", {"status": "measured"})
    run.write_host("both", "status", {"status": "not_measured"})
    run.write_host("both", "observe", {"status": "measured"})
    run.write_host("refused", "status", {"status": "not_measured", "reason": "refused"})
    (run.host_dir("damaged") / "observe.json").write_text("{")
    found, damaged = run.evidence(run.manifest()["hosts"])
    assert {host: content["status"] for host, content in found.items()} == {
        "measured": "measured",
        "both": "measured",
        "refused": "not_measured",
        "damaged": "not_measured",
    }
    assert len(damaged) == 1 and str(run.host_dir("damaged")) in damaged[0]


def test_hosts_whose_task_never_ran_and_hosts_that_observe_are_told_apart(tmp_path):
    run = run_with(tmp_path, ("started", "refused", "unheard"))
    run.write_host("started", "job", {})
    run.write_host("refused", "status", {})
    assert run.started(run.manifest()["hosts"]) == ["started"]
    assert run.unheard(run.manifest()["hosts"]) == ["unheard"]


def test_a_capture_is_a_run_inside_its_run(tmp_path):
    run = run_with(tmp_path)
    assert not run.capture.is_planned and not run.is_capture
    capture = run.create_capture()
    capture.write_plan({"run": {"id": capture.id}, "hosts": {"one": {}, "two": {}}}, {OBSERVE: {"two": {}}, CAPTURE: {"one": {}}})
    assert run.capture.is_planned and capture.is_capture and capture.of.path == run.path and capture.id == f"{run.id}.capture"
    assert RunDir.find(tmp_path / "runs", "latest").path == run.path
    assert capture.unheard(["one", "two"]) == ["two"] and capture.unheard(["one", "two"], CAPTURE) == ["one"]
    capture.write_host("one", CAPTURE.job, {})
    capture.write_host("one", CAPTURE.status, {"status": "not_measured"})
    assert capture.started(["one", "two"], CAPTURE) == ["one"] and capture.started(["one", "two"]) == []
    assert capture.evidence(["one", "two"], CAPTURE) == ({"one": {"status": "not_measured"}}, [])


def test_a_capture_whose_planning_was_broken_off_is_made_anew(tmp_path):
    run = run_with(tmp_path)
    run.create_capture().write_host("one", "plan", {"old": True})
    assert run.create_capture().read("one", "plan") is None


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    rundir.write_json(path, {"a": 1})

    def full(*_arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        rundir.write_json(path, {"a": 2})
    assert rundir.read_json(path) == {"a": 1}
    assert os.listdir(tmp_path) == ["x.json"]


@pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, "is full"), (errno.EDQUOT, "is full"), (errno.EACCES, "Set stall_runs_dir")])
def test_a_directory_that_cannot_be_written_says_what_to_do(tmp_path, monkeypatch, number, words):
    run = run_with(tmp_path)

    def refuse(*_arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(RunDirError, match=words):
        run.reserve(1000)
    assert not (run.path / ".reserve").exists()
