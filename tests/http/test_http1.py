"""The HTTP transport against servers that misbehave, and over TLS: nothing is mixed up or leaked."""

from __future__ import annotations

import gzip
import os
import shutil
import socket
import ssl
import subprocess
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from typing import Any

import httpx
import pytest
import trio
import trio.lowlevel

from trioworkers.botapi import client as api_module
from trioworkers.botapi import wire
from trioworkers.botapi.client import ANSWER_LIMIT, BotApi
from trioworkers.botapi.errors import BotApiError, TransportError
from trioworkers.botapi.files import InputFile
from trioworkers.http.lateness import lateness
from trioworkers.http.pool import WRITE_SIZE, ExchangeLimits, _Exchange, _PooledConnection
from trioworkers.http.stream import Stream
from trioworkers.protocol.frames import FRAME_LIMIT

OK = b'{"ok":true,"result":%d}'


def answer(body, status=b"200 OK", *headers):
    lines = [b"HTTP/1.1 " + status, b"content-length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@asynccontextmanager
async def served(handle, tls=None, host="127.0.0.1"):
    """A server whose connections `handle` has, and a bot's API to it."""
    async with trio.open_nursery() as nursery:
        serve = (
            partial(trio.serve_ssl_over_tcp, ssl_context=tls, https_compatible=True)
            if tls
            else trio.serve_tcp
        )
        (listener, *_) = await nursery.start(partial(serve, handle, 0, host=host))
        listener = getattr(listener, "transport_listener", listener)
        port = listener.socket.getsockname()[1]
        async with BotApi(f"http{'s' if tls else ''}://{host}:{port}", "42:SECRET") as api:
            with trio.fail_after(20):
                yield api
        nursery.cancel_scope.cancel()


async def heads(stream):
    """Each request's head, as it comes."""
    data = bytearray()
    while chunk := await stream.receive_some():
        data += chunk
        while b"\r\n\r\n" in data:
            head, _, rest = bytes(data).partition(b"\r\n\r\n")
            size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
            while len(rest) < size:
                rest += await stream.receive_some()
            data = bytearray(rest[size:])
            yield head


def always(*parts):
    """A server that gives each request the same answer, in as many writes as there are parts."""

    async def handle(stream):
        with suppress(trio.BrokenResourceError):  # who does not take it closes
            async with aclosing(heads(stream)) as requests:
                async for _ in requests:
                    await stream.send_all(b"".join(parts))

    return handle


async def test_compression_is_refused_unpacked_it_could_be_anything():
    """Nobody is asked for it, and a bomb is not unpacked."""
    seen = []

    async def handle(stream):
        async for head in heads(stream):
            seen.append(head.lower())
            await stream.send_all(answer(gzip.compress(OK % 1), b"200 OK", b"content-encoding: gzip"))

    async with served(handle) as api:
        for call in (api.request("getMe", {}), api.download("x")):
            with pytest.raises(TransportError, match="an answer that is compressed, which nobody asked for"):
                await call
    assert [head.count(b"accept-encoding: identity") for head in seen] == [1, 1]
    assert [head.count(b"accept-encoding") for head in seen] == [1, 1]


async def test_an_answer_has_a_limit_and_a_download_a_larger_one():
    """What no call's answer may have, a file may."""
    body = b" " * (ANSWER_LIMIT + 1)
    async with served(always(answer(body))) as api:
        with pytest.raises(TransportError, match=f"an answer of more than {ANSWER_LIMIT} bytes"):
            await api.request("getMe", {})
        assert len(await api.download("x")) == len(body)


def test_an_update_always_fits_into_a_frame():
    """No answer that is taken holds more than what the worker can be given."""
    assert 2 * ANSWER_LIMIT <= FRAME_LIMIT


async def test_bytes_after_an_answer_are_not_the_next_ones_answer():
    """The connection is given up, and the next request has one of its own."""
    count = 0

    async def handle(stream):
        nonlocal count
        async for _ in heads(stream):
            count += 1
            await stream.send_all(answer(OK % count) + answer(OK % 666))

    async with served(handle) as api:
        assert [bytes(await api.request("getMe", {})) for _ in range(3)] == [b"1", b"2", b"3"]


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ((b"GARBAGE\r\n",), "no answer of HTTP/1.1"),
        ((b"HTTP/1.1 200 OK\n\n",), "no answer of HTTP/1.1"),
        ((answer(OK % 1, b"200 OK", b"content-length: 999"),), "no answer of HTTP/1.1"),
        ((answer(OK % 1, b"200 OK", b"transfer-encoding: chunked"),), "no answer of HTTP/1.1"),
        ((b"HTTP/1.1 101 Switching\r\n\r\n",), "no answer of HTTP/1.1"),
        ((b"HTTP/1.1 200 OK\r\nx: " + b"y" * 20_000,), "no answer of HTTP/1.1"),
        ((b"HTTP/1.1 102 Processing\r\n\r\n" * 100_000,), "no answer of HTTP/1.1"),
    ],
)
async def test_a_hostile_server_is_refused_and_its_connection_given_up(parts, words):
    """At once, where it can be seen at once; and the next request has another connection."""
    connections = 0

    async def handle(stream):
        nonlocal connections
        connections += 1
        await always(*parts)(stream)

    async with served(handle) as api:
        for _ in range(2):
            with pytest.raises(TransportError, match=words):
                await api.request("getMe", {}, silence=0.1)
    assert connections == 2


