"""Waves: every host is in one or is refused with the reason, none is empty, and no failure domain ever lacks more hosts than it may."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.plugin_utils import waves

RACKS = {f"{rack}{number}": {"datacenter": "dc_1", "rack": f"rack_{rack}"} for rack in "ab" for number in range(4)}


def planned(hosts, canary=1, per_domain=None, domains=RACKS, down=()):
    return waves.plan(hosts, canary, waves.Limits.of(per_domain or {}, domains, down))


@pytest.mark.parametrize(
    ("hosts", "options", "expected"),
    [
        ([], {}, []),
        (["a0"], {}, [["a0"]]),
        (["a0", "a1", "b0", "b1"], {}, [["a0"], ["a1", "b0", "b1"]]),
        (["a0", "a1", "b0", "b1"], {"canary": 2}, [["a0", "a1"], ["b0", "b1"]]),
        (["a0", "a1", "b0", "b1"], {"per_domain": {"rack": 1}}, [["a0"], ["a1", "b0"], ["b1"]]),
        (["a0", "a1", "b0", "b1"], {"per_domain": {"rack": "50%"}}, [["a0"], ["a1", "b0", "b1"]]),
        (["a0", "a1", "b0", "b1"], {"per_domain": {"rack": 2}, "down": ["a3"]}, [["a0"], ["a1", "b0", "b1"]]),
        (["a0", "a1", "b0", "b1"], {"per_domain": {"datacenter": 2}, "down": ["a3"]}, [["a0"], ["a1"], ["b0"], ["b1"]]),
        (["a0", "a1", "b0"], {"per_domain": {"fleet": "25%"}}, [["a0"], ["a1", "b0"]]),
        # A host that is down itself takes no more room than it has
        (["a0", "a1"], {"per_domain": {"rack": 1}, "down": ["a0"]}, [["a0"]]),
        # What others lack is not held against a rack, and a host that is down may be seen to
        (["a0", "b0"], {"per_domain": {"rack": 1}, "down": ["b1", "b2"]}, [["a0"]]),
        (["b1", "b0"], {"per_domain": {"rack": 1}, "down": ["b1", "b2"]}, [["b1"]]),
        # In no rack, it is bound by the fleet alone
        (["lonely", "a0"], {"per_domain": {"rack": 1}, "domains": {**RACKS, "lonely": {}}}, [["lonely"], ["a0"]]),
    ],
)
def test_waves(hosts, options, expected):
    assert planned(hosts, **options)[0] == expected


def test_a_domain_that_has_as_many_down_as_it_may_is_left_alone():
    found, refused = planned(["a0", "b0"], per_domain={"rack": 1}, down=["a3"])
    assert found == [["b0"]]
    assert refused == {"a0": "rack rack_a: 2 hosts would be away at once, 1 of them are down already (a3), and 1 may be"}


@pytest.mark.parametrize(
    ("limit", "size", "hosts"), [(3, 10, 3), ("25%", 40, 10), ("25%", 3, 1), ("1%", 1, 1), ("100%", 7, 7), ("33%", 100, 33)]
)
def test_a_limit_in_hosts(limit, size, hosts):
    assert waves.hosts_of(limit, size) == hosts


LIMIT = st.integers(1, 5) | st.integers(1, 100).map(lambda share: f"{share}%")


@st.composite
def fleets(draw):
    names = [f"h{index}" for index in range(draw(st.integers(1, 30)))]
    levels = {"datacenter": ["d1", "d2"], "rack": ["r1", "r2", "r3"]}
    domains = {
        name: {level: draw(st.sampled_from(groups)) for level, groups in levels.items() if draw(st.integers(0, 5))} for name in names
    }
    down = draw(st.sets(st.sampled_from(names), max_size=4))
    hosts = draw(st.lists(st.sampled_from(names), unique=True))
    per_domain = draw(st.dictionaries(st.sampled_from(["fleet", "datacenter", "rack"]), LIMIT))
    return hosts, draw(st.integers(1, 4)), per_domain, domains, down


@given(fleets())
def test_no_wave_is_empty_or_too_big_and_no_host_is_lost(fleet):
    hosts, canary, per_domain, domains, down = fleet
    limits = waves.Limits.of(per_domain, domains, down)
    found, refused = waves.plan(hosts, canary, limits)
    placed = [host for wave in found for host in wave]
    assert sorted([*placed, *refused]) == sorted(hosts)
    assert all(found) and len(found[0] if found else []) <= canary
    for wave in found:
        assert limits.over(wave) == []
        # By the definition, not by the code: who is away, counted by group.
        away = {*wave, *down}
        for level, limit in per_domain.items():
            group_of = {host: "fleet" if level == "fleet" else groups.get(level) for host, groups in domains.items()}
            count = Counter(group_of[host] for host in away if group_of[host])
            for group, number in count.items():
                size = sum(value == group for value in group_of.values())
                most = limit if isinstance(limit, int) else max(1, size * int(limit[:-1]) // 100)
                # What is down already may be more than the limit; then nothing of that group is taken.
                assert number <= most or not {host for host in wave if group_of[host] == group} - set(down)
    for host in refused:
        assert host not in down
        groups = {("fleet", "fleet"), *domains[host].items()}
        assert any(
            len([name for name in {host, *down} if (level, group) in {("fleet", "fleet"), *domains[name].items()}])
            > limits.most[level, group]
            for level, group in groups
            if level in per_domain
        )
    # Hosts keep their order within a wave, and the worst is the canary unless it is refused.
    for wave in found:
        assert wave == sorted(wave, key=hosts.index)
    if found:
        assert found[0][0] == next(host for host in hosts if host not in refused)


@given(fleets())
def test_a_wave_takes_all_that_there_is_room_for(fleet):
    hosts, canary, per_domain, domains, down = fleet
    limits = waves.Limits.of(per_domain, domains, down)
    found, _ = waves.plan(hosts, canary, limits)
    for index, wave in enumerate(found):
        later = [host for wave_ in found[index + 1 :] for host in wave_]
        if index or len(wave) < canary:
            assert all(limits.over([*wave, host]) for host in later)


def test_the_batches_of_a_play():
    assert waves.serial([["w1", "a"], ["w2", "b", "c"]]) == [2, 3]
    assert waves.serial([]) == [1]
