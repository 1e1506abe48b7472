"""The journal on disk: each line whole or dropped, in any number of writers, and never read past what is damaged."""

import json
import multiprocessing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.plugin_utils import journal

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def test_what_was_written_is_read(tmp_path):
    path = tmp_path / "journal.jsonl"
    assert journal.read(path) == []
    journal.append(path, "opened", "controller:7", data={"plan": "p"})
    journal.append(path, "step_begun", "controller:7", host="node-a", wave=1, step=0, remedy="sysctl", data={"before": {"boot_id": "b"}})
    first, second = journal.read(path)
    assert (first["event"], first["host"], first["wave"], first["data"]) == ("opened", None, None, {"plan": "p"})
    assert (second["host"], second["wave"], second["step"], second["remedy"], second["by"]) == ("node-a", 1, 0, "sysctl", "controller:7")
    assert second["at"].endswith("Z") and second["at"] >= first["at"]


def test_no_other_event_is_written(tmp_path):
    with pytest.raises(journal.JournalError, match="'?finished'? is no event of a journal: there are closed"):
        journal.append(tmp_path / "journal.jsonl", "finished", "c:1")
    assert not (tmp_path / "journal.jsonl").exists()


@given(st.lists(st.dictionaries(st.text(max_size=5), anything, max_size=3), min_size=1, max_size=4), st.data())
def test_after_any_cut_the_whole_lines_are_there_and_the_next_goes_behind_them(tmp_path_factory, rows, data):
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    for row in rows:
        journal.append(path, "cordoned", "c:1", host="node-a", data=row)
    written = journal.read(path)
    assert [line["data"] for line in written] == rows
    cut = data.draw(st.integers(0, path.stat().st_size))
    content = path.read_bytes()[:cut]
    path.write_bytes(content)
    whole = content.count(b"\n")
    assert journal.read(path) == written[:whole]
    journal.append(path, "closed", "c:2")
    assert [line["event"] for line in journal.read(path)] == ["cordoned"] * whole + ["closed"]


@pytest.mark.parametrize(
    "line",
    [
        b"{}",
        b"[1]",
        b"\x00\xff",
        b'{"event": "opened"}',
        b'{"event": "exploded", "data": {}}',
        b'{"event": "opened", "data": []}',
        b"[" * 5000,
    ],
)
def test_a_damaged_line_is_named_and_never_passed_over(tmp_path, line):
    path = tmp_path / "journal.jsonl"
    journal.append(path, "opened", "c:1")
    with open(path, "ab") as stream:
        stream.write(line + b"\n")
    with pytest.raises(journal.JournalError, match="journal.jsonl, line 2, can't be read"):
        journal.read(path)


def test_what_hosts_say_is_bounded(tmp_path):
    path = tmp_path / "journal.jsonl"
    journal.append(path, "step_failed", "c:1", host="h", data={"because": "x" * 100_000, "said": ["y" * 100_000]})
    (line,) = journal.read(path)
    assert len(line["data"]["because"]) < 2100 and len(line["data"]["said"][0]) < 2100


def test_a_journal_that_cannot_be_written_says_so(tmp_path):
    with pytest.raises(journal.JournalError, match="nothing is done that it does not know of"):
        journal.append(tmp_path / "gone" / "journal.jsonl", "opened", "c:1")


def _write(path, name, lines):
    for number in range(lines):
        journal.append(path, "cordoned", "c:1", host=name, data={"number": number, "filler": "z" * 500})


def test_forks_that_write_at_once_lose_nothing(tmp_path):
    path = tmp_path / "journal.jsonl"
    fork = multiprocessing.get_context("fork")
    writers = [fork.Process(target=_write, args=(path, f"node-{index}", 25)) for index in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    lines = journal.read(path)
    assert len(lines) == 100
    for index in range(4):
        assert [line["data"]["number"] for line in lines if line["host"] == f"node-{index}"] == list(range(25))
    assert all(json.loads(text) for text in path.read_text().splitlines())
