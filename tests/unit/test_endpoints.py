"""Where services listen: spelling, and what is no endpoint."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.plugin_utils import endpoints


@pytest.mark.parametrize(
    ("text", "same"),
    [("[::ffff:192.0.2.7]", "192.0.2.7"), ("[2001:DB8::0:1]", "2001:db8::1"), ("fe80::1%eth0", "fe80::1"), ("name", None), (None, None)],
)
def test_an_address_as_it_is_compared(text, same):
    assert endpoints.canonical(text) == same


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("10.244.4.10:8080", ("10.244.4.10", 8080)),
        ("[fd00::1]:80", ("fd00::1", 80)),
        ("[::ffff:10.0.0.1]:80", ("10.0.0.1", 80)),
        ("fd00::1:80", None),
        ("10.244.4.10", None),
        ("10.244.4.10:", None),
        ("10.244.4.10:0", None),
        ("10.244.4.10:65536", None),
        ("10.244.4.10:8080x", None),
        ("10.244.4.10:\N{SUPERSCRIPT TWO}", None),
        ("web:8080", None),
        (None, None),
        (8080, None),
    ],
)
def test_an_endpoint(text, end):
    assert endpoints.parse(text) == end


@given(st.ip_addresses(), st.integers(1, 65535))
def test_what_is_spelled_is_read_again(address, port):
    spelled = endpoints.spelled(str(address), port)
    assert endpoints.parse(spelled) == (endpoints.canonical(str(address)), port)
    assert not isinstance(address, ipaddress.IPv6Address) or spelled.startswith("[")


@given(st.text())
def test_no_text_breaks_it(text):
    endpoints.parse(text)
