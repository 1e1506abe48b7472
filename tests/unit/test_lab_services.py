"""The services of the lab's pod answer as a prober needs it, however the bytes arrive."""

from __future__ import annotations

import pytest

from tests.lab.services import HttpServer, LineServer


class Sent:
    """The transport's end: what a client would receive."""

    def __init__(self):
        self.data, self.closed = b"", False

    def write(self, data):
        self.data += data

    def close(self):
        self.closed = True


def talk(server, *pieces):
    sent = Sent()
    server.connection_made(sent)
    for piece in pieces:
        server.data_received(piece)
    return sent


@pytest.mark.parametrize(
    ("pieces", "answers", "closed"),
    [
        ([b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"], 1, False),
        ([b"GET / HTTP/1.1\r\nHo", b"st: a\r\n\r", b"\n"], 1, False),
        ([b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"], 2, False),
        ([b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n"], 1, True),
        ([b"GET / HTTP/1.0\r\n\r\n"], 1, True),
        ([b"GET / HTTP/1.1\r\n"], 0, False),
    ],
)
def test_http_answers_each_request_and_closes_only_when_asked(pieces, answers, closed):
    sent = talk(HttpServer(), *pieces)
    assert sent.data.count(b"HTTP/1.1 200 OK") == answers
    assert sent.closed is closed


@pytest.mark.parametrize(
    ("pieces", "echoed"),
    [([b"ping\n"], b"ping\n"), ([b"pi", b"ng\n"], b"ping\n"), ([b"a\nb\nc"], b"a\nb\n"), ([b"a"], b"")],
)
def test_the_line_service_sends_back_whole_lines(pieces, echoed):
    assert talk(LineServer(), *pieces).data == echoed
