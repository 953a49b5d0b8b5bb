"""The reader of responses: h11 understands alike what it accepts, and what is ambiguous it refuses."""

from __future__ import annotations

import gc
import weakref

import h11
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioworkers.http.response import CHUNK_LINES, MOST_HEAD, ResponseReader

LIMIT = 1000


def expecting(limit=LIMIT):
    """A reader that expects a response."""
    reader = ResponseReader()
    reader.begin(limit)
    return reader


def read(*pieces, limit=LIMIT, reader=None):
    """The response, once these pieces have come; None while it is incomplete."""
    reader = reader or expecting(limit)
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
        b"Connection: upgrade",
        b"Proxy-Connection: close",
        b"Upgrade: websocket",
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
    b"hello\r\n",
    b"hello\n",
    b"hel\r\n",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"5;a=b\r\nhello\r\n0\r\na: b\r\n\r\n",
    b"5\r\nhello0\r\n\r\n",
    b"-5\r\nhello\r\n0\r\n\r\n",
    b"0x5\r\nhello\r\n0\r\n\r\n",
    b"5\nhello\n0\n\n",
    b"5\r\nhello\r\n0\r\n\r\nmore",
    b"5\r\nhello\r\n0\r\n\r\n\r\n",
    b"5\r\nhello\r\n0\r\n\r\n\n",
    b"5\r\nhello\r\n0\r\nContent-Length: 2\r\n\r\n",
    b"5\r\nhello\r\n0\r\na: b\r\n c\r\n\r\n",
    b'5;a="b"\r\nhello\r\n0\r\n\r\n',
    b"5;a\nhello\r\n0\r\n\r\n",
    b"5\r\r\nhello\r\n0\r\n\r\n",
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
    b"HTTP/0.9 200 OK",
    b"RTSP/1.0 200 OK",
    b"\r\nHTTP/1.1 200 OK",
    b"HTTP/1.1 199 x\r\nTransfer-Encoding: chunked\r\n\r\nHTTP/1.1 200 OK",
    b"HTTP/1.1 103 x\r\nLink: y\r\n\r\nHTTP/1.1 200 OK",
    b"HTTP/1.1 103 x\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 OK",
    b"HTTP/1.1 200\rOK",
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
    """It never reads another status or body, and never keeps a connection that h11 would not."""
    sent = b"\r\n".join([first, *fields, b"", body])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=6)))
    pieces = [sent[a:b] for a, b in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
    reader, response, fed = expecting(), None, 0
    try:
        for piece in [piece for piece in pieces if piece] + [b""] * ended:
            response = reader.feed(piece)
            fed += len(piece)
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
        assert response.is_last or theirs[2] or fed < len(sent)  # h11 has seen what came behind, too


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
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, identity\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0000000000000000005\r\n\r\nhello",
        b"HTTP/1.1 200 O\x00K\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 099 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/2.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"RTSP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 103 x\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 103 x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\n\r\n" * (MOST_HEAD // 20),
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
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
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" + b"x" * (LIMIT + 1),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"64\r\n%s\r\n" % (b"x" * 100) * 11,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1;%s\r\nx\r\n" % (b"y" * 1000) * 20,
        b"HTTP/1.1 102 Processing\r\n\r\n" * 1000,
    ],
)
def test_its_size_is_bounded_and_so_is_all_that_is_around_it(sent):
    """It is refused as soon as that can be known, however it is cut."""
    with pytest.raises(httpx.RemoteProtocolError, match=rf"^an answer of more than {LIMIT} bytes$"):
        read(sent)
    with pytest.raises(httpx.RemoteProtocolError):
        read(*[sent[number : number + 1] for number in range(len(sent))])


