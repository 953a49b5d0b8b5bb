"""Requests that can be read in two ways, or not at all: 400, the end, and nothing in the log."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest
from listening import ListenerThread, request, update
from quart import abort
from serving import ApiThread

from trioworkers.web.bare import bare_app

if TYPE_CHECKING:
    from collections.abc import Iterator

OK = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
CHUNKED = "Transfer-Encoding: chunked\r\n"
KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
HANDSHAKE = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"


@pytest.fixture(scope="module")
def api() -> Iterator[ApiThread]:
    with ApiThread() as thread:
        yield thread
        assert thread.connections.broken == 0


@pytest.fixture(scope="module")
def webhook() -> Iterator[ListenerThread]:
    with ListenerThread() as thread:
        yield thread
        assert thread.connections.broken == 0


@pytest.fixture(params=["api", "webhook"])
def server(request: pytest.FixtureRequest) -> ApiThread | ListenerThread:
    found: ApiThread | ListenerThread = request.getfixturevalue(request.param)
    found.errors.clear()
    return found


def head(target: str = "/health", *lines: str, method: str = "GET", host: str = "localhost") -> bytes:
    return f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n{''.join(lines)}\r\n".encode("latin-1")


TWO_WAYS = {
    "both framings": head("/health", "Content-Length: 5\r\n", CHUNKED, method="POST") + b"0\r\n\r\n",
    "both, the other way round": head("/health", CHUNKED, "Content-Length: 5\r\n") + b"0\r\n\r\n",
    "both, length 0": head("/health", "content-length: 0\r\n", CHUNKED, method="POST") + b"0\r\n\r\n",
    "two lengths": head("/health", "Content-Length: 1\r\n", "Content-Length: 2\r\n") + b"xx",
    "a length twice": head("/health", "Content-Length: 1\r\n", "content-length: 1\r\n") + b"x",
    "a list of lengths": head("/health", "Content-Length: 1, 1\r\n") + b"x",
    "a signed length": head("/health", "Content-Length: +1\r\n") + b"x",
    "no length": head("/health", "Content-Length:\r\n"),
    "a space before the colon": head("/health", "Content-Length : 1\r\n") + b"x",
    "a coding twice": head("/health", "Transfer-Encoding: chunked, chunked\r\n", method="POST"),
    "another coding": head("/health", "Transfer-Encoding: gzip, chunked\r\n", method="POST"),
    "no real coding": head("/health", "Transfer-Encoding: xchunked\r\n", method="POST"),
    "chunked in HTTP/1.0": b"POST /health HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a folded field": head("/health", "X-One: a\r\n b\r\n"),
    "a field folded with a tab": head("/health", "X-One: a\r\n\tb\r\n"),
    "a coding in a fold": head("/health", "Transfer-Encoding:\r\n chunked\r\n", method="POST"),
    "line feeds": OK.replace(b"\r\n", b"\n"),
    "one line feed": OK.replace(b"/1.1\r\n", b"/1.1\n"),
    "a line feed at the end": OK[:-2] + b"\n",
    "a carriage return in a line": head("/health", "X-One: a\rb\r\n"),
    "a carriage return too many": OK.replace(b"/1.1\r\n", b"/1.1\r\r\n"),
    "a version to come": OK.replace(b"1.1", b"9.9"),
    "a minor version to come": OK.replace(b"1.1", b"1.2"),
    "a version that was": OK.replace(b"1.1", b"0.9"),
    "a preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a target of another host": head("http://other/health"),
    "a target of another port": head("http://localhost:81/health"),
    "a target with a user": head("http://me@localhost/health"),
    "two hosts": head("/health", "Host: localhost\r\n"),
    "no host": b"GET /health HTTP/1.1\r\n\r\n",
}
CHUNKS = {
    "a line feed in a trailer": b"0\r\nX-One: 1\nX-Two: 2\r\n\r\n",
    "a fold in a trailer": b"0\r\nX-One: 1\r\n 2\r\n\r\n",
    "a line feed behind the last chunk": b"0\r\n\n",
    "a line feed behind a chunk's size": b"1\nx\r\n0\r\n\r\n",
    "a line feed behind a chunk": b"1\r\nx\n0\r\n\r\n",
    "another end of a chunk": b"1\r\nxXX0\r\n\r\n",
    "a sign": b"+1\r\nx\r\n0\r\n\r\n",
    "a prefix": b"0x1\r\nx\r\n0\r\n\r\n",
    "too large a size": b"1" * 21 + b"\r\nx\r\n0\r\n\r\n",
}
INVALID = {
    "only a query": head("?a"),
    "no slash": head("health"),
    "half an address": head("http://["),
    "no host in the target": head("http:///health"),
    "another scheme": head("ftp://localhost/health"),
    "an authority": head("localhost:80", method="CONNECT"),
    "a method in small letters": head("/health", method="get"),
    "a websocket in small letters": head("/api/live", HANDSHAKE, KEY, method="get"),
    "a path to connect to": head("/health", method="CONNECT"),
    "a star to get": head("*"),
    "an empty label": head(host="a..b"),
    "a leading dot": head(host=".a"),
    "a label of 64": head(host="a" * 64),
    "a name of 254": head(host=".".join(["a" * 49] * 5) + ".abcd"),
    "only a port": head(host=":80"),
    "a port of letters": head(host="a:http"),
    "a port too high": head(host="a:65536"),
    "no address in brackets": head(host="[:::::]"),
    "an open bracket": head(host="[::1"),
    "a path": head(host="a/b"),
    "a user": head(host="me@a"),
    "beyond ASCII": head(host="\xe4"),
    "escapes": head(host="%61"),
    "two in one": head(host="a, b"),
    "a websocket without key": head("/api/live", HANDSHAKE),
    "a websocket with half a key": head("/api/live", HANDSHAKE, "Sec-WebSocket-Key: dGhl\r\n"),
    "a websocket of another version": head("/api/live", HANDSHAKE.replace("13", "8"), KEY),
    "a websocket with a body": head("/api/live", HANDSHAKE, KEY, "Content-Length: 1\r\n") + b"x",
    "a websocket with junk behind": head("/api/live", HANDSHAKE, KEY) + b"junk",
    "a websocket's protocols beyond ASCII": head(
        "/api/live", HANDSHAKE, KEY, "Sec-WebSocket-Protocol: \xe4\r\n"
    ),
    "a websocket of HTTP/1.0": head("/api/live", HANDSHAKE, KEY).replace(b"1.1", b"1.0"),
}


@pytest.mark.parametrize("name", [*TWO_WAYS, *INVALID])
def test_a_strange_request_is_400_and_the_end(server: ApiThread | ListenerThread, name: str) -> None:
    """Why is answered in JSON; what came behind it on the connection is not read."""
    with server.peer() as peer:
        peer.send((TWO_WAYS | INVALID)[name] + OK)
        status, headers, body = peer.answer() or (0, {}, b"{}")
        assert (status, headers.get("connection")) == (400, "close")
        assert headers["content-type"] == "application/json"
        assert json.loads(body)["error"]
        assert peer.answer() is None
    assert server.errors == []


@pytest.mark.parametrize("name", [*TWO_WAYS, *INVALID])
def test_a_strange_request_in_single_bytes(server: ApiThread | ListenerThread, name: str) -> None:
    """Wherever packets end, it is refused all the same."""
    with server.peer() as peer:
        with suppress(ConnectionError):  # it may be refused before its end
            for byte in (TWO_WAYS | INVALID)[name]:
                peer.send(bytes([byte]))
        assert peer.status() in (400, None)
        assert peer.answer() is None
    assert server.errors == []


@pytest.mark.parametrize("body", CHUNKS.values(), ids=CHUNKS)
@pytest.mark.parametrize("size", [1, 1000])
def test_a_body_in_strange_chunks_is_400_and_the_end(webhook: ListenerThread, body: bytes, size: int) -> None:
    """Also where its head was good: nothing behind it is taken for a request."""
    webhook.accepted.clear()
    data = request(headers=CHUNKED) + body + OK
    with webhook.peer() as peer:
        with suppress(ConnectionError):
            for at in range(0, len(data), size):
                peer.send(data[at : at + size])
        assert peer.statuses() in ([400], [] if size == 1 else [400])
    assert webhook.accepted == []
    assert webhook.errors == []


def test_of_a_head_without_a_body_only_the_answers_head_is_sent(api: ApiThread) -> None:
    """RFC 9110 9.3.2: also when it is refused."""
    with api.peer() as peer:
        peer.send(head(host="a..b", method="HEAD"))
        with_body = bytearray()
        while more := peer.raw.recv(1000):
            with_body += more
    assert with_body.startswith(b"HTTP/1.1 400 ")
    assert with_body.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    "data",
    [
        head(host="localhost:3001"),
        head(host="my_service:8443"),
        head(host="xn--bcher-kva.example."),
        head(host="[::1]:3001"),
        head(host="[::ffff:127.0.0.1]"),
        head(host="a:"),
        head(host=""),
        b"GET /health HTTP/1.0\r\n\r\n",
        head("http://localhost/health"),
        head("HTTP://LocalHost:80/health?x=1"),
        head("https://localhost:443/health"),
        head(
            "/health", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
        ),
        head("/health", "Connection: Upgrade\r\nUpgrade: h2c\r\n"),
        head("/health", "Upgrade: TLS/1.0\r\nConnection: Upgrade\r\n"),
        head("/health", "Upgrade: websocket\r\n"),
        head("/health", CHUNKED) + b"1;x=y\r\nx\r\n0\r\nX-Trailer: 1\r\n\r\n",
    ],
)
def test_what_is_unusual_but_valid_is_answered(server: ApiThread | ListenerThread, data: bytes) -> None:
    """And the connection goes on; an upgrade to what is not spoken here is ignored, RFC 9110 7.8."""
    with server.peer() as peer:
        for _ in range(3):
            peer.send(data)
            assert peer.status() == 200
            if b"HTTP/1.0" in data:
                break
    assert server.errors == []


def test_a_delivery_to_a_whole_address(webhook: ListenerThread) -> None:
    """A forward proxy's form of a request, RFC 9112 3.2.2."""
    webhook.accepted.clear()
    with webhook.peer() as peer:
        peer.send(request(update(8)).replace(b" /webhook", b" http://x/webhook"))
        assert peer.status() == 200
    assert webhook.accepted == [8]


