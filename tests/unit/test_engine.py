"""The probing engine on real sockets of this machine: what is sent, what comes back, and what is said when it can't."""

import base64
import ctypes
import http.server
import json
import os
import shutil
import socket
import socketserver
import struct
import subprocess
import threading
import time
import zlib

import pytest

from ansible_collections.fleet.stall.plugins.module_utils import engine
from ansible_collections.fleet.stall.plugins.module_utils.histogram import Histogram

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="raw sockets need root")
needs_ipv6 = pytest.mark.skipif(not os.path.exists("/proc/net/if_inet6"), reason="no IPv6 on this machine")


def flow(number, protocol, interval_ms=10, address="127.0.0.1", **more):
    base = {"id": number, "source": "a", "target": "b", "layer": "node", "protocol": protocol, "family": 6 if ":" in address else 4}
    base.update({"address": address, "port": None, "source_port": None, "interval_ms": interval_ms})
    return dict(base, service=None, request=None, path=None) | more


def run(flows, seconds=0.6, should_stop=lambda: False, **more):
    now = time.time()
    plan = {"schema_version": 1, "run": "r", "host": "a", "token": 0xC0FFEE01, "starts_at": now + 0.1, "ends_at": now + 0.1 + seconds}
    plan.update({"dispatched_at": now, "threshold_ms": 10, "reply_timeout_ms": 500, "budget_pps": 3000, "seed": "s", "keep_raw": False})
    return engine.run(dict(plan, counters=False, event_limit=200, flows=flows) | more, should_stop)


class Service:
    """A request/response service that holds some answers back."""

    def __init__(self, handler):
        server = type("Server", (socketserver.ThreadingTCPServer,), {"allow_reuse_address": True, "daemon_threads": True})
        self.server = server(("127.0.0.1", 0), handler)
        self.port = self.server.server_address[1]

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_exc):
        self.server.shutdown()
        self.server.server_close()


class Echo(socketserver.StreamRequestHandler):
    hold_s = {}
    close_after = None

    def handle(self):
        for number, line in enumerate(self.rfile):
            time.sleep(self.hold_s.get(number, 0))
            if number == self.close_after:
                return
            self.wfile.write(line)


class Web(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        body = b"hello" * 50
        self.send_response(200 if self.path == "/ok" else 500)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args):
        pass


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock.getsockname()[1]


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


def all_answered(row):
    assert row["errors"] == {}
    assert row["received"] == row["sent"] > 10
    assert (row["lost"], row["baseline_us"] is None) == (0, False)
    return True


@needs_root
def test_packets_on_raw_sockets(listener):
    result = run([flow(1, "icmp"), flow(2, "tcp_syn", port=listener, source_port=45001), flow(3, "tcp_syn", port=closed_port())])
    assert all(all_answered(row) for row in result["flows"])
    assert [row["id"] for row in result["flows"]] == [1, 2, 3]
    assert [row["refused"] for row in result["flows"]] == [0, 0, result["flows"][2]["received"]]
    assert result["flows"][1]["local_port"] == 45001
    assert result["flows"][0]["local_address"] == "127.0.0.1"
    assert all(Histogram.from_dict(row["histogram"]).total() == row["received"] for row in result["flows"])
    for name in ("raw_icmp", "raw_tcp", "rx_timestamps", "tx_timestamps"):
        assert result["capabilities"][name]["available"], result["capabilities"][name]
    assert result["warnings"] == []


@needs_root
@needs_ipv6
def test_ipv6():
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as sock:
        result = run([flow(1, "icmp", address="::1"), flow(2, "tcp_syn", address="::1", port=sock.getsockname()[1])])
    assert all(all_answered(row) for row in result["flows"])


@needs_root
def test_clocks_are_compared_by_what_comes_in():
    result = run([flow(7, "icmp", 2)])
    sample = result["clock_samples"]["7"]
    assert sample["n"] >= 5
    assert 0 <= sample["min_ns"] < 50_000_000  # one machine, one clock


@needs_root
def test_each_probe_on_request():
    result = run([flow(1, "icmp", 5)], keep_raw=True)
    records = list(struct.iter_unpack("<IqI", zlib.decompress(base64.b64decode(result["raw"]["data"]))))
    assert len(records) == result["raw"]["samples"] == result["flows"][0]["received"]
    times = [sent for _flow, sent, _rtt in records]
    assert times == sorted(times)


def run_in_child(prepare, flows, **more):
    """The run in a process of its own, so that what `prepare` does to it stays there."""
    readable, writable = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            prepare()
            with os.fdopen(writable, "w") as pipe:
                json.dump(run(flows, **more), pipe)
            status = 0
        finally:
            os._exit(status)
    os.close(writable)
    with os.fdopen(readable) as pipe:
        text = pipe.read()
    assert os.waitpid(child, 0)[1] == 0
    return json.loads(text)


