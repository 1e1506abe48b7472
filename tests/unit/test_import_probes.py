"""hping3, ping and fping output, whole or filtered, becomes the same stalls that the project's own prober would tell."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.plugin_utils.imports import hping, sawtooth, ways

# As hping3 3.0.0-alpha-2 prints it; its statistics go to another stream and may be in the log or not
HEADER = "HPING 10.9.0.2 (eth0 10.9.0.2): icmp mode set, 28 headers + 0 data bytes"
STATISTICS = ["", "--- 10.9.0.2 hping statistic ---", "{0} packets transmitted, {1} packets received, 0% packet loss"]
TIMES = "round-trip min/avg/max = 0.1/7.6/1010.6 ms"


def icmp(number, rtt):
    return f"len=46 ip=10.9.0.2 ttl=64 id={number + 7} icmp_seq={number % 65536} rtt={rtt:.1f} ms"


def syn(number, rtt):
    return f"len=46 ip=10.9.0.2 ttl=59 DF id=0 sport=30927 flags=SA seq={number} win=29200 rtt={rtt:.1f} ms"


def ping(number, rtt):
    return f"64 bytes from 10.9.0.2: icmp_seq={number} ttl=64 time={rtt:.3f} ms"


def fping(number, rtt):
    return f"10.9.0.2 : [{number}], 64 bytes, {rtt:.3f} ms (0.05 avg, 0% loss)"


def path(stalls, count=600, interval=10.0, base=0.4):
    """(number, rtt in ms) of probes over a path that holds everything back during each (first ms, last ms)."""
    held = {n: end - n * interval for n in range(count) for start, end in stalls if start <= n * interval < end}
    return [(n, held.get(n, 0.0) + base) for n in range(count)]


def found(lines, interval=10.0, threshold=10.0):
    probes = hping.read(lines)
    return probes, sawtooth.find(probes, interval, threshold)


def rows(stalls):
    return [(round(stall.duration_ms), stall.number, stall.backlog) for stall in stalls]


@pytest.mark.parametrize("form", [icmp, syn, ping, fping])
def test_a_whole_log_gives_each_stall_with_length_and_backlog(form):
    probes, stalls = found([HEADER, *(form(*row) for row in path([(1000, 1127), (3000, 3076)]))])
    assert probes.whole and list(probes.addresses) == ["10.9.0.2"] and probes.skipped == 0
    assert rows(stalls) == [(127, 100, 13), (76, 300, 8)]


@pytest.mark.parametrize("form", [icmp, syn])
def test_of_a_filtered_log_the_top_of_a_sawtooth_is_the_same_stall(form):
    """127, 117 and 107 ms are one stall of 127 ms with 13 probes, ten of which are not shown."""
    shown = [form(*row) for row in path([(1000, 1127), (3000, 3138)]) if row[1] >= 100]
    probes, stalls = found(shown)
    assert not probes.whole and probes.tells_interval() == 10.0
    assert rows(stalls) == [(127, 100, 13), (138, 300, 14)]
    assert [stall.seen for stall in stalls] == [3, 4]


def test_a_lone_slow_syn_holds_back_itself_and_a_lone_echo_its_backlog():
    """Echoes of a pair of hosts are one queue's; SYNs of other ports may not be."""
    assert rows(found([syn(312, 108.5)])[1]) == [(108, 312, 1)]
    assert rows(found([icmp(104, 110.0)])[1]) == [(110, 104, 11)]


def test_interleaved_queues_end_with_the_last():
    """The article's own rows: the fourth is not of the same sawtooth, so that the backlog is not counted up."""
    assert rows(found([syn(n, rtt) for n, rtt in ((1485, 127.1), (1486, 117.0), (1487, 106.2), (1488, 104.1))])[1]) == [(134, 1485, 4)]


@pytest.mark.parametrize(
    ("lines", "whole"),
    [
        ([icmp(n, 0.4) for n in range(30)], True),
        ([icmp(n, 0.4) for n in range(5000, 5030)], True),
        ([icmp(n, 120.0) for n in range(5000, 5030)], False),
        ([icmp(n, 0.4) for n in range(0, 60, 3)], False),
        ([icmp(n, 120 - n) for n in range(3)], False),
        ([icmp(0, 120.0), *(line.format(900, 900) for line in STATISTICS)], False),
        ([*(icmp(n, 0.4) for n in range(12)), *(line.format(12, 12) for line in STATISTICS)], True),
        ([line.format(22352, 22350) for line in STATISTICS], False),
        ([], False),
    ],
)
def test_a_log_is_whole_only_if_it_shows_it(lines, whole):
    assert hping.read(lines).whole is whole


