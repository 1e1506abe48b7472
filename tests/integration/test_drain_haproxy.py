"""Taking a host out of a real HAProxy, and giving back only what was taken."""

from __future__ import annotations

import threading
import time

import pytest

from ansible_collections.fleet.stall.plugins.module_utils import haproxy
from ansible_collections.fleet.stall.plugins.module_utils.haproxy import HaproxyError, Socket
from ansible_collections.fleet.stall.plugins.module_utils.haproxy_drain import Drain
from tests.haproxy import PROGRAM, running

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no haproxy: install it to test the drain")


@pytest.fixture
def balancer(tmp_path):
    with running(tmp_path) as found:
        yield found


@pytest.fixture
def drain(balancer, tmp_path):
    return of(balancer.socket, tmp_path)


def of(socket: str, directory, host: str = "node-1", least: int = 1) -> Drain:
    return Drain(Socket(socket), str(directory / "notes"), host, lambda servers: haproxy.of_host(servers, [], [host], []), least)


def test_servers_are_taken_waited_for_and_given_back(balancer, drain):
    with balancer.client("web/node-1"):
        assert sorted(drain.take()) == ["api/node-1", "web/node-1"] and drain.take() == []
        assert balancer.out == {"api/node-1", "web/node-1"}
        with pytest.raises(HaproxyError, match=r"sessions are left after 0.2 s: web/node-1 \(1\)"):
            drain.wait(0.2, 0.05)
    drain.wait(10, 0.05)
    assert sorted(drain.give_back()) == ["api/node-1", "web/node-1"] and drain.give_back() == []
    assert balancer.out == set()


def test_a_session_that_ends_is_waited_for(balancer, drain):
    over = threading.Event()

    def hold():
        with balancer.client("web/node-1"):
            over.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    while not balancer.server("web/node-1").sessions:
        time.sleep(0.02)
    drain.take()
    threading.Timer(0.5, over.set).start()
    begun = time.monotonic()
    drain.wait(10, 0.05)
    assert 0.3 < time.monotonic() - begun < 8
    thread.join()


def test_no_new_session_goes_there(balancer, drain):
    drain.take()
    with balancer.client("web/node-2"), balancer.client("web/node-2"):
        assert balancer.server("web/node-1").sessions == 0


@pytest.mark.parametrize("state", ["drain", "maint"])
def test_what_somebody_else_took_is_left_to_him(balancer, drain, state):
    balancer.runtime.set("web/node-1", state)
    assert drain.take() == ["api/node-1"]
    assert drain.give_back() == ["api/node-1"]
    assert balancer.out == {"web/node-1"}


def test_what_was_taken_is_known_to_who_comes_after(balancer, drain, tmp_path):
    drain.take()
    next_one = of(balancer.socket, tmp_path)
    assert next_one.take() == [] and next_one.taken() == ["api/node-1", "web/node-1"]
    assert of(balancer.socket, tmp_path, "node-2", least=0).give_back() == []
    next_one.give_back()
    assert balancer.out == set()


def test_a_backend_is_not_left_without_servers(balancer, drain, tmp_path):
    drain.take()
    with pytest.raises(HaproxyError, match="backend api would be left with 0 servers in use, and stall_haproxy_least is 1"):
        of(balancer.socket, tmp_path, "node-2").take()
    assert balancer.out == {"api/node-1", "web/node-1"}
    assert of(balancer.socket, tmp_path, "node-2", least=0).take()


def test_who_set_it_to_ready_is_noticed(balancer, drain):
    drain.take()
    balancer.runtime.set("web/node-1", "ready")
    with pytest.raises(HaproxyError, match="web/node-1 is in use: somebody has set it to ready"):
        drain.wait(0, 0.05)


def test_a_socket_without_the_right_is_told_with_the_remedy(balancer, tmp_path):
    user = of(str(tmp_path / "user.sock"), tmp_path)
    with pytest.raises(HaproxyError, match="Permission denied.*level admin"):
        user.take()
    assert balancer.out == set()
    with pytest.raises(HaproxyError, match="nowhere.sock can't be asked.*set stall_haproxy_socket"):
        of(str(tmp_path / "nowhere.sock"), tmp_path).take()