def network_of_its_own():
    """Only a loopback; packets to 192.0.2.0/24 get lost there, and 198.51.100.9 has no route."""
    if ctypes.CDLL(None, use_errno=True).unshare(0x40000000):
        raise OSError(ctypes.get_errno(), "unshare")
    for command in ("link set lo up", "route add 192.0.2.0/24 dev lo src 127.0.0.1", "route add unreachable 198.51.100.9/32"):
        subprocess.run(["ip", *command.split()], check=True)


needs_ip = pytest.mark.skipif(not shutil.which("ip"), reason="needs the ip command")


@needs_root
@needs_ip
def test_silence_is_loss_and_a_stall_that_was_cut_off():
    (row,) = run_in_child(network_of_its_own, [flow(1, "icmp", address="192.0.2.77")], seconds=0.8)["flows"]
    assert (row["received"], row["lost"]) == (0, row["sent"])
    (event,) = row["events"]
    assert event["censored"] and event["lost"] == row["sent"]
    assert row["baseline_us"] is None


@needs_root
@needs_ip
@pytest.mark.skipif(not shutil.which("iptables"), reason="needs the iptables command")
def test_a_port_that_is_served_refuses_every_second_syn_at_most():
    """As over a way that is longer than the interval: the RST that ends a half open connection comes after the next SYN."""

    def far_away():
        network_of_its_own()
        subprocess.run(["iptables", "-A", "INPUT", "-p", "tcp", "--dport", "45999", "--tcp-flags", "RST", "RST", "-j", "DROP"], check=True)
        servers.append(socket.create_server(("127.0.0.1", 45999)))

    servers = []
    (row,) = run_in_child(far_away, [flow(1, "tcp_syn", 5, port=45999)])["flows"]
    assert row["received"] == row["sent"] > 50 and 0.4 * row["sent"] < row["refused"] <= 0.5 * row["sent"]


@needs_root
@needs_ip
def test_no_route_costs_the_flow_and_no_other():
    result = run_in_child(network_of_its_own, [flow(1, "icmp", address="198.51.100.9"), flow(2, "icmp")])
    assert list(result["flows"][0]["errors"]) == ["No route to host"]
    assert (result["flows"][0]["sent"], result["flows"][0]["baseline_us"]) == (0, None)
    assert "198.51.100.9" in result["warnings"][0]
    assert all_answered(result["flows"][1])


def test_connecting_where_raw_sockets_are_not_allowed(listener):
    result = run([flow(1, "tcp_connect", port=listener), flow(2, "tcp_connect", port=closed_port())])
    assert all(all_answered(row) for row in result["flows"])
    assert [row["refused"] for row in result["flows"]] == [0, result["flows"][1]["received"]]


def test_services_on_kept_and_new_connections():
    with Service(Echo) as echo, Service(Web) as web:
        result = run(
            [
                flow(1, "tcp_kept", request="ping\n", port=echo.port),
                flow(2, "http_kept", path="/ok", port=web.port),
                flow(3, "http_new", 30, path="/ok", port=web.port),
            ]
        )
    assert all(all_answered(row) for row in result["flows"])


def test_an_http_error_is_an_answer_and_an_error():
    with Service(Web) as web:
        (row,) = run([flow(1, "http_kept", path="/broken", port=web.port)])["flows"]
    assert row["errors"] == {"HTTP status 500": row["received"]}


def test_a_stall_on_a_kept_connection_is_one_event_of_its_length():
    stalling = type("Stalling", (Echo,), {"hold_s": {40: 0.2}})
    with Service(stalling) as service:
        (row,) = run([flow(1, "tcp_kept", request="ping\n", port=service.port)], 1.2)["flows"]
    longest = max(row["events"], key=lambda event: event["duration_ms"])
    assert longest["duration_ms"] > 195
    assert (longest["lost"], longest["censored"]) == (0, False)
    histogram = Histogram.from_dict(row["histogram"])
    assert histogram.total() >= row["received"] + 18, "the requests that were not sent meanwhile would have waited as well"


def test_a_service_that_hangs_up_is_an_error_and_is_connected_again():
    closing = type("Closing", (Echo,), {"close_after": 10})
    with Service(closing) as service:
        # well below the pause before it connects again, well above what a busy machine delays the service
        (row,) = run([flow(1, "tcp_kept", request="ping\n", port=service.port)], 1.0, threshold_ms=50)["flows"]
    assert row["errors"]["connection closed by the service"] >= 2
    assert row["received"] >= 20
    assert row["events"] == []