async def test_an_answer_in_chunks_byte_by_byte_after_others_that_only_inform():
    """What HTTP/1.1 allows is understood, and the connection is used again."""
    connections = 0
    whole = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n"
    whole += b'5;x="y"\r\n{"ok"\r\n00F\r\n:true,"result":\r\n2\r\n7}\r\n0\r\nTrailer: x\r\n\r\n'

    async def handle(stream):
        nonlocal connections
        connections += 1
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        async with aclosing(heads(stream)) as requests:
            async for _ in requests:
                for number in range(len(whole)):
                    await stream.send_all(whole[number : number + 1])
                    await trio.lowlevel.checkpoint()

    async with served(handle) as api:
        assert [bytes(await api.request("getMe", {})) for _ in range(2)] == [b"7", b"7"]
    assert connections == 1


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_an_answer_without_a_length_ends_with_its_connection(version):
    """As old servers answer."""

    async def handle(stream):
        await stream.receive_some()
        await stream.send_all(b"HTTP/%s 200 OK\r\n\r\n" % version + OK % 1)

    async with served(handle) as api:
        assert [bytes(await api.request("getMe", {})) for _ in range(2)] == [b"1", b"1"]


@pytest.mark.parametrize("body", [b'{"ok":false,"error_code":413,"description":"Too Large"}', b"<html>"])
async def test_a_refusal_of_an_upload_that_comes_early_is_heard(body):
    """It is the caller's, and the upload is not tried again."""
    tries = 0

    async def handle(stream):
        nonlocal tries
        tries += 1
        await stream.receive_some()
        await stream.send_all(answer(body, b"413 Too Large", b"connection: close"))
        await trio.sleep_forever()  # and reads no more

    async with served(handle) as api:
        with pytest.raises(BotApiError) as caught:
            await api.call("sendDocument", {"document": InputFile(b"x" * 50_000_000)})
    assert (caught.value.error_code, tries) == (413, 1)


async def test_an_upload_that_was_not_sent_to_its_end_leaves_no_connection_behind():
    """Its rest would be taken for the next request."""
    connections = 0

    async def handle(stream):
        nonlocal connections
        connections += 1
        await stream.receive_some()
        await stream.send_all(answer(OK % connections))
        await trio.sleep_forever()

    async with served(handle) as api:
        for number in (1, 2):
            params = {"document": InputFile(b"x" * 50_000_000)}
            assert bytes(await api.call("sendDocument", params)) == b"%d" % number


async def test_so_many_connections_are_used_and_no_more():
    """Who is waiting gets one that becomes free."""
    now = most = 0

    async def handle(stream):
        nonlocal now, most
        async for _ in heads(stream):
            now += 1
            most = max(most, now)
            await trio.sleep(0.01)
            now -= 1
            await stream.send_all(answer(OK % 1))

    async with served(handle) as api, trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(api.request, "getMe", {})
    assert 1 < most <= 4


