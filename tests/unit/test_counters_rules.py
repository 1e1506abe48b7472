"""How packet filter rules are counted, in a network namespace that has some."""

import json
import os
import subprocess
import sys

import pytest

COUNT_RULES = """
import json, sys
sys.path.insert(0, sys.argv[1])
from ansible_collections.fleet.stall.plugins.module_utils.counters import rules
print(json.dumps(rules.read()))
"""


def count_rules(setup):
    """What the reader counts in a network namespace of its own, after some commands in it."""
    script = f'{setup} >&2 && exec "$0" -c "$1" "$2"'
    collections = os.path.join(os.path.dirname(__file__), "..", "..", "collections")
    argv = ["unshare", "--net", "sh", "-c", script, sys.executable, COUNT_RULES, collections]
    done = subprocess.run(argv, capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"no such rules here: {done.stderr.decode()[-200:]}")
    return json.loads(done.stdout.decode())


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a network namespace")
def test_legacy_rules_are_counted_without_listing_them():
    found = count_rules("iptables-legacy -A INPUT -j ACCEPT && iptables-legacy -t nat -A POSTROUTING -j MASQUERADE")
    # A table has a policy for each chain and an end, too: 3 + 1 in filter, 4 + 1 in nat.
    assert found["ip_tables"] == {"filter": 5, "nat": 6}


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a network namespace")
def test_nftables_rules_are_counted():
    found = count_rules("iptables-nft -A INPUT -j ACCEPT && iptables-nft -A FORWARD -j DROP")
    assert (found["nf_tables"], found["complete"]) == (2, True)