def test_statistics_alone_tell_what_was_sent_and_that_something_was_slow():
    probes, stalls = found([*(line.format(22352, 22350) for line in STATISTICS), TIMES])
    assert (probes.sent, probes.received, probes.longest_ms, stalls) == (22352, 22350, 1010.6, [])


def test_lost_probes_are_a_stall_in_a_whole_log_and_unknown_in_a_filtered_one():
    whole = [icmp(n, 0.4) for n in range(200) if not 100 <= n < 110]
    assert [(round(stall.duration_ms), stall.lost, stall.censored) for stall in found(whole)[1]] == [(100, 10, True)]
    assert [stall.lost for stall in found([icmp(n, 120 - 10 * n) for n in range(2)])[1]] == [0]


def test_numbers_go_on_after_65535_and_a_second_run_is_another_series():
    wrapped = hping.read([icmp(n, 0.4) for n in range(65500, 65580)])
    assert len(wrapped.parts()) == 1 and max(wrapped.numbers) == 65579
    again = hping.read([*(icmp(n, 0.4) for n in range(50)), HEADER, *(icmp(n, 0.4) for n in range(50))])
    assert [len(numbers) for numbers, _ in again.parts()] == [50, 50] and again.spanned == 100
    silently = hping.read([*(icmp(n, 0.4) for n in range(20000)), *(icmp(n, 0.4) for n in range(50))])
    assert [len(numbers) for numbers, _ in silently.parts()] == [20000, 50]


@pytest.mark.parametrize(
    ("line", "interval", "protocol"),
    [
        (
            "theojulienne@shell ~ $ sudo hping3 -S -p 30927 -i u10000 172.16.47.27 | egrep --line-buffered 'rtt=[0-9]{3}\\.'",
            10.0,
            "tcp_syn",
        ),
        ("# hping3 --icmp -i u5000 host", 5.0, "icmp"),
        ("# hping3 --icmp -i 1 host", 1000.0, "icmp"),
        ("$ ping -i 0.01 host", 10.0, None),
        ("$ fping -l -p 20 host", 20.0, None),
    ],
)
def test_the_command_line_tells_the_interval(line, interval, protocol):
    probes = hping.read([line])
    assert (probes.interval_ms, probes.protocol, probes.skipped) == (interval, protocol, 0)


@pytest.mark.parametrize(
    ("line", "interval"),
    [
        ("# hping3 --icmp -iu10000 host", 10.0),
        ("# hping3 --icmp --interval=u10000 host", 10.0),
        ("# hping3 --icmp --interval u20000 host", 20.0),
        ("# hping3 -1 --fast host", 100.0),
        ("# hping3 -1 host", 1000.0),
        ("root@shell:~# hping3 -S -p 80 host", 1000.0),
        ("# hping3 --flood -1 host", None),
        ("# hping3 --faster -1 host", None),
        ("$ ping -i .2 host", 200.0),
        ("$ ping -i.2 host", 200.0),
        ("$ ping -ni 0.2 host", 200.0),
        ("$ ping node-7 > log", 1000.0),
        ("# ping from shell to node-7", None),
        ("# ping results", None),
        ("# ping -D on shell to node-7", None),
        ("sudo ping -D host | grep -i 20", 1000.0),
        ("$ ping -f host", None),
        ("$ ping -nA host", None),
        ("$ ping -i x host", None),
        ("$ fping -lp10 host", 10.0),
        ("$ fping -l --period=10 host", 10.0),
        ("$ fping -l -i 5 host", 1000.0),
        ("then we saw ping to be slow - at times", None),
        ("--- 10.9.0.2 ping statistics ---", None),
    ],
)
def test_the_interval_of_a_command(line, interval):
    assert hping.read([line]).interval_ms == interval


@pytest.mark.parametrize("interval", [10.0, 1000.0])
def test_ping_tells_by_its_own_clock_how_often_it_sent(interval):
    """Its "time" counts from the first to the last probe sent; -D stamps each reply when it comes."""
    slow = [(n, 130.0 if n in (50, 200) else 60.0 if n in (51, 201) else 0.4) for n in range(1, 601)]
    took = f"600 packets transmitted, 600 received, 0% packet loss, time {599 * interval:.0f}ms"
    stamped = [f"[{1.7e9 + (n * interval + rtt) / 1000:.6f}] {ping(n, rtt)}" for n, rtt in slow]
    for lines in ([*(ping(*row) for row in slow), took], stamped, stamped[100:110]):
        assert hping.read(lines).timed_ms == pytest.approx(interval, rel=0.001)


