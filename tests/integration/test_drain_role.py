"""The role drain as a playbook calls it: what fails is given back and goes no further, what was killed is gone on with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests import haproxy, kubernetes_core
from tests.bootstrap import galaxy
from tests.integration import run
from tests.kubernetes_api import kubeconfig
from tests.kubernetes_cluster import Cluster, serving

LOCAL = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "stall_become": False, "stall_drain_retry_s": 1}
needs_kubernetes = pytest.mark.skipif(not kubernetes_core.AVAILABLE, reason="there is no kubernetes.core: see tests/bootstrap/galaxy.py")


def role(entry: str) -> dict:
    return {"name": entry, "ansible.builtin.include_role": {"name": "fleet.stall.drain", "tasks_from": entry}}


class Play:
    """A playbook of the role's entry points, with a journal; `after` is written by whoever gets past the drain."""

    def __init__(self, directory: Path, hosts: dict[str, dict], entries: Sequence[str], **variables: object) -> None:
        self.after, self.journal = directory / "after", directory / "journal.jsonl"
        touch = {
            "name": "Reboot",
            "ansible.builtin.command": {"argv": ["sh", "-c", 'echo "$1" >> "$2"', "-", "{{ inventory_hostname }}", str(self.after)]},
        }
        tasks = [role(entries[0]), touch, *(role(entry) for entry in entries[1:])]
        everything = {**LOCAL, "stall_campaign_dir": str(directory), **variables}
        (directory / "inventory.json").write_text(json.dumps({"all": {"hosts": hosts, "vars": everything}}))
        (directory / "play.yml").write_text(json.dumps([{"hosts": "host*", "gather_facts": False, "tasks": tasks}]))
        self.directory = directory

    def of(self, host: str, **variables: object) -> None:
        """Variables of a host of its own."""
        path = self.directory / "inventory.json"
        inventory = json.loads(path.read_text())
        inventory["all"]["hosts"][host] |= variables
        path.write_text(json.dumps(inventory))

    def start(self, *arguments: str, collections: Path | None = galaxy.PLACE) -> subprocess.Popen:
        paths = [str(run.CHECKOUT / "collections"), *([str(collections)] if collections else [])]
        # The client for Kubernetes keeps what it learns of a server in a directory for temporary files
        environment = run.environment(ANSIBLE_COLLECTIONS_PATH=":".join(paths), TMPDIR=str(self.directory), ANSIBLE_DISPLAY_OK_HOSTS="1")
        line = [run.command("ansible-playbook"), "-i", str(self.directory / "inventory.json"), str(self.directory / "play.yml"), *arguments]
        return subprocess.Popen(
            line, cwd=run.CHECKOUT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def run(self, *arguments: str, **options: object) -> tuple[int, str]:
        process = self.start(*arguments, **options)
        output, _none = process.communicate(timeout=300)
        return process.returncode, " ".join(output.split())

    def events(self, host: str) -> list[str]:
        lines = [json.loads(line) for line in self.journal.read_text().splitlines()] if self.journal.exists() else []
        return [line["event"] for line in lines if line["host"] == host]

    @property
    def rebooted(self) -> list[str]:
        return sorted(self.after.read_text().split()) if self.after.exists() else []


GIVEN_BACK = ["undrain_begun", "undrained"]


# --- kubernetes ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def api():
    with serving(Cluster()) as running:
        for number in (1, 2, 3):
            running.add_node(f"n{number}", f"198.51.100.{number}")
        yield running


def nodes(
    api: Cluster, directory: Path, count: int, entries: tuple[str, ...] = ("main", "recheck", "undrain"), **variables: object
) -> Play:
    hosts = {f"host-{number}": {"stall_address": f"198.51.100.{number}"} for number in range(1, count + 1)}
    config = kubeconfig(directory / "config", api.url, token="t1")
    return Play(
        directory, hosts, ["main", "recheck", "undrain"], stall_drain_driver="kubernetes", stall_kubeconfig=str(config), **variables
    )


@needs_kubernetes
def test_pods_that_may_not_be_evicted_keep_their_node_from_rebooting_and_no_other(api, tmp_path):
    for number in range(2):
        api.add_pod(f"db-{number}", "n1", app="db", grace_s=0.1)
    api.add_budget("db-pdb", 2, app="db")
    api.add_pod("web", "n2", grace_s=0.1)
    play = nodes(api, tmp_path, 2)
    play.of("host-1", stall_drain_timeout_s=4)
    code, output = play.run("-f", "2")
    assert code == 2 and play.rebooted == ["host-2"], output
    assert "host-1 is not drained, so it is not rebooted; it is given back" in output
    assert "shop/db-0 (disruption budget db-pdb allows none to go: it needs 2 healthy of 2, and has 2)" in output
    assert api.on("n1") == {"db-0", "db-1"} and api.evicted == ["shop/web"]
    assert not any(api.cordoned(node) or api.marked(node) for node in ("n1", "n2"))
    assert play.events("host-1") == ["cordon_begun", "cordoned", "drain_failed", *GIVEN_BACK]
    assert play.events("host-2") == ["cordon_begun", "cordoned", "drained", *GIVEN_BACK]


@needs_kubernetes
def test_a_drain_whose_controller_is_killed_is_gone_on_with(api, tmp_path):
    for number in range(3):
        api.add_pod(f"web-{number}", "n1", grace_s=2.0)
    play = nodes(api, tmp_path, 1, stall_drain_timeout_s=60, stall_node_name="n1")
    first = play.start()
    until = time.monotonic() + 120
    while not api.evicted:
        assert first.poll() is None and time.monotonic() < until, first.communicate()
        time.sleep(0.02)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    assert api.cordoned("n1") and api.marked("n1") and play.rebooted == []
    code, output = play.run()
    assert code == 0 and play.rebooted == ["host-1"], output
    assert sorted(api.evicted) == ["shop/web-0", "shop/web-1", "shop/web-2"] and not api.evicted_again
    assert not api.cordoned("n1") and not api.marked("n1"), "it was ours, also for the second controller"
    assert play.events("host-1") == ["cordon_begun", "cordoned", "cordon_begun", "cordoned", "drained", *GIVEN_BACK]


@needs_kubernetes
@pytest.mark.slow
def test_check_mode_tells_and_changes_nothing(api, tmp_path):
    api.add_pod("web", "n1")
    play = nodes(api, tmp_path, 1, entries=("main",), stall_node_name="n1")
    code, output = play.run("--check", "-v")
    assert code == 0 and "evicted: - shop/web" in output, output
    assert {method for method, _path, _status in api.asked} == {"GET"} and play.events("host-1") == []


def test_a_missing_collection_is_said_before_anything_is_touched(tmp_path):
    play = Play(tmp_path, {"host-1": {}}, ["main"], stall_drain_driver="kubernetes")
    code, output = play.run(collections=None)
    assert code == 2 and play.rebooted == []
    assert "needs the collection kubernetes.core, which is not there. Remedy: install it on the controller: ansible-galaxy" in output, (
        output
    )
    assert "cordon_begun" not in play.events("host-1")


# --- haproxy ---------------------------------------------------------------------------------------------------------------------

needs_haproxy = pytest.mark.skipif(haproxy.PROGRAM is None, reason="there is no haproxy")
GONE = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}