async def test_a_server_that_reads_nothing_is_given_up():
    """Also while a request is sent that leaves in one piece."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        exchange = _Exchange(
            _PooledConnection(Stream(ours)),
            ExchangeLimits(connect=1, silence=0.05, total=1, body=1),
            lateness(),
        )
        with trio.fail_after(5), pytest.raises(httpx.ReadTimeout):
            await exchange.run(b"x" * WRITE_SIZE, ())


async def test_a_request_of_which_the_system_takes_a_part_is_sent_once_and_whole():
    """The rest follows when there is room; only then may the connection be used again."""
    ours, theirs = socket.socketpair()
    request = bytes(range(256)) * (WRITE_SIZE // 256)
    with ours, theirs:
        ours.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        theirs.setblocking(False)
        limits = ExchangeLimits(connect=9, silence=9, total=9, body=9)
        exchange = _Exchange(_PooledConnection(Stream(ours)), limits, lateness())
        arrived = bytearray()

        async def answer() -> None:
            while len(arrived) < len(request):
                await trio.lowlevel.wait_readable(theirs)
                arrived.extend(theirs.recv(1024))
            theirs.send(b"HTTP/1.1 204 OK\r\n\r\n")

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(answer)
                response = await exchange.run(request, ())
    assert (response.status, exchange.is_sent) == (204, True)
    assert bytes(arrived) == request


async def test_an_answer_that_comes_before_the_request_is_sent_ends_the_connection():
    """The rest of the request would be taken for another one."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.close()
        limits = ExchangeLimits(connect=9, silence=9, total=9, body=9)
        exchange = _Exchange(_PooledConnection(Stream(ours)), limits, lateness())
        with trio.fail_after(10), pytest.raises(httpx.TransportError):
            await exchange.run(b"x", ())
        assert not exchange.is_sent


async def test_an_answer_that_drips_for_ever_is_given_up(monkeypatch):
    """Also when it is never silent for long."""
    monkeypatch.setattr(api_module, "ANSWER_TIME", 0.1)

    async def handle(stream):
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
        while True:
            await stream.send_all(b" ")
            await trio.sleep(0.01)

    async with served(handle) as api:
        with trio.fail_after(5), pytest.raises(TransportError, match="timed out"):
            await api.request("getMe", {}, silence=0.2)


async def test_an_answer_that_came_while_the_loop_was_held_up_is_in_time(mock_clock):
    """A handler that computes for minutes must not let the others repeat their calls."""

    async def handle(stream):
        async for _ in heads(stream):
            os.write(stream.socket.fileno(), answer(OK % 1))
            mock_clock.jump(1.5)  # before anybody reads it

    async with served(handle) as api:
        for _ in range(12):  # in whatever order the loop runs what is due
            assert bytes(await api.request("getMe", {}, silence=1)) == b"1"


# -- TLS --------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A self-signed certificate of 127.0.0.1 with its key, in one file."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here")
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key", folder / "cert"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test"
    )
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run([*command.split(), *names], check=True, capture_output=True)
    return str(cert), str(key)


