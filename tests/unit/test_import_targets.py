"""Logs of several hosts in one directory are never one row, and what is not of a host is no evidence about it."""

import pytest
import yaml

from ansible_collections.fleet.stall.plugins.plugin_utils import causes
from ansible_collections.fleet.stall.plugins.plugin_utils.imports import build, logs
from tests.unit import contract

CATALOGUE = causes.load()
BAD, GOOD = "10.0.0.1", "10.0.0.2"
PACKETS = "".join(f"7\t7\tagent\t{n}\n" if n < 500 else f"76\t76\tksoftirqd/3\t{n}\n" for n in range(490, 510))


def log(address, stalls, name=None):
    held = {n: 100 - 10 * (n % 1000 - 500) for n in range(3000) if 500 <= n % 1000 < 510} if stalls else {}
    first = f"HPING {name or address} (eth0 {address}): icmp mode set, 28 headers + 0 data bytes\n# hping3 --icmp -i u10000 {address}\n"
    return first + "".join(f"len=46 ip={address} icmp_seq={n} rtt={0.3 + held.get(n, 0):.1f} ms\n" for n in range(3000))


def findings(directory, files, about=None, host=""):
    for name, text in files.items():
        (directory / name).write_text(text)
    if about:
        (directory / "about.yml").write_text(yaml.safe_dump(about))
    asked = build.Asked("20261124T000000Z-abcd", 10.0, {"critical": 20, "major": 2}, host=host)
    found = build.findings(logs.read(directory, 10), asked, lambda case: causes.match(CATALOGUE, case), 1.8e9)
    contract.holds(found)
    return {row["host"]: row for row in found["hosts"]}, [said for said in found["warnings"] if "several hosts" in said]


TWO = {"bad.txt": log(BAD, True), "good.txt": log(GOOD, False)}


@pytest.mark.parametrize(
    ("files", "about", "host", "statuses", "is_said"),
    [
        (TWO, None, "", {BAD: "stalling", GOOD: "clear"}, True),
        (TWO, None, BAD, {BAD: "stalling", GOOD: "clear"}, True),
        (TWO, {"host": GOOD}, "", {BAD: "stalling", GOOD: "clear"}, True),
        (TWO, None, "node-7", {BAD: "stalling", GOOD: "clear", "node-7": "not_measured"}, True),
        (TWO | {"packets": PACKETS}, None, "node-7", {"node-7": "stalling", GOOD: "clear"}, True),
        (TWO | {"packets": PACKETS}, None, "", {BAD: "stalling", GOOD: "clear"}, True),
        (TWO, {"host": "a", "files": {"good.txt": {"target": "b"}}}, "", {"a": "stalling", "b": "clear"}, False),
        (TWO, {"host": "a", "files": {"good.txt": {"layer": "overlay"}}}, "", {"a": "stalling"}, False),
        ({"bad.txt": log(BAD, True), "nodeport.txt": log(GOOD, True)}, None, "", {BAD: "stalling"}, False),
        ({"overlay.txt": log(GOOD, True)}, None, "", {GOOD: "stalling"}, False),
        ({"a": log(BAD, True), "b": log(BAD, False, "node-7")}, None, "", {BAD: "stalling"}, False),
        ({"a": log(BAD, True, "node-7"), "b": log(GOOD, False)}, None, "node-7", {"node-7": "stalling", GOOD: "clear"}, True),
    ],
)
def test_each_address_has_a_row_of_its_own(tmp_path, files, about, host, statuses, is_said):
    rows, said = findings(tmp_path, files, about, host)
    assert {name: row["status"] for name, row in rows.items()} == statuses
    assert len(said) == is_said and all(GOOD in sentence for sentence in said)


def test_other_logs_go_to_the_host_that_the_packet_log_shows(tmp_path):
    rows, said = findings(tmp_path, TWO | {"packets": PACKETS})
    assert rows[BAD]["blame"]["side"] == "receiver" and f"all other logs are taken for those of {BAD}" in said[0]
    assert rows[GOOD]["capture"] is None and rows[GOOD]["coverage"]["probes_sent"] == 3000


def test_other_logs_that_fit_none_of_several_are_held_against_none(tmp_path):
    other = PACKETS.replace("\t50", "\t70")
    rows, said = findings(tmp_path, TWO | {"packets": other})
    assert {row["capture"] is None for name, row in rows.items() if name in (BAD, GOOD)} == {True} and len(rows) == 3
    assert "those of none of them" in said[0]


def test_a_file_with_several_hosts_in_it_is_said(tmp_path):
    rows, said = findings(tmp_path, {"a": log(BAD, True) + log(GOOD, False)})
    assert list(rows) == [BAD] and said[0].startswith(f"a: it holds replies of several hosts ({BAD}, {GOOD})")
