"""report.yml on logs of other tools: the article's own, and those that the tools themselves make of a real stall."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import jsonschema
import pytest

from ansible_collections.fleet.stall.plugins.module_utils.capture import tracefs
from tests.lab import state, topology

from . import run

ARTICLE = run.CHECKOUT / "tests" / "unit" / "article" / "logs"
SCHEMA = json.loads((run.CHECKOUT / "docs" / "findings.schema.json").read_text())
TOOLS = ("hping3", "bpftrace", "perf", "strace")


def report(runs: Path, *args: str, **variables: object) -> run.Run:
    done = run.play("report.yml", "localhost,", runs, *args, **variables)
    if done.dir and (done.dir / "findings.json").exists():
        jsonschema.validate(done.findings, SCHEMA)
    return done


def test_the_articles_listings_are_a_run_like_any_other(tmp_path):
    done = report(tmp_path / "runs", logs=str(ARTICLE))
    assert done.rc == 0, done.screen
    words = " ".join(done.screen.split())
    for said in (
        "kube-node-bad",
        "receiver, node",
        "ksoftirqd/11 on CPU 11",
        "cadvisor (pid 10137)",
        "memcg-zombie-stat",
        "not measured: shell",
    ):
        assert said in words, done.screen
    assert all((done.dir / name).is_file() for name in ("manifest.json", "findings.json", "report.md", "report.html"))
    before = done.findings
    again = report(tmp_path / "runs", run="latest")
    assert again.rc == 0 and again.findings == before, again.screen
    assert "10137" in again.screen


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"logs": "/nonexistent/logs"}, ["stall_logs", "/nonexistent/logs", "No such file"]),
        ({"logs": str(ARTICLE), "logs_host": "node-7", "logs_kernel": "6.1.0"}, ["node-7: ", "suspected"]),
    ],
)
def test_what_is_asked_for_is_done_or_refused_by_name(tmp_path, variables, words):
    done = report(tmp_path / "runs", **variables)
    assert all(word in " ".join(done.screen.split()) for word in words), done.screen
    assert (done.rc == 0) == ("logs_host" in variables)


def test_a_directory_of_anything_is_named_and_costs_the_rest_nothing(tmp_path):
    logs = tmp_path / "logs"
    shutil.copytree(ARTICLE, logs)
    (logs / "core\x1b[31m<b>{{ 7 * 191 }}").write_bytes(os.urandom(100_000))
    (logs / "perf.data").write_bytes(b"PERFILE2" + os.urandom(1000))
    os.mkfifo(logs / "pipe")
    with open(logs / "huge", "wb") as stream:
        stream.truncate(200_000_000)
    done = report(tmp_path / "runs", logs=str(logs))
    assert done.rc == 0, done.screen
    words = " ".join(done.screen.split())
    assert all(word in words for word in ("not used:", "perf script", "huge (binary)", "pipe (no plain file)", "10137"))
    assert "1337" not in done.screen and "\x1b" not in done.screen and "<b>{{" not in (done.dir / "report.html").read_text()


PROGRAM = """tracepoint:net:netif_receive_skb {{
  $skb = (struct sk_buff *)args->skbaddr;
  $h = (uint8 *)$skb->data;
  $e = $h + (*$h & 15) * 4;
  if (*($h + 9) == 1 && *$e == 8 && $skb->dev->nd_net.net->ns.inum == {netns}) {{
    $n = *(uint16 *)($e + 6);
    $number = ($n & 255) << 8 | $n >> 8;
    printf("%d\\t%d\\t%s\\t%d\\t%d\\t%lu.%06lu\\n", pid, tid, comm, $number, cpu, nsecs / 1000000000, nsecs % 1000000000 / 1000);
  }}
}}"""


def make_logs(logs: Path, lab_id: str, host: str, source: str, seconds: int) -> dict:
    """What a person would do by hand at a host that stalls; the first line of the truth."""
    slot = next(record.slot for record in state.records() if record.id == lab_id)
    lab = topology.fleet(slot)
    told = run.CHECKOUT / ".lab" / lab_id / "truth" / f"{host}.jsonl"
    _wait_for(lambda: told.exists() and told.read_text())
    truth = json.loads(told.read_text().splitlines()[0])
    netns = (Path("/run/netns") / lab.netns(host)).stat().st_ino
    commands = {
        "who.txt": ["bpftrace", "-e", PROGRAM.format(netns=netns)],
        "trace.txt": ["strace", "-f", "-T", "-p", str(truth["pid"])],
    }
    running = {name: _start(logs / name, command) for name, command in commands.items()}
    recording = subprocess.Popen(
        ["perf", "record", "-q", "-C", str(truth["cpu"]), "-F", "999", "-e", "cpu-clock", "-g", "-o", str(logs.parent / "perf.data")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(lambda: "Attaching" in (logs / "who.txt").read_text())
        time.sleep(1)
        inside = ["ip", "netns", "exec", lab.netns(source)]
        probes = [*inside, "hping3", "--icmp", "-i", "u10000", "-c", str(100 * seconds), lab.host(host).address]
        with open(logs / "probes.txt", "w") as stream:
            subprocess.run(probes, stdout=stream, stderr=subprocess.STDOUT, timeout=4 * seconds, check=False)
    finally:
        for process in (*running.values(), recording):
            process.send_signal(signal.SIGINT)
        for process in (*running.values(), recording):
            process.wait(timeout=20)
    with open(logs / "samples.txt", "w") as stream:
        subprocess.run(
            ["perf", "script", "-i", str(logs.parent / "perf.data")], stdout=stream, stderr=subprocess.DEVNULL, timeout=60, check=True
        )
    (logs / "kernel.txt").write_text(subprocess.run(["uname", "-a"], capture_output=True, text=True, check=True).stdout)
    return truth


def _start(path: Path, command: list[str]) -> subprocess.Popen:
    with open(path, "w") as stream:
        return subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT, preexec_fn=tracefs.see_tracefs)


def _wait_for(true, patience_s: float = 15) -> None:
    deadline = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < deadline, "the fault or the packet log did not come up"
        time.sleep(0.1)


@pytest.mark.lab
@pytest.mark.skipif(any(shutil.which(tool) is None for tool in TOOLS), reason=f"takes {', '.join(TOOLS)}")
def test_logs_made_by_hand_of_a_real_stall_name_its_process(labs, tmp_path):
    lab = labs.get("rx_stall")
    logs = tmp_path / "logs"
    logs.mkdir()
    truth = make_logs(logs, lab.id, "node-a1-2", "outside-1", seconds=12)
    (logs / "about.yml").write_text("host: node-a1-2\ninterval_ms: 10\nfiles: {probes.txt: {layer: node, source: outside-1}}\n")
    done = report(tmp_path / "runs", logs=str(logs))
    assert done.rc == 0, done.screen
    row = done.host("node-a1-2")
    assert (row["status"], row["blame"]["side"]) == ("stalling", "receiver"), done.screen
    assert row["severity"]["events"] >= 5 and row["severity"]["stalled_ms_per_s"] > 20, row["severity"]
    assert (row["trigger"]["comm"], row["trigger"]["pid"], row["trigger"]["cpu"]) == (truth["comm"], truth["pid"], truth["cpu"]), (
        done.screen
    )
    assert row["trigger"]["syscall"] == "read" and row["capture"]["class"] == "T", row["capture"]
    handled = [event for event in row["events"] if event["handled_by"]]
    assert len(handled) >= 0.9 * len(row["events"]) and {event["cpu"] for event in handled} == {truth["cpu"]}
    assert all(event["handled_by"].startswith("napi/") for event in handled)