def test_what_is_around_a_body_may_be_long_in_chunks_and_is_bounded():
    """Each chunk may have a short line; the heads, extensions and trailers have one limit together."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = MOST_HEAD // 5 + 1
    small = head + b"1\r\nx\r\n" * chunks + b"0\r\n\r\n"
    assert read(small, limit=10**6).body == b"x" * chunks
    extended = b"1;%s\r\nx\r\n" % (b"y" * (CHUNK_LINES + MOST_HEAD // 100))
    with pytest.raises(httpx.RemoteProtocolError, match=r"^the server sent "):
        read(head + extended * 100, limit=10**6)
    with pytest.raises(httpx.RemoteProtocolError, match=r"^the server sent "):
        read(head + b"0\r\n" + b"a: b\r\n" * (MOST_HEAD // 6) + b"\r\n", limit=10**6)


def test_a_chunk_that_is_too_large_is_refused_at_the_first_byte_that_is_too_much():
    """The parser does not report its size before; what is kept is bounded all the same."""
    reader = expecting()
    assert read(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", reader=reader) is None
    assert read(b"ffffff\r\n" + b"x" * LIMIT, reader=reader) is None
    with pytest.raises(httpx.RemoteProtocolError, match=rf"^an answer of more than {LIMIT} bytes$"):
        reader.feed(b"x")


LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n%s"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n%s\r\n0\r\n%s\r\n"


@pytest.mark.parametrize(
    "whole",
    [LENGTH % b"hello", LENGTH % b"hel\r\n", CHUNKED % (b"hello", b""), CHUNKED % (b"hel\r\n", b"a: b\r\n")],
)
@pytest.mark.parametrize(
    "surplus",
    [b"\n", b"\r\n", b"\r\n\r\n", b"x", b"HTTP/1.1 2", b"\r\nHTTP/1.1", LENGTH % b"wrong", b"\x00" * 20_000],
)
def test_surplus_bytes_make_it_the_last(whole, surplus):
    """They change nothing of the response, and would be taken for the next one's."""
    response = read(whole)
    assert not response.is_last
    for cut in (0, 1, len(whole) // 2, len(whole) - 1):
        pieces = [piece for piece in (whole[:cut], whole[cut:] + surplus) if piece]
        spoilt = read(*pieces, limit=50_000)
        assert (spoilt.body, spoilt.fields, spoilt.is_last) == (response.body, response.fields, True)


@pytest.mark.parametrize(
    "field", [b"Proxy-Connection: close", b"Connection: closed", b"connection: x, CLOSE"]
)
def test_a_server_that_says_that_it_closes_is_believed(field):
    """Also where it says so in an odd way."""
    assert read(b"HTTP/1.1 200 OK\r\n%s\r\nContent-Length: 0\r\n\r\n" % field).is_last


def test_a_trailer_may_say_that_the_server_closes():
    """The parser takes nothing more after it, so it is believed."""
    response = read(CHUNKED % (b"hello", b"Connection: close\r\n"))
    assert (response.body, response.is_last) == (b"hello", True)
    assert b"connection" not in response.fields


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
@pytest.mark.parametrize("field", [b"", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_a_status_without_a_body_has_none(status, field):
    """Whatever its head says of one."""
    response = read(b"HTTP/1.1 %s\r\n%s\r\n" % (status, field))
    assert (response.status, response.body, response.is_last) == (int(status[:3]), b"", False)


def test_one_reader_reads_all_responses_of_a_connection():
    """Nothing of one is left in the next, trailers included."""
    reader = ResponseReader()
    for number in range(3):
        for sent, body in (
            (LENGTH % b"hello", b"hello"),
            (CHUNKED % (b"chunk", b"Retry-After: 9\r\nConnection: x\r\n"), b"chunk"),
            (b"HTTP/1.1 204 x\r\nRetry-After: 7\r\n\r\n", b""),
            (b"HTTP/1.1 100 x\r\nRetry-After: 8\r\n\r\n" + LENGTH % b"after", b"after"),
        ):
            reader.begin(LIMIT)
            pieces = [sent] if number else [sent[at : at + 1] for at in range(len(sent))]
            response = read(*pieces, reader=reader)
            assert (response.body, response.is_last) == (body, False)
            assert response.fields.get(b"retry-after") == (None if body else b"7")


def test_blank_lines_after_an_interim_response_are_read_over():
    """Only there the parser is more tolerant than h11; it changes nothing of where the response ends."""
    interim = b"HTTP/1.1 100 x\r\n\r\n"
    for between in (b"", b"\r\n", b"\n\r\n"):
        sent = interim + between + LENGTH % b"hello"
        for pieces in ([sent], [sent[at : at + 1] for at in range(len(sent))]):
            response = read(*pieces)
            assert (response.status, response.body, response.is_last) == (200, b"hello", False)


def test_a_reader_that_was_closed_leaves_nothing_to_the_garbage_collector():
    """It and its parser refer to each other until then."""
    reader = expecting()
    read(LENGTH % b"hello", reader=reader)
    gone = weakref.ref(reader)
    gc.disable()
    try:
        reader.close()
        del reader
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_an_error_in_the_parsers_callbacks_is_not_blamed_on_the_server(monkeypatch, error):
    """The parser wraps it; it comes out as it was."""

    def broken(*_):
        raise error

    monkeypatch.setattr(ResponseReader, "on_body", broken)
    with pytest.raises(error):
        read(LENGTH % b"hello")


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