@pytest.fixture
def tls(certificate, monkeypatch):
    """The server's context; ours trusts its certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    trusts = ssl.create_default_context(cafile=certificate[0])
    monkeypatch.setattr(wire, "tls_context", lambda: trusts)
    return context


async def test_https_works_and_its_connection_is_used_again(tls):
    """One handshake for many calls."""
    connections = 0

    async def handle(stream):
        nonlocal connections
        connections += 1
        await always(answer(OK % 1))(stream)

    async with served(handle, tls) as api:
        for _ in range(5):
            assert bytes(await api.request("getMe", {})) == b"1"
    assert connections == 1


async def test_a_certificate_that_nobody_vouches_for_is_refused(tls, monkeypatch):
    """In words that name the place and the reason."""
    monkeypatch.setattr(wire, "tls_context", ssl.create_default_context)

    async def handle(stream):
        with pytest.raises(trio.BrokenResourceError):
            await stream.do_handshake()

    async with served(handle, tls) as api:
        with pytest.raises(TransportError, match=r"^getMe: no TLS with 127\.0\.0\.1:\d+: self.signed cert"):
            await api.request("getMe", {})


async def test_bytes_that_tls_holds_back_are_not_the_next_ones_answer(tls):
    """Also those that the socket does not show, since they were read with the answer."""
    count = 0

    async def handle(stream):
        nonlocal count
        async for _ in heads(stream):
            count += 1
            stream.transport_stream, real = _Held(stream.transport_stream), stream.transport_stream
            await stream.send_all(answer(OK % count))
            await stream.send_all(answer(OK % 666))
            held, stream.transport_stream = stream.transport_stream.data, real
            await real.send_all(bytes(held))

    async with served(handle, tls) as api:
        assert [bytes(await api.request("getMe", {})) for _ in range(3)] == [b"1", b"2", b"3"]


class _Held:
    """Holds what is sent, so that two records leave in one segment."""

    def __init__(self, stream: Any) -> None:
        self.data = bytearray()

    async def send_all(self, data):
        self.data += data


async def test_cancelled_and_closed_https_leaves_no_socket(tls):
    """In the handshake, while waiting for an answer, and when idle."""

    async def silent(stream):
        await stream.receive_some()
        await trio.sleep_forever()

    before = len(os.listdir("/proc/self/fd"))
    for handle in (silent, always(answer(OK % 1))):
        async with served(handle, tls) as api:
            for _ in range(5):
                with trio.move_on_after(0.05):
                    await api.request("getMe", {})
    assert len(os.listdir("/proc/self/fd")) == before


async def test_a_download_is_given_part_by_part_as_it_is_taken():
    """No more is read while a part is being taken, and the answer of another request is not touched."""
    body = bytes(range(256)) * 40_000
    async with served(always(answer(body))) as api:
        parts = []

        async def sink(part):
            await trio.lowlevel.checkpoint()
            parts.append(part)

        await api.download_to("x", sink, most=len(body), total=60)
        assert b"".join(parts) == body
        assert max(map(len, parts)) <= 2**20
        assert await api.download("x") == body


async def test_a_download_in_parts_is_bounded_and_refused_as_any():
    """Too many bytes, another status than 200, a sink that gives up: the connection is given up with it."""

    async def sink(part):
        parts.append(part)
        await trio.lowlevel.checkpoint()

    async def breaks(part):
        raise trio.BrokenResourceError

    parts: list[bytes] = []
    async with served(always(answer(b"x" * 1000))) as api:
        with pytest.raises(TransportError, match="an answer of more than 999 bytes"):
            await api.download_to("x", sink, most=999, total=60)
        with pytest.raises(trio.BrokenResourceError):
            await api.download_to("x", breaks, most=1000, total=60)
        await api.download_to("x", sink, most=1000, total=60)
    assert parts == [b"x" * 1000]
    async with served(always(answer(b"no", b"404 Not Found"))) as api:
        with pytest.raises(TransportError, match="HTTP 404"):
            await api.download_to("x", breaks, most=1000, total=60)


def failing(times, response):
    """A server that gives as many requests this response, an empty one closing, then a file."""
    count = 0

    async def handle(stream):
        nonlocal count
        with suppress(trio.BrokenResourceError):
            async with aclosing(heads(stream)) as requests:
                async for _ in requests:
                    count += 1
                    await stream.send_all(response if count <= times else answer(b"content"))
                    if count <= times and not response:
                        return

    return handle, lambda: count


@pytest.mark.parametrize(
    "response",
    [answer(b"<html>", b"502 Bad Gateway"), answer(b"{}", b"429 Too Many Requests"), b""],
    ids=["502", "429", "closed"],
)
async def test_a_download_that_fails_for_a_moment_is_tried_again(monkeypatch, response):
    """A few times, with and without a sink, which gets the content once."""
    monkeypatch.setattr(api_module, "FIRST_PAUSE", 0.001)
    for in_parts in (True, False):
        handle, count = failing(3, response)
        got: list[bytes] = []

        async def sink(part, got=got):
            got.append(part)

        async with served(handle) as api:
            if in_parts:
                await api.download_to("x", sink, most=100, total=60)
            else:
                got.append(await api.download("x"))
        assert b"".join(got) == b"content"
        assert count() == 4


@pytest.mark.parametrize(
    ("response", "tries"),
    [
        (answer(b"<html>", b"502 Bad Gateway"), 5),
        (answer(b"{}", b"404 Not Found"), 1),
        (answer(b"x" * 101), 1),
    ],
    ids=["502", "404", "too large"],
)
async def test_a_download_that_fails_for_good_is_given_up(monkeypatch, response, tries):
    """What does not pass is not tried again, and nothing is tried for ever."""
    monkeypatch.setattr(api_module, "FIRST_PAUSE", 0.001)
    handle, count = failing(1000, response)

    async def sink(part):
        raise AssertionError("nothing of this is content")

    async with served(handle) as api:
        with pytest.raises(TransportError, match="download"):
            await api.download_to("x", sink, most=100, total=60)
    assert count() == tries


async def test_a_download_that_breaks_after_its_first_part_is_not_begun_again():
    """The sink has it already, and would get it twice."""
    count = 0

    async def handle(stream):
        nonlocal count
        async with aclosing(heads(stream)) as requests:
            async for _ in requests:
                count += 1
                await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfirst")
                return

    got = []

    async def sink(part):
        got.append(part)

    async with served(handle) as api:
        with pytest.raises(TransportError, match="download"):
            await api.download_to("x", sink, most=100, total=60)
    assert (got, count) == ([b"first"], 1)