@needs_haproxy
def test_a_host_is_taken_out_of_a_load_balancer_and_given_back(tmp_path):
    with haproxy.running(tmp_path) as balancer:
        hosts = {"host-1.example": {"stall_haproxy_servers": ["web/node-1", "api/node-1"]}, "lb": {}}
        options = {"stall_drain_driver": "haproxy", "stall_haproxy_hosts": ["lb"], "stall_haproxy_socket": balancer.socket}
        play = Play(tmp_path, hosts, ["main", "recheck", "undrain"], **options)
        code, output = play.run()
        assert code == 0 and play.rebooted == ["host-1.example"] and balancer.out == set(), output
        assert play.events("host-1.example") == ["cordon_begun", "cordoned", "drained", *GIVEN_BACK]


@needs_haproxy
def test_a_host_that_is_not_drained_is_given_back_to_all_load_balancers(tmp_path):
    with haproxy.running(tmp_path) as balancer, balancer.client("web/node-1"):
        hosts = {
            "host-1": {"stall_haproxy_servers": ["web/node-1"], "stall_haproxy_hosts": ["lb"]},
            "host-2": {"stall_haproxy_servers": ["api/node-2"], "stall_haproxy_hosts": ["lb", "lost"]},
            "lb": {},
            "lost": GONE,
        }
        options = {"stall_drain_driver": "haproxy", "stall_haproxy_socket": balancer.socket, "stall_drain_timeout_s": 1}
        play = Play(tmp_path, hosts, ["main"], **options)
        code, output = play.run()
        assert code == 2 and play.rebooted == [] and balancer.out == set(), output
        assert (
            "host-1 is not drained, so it is not rebooted; it is given back. lb: host-1: sessions are left after 1 s: web/node-1 (1)"
            in output
        )
        assert "host-2 is not drained" in output and "lost: " in output and "Connection refused" in output, output


# --- command ---------------------------------------------------------------------------------------------------------------------


def test_the_hooks_of_the_user_are_run_and_what_fails_is_given_back(tmp_path):
    def hook(words: list[str], **more: object) -> dict:
        back = ["sh", "-c", 'echo "back-$1" >> "$2"', "-", "{{ inventory_hostname }}", str(tmp_path / "after")]
        return {"stall_drain_command": words, "stall_undrain_command": back, **more}

    hosts = {
        # No shell reads the words
        "host-1": hook(
            ["touch", str(tmp_path / "$(touch pwned); a b")],
            stall_drain_check_command=["test", "-e", str(tmp_path / "$(touch pwned); a b")],
        ),
        "host-2": hook(["sleep", "60"]),
        "host-3": hook(["sh", "-c", "echo no such pool >&2; exit 3"]),
        "host-4": hook(["/nonexistent"]),
        "host-5": {"stall_drain_command": ["true"]},
        "host-6": hook(["true"], stall_drain_check_command=["false"]),
    }
    play = Play(tmp_path, hosts, ["main", "recheck"], stall_drain_driver="command", stall_drain_timeout_s=2)
    code, output = play.run("-f", "2")
    assert code == 2 and play.rebooted == ["back-host-2", "back-host-3", "back-host-4", "host-1", "host-6"], output
    for words in (
        "host-2 is not drained, so it is not rebooted; it is given back. host-2: stall_drain_command took longer than 2 s",
        "host-3: stall_drain_command ended with 3 (no such pool)",
        "host-4: stall_drain_command ended with 127",
        "host-5 is not drained, so it is not rebooted; it is as it was found. host-5: stall_drain_driver is command. Remedy: set",
        "host-6: stall_drain_check_command ended with 1",
    ):
        assert words in output, output
    assert play.events("host-1") == ["cordon_begun", "drained"] and "drained" not in play.events("host-3")
