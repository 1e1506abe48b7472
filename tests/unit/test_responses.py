"""A response is over when its protocol says so, however the bytes are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleet.stall.plugins.module_utils.probes.responses import BadResponse, HttpResponse, LineResponse

COUNTED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n10\r\n" + b"\r\n" * 8 + b"\r\n0\r\nA: b\r\n\r\n"
CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
PIECES = [b"\r\n", b"\r\n\r\n", b"Content-Length: ", b"Transfer-Encoding: chunked", b"\xb2", b"7", b"-", b"_", b"HTTP/1.1 ", b"1"]
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
FAILED = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@given(st.sampled_from([COUNTED, CHUNKED, EMPTY, FAILED]), st.data())
def test_complete_with_the_last_byte_and_not_before(whole, data):
    response, rest = HttpResponse(), whole
    while rest:
        cut = data.draw(st.integers(1, len(rest)))
        piece, rest = rest[:cut], rest[cut:]
        assert response.feed(piece) is (not rest)
    assert response.keep_alive is (whole is not FAILED)
    assert response.failure == ("HTTP status 503" if whole is FAILED else None)


def test_without_a_length_the_end_of_the_stream_is_the_end():
    response = HttpResponse()
    assert not response.feed(b"HTTP/1.1 200 OK\r\n\r\nsome")
    assert response.end_of_stream()
    assert not response.keep_alive


def test_a_cut_off_response_is_not_complete():
    response = HttpResponse()
    assert not response.feed(COUNTED[:-1])
    assert not response.end_of_stream()


@pytest.mark.parametrize(
    "junk",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"x" * 70000,
        CHUNKS + b"zz\r\n",
        CHUNKS + b"-5\r\n",
        CHUNKS + b"1_0\r\n",
        CHUNKS + b"x" * 9000,
        b"HTTP/1.1 2\xb20 OK\r\n\r\n",
    ],
    ids=["ssh", "endless", "chunk", "below 0", "underscore", "endless line", "superscript"],
)
def test_what_is_not_http(junk):
    with pytest.raises(BadResponse):
        HttpResponse().feed(junk)


@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=20), max_size=12).map(b"".join))
def test_any_bytes_are_survived(data):
    try:
        HttpResponse().feed(b"HTTP/1.1 200 OK\r\n" + data)
    except BadResponse:
        pass


@pytest.mark.parametrize("length", [b"\xb2", b"9" * 5000, b"-1", b"+5", b""])
def test_a_length_that_is_none_leaves_the_end_to_the_end_of_the_stream(length):
    response = HttpResponse()
    assert not response.feed(b"HTTP/1.1 200 OK\r\nContent-Length: " + length + b"\r\n\r\nsome")
    assert response.end_of_stream()


def test_a_provisional_answer_is_followed_by_the_answer():
    response = HttpResponse()
    assert not response.feed(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
    assert response.feed(COUNTED)
    assert response.failure is None


@pytest.mark.parametrize(("request_", "pieces"), [(b"ping\n", [(b"po", False), (b"ng\n", True)]), (b"\x01\x02", [(b"\x03", True)])])
def test_request_and_response_by_line(request_, pieces):
    response = LineResponse(request_)
    assert [response.feed(piece) for piece, _ in pieces] == [complete for _, complete in pieces]
