"""Requests and responses, read part by part, however their bytes arrive."""

from __future__ import annotations

import random

import pytest

from trioworkers.gateway.messages import (
    END,
    MOST_HEAD,
    MessageError,
    RequestHead,
    RequestReader,
    ResponseHead,
    ResponseReader,
)

FORM = b"POST /bot1:a/sendPhoto HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\nhello world"
CHUNKS = (
    b"POST /bot1:a/x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\n6\r\n world\r\n0\r\nA: b\r\n\r\n"
)
GET = b"GET /bot1:a/getMe?x=1 HTTP/1.1\r\nX: y\r\n\r\n"


def read(reader, data, sizes):
    """All parts of `data`, fed in pieces; blocks of one body are joined."""
    parts: list[object] = []
    at = 0
    for size in sizes:
        reader.feed(data[at : at + size])
        at += size
        while reader.parts:
            part = reader.parts.popleft()
            if isinstance(part, bytes) and parts and isinstance(last := parts[-1], bytes):
                parts.pop()
                part = last + part
            parts.append(part)
    return parts


@pytest.mark.parametrize("seed", range(40))
def test_requests_are_the_same_however_their_bytes_arrive(seed):
    """Lengths, chunks, trailers and requests that are sent ahead, in pieces of any size."""
    rng = random.Random(seed)
    data = FORM + CHUNKS + GET + FORM
    sizes, left = [], len(data)
    while left:
        sizes.append(rng.randint(1, min(left, 1 + rng.choice((1, 10, 1000)))))
        left -= sizes[-1]
    parts = read(RequestReader(), data, sizes)
    kinds = [type(part) for part in parts]
    assert kinds.count(RequestHead) == 4
    heads = [part for part in parts if isinstance(part, RequestHead)]
    assert [head.target for head in heads] == [
        b"/bot1:a/sendPhoto",
        b"/bot1:a/x",
        b"/bot1:a/getMe?x=1",
        b"/bot1:a/sendPhoto",
    ]
    assert [(head.has_body, head.length) for head in heads] == [
        (True, 11),
        (True, None),
        (False, None),
        (True, 11),
    ]
    assert [part for part in parts if isinstance(part, bytes)] == [b"hello world"] * 3
    assert parts.count(END) == 4
    assert heads[2].field(b"x") == b"y"
    assert heads[1].fields == ((b"transfer-encoding", b"chunked"),)


def test_a_response_may_end_with_its_connection():
    """Its end is that of the connection, and the connection serves nothing else."""
    reader = ResponseReader()
    reader.feed(b"HTTP/1.1 200 OK\r\nContent-Type: x\r\n\r\nabc")
    reader.feed(b"")
    head, block, end = reader.parts
    assert (head.status, head.reason, head.to_end, head.keeps_alive) == (200, b"OK", True, False)
    assert (block, end) == (b"abc", END)


def test_interim_responses_are_left_out():
    """What counts is the response behind them."""
    reader = ResponseReader()
    reader.feed(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 429 Too Many\r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n"
    )
    head, end = reader.parts
    assert isinstance(head, ResponseHead)
    assert (head.status, head.field(b"retry-after"), head.length, end) == (429, b"3", 0, END)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nX: " + b"y" * MOST_HEAD + b"\r\n\r\n",
        b"GET /" + b"y" * MOST_HEAD + b" HTTP/1.1\r\n\r\n",
        b"no request at all\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
    ids=["field", "target", "words", "lengths", "chunk", "tls"],
)
def test_what_is_no_request_is_refused(data):
    """The error quotes nothing of it."""
    with pytest.raises(MessageError) as found:
        RequestReader().feed(data)
    assert "y" * 20 not in str(found.value)


@pytest.mark.parametrize("endless", [b"GET / HTTP/1.1\r\nX: ", b"GET / HTTP/1.1\r\nX: y\r\n", b"\r\n"])
def test_a_head_without_an_end_is_bounded(endless):
    """Nobody keeps what does not end."""
    reader = RequestReader()

    def feed():
        reader.feed(endless)
        for _ in range(1000):
            reader.feed(b"z" * 1000)

    with pytest.raises(MessageError):
        feed()


def test_trailers_without_an_end_are_bounded():
    """Neither do the lines behind the chunks."""
    reader = RequestReader()
    reader.feed(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n")

    def feed():
        for number in range(100_000):
            reader.feed(b"A%d: b\r\n" % number)

    with pytest.raises(MessageError):
        feed()


def test_a_server_that_closes_early_is_an_error():
    """Half an answer is none."""
    reader = ResponseReader()
    reader.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
    with pytest.raises(MessageError):
        reader.feed(b"")