@pytest.mark.parametrize("size", [10, 70_000, 200_000])
def test_what_comes_behind_a_refused_request_resets_nothing(
    server: ApiThread | ListenerThread, size: int
) -> None:
    """Its sender reads the answer to the end, also when it goes on sending for a while."""
    with server.peer() as peer:
        peer.send(b"GET ?a HTTP/1.1\r\nHost: localhost\r\n\r\n")
        received = peer.raw.recv(1)  # the answer is there
        peer.send(b"x" * size)
        while part := peer.raw.recv(65536):  # a reset would be an exception
            received += part
    assert received.startswith(b"HTTP/1.1 400 ")
    assert received.endswith(b"}")


@pytest.mark.parametrize("lines", ["Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n"])
def test_a_delivery_that_would_be_upgraded(webhook: ListenerThread, lines: str) -> None:
    """As clients of the JDK send each first request: the body is read, and the connection goes on."""
    with webhook.peer() as peer:
        for number in range(3):
            peer.send(request(update(number), headers=lines))
            assert peer.status() == 200


def test_a_websocket_offers_no_extension(api: ApiThread) -> None:
    """Malformed parameters of one would be an error of ours, and an unpacked message could be of any size."""
    extension = "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=x\r\n"
    with api.peer() as peer:
        peer.send(head("/api/live", HANDSHAKE, KEY, extension))
        assert peer.status() == 401
        assert peer.answer() is None
    assert api.errors == []


