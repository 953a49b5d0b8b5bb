"""The reader of responses: what it takes, h11 understands alike; what may be read in two ways it refuses."""

from __future__ import annotations

import h11
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioworkers.http.response import MOST_HEAD, ResponseReader

LIMIT = 1000


def read(*pieces, limit=LIMIT):
    """The response, once these pieces have come; None while it is incomplete."""
    reader = ResponseReader(limit)
    response = None
    for piece in pieces:
        assert response is None
        response = reader.feed(piece)
    return response


def by_h11(data, ended):
    """Status, body, and whether another request may follow, by h11; None while it is incomplete."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="POST", target="/", headers=[("host", "x"), ("content-length", "0")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    if ended:
        connection.receive_data(b"")
    status, body = 0, b""
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            again = connection.their_state is h11.DONE and connection.trailing_data[0] == b""
            return status, body, again
        elif event is h11.NEED_DATA:
            return None


lines = st.sampled_from(
    [
        b"Content-Length: 5",
        b"content-length:0",
        b"Content-Length: 5 ",
        b"Content-Length: +5",
        b"Content-Length: 5, 5",
        b"Content-Length: ",
        b"Content-Length: 5_0",
        b"Content-Length: \xb2",
        b"Content-Length : 5",
        b"Transfer-Encoding: chunked",
        b"transfer-encoding: CHUNKED",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: identity",
        b"Connection: close",
        b"Connection: keep-alive",
        b"Connection: Keep-Alive, Close",
        b"Server: nginx",
        b" folded",
        b"x: a\x00b",
        b"x: a\rb",
        b"\xff: x",
        b": x",
        b"x",
        b"",
    ]
)
BODIES = (
    b"",
    b"hello",
    b"hello!",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"5;a=b\r\nhello\r\n0\r\na: b\r\n\r\n",
    b"5\r\nhello0\r\n\r\n",
    b"-5\r\nhello\r\n0\r\n\r\n",
    b"0x5\r\nhello\r\n0\r\n\r\n",
    b"5\nhello\n0\n\n",
    b"5\r\nhello\r\n0\r\n\r\nmore",
    b"00000005\r\nhello\r\n0\r\n\r\n",
    b"5 \r\nhello\r\n0\r\n\r\n",
    b"5\r\nhe",
)
FIRSTS = (
    b"HTTP/1.1 200 OK",
    b"HTTP/1.1 200",
    b"HTTP/1.1 200 ",
    b"HTTP/1.0 200 OK",
    b"HTTP/1.1 204 No Content",
    b"HTTP/1.1 304 x",
    b"HTTP/1.1 404 \xc3\xa9",
    b"HTTP/2.0 200 OK",
    b"HTTP/1.1 20 OK",
    b"HTTP/1.1 2000 OK",
    b"http/1.1 200 OK",
    b"HTTP/1.1  200 OK",
    b"HTTP/1.1 200 O\x00K",
    b"HTTP/1.1 000 OK",
    b" HTTP/1.1 200 OK",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK",
    b"HTTP/1.1 101 Switching",
)
bodies, firsts = st.sampled_from(BODIES), st.sampled_from(FIRSTS)


@given(firsts, st.lists(lines, max_size=4), bodies, st.booleans(), st.data())
def test_what_it_takes_h11_understands_alike_however_it_is_cut(first, fields, body, ended, data):
    """Never another status or body, never a connection used again that h11 would not."""
    sent = b"\r\n".join([first, *fields, b"", body])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=6)))
    pieces = [sent[a:b] for a, b in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
    reader, response = ResponseReader(LIMIT), None
    try:
        for piece in [piece for piece in pieces if piece] + [b""] * ended:
            response = reader.feed(piece)
            if response is not None:
                break
    except httpx.RemoteProtocolError:
        return
    theirs = by_h11(sent, ended)
    if response is None:
        assert theirs is None
    else:
        assert theirs is not None
        assert (response.status, response.body) == theirs[:2]
        assert response.is_last or theirs[2] or len(pieces) > 1  # h11 has seen what came behind, too


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: y\n z\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nx: y\r\n z\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 17 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nbad trailer\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;" + b"x" * MOST_HEAD + b"\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * MOST_HEAD + b"\r\nContent-Length: 5\r\n\r\nhello",
        b"SSH-2.0-OpenSSH\r\n",
        b"H\n",
    ],
)
def test_what_is_odd_is_refused(head):
    """In words that quote nothing of it."""
    for pieces in ([head], [head[number : number + 1] for number in range(len(head))]):
        with pytest.raises(httpx.RemoteProtocolError, match=r"^(the server sent |an answer )"):
            read(*pieces, limit=10**6)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ],
)
def test_an_end_in_the_middle_is_no_answer(sent):
    """However much of it there was."""
    with pytest.raises(httpx.RemoteProtocolError, match=r"^the server closed early$"):
        read(*[piece for piece in (sent,) if piece], b"")


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (LIMIT + 1),
        b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (LIMIT + 1),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1;%s\r\nx\r\n" % (b"y" * 1000) * 20,
        b"HTTP/1.1 102 Processing\r\n\r\n" * 1000,
    ],
)
def test_its_size_is_bounded_and_so_is_all_that_is_around_it(sent):
    """It is refused as soon as that can be known."""
    with pytest.raises(httpx.RemoteProtocolError, match=rf"^an answer of more than {LIMIT} bytes$"):
        read(sent)


def test_a_body_of_exactly_the_limit_is_taken():
    """With a length, in chunks, and up to the end."""
    body = b"x" * LIMIT
    for sent in (
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (LIMIT, body),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (LIMIT, body),
    ):
        assert read(sent).body == body
    assert read(b"HTTP/1.1 200 OK\r\n\r\n" + body, b"").body == body


def test_fields_are_found_by_their_name():
    """In lower case, without the space around them; several of one name are one, and others are left out."""
    sent = (
        b"HTTP/1.1 429 Too Many\r\nRetry-After: \t 9 \r\nConnection: A\r\nX: Connection:c\r\n"
        b"CONNECTION: b\r\nConnections: d\r\nContent-Length: 0\r\n\r\n"
    )
    response = read(sent)
    assert (response.status, response.body, response.is_last) == (429, b"", False)
    assert response.fields == {b"retry-after": b"9", b"connection": b"a,b", b"content-length": b"0"}