JITTER = (0.0, 0.3, -0.2, 0.6, 0.1, -0.4, 0.2)


@pytest.mark.parametrize(
    ("rows", "interval"),
    [
        (path([(1000, 1100), (2000, 2100), (3000, 3100)], base=40.0), 10.0),
        (path([], base=40.0), None),
        (path([(1000, 1130)], interval=70.0), None),
        ([(n, 130.0 if n % 150 == 0 else 60.0 if n % 150 == 1 else 0.4) for n in range(600)], None),
        ([(n, {100: 300, 101: 270, 102: 200, 103: 120, 104: 50}.get(n, 0.4)) for n in range(600)], None),
        ([*path([(1000, 1100)], count=600), *((n, 0.4 + (100 - 20 * (n - 700)) * (700 <= n < 705)) for n in range(600, 900))], None),
    ],
    ids=["a long path with stalls", "a long path without", "two steps", "slow pairs of a slow ping", "uneven", "two backlogs that differ"],
)
def test_backlogs_tell_the_interval_or_it_is_not_known(rows, interval):
    found = hping.read(icmp(n, rtt + JITTER[n % len(JITTER)] * (rtt > 1)) for n, rtt in rows).tells_interval()
    assert found == (None if interval is None else pytest.approx(interval, rel=0.03))


@pytest.mark.parametrize(
    ("line", "address", "protocol"),
    [
        ("64 bytes from 10.0.0.7: icmp_seq=5 ttl=64 time=0.2 ms", "10.0.0.7", "icmp"),
        ("64 bytes from 2001:db8::7: icmp_seq=5 ttl=64 time=0.2 ms", "2001:db8::7", "icmp"),
        ("64 bytes from 2001:db8::: icmp_seq=5 ttl=64 time=0.2 ms", "2001:db8::", "icmp"),
        ("64 bytes from fe80::7%eth0: icmp_seq=5 ttl=64 time=0.2 ms", "fe80::7%eth0", "icmp"),
        ("64 bytes from node-7 (10.0.0.7): icmp_seq=5 ttl=64 time=0.2 ms", "10.0.0.7", "icmp"),
        ("64 bytes from 10.0.0.7: seq=5 ttl=64 time=0.2 ms", "10.0.0.7", "icmp"),
        (icmp(5, 0.2), "10.9.0.2", "icmp"),
        (syn(5, 0.2), "10.9.0.2", "tcp_syn"),
        ("len=46 ip=10.9.0.2 ttl=64 id=5 seq=5 rtt=0.2 ms", "10.9.0.2", None),
        ("len=46 ip= ttl=64 id=5 icmp_seq=5 rtt=0.2 ms", None, "icmp"),
        (fping(5, 0.2), "10.9.0.2", "icmp"),
    ],
)
def test_a_reply_names_its_address_and_protocol(line, address, protocol):
    probes = hping.read([line])
    assert (list(probes.addresses), probes.protocol, list(probes.numbers)) == ([address] if address else [], protocol, [5])


@pytest.mark.parametrize(
    ("line", "name", "addresses"),
    [
        (HEADER, "10.9.0.2", ["10.9.0.2"]),
        ("HPING node-7 (eth0 10.0.0.7): S set, 40 headers + 0 data bytes", "node-7", ["10.0.0.7"]),
        ("PING node-7 (10.0.0.7) 56(84) bytes of data.", "node-7", ["10.0.0.7"]),
        ("PING 10.0.0.7 (10.0.0.7): 56 data bytes", "10.0.0.7", ["10.0.0.7"]),
        ("PING ::1(::1) 56 data bytes", "::1", ["::1"]),
        ("PING node-7(node-7.example (2001:db8::7)) 56 data bytes", "node-7", ["2001:db8::7"]),
        ("PING node-7 56 data bytes", "node-7", []),
    ],
)
def test_the_first_line_names_the_host(line, name, addresses):
    probes = hping.read([line])
    assert (probes.name, list(probes.addresses)) == (name, addresses)


def test_duplicates_colours_and_loss_marks_change_nothing():
    lines = [icmp(*row) for row in path([(1000, 1100)])]
    lines.insert(50, "DUP! " + lines[49])
    lines.insert(60, "10.9.0.2 : [599], timed out (NaN avg, 100% loss)")
    probes, stalls = found(lines)
    assert rows(stalls) == [(100, 100, 10)] and probes.lost == 1