def test_junk_while_a_websocket_waits_for_its_answer(api: ApiThread) -> None:
    """A wrong token is answered late: what comes meanwhile ends the connection, and whoever judges it."""
    with api.peer() as peer:
        peer.send(head("/api/live", HANDSHAKE, KEY, "Authorization: Bearer wrong\r\n"))
        peer.send(b"")
        until_open(api)
        peer.send(b"junk")
        assert peer.status() in (400, 401)
        assert peer.answer() is None
    assert api.errors == []


def until_open(api: ApiThread) -> None:
    """Wait until the server has a request under way."""
    end = time.monotonic() + 20
    while len(api.connections._idle) == api.connections.open:
        assert time.monotonic() < end
        time.sleep(0.002)


CURL = shutil.which("curl") or ""


@pytest.mark.skipif(not CURL, reason="no curl here")
def test_curl_asks_for_http2(server: ApiThread | ListenerThread) -> None:
    """It gets HTTP/1.1, and what it asked for."""
    url = f"http://127.0.0.1:{server.port}/health"
    done = subprocess.run(
        [CURL, "-sS", "--http2", "--max-time", "20", url], capture_output=True, text=True, check=False
    )
    assert json.loads(done.stdout or done.stderr) == {"status": "alive"}


@pytest.mark.parametrize("status", [400, 403, 409, 415, 500, 503])
async def test_what_the_framework_refuses_is_json(status: int, caplog: pytest.LogCaptureFixture) -> None:
    """As all answers are: a plugin's `abort`, a body without an end, an error of ours."""
    app = bare_app(100)

    @app.get("/aborts")
    async def aborts() -> dict[str, str]:
        abort(status)

    @app.get("/aborts/why")
    async def aborts_why() -> dict[str, str]:
        abort(status, "not while it rains")

    @app.get("/breaks")
    async def breaks() -> dict[str, str]:
        raise ValueError("a secret")

    client = app.test_client()
    for path, message in (("/aborts", None), ("/aborts/why", "not while it rains")):
        answer = await client.get(path)
        assert answer.status_code == status
        assert answer.headers["Content-Type"] == "application/json"
        told = (await answer.get_json())["error"]
        assert told == (message or HTTPStatus(status).phrase.lower())
    assert caplog.records == []
    answer = await client.get("/breaks")
    assert (answer.status_code, await answer.get_json()) == (500, {"error": "internal server error"})
    assert [record.levelname for record in caplog.records] == ["ERROR"]


async def test_a_redirect_stays_one() -> None:
    """It is an exception of the framework, too."""
    app = bare_app(100)

    @app.get("/folder/")
    async def folder() -> dict[str, str]:
        return {}

    answer = await app.test_client().get("/folder")
    assert (answer.status_code, answer.headers["Location"]) == (308, "http://localhost/folder/")