def test_a_service_that_falls_silent_is_lost_and_connected_again():
    silent = type("Silent", (Echo,), {"hold_s": {10: 1.0}})
    with Service(silent) as service:
        (row,) = run([flow(1, "tcp_kept", request="ping\n", port=service.port)], 1.2)["flows"]
    assert row["lost"] >= 1
    assert row["events"][0]["censored"]
    assert row["events"][0]["duration_ms"] >= 500
    assert "no response within the timeout, connecting again" in row["errors"]


def lookup_without_a_resolver(host, port, *arguments, **options):
    if host == "not.an.address":
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return real_lookup(host, port, *arguments, **options)


real_lookup = socket.getaddrinfo


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (flow(1, "carrier_pigeon"), "unknown protocol 'carrier_pigeon'"),
        (flow(1, "tcp_kept", port=9), "a tcp_kept flow needs a request to send"),
        (flow(1, "http_new", port=9, path="/a b\r\nX: y"), "the path '/a b\\r\\nX: y' can't stand in an HTTP request"),
        (flow(1, "tcp_connect", port=9, address="not.an.address"), "Name or service not known"),
    ],
)
def test_a_flow_that_cannot_be_measured_keeps_its_row_with_the_reason(bad, reason, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lookup_without_a_resolver)
    result = run([bad], 0.2)
    (row,) = result["flows"]
    assert (row["sent"], row["baseline_us"], row["histogram"]) == (0, None, {})
    assert list(row["errors"]) == [reason]
    assert len(result["warnings"]) == 1


def test_the_budget_is_kept_and_what_was_not_sent_is_shown(listener):
    result = run([flow(1, "tcp_connect", port=listener)], 1.0, budget_pps=20)
    assert result["flows"][0]["sent"] <= 25
    assert result["budget"]["unsent"] == result["flows"][0]["unsent"] >= 60
    assert result["budget"]["limit_pps"] == 20


def test_stopping_ends_the_run_at_once(listener):
    began = time.monotonic()
    result = run([flow(1, "tcp_connect", port=listener)], 60, should_stop=lambda: time.monotonic() > began + 0.5)
    assert time.monotonic() < began + 10
    assert 0 < result["clock"]["observed_s"] < 10


def test_a_host_without_flows_waits_out_the_window():
    result = run([], 0.3)
    assert result["flows"] == []
    assert result["clock"]["observed_s"] > 0.25


def test_a_window_in_the_past_measures_nothing_and_says_so():
    now = time.time()
    result = run([flow(1, "tcp_connect", port=9)], starts_at=now - 9, ends_at=now - 4, dispatched_at=now - 10)
    assert (result["flows"][0]["sent"], result["clock"]["observed_s"]) == (0, 0.0)


def test_a_clock_that_is_off_is_reported():
    now = time.time()
    result = run([], dispatched_at=now - 3600, starts_at=now - 3599.9, ends_at=now - 3599.7)
    assert 3599 < result["clock"]["skew_s"] < 3602
    assert result["clock"]["observed_s"] > 0.15


def drop_root():
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)


@needs_root
def test_without_privileges_connections_take_over(listener):
    """What is not allowed is said, what is left is measured."""
    result = run_in_child(drop_root, [flow(1, "icmp"), flow(2, "tcp_syn", port=listener)])
    rows, capabilities = result["flows"], result["capabilities"]
    assert all_answered(rows[1])
    assert (capabilities["raw_tcp"]["available"], capabilities["raw_tcp"]["how"]) == (False, "tcp_connect")
    assert not capabilities["raw_icmp"]["available"] and capabilities["raw_icmp"]["reason"]
    assert not capabilities["clock_samples"]["available"]
    assert rows[0]["received"] > 0 if capabilities["raw_icmp"]["how"] else rows[0]["errors"]


@needs_root
def test_a_clock_that_is_set_during_the_run_makes_no_stall(monkeypatch):
    """The kernel's timestamps follow the wall clock; probes under way while it jumps are put aside."""
    jump_at = time.monotonic() + 0.4
    real = engine.wall_ns
    monkeypatch.setattr(engine, "wall_ns", lambda: real() + (3600 * 10**9 if time.monotonic() > jump_at else 0))
    result = run([flow(1, "icmp")])
    (row,) = result["flows"]
    assert result["clock"]["stepped"]
    assert result["clock"]["observed_s"] < 60
    assert (row["lost"], row["events"]) == (0, [])
    assert set(row["errors"]) <= {"clock was set", "reply after the timeout, or twice"}
