"""A result on its way home: the real shell line on this machine, and nothing trusted of what comes back."""

import base64
import gzip
import json
import os
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.plugin_utils import transfer
from ansible_collections.fleet.stall.plugins.plugin_utils.jobs import CAPTURE

RUN, HOST = "20261123T042300Z-1a2b", "web '1'"
RESULT = {"schema_version": 1, "run": RUN, "host": HOST, "status": "measured", "flows": []}
# Above the largest process id that Linux gives
NOBODY = 2**22 + 1


def packed(content):
    return gzip.compress(json.dumps(content).encode(), mtime=0)


def printed(data):
    return f"noise\n{transfer.BEGIN}\r\n{base64.encodebytes(data).decode()}{transfer.END}\r\n"


def read(path, pid=NOBODY, grace_s=0):
    return subprocess.run(["sh", "-c", transfer.read_command(str(path), pid, grace_s)], capture_output=True, text=True, check=False).stdout


def test_a_result_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "it's $(here)" / "observe.json.gz"
    path.parent.mkdir()
    path.write_bytes(packed(RESULT))
    assert transfer.content(read(path), RUN, HOST) == RESULT


def test_a_result_that_comes_late_is_waited_for(tmp_path):
    path = tmp_path / "observe.json.gz"
    script = "import sys, time, os; time.sleep(0.3); os.rename(sys.argv[1], sys.argv[2])"
    (tmp_path / "new").write_bytes(packed(RESULT))
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "new"), str(path)]):
        assert transfer.content(read(path, os.getpid(), 10), RUN, HOST) == RESULT


def test_an_observer_that_died_is_not_waited_for(tmp_path):
    started = time.monotonic()
    with pytest.raises(transfer.TransferError, match="ended without a result"):
        transfer.content(read(tmp_path / "none", NOBODY, 60), RUN, HOST)
    assert time.monotonic() - started < 50


def test_a_capture_is_called_one(tmp_path):
    with pytest.raises(transfer.TransferError, match="its capture ended without a result"):
        transfer.content(read(tmp_path / "none"), RUN, HOST, CAPTURE)


def test_an_observer_that_hangs_is_given_up(tmp_path):
    with pytest.raises(transfer.TransferError, match="had not finished"):
        transfer.content(read(tmp_path / "none", os.getpid(), 0), RUN, HOST)


def test_only_the_directory_of_the_job_is_removed(tmp_path):
    directory = tmp_path / "-rf x; $(touch y)"
    (directory / "deep").mkdir(parents=True)
    kept = tmp_path / "x"
    kept.touch()
    subprocess.run(["sh", "-c", transfer.remove_command(str(directory))], check=True, cwd=tmp_path)
    assert os.listdir(tmp_path) == ["x"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (packed({**RESULT, "run": "other"}), "another run or host"),
        (packed({**RESULT, "host": "other"}), "another run or host"),
        (packed({**RESULT, "schema_version": 2}), "another version"),
        (packed({**RESULT, "flows": "x"}), "no list of flows"),
        (packed([1]), "another version"),
        (gzip.compress(b"{", mtime=0), "no JSON"),
        (gzip.compress(b"[" * 200_000, mtime=0), "no JSON"),
        (packed(RESULT)[:-9], "cut off"),
        (b"plain", "no gzip"),
        (gzip.compress(b" " * (transfer.CONTENT_LIMIT + 1), mtime=0), "more than"),
        (b"x" * (transfer.WIRE_LIMIT + 1), "larger than"),
    ],
)
def test_what_is_no_result_of_this_host_is_refused(data, words):
    with pytest.raises(transfer.TransferError, match=words):
        transfer.content(printed(data), RUN, HOST)


@given(st.text())
def test_no_output_breaks_the_reading(output):
    with pytest.raises(transfer.TransferError):
        transfer.content(output, RUN, HOST)


def test_a_broken_connection_is_not_half_a_result():
    with pytest.raises(transfer.TransferError, match="connection broke"):
        transfer.content(printed(packed(RESULT)).split(transfer.END)[0], RUN, HOST)
