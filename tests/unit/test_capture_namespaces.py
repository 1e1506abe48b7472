"""Connections in the network namespace of a pod: a real one, in which a process asks another of its own."""

import os
import shutil
import socket
import subprocess
import sys

import pytest

from ansible_collections.fleet.stall.plugins.module_utils.capture import connections, namespaces
from ansible_collections.fleet.stall.plugins.module_utils.counters.source import Unavailable

ADDRESS, PORT = "10.244.99.10", 8080
WITHIN = f"""
import socket, subprocess, sys
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
subprocess.run(["ip", "address", "add", "{ADDRESS}/32", "dev", "lo"], check=True)
listening = socket.create_server(("{ADDRESS}", {PORT}))
client = socket.create_connection(("{ADDRESS}", {PORT}), source_address=("127.0.0.1", 0))
server, peer = listening.accept()
other = socket.create_server(("{ADDRESS}", {PORT + 1}))
print(peer[1], flush=True)
sys.stdin.read()
"""

# What a container without that right lacks; whatever else keeps the pod from coming up is a failure
MAY = shutil.which("unshare") and shutil.which("ip") and subprocess.run(["unshare", "--net", "true"], capture_output=True).returncode == 0
needs_root = pytest.mark.skipif(not MAY, reason="may make no network namespace, or has no iproute2")


@pytest.fixture
def pod():
    """(process, port of its client) in a network namespace of its own."""
    started = subprocess.Popen(
        ["unshare", "--net", sys.executable, "-c", WITHIN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        port = started.stdout.readline()
        assert port, started.stderr.read()[-400:]
        yield started, int(port)
    finally:
        started.stdin.close()
        started.wait(10)


def served(*ends):
    try:
        return connections.survey(1, endpoints=connections.ends(ends))
    except Unavailable as reason:
        pytest.skip(str(reason))


@needs_root
def test_who_serves_in_a_pod_is_found_by_its_endpoint(pod):
    process, port = pod
    own = os.readlink("/proc/self/ns/net")
    found = served([ADDRESS, PORT])
    rows = [row for row in found["rows"] if row["local"] == f"{ADDRESS}:{PORT}"]
    assert [(row["peer"], row["pid"], row["tells"]) for row in rows] == [(f"127.0.0.1:{port}", process.pid, True)]
    assert found["unseen"] is None and os.readlink("/proc/self/ns/net") == own


@needs_root
@pytest.mark.parametrize("end", [[ADDRESS, PORT + 1], ["10.244.99.11", PORT]], ids=["nobody connected", "of another host"])
def test_of_other_endpoints_nothing_is_told(pod, end):
    assert not [row for row in served(end)["rows"] if row["local"].startswith(ADDRESS)]


@needs_root
def test_only_namespaces_with_such_an_address_are_looked_into(pod):
    packed = socket.inet_aton(ADDRESS)
    assert namespaces.visit({packed}, lambda: ["looked"]) == namespaces.Visited(["looked"], None)
    assert namespaces.visit({socket.inet_aton("10.244.99.11")}, lambda: ["looked"]) == namespaces.Visited([], None)


@needs_root
def test_a_look_that_hangs_or_fails_costs_its_answer_alone(pod, monkeypatch):
    monkeypatch.setattr(namespaces, "VISIT_S", 0.2)
    for look in (lambda: __import__("time").sleep(60), lambda: 1 / 0, lambda: os._exit(3)):
        found = namespaces.visit({socket.inet_aton(ADDRESS)}, look)
        assert found == namespaces.Visited([], "the network namespaces of pods were not looked at in time")
    assert os.waitpid(-1, os.WNOHANG) == (0, 0), "the pod's process is the only child that is left"


def test_namespaces_that_can_not_be_entered_are_said(monkeypatch):
    monkeypatch.setattr(namespaces, "others", lambda: ([os.getpid(), os.getpid()], True))
    found = namespaces._within([os.getpid()] * 2, set(), list, lambda number, kind: -1)
    assert found == namespaces.Visited([], "2 network namespaces can't be entered: capture as root (stall_become)")