@given(
    st.lists(
        st.one_of(
            st.text(), st.builds(icmp, st.integers(0, 10**9), st.floats(0, 10**6)), st.builds(syn, st.integers(0, 70000), st.floats(0, 999))
        ),
        max_size=60,
    )
)
def test_whatever_is_in_a_log_no_reply_is_counted_twice(lines):
    probes = hping.read(lines)
    assert sum(len(numbers) for numbers, _ in probes.parts()) == len(probes.numbers) == len(probes.rtts)
    assert (probes.tells_interval() or 1) > 0 and (probes.timed_ms or 1) > 0 and (probes.interval_ms or 1) > 0
    stalls = sawtooth.find(probes, 10.0, 10.0)
    assert sum(stall.seen for stall in stalls) <= len(probes.numbers)
    assert all(stall.duration_ms >= 0 and stall.backlog >= stall.seen >= 0 for stall in stalls)


def test_a_second_that_hping3_adds_is_taken_off():
    """As seen: 0.8, 1000.8, 125.7 (a stall begins just after it) and 1.0, 1001.0, 0.9 in a log of echoes every 10 ms."""
    sound = path([(1000, 1127)])
    odd = [(n, rtt + 1000 * (n in (99, 104, 300))) for n, rtt in sound]
    probes, stalls = found([icmp(*row) for row in odd])
    assert probes.corrected == 3 and rows(stalls) == [(127, 100, 13)]
    real = path([(1000, 2100)])
    probes, stalls = found([icmp(*row) for row in real])
    assert probes.corrected == 0 and rows(stalls) == [(1100, 100, 110)]


def test_a_lone_second_among_slow_replies_alone_is_doubtful_and_a_backlog_of_one_is_not():
    probes, stalls = found([icmp(40, 1000.8), icmp(700, 127.0), icmp(701, 117.0), icmp(900, 1000.3)])
    assert (probes.doubtful, rows(stalls)) == (2, [(127, 700, 13)])
    probes, stalls = found([icmp(40 + n, 1100.0 - 10 * n) for n in range(100)])
    assert (probes.doubtful, rows(stalls)) == (0, [(1100, 40, 110)])


def view(number=1, source="a", target="t", layer="node", stalls=(), probes=3000, whole=True, **more):
    stall = sawtooth.Stall(0, 100.0, 0, 10, 10, 0, False)
    fields = {
        "log": f"{number}.log",
        "protocol": "icmp",
        "interval_ms": 10.0,
        "sent": probes,
        "received": probes,
        "observed_s": 30.0,
        "shortest_ms": 0.1,
    }
    return ways.View(
        number=number,
        source=source,
        target=target,
        layer=layer,
        stalls=(stall,) * stalls if stalls else (),
        probes=probes,
        whole=whole,
        **{**fields, **more},
    )


@pytest.mark.parametrize(
    ("views", "handled", "side", "layer", "ruled_out"),
    [
        ([view(stalls=5), view(source="b", stalls=5)], 0, "receiver", "node", {"sender", "nat", "overlay", "application"}),
        ([view(stalls=5)], 0, "unknown", None, {"nat", "overlay", "application"}),
        ([view(stalls=5)], 2, "receiver", "node", {"nat", "overlay", "application"}),
        ([view(stalls=5), view(target="other")], 0, "receiver", "node", {"sender", "nat", "overlay", "application"}),
        ([view(stalls=5), view(source="b")], 0, "unknown", None, {"receiver", "nat", "overlay", "application"}),
        (
            [view(layer="nodeport", stalls=5), view(layer="overlay", stalls=5, source="b")],
            0,
            "receiver",
            None,
            {"sender", "nat", "application"},
        ),
        ([view(layer="overlay", stalls=5), view(layer="overlay", stalls=5, source="b"), view(source="c")], 0, "unknown", None, None),
        ([view(layer=None, stalls=5), view(layer=None, source="b", stalls=1)], 0, "receiver", None, {"sender", "application"}),
        ([view()], 0, None, None, set()),
    ],
)
def test_the_elimination(views, handled, side, layer, ruled_out):
    found = ways.eliminate("t", views, handled)
    assert (found.side, found.layer) == (side, layer)
    assert ruled_out is None or {what for what, _ in found.ruled_out} == ruled_out


@pytest.mark.parametrize(
    ("quiet", "is_quiet"),
    [
        (view(probes=3000), True),
        (view(probes=300), False),
        (view(probes=3000, stalls=1), True),
        (view(probes=3000, stalls=4), False),
        (view(probes=1500, hidden_ms=1010.6), False),
    ],
)
def test_a_log_is_quiet_only_where_chance_would_have_shown_more(quiet, is_quiet):
    assert ways.is_quiet(quiet, [view(stalls=6)]) is is_quiet
