"""What HAProxy says of its servers, which of them are a host, and what a backend can do without."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.module_utils import haproxy
from ansible_collections.fleet.stall.plugins.module_utils.haproxy import HaproxyError

# As HAProxy 2.6 prints them, the columns after those that are read cut off
STATE = """1
# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight
3 web 1 node-1 198.51.100.1 2 0 1 1
3 web 2 node-2 198.51.100.2 {op} {admin} {weight} 1
4 api 1 a 198.51.100.1 2 0 1 1

"""
STAT = """# pxname,svname,qcur,qmax,scur,smax
web,node-1,0,0,7,9
web,node-2,0,0,0,9
api,a,0,0,1,1

"""


def servers(op=2, admin=0, weight=1):
    return haproxy.read(STATE.format(op=op, admin=admin, weight=weight), STAT)


def test_servers_are_read_with_their_sessions():
    assert [(server.name, server.sessions, server.out, server.usable) for server in servers()] == [
        ("web/node-1", 7, False, True),
        ("web/node-2", 0, False, True),
        ("api/a", 1, False, True),
    ]


@pytest.mark.parametrize(
    ("row", "out", "usable"),
    [
        ({"op": 0}, False, False),
        ({"op": 1}, False, True),
        ({"op": 3}, False, False),
        ({"admin": 0x01}, True, False),
        ({"admin": 0x08}, True, False),
        ({"admin": 0x20}, True, False),
        ({"admin": 0x04}, True, False),
        # From a host name that does not change: not the wish of anybody
        ({"admin": 0x40}, False, True),
        ({"weight": 0}, False, False),
    ],
)
def test_who_takes_sessions_and_who_was_taken_out(row, out, usable):
    assert (servers(**row)[1].out, servers(**row)[1].usable) == (out, usable)


@pytest.mark.parametrize(
    ("named", "names", "addresses", "found"),
    [
        ([], ["node-1"], [], ["web/node-1"]),
        ([], ["node-1"], ["198.51.100.1"], ["web/node-1", "api/a"]),
        (["api/a"], ["node-1"], ["198.51.100.1"], ["api/a"]),
        ([], ["a", "a.example"], [], ["api/a"]),
    ],
)
def test_the_servers_that_are_a_host(named, names, addresses, found):
    assert [server.name for server in haproxy.of_host(servers(), named, names, addresses)] == found


@pytest.mark.parametrize(
    ("named", "words"), [(["web/x"], "no server web/x"), ([], "called other or .*198.51.100.9.*set stall_haproxy_servers")]
)
def test_a_host_that_is_no_server_is_an_error(named, words):
    with pytest.raises(HaproxyError, match=words):
        haproxy.of_host(servers(), named, ["other"], ["198.51.100.9"])


@pytest.mark.parametrize(
    ("row", "going", "least", "short"),
    [
        ({}, ["web/node-1"], 1, {}),
        ({}, ["web/node-1"], 2, {"web": 1}),
        ({"op": 0}, ["web/node-1"], 1, {"web": 0}),
        ({"op": 0}, ["web/node-1"], 0, {}),
        ({}, ["web/node-1", "api/a"], 1, {"api": 0}),
        # It is out already: nothing changes
        ({"admin": 0x08}, ["web/node-2"], 2, {}),
    ],
)
def test_what_a_backend_can_do_without(row, going, least, short):
    listed = servers(**row)
    assert haproxy.short(listed, [server for server in listed if server.name in going], least) == short


@given(st.text(), st.text())
def test_whatever_answers_is_read_or_refused(state, stat):
    with pytest.raises(HaproxyError):
        haproxy.read(state.replace("# ", ""), stat)
