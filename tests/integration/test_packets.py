"""The probes of a suspect recorded on both of their ends, by a real tcpdump on each but one."""

from __future__ import annotations

import json

import pytest

from . import run

pytestmark = [pytest.mark.lab, pytest.mark.slow]
BAD, WITHOUT = "node-a1-2", "outside-1"
# Enough for most of the stalls that the injector makes meanwhile
STALLS = 4


@pytest.fixture(scope="module")
def done(labs, runs):
    lab = labs.get("rx_stall")
    lab.on(WITHOUT, 'mount --bind /dev/null "$(command -v tcpdump)"')
    return run.diagnose(
        lab.inventory, runs / "packets", capture_hosts=[BAD], capture_packets=True, capture_control=False, window_s=8, capture_s=12
    )


def taps(done) -> dict[str, dict]:
    manifest = json.loads((done.dir / "capture" / "manifest.json").read_text())
    return {host: done.capture_of(host) for host in manifest["run"]["taps"]}


def test_who_probes_it_records_its_packets_and_nothing_else(done):
    found = taps(done)
    assert WITHOUT in found and len(found) > 1, done.screen
    for host, capture in found.items():
        assert (capture["status"], set(capture["capabilities"])) == ("measured", {"packets"})
        assert bool(capture["packets"]) == (host != WITHOUT), capture["capabilities"]
        assert done.host(host)["capture"] is None


def test_no_probe_is_lost_and_the_stalls_arise_before_the_kernel_sees_them(done):
    """The fault keeps the CPU that takes them from the card."""
    packets = done.host(BAD)["capture"]["packets"]
    sent = sum(flow["seen"] for flow in packets["flows"])
    assert sent > 1000 and sum(flow["lost"] for flow in packets["flows"]) <= sent / 100, packets["flows"]
    assert max(flow["max_ms"] for flow in packets["flows"]) > 50 > max(flow["p50_ms"] for flow in packets["flows"])
    assert packets["of"] >= STALLS and packets["queue"] + packets["before"] >= 0.8 * packets["of"], packets
    assert 2 * packets["queue"] > packets["of"], packets


def test_what_the_packets_tell_is_on_the_screen_and_in_the_report(done):
    said = done.host(BAD)["capture"]["packets"]["sentence"]
    assert " ".join(said.split()) in " ".join(done.screen.split()), done.screen
    assert "probes recorded as they left" in (done.dir / "report.md").read_text()


def test_the_end_without_tcpdump_is_named(done):
    missing = done.host(BAD)["capture"]["missing"]
    assert any(f"when the probes of {WITHOUT} left (tcpdump is not installed" in sentence for sentence in missing), missing
