"""The webhook listener over raw sockets: every answer, and whatever a client may send."""

from __future__ import annotations

import gzip
import ipaddress
import json
import random
import socket
import struct
import threading

import pytest
import trio
from admitting import admission_for
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from listening import SECRET, ListenerThread, Peer, Settings, request, update

from trioworkers.starved import NO_THREAD
from trioworkers.transport.deliveries import Deliveries
from trioworkers.web import webhook as module

GZIP = "Content-Encoding: gzip\r\n"
CHUNKED = "Transfer-Encoding: chunked\r\n"


@pytest.fixture(scope="module")
def shared():
    with ListenerThread() as listener:
        yield listener
        assert listener.errors == []
        assert listener.connections.broken == 0


@pytest.fixture
def listener(shared):
    shared.settings = Settings()
    shared.accepted.clear()
    shared.failing = False
    endpoint = shared.deliveries.open("echo", 7, shared)
    endpoint.traffic.refused.clear()
    shared.deliveries.refused.clear()
    return shared


def chunked(body: bytes, size: int = 7) -> bytes:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def test_a_delivery_is_durable_and_answered_200(listener):
    """With an empty body: what it says would be a call."""
    with listener.peer() as peer:
        peer.send(request(update(5)))
        assert peer.answer() == (200, {"content-length": "0"}, b"")
    assert listener.accepted == [5]


@pytest.mark.parametrize(
    ("data", "status", "reason", "at_the_door"),
    [
        (request(update(), secret="wrong"), 401, "wrong secret", True),
        (request(update()).replace(b"X-Telegram", b"Y-Telegram"), 401, "wrong secret", True),
        (request(update(), bot="nobody"), 404, "unknown bot", False),
        (request(update(), bot="echo/more"), 404, "unknown bot", False),
        (request(update(), bot=""), 404, "unknown bot", False),
        (request(update(), bot="%ff%00"), 404, "unknown bot", False),
        (request(b"{"), 400, "no update", True),
        (request(b""), 400, "no update", True),
        (request(b"[1]"), 400, "no update", True),
        (request(method="GET"), 405, "wrong method", True),
        (request(update(), method="PUT"), 405, "wrong method", True),
        (request(method="DELETE", bot="nobody"), 405, "wrong method", False),
        (request(b"x" * 10_001), 413, "body too large", True),
        (request(chunked(b"x" * 10_001), headers=CHUNKED), 413, "body too large", True),
        (request(gzip.compress(b"x" * 10_001), headers=GZIP), 413, "body too large", True),
        (request(gzip.compress(b"x" * 10**8), headers=GZIP), 413, "body too large", True),
        (request(gzip.compress(update())[:-1], headers=GZIP), 400, "no update", True),
        (request(gzip.compress(update()) + b"x", headers=GZIP), 400, "no update", True),
        (request(gzip.compress(update()) * 2, headers=GZIP), 400, "no update", True),
        (request(update(), headers=GZIP), 400, "no update", True),
        (request(b"", headers=GZIP), 400, "no update", True),
        (request(update(), headers="Content-Encoding: br\r\n"), 415, "unknown encoding", True),
        (request(update(), headers=GZIP * 2), 415, "unknown encoding", True),
        (request(update(), headers="Content-Encoding: gzip, gzip\r\n"), 415, "unknown encoding", True),
        (request(b"", headers="Content-Encoding: br\r\n", secret="no"), 401, "wrong secret", True),
    ],
)
def test_refusals(listener, data, status, reason, at_the_door):
    """Each has its status and is counted; nothing reaches the inbox."""
    assert listener.ask(data) == status
    traffic = listener.deliveries.open("echo", 7, listener).traffic
    assert (traffic.refused if at_the_door else listener.deliveries.refused) == {reason: 1}
    assert listener.accepted == []


def test_an_inbox_that_does_not_accept_is_503_with_retry_after(listener):
    """Telegram waits as long and comes again, on the same connection."""
    listener.failing = True
    with listener.peer() as peer:
        peer.send(request(update()))
        status, headers, _ = peer.answer()
        assert (status, headers["retry-after"]) == (503, "5")
        listener.failing = False
        peer.send(request(update()))
        assert peer.status() == 200


def test_a_wrong_method_is_told_the_right_one(listener):
    """RFC 9110, 15.5.6."""
    with listener.peer() as peer:
        peer.send(request(method="GET"))
        status, headers, _ = peer.answer()
        assert (status, headers["allow"]) == (405, "POST")


def test_a_body_that_does_not_come_is_408():
    """Whoever sends byte by byte holds nothing for ever."""
    with (
        ListenerThread(times=module.BodyTimes(whole=0.05, refused=0.01)) as listener,
        listener.peer() as peer,
    ):
        peer.send(request(b"{", length=100))
        assert peer.statuses() == [408]


def test_a_stranger_fills_no_memory():
    """A body without the right secret is not waited for: the answer comes before it, and the end."""
    with ListenerThread(times=module.BodyTimes(refused=0.01)) as listener, listener.peer() as peer:
        peer.send(request(b"x", secret="wrong", length=10_000))
        assert peer.statuses() == [401]


def send_for_ever(peer: Peer, data: bytes) -> None:
    while True:
        peer.send(data)


@pytest.mark.parametrize("headers", ["", CHUNKED])
def test_a_body_too_large_by_far_is_refused_and_cut_off(listener, headers):
    """Its sender hears why; what it goes on sending is read by nobody."""
    with listener.peer() as peer:
        length = None if headers else 10**9
        peer.send(request(headers=headers, length=length))
        if not headers:
            assert peer.status() == 413
        more = b"8000\r\n" + b"x" * 0x8000 + b"\r\n" if headers else b"x" * 0x8000
        with pytest.raises(ConnectionError):
            send_for_ever(peer, more)
    listener.until(lambda: listener.connections.open == 0)
    traffic = listener.deliveries.open("echo", 7, listener).traffic
    assert traffic.refused == {"body too large": 1}


def test_a_bot_that_has_yet_to_start_is_503(listener):
    """Its deliveries come too early, whatever their secret: they come again."""
    listener.deliveries.open("soon", 9, listener).awaited = True
    with listener.peer() as peer:
        peer.send(request(update(), bot="soon"))
        status, headers, _ = peer.answer() or (0, {"retry-after": ""}, b"")
    listener.deliveries.remove("soon")
    assert (status, headers["retry-after"]) == (503, "5")


@pytest.mark.parametrize("size", [11_000, 10**9])
async def test_of_a_body_too_large_little_is_taken_in(size, autojump_clock):
    """No more than the limit and what a refusal lingers for, whether it says its length or not."""
    taken = 0
    answers = []

    async def receive():
        nonlocal taken
        await trio.lowlevel.checkpoint()
        taken += 1000
        return {"type": "http.request", "body": b"x" * 1000, "more_body": taken < size}

    async def send(message):
        answers.append(message.get("status"))

    deliveries = Deliveries()
    deliveries.open("echo", 7, ShutGate()).add_secret(SECRET)
    headers = [(b"x-telegram-bot-api-secret-token", SECRET.encode()), (b"transfer-encoding", b"chunked")]
    scope = {"type": "http", "method": "POST", "path": "/webhook/echo", "headers": headers, "client": None}
    await module.WebhookApp(deliveries, Settings, admission_for("token").refusal_without_token)(
        scope, receive, send
    )
    assert answers == [413, None]
    assert taken <= min(size, 10_000 + module.LINGER_BYTES + 10_000)


class ShutGate:
    async def offer(self, _arrivals):
        raise AssertionError("nothing may come in")


def test_chunks_are_put_together(listener):
    """As any client of HTTP/1.1 may send them."""
    with listener.peer() as peer:
        peer.send(request(chunked(update(3)), headers=CHUNKED))
        assert peer.status() == 200
        peer.send(request(update(4)))
        assert peer.status() == 200
    assert listener.accepted == [3, 4]


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "x-gzip"])
def test_a_packed_delivery(listener, coding):
    """As a proxy or a test tool may send it, also in chunks; unpacked it is as large as its limit."""
    headers = f"Content-Encoding: {coding}\r\n"
    plain = update(3, "x" * 1000)
    packed = gzip.compress(plain)
    listener.settings.max_body = len(plain)
    assert listener.ask(request(packed, headers=headers)) == 200
    assert listener.ask(request(chunked(packed), headers=headers + CHUNKED)) == 200
    assert listener.ask(request(update(4), headers="Content-Encoding: identity\r\n")) == 200
    listener.settings.max_body -= 1
    assert listener.ask(request(packed, headers=headers)) == 413
    assert listener.accepted == [3, 3, 4]


def test_a_large_packed_delivery_is_unpacked_beside_the_loop(listener):
    """The loop is everybody's; so is a body of many megabytes where a fleet allows it."""
    listener.settings.max_body = 10**8
    assert listener.ask(request(gzip.compress(b"x" * 10**8), headers=GZIP)) == 400
    assert listener.ask(request(gzip.compress(b"x" * (10**8 + 1)), headers=GZIP)) == 413


def test_a_packed_delivery_that_no_thread_can_be_had_for_comes_again(listener, monkeypatch):
    """503, which Telegram takes for a reason to send it again."""

    async def refuses(*args, **options):
        raise RuntimeError(NO_THREAD)

    listener.settings.max_body = 10**8
    packed = gzip.compress(update(3, random.Random(1).randbytes(20_000).hex()))
    with monkeypatch.context() as patched:
        patched.setattr(trio.to_thread, "run_sync", refuses)
        assert listener.ask(request(packed, headers=GZIP)) == 503
    assert listener.ask(request(packed, headers=GZIP)) == 200
    assert listener.accepted == [3]


def test_pipelined_requests_are_answered_in_order(listener):
    """All in one write, good and bad."""
    with listener.peer() as peer:
        peer.send(request(update(1)) + request(b"{") + request(update(2)) + request(update(3), secret="no"))
        assert [peer.status() for _ in range(4)] == [200, 400, 200, 401]
    assert listener.accepted == [1, 2]


def test_a_request_in_single_bytes(listener):
    """Wherever packets end."""
    with listener.peer() as peer:
        peer.raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request(update(9)):
            peer.send(bytes([byte]))
        assert peer.status() == 200


def test_huge_headers_are_refused(listener):
    """431, or another of the client's faults; and the end."""
    with listener.peer() as peer:
        peer.send(request(update(), headers=f"X-Long: {'x' * 200_000}\r\n"))
        assert peer.statuses() in ([431], [400])


def test_a_thousand_requests_keep_their_connection(listener):
    """Hypercorn would end it after a thousand."""
    with listener.peer() as peer:
        for number in range(1100):
            peer.send(request(update(number)))
            assert peer.status() == 200


def test_a_client_that_is_gone_before_the_answer(listener):
    """Reset in the middle of a body, or while the inbox commits: nobody is answered, nothing breaks."""
    for data in (request(b"{", length=100), request(update(1)), b"POST /webhook/echo HT"):
        with listener.peer() as peer:
            peer.raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.send(data)
    listener.until(lambda: listener.connections.open == 0)
    assert listener.ask(request(update(2))) == 200


def test_half_a_body_and_then_its_end(listener):
    """A client that shuts its side: no update, and no 500."""
    with listener.peer() as peer:
        peer.send(request(b'{"update_id":1', length=100))
        peer.raw.shutdown(socket.SHUT_WR)
        assert peer.statuses() in ([400], [])
    assert listener.accepted == []


def test_an_upgrade_is_refused(listener):
    """There is no websocket here, and no HTTP/2."""
    websocket = "GET {} HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
    websocket += "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    for path in ("/webhook/echo", "/health", "/"):
        assert listener.ask(websocket.format(path).encode()) == 403


@pytest.mark.parametrize(
    ("forwarded", "status"),
    [("149.154.167.1", 200), ("149.154.167.1, 1.2.3.4", 403), ("", 403), ("\xff", 403)],
)
def test_only_telegrams_addresses_when_asked_for(listener, forwarded, status):
    """Seen through the proxies that are trusted, from the right; live."""
    listener.settings.telegram_ips_only = True
    assert listener.ask(request(update(), headers="X-Forwarded-For: 149.154.167.1\r\n")) == 403
    listener.settings.trusted_proxies = [ipaddress.ip_network("127.0.0.0/8")]
    assert listener.ask(request(update(), headers=f"X-Forwarded-For: {forwarded}\r\n")) == status
    two = "X-Forwarded-For: 149.154.167.1\r\nX-Forwarded-For: 1.2.3.4\r\n"
    assert listener.ask(request(update(), headers=two)) == 403


def test_the_limit_of_a_body_is_live(listener):
    """The next delivery obeys."""
    assert listener.ask(request(update())) == 200
    listener.settings.max_body = 10
    assert listener.ask(request(update())) == 413


def test_health_and_stats(listener):
    """Health for everybody, the counters with the API's token; a bot may be named stats all the same."""
    listener.ask(request(update(), secret="wrong"))
    listener.ask(request(update(), bot="nobody"))
    with listener.peer() as peer:
        peer.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        status, _, body = peer.answer()
        assert (status, json.loads(body)) == (200, {"status": "alive"})
        peer.send(b"GET /webhook/stats HTTP/1.1\r\nHost: x\r\n\r\n")
        assert peer.status() == 401
        peer.send(b"GET /webhook/stats HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer token\r\n\r\n")
        status, _, body = peer.answer()
        peer.send(request(update(), bot="stats"))
        assert peer.status() == 404
        peer.send(b"GET /other HTTP/1.1\r\nHost: x\r\n\r\n")
        assert peer.status() == 404
        peer.send(b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        assert peer.status() == 405
    stats = json.loads(body)
    assert stats["connections"]["open"] >= 1
    assert stats["refused"] == {"unknown bot": 1}
    assert stats["bots"]["echo"]["refused"] == {"wrong secret": 1}
    assert set(stats["bots"]["echo"]) == {
        "accepted", "duplicates", "dropped", "refused", "bytes", "latency_ms", "last_delivery_at",
    }  # fmt: skip


GOOD = request(update(77))
PIECE = st.one_of(
    st.binary(max_size=60),
    st.sampled_from(
        [
            GOOD,
            GOOD[:-5],
            b"POST /webhook/echo HTTP/1.1\r\n",
            b"POST * HTTP/1.1\r\nHost: x\r\n\r\n",
            b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
            b"OPTIONS /webhook/echo HTTP/1.0\r\n\r\n",
            b"Host: x\r\n",
            b"Content-Length: 5\r\n",
            b"Content-Length: -1\r\n",
            b"Content-Length: 99999999999999999999999\r\n",
            b"Content-Length: 5, 5\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"Transfer-Encoding: gzip, chunked\r\n",
            b"Expect: 100-continue\r\n",
            b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
            b"Upgrade: websocket\r\nConnection: Upgrade\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            f"X-Telegram-Bot-Api-Secret-Token: {SECRET}\r\n".encode(),
            b"\r\n",
            b"\r\n\r\n",
            b"5\r\nabcde\r\n",
            b"0\r\n\r\n",
            b"ffffffffffffffff\r\n",
        ]
    ),
)


@given(st.lists(PIECE, max_size=12), st.integers(1, 40))
@example(
    [b"POST /webhook/echo HTTP/1.1\r\n", b"Host: x\r\n", b"Upgrade: h2c\r\nHTTP2-Settings: !\r\n\r\n"], 40
)
@example([b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"garbage" * 5], 40)
@hypothesis_settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_garbage_never_makes_a_500(pieces, size):
    """Whatever comes in whatever portions: an answer of the client's fault, or the end, and on it goes."""
    listener = garbage_listener()
    data = b"".join(pieces)
    with listener.peer() as peer:
        try:
            for at in range(0, len(data), max(size, len(data) // 20)):
                peer.send(data[at : at + max(size, len(data) // 20)])
            peer.raw.shutdown(socket.SHUT_WR)
        except OSError:
            return
        read = b""
        try:
            while more := peer.raw.recv(65536):
                read += more
        except ConnectionError:
            pass
    assert b"HTTP/1.1 5" not in read
    assert listener.errors == []
    assert set(listener.accepted) <= {77}
    assert listener.ask(GOOD) == 200


_garbage: list[ListenerThread] = []
_making = threading.Lock()


def garbage_listener() -> ListenerThread:
    with _making:
        if not _garbage:
            _garbage.append(ListenerThread().__enter__())
        return _garbage[0]


def teardown_module() -> None:
    while _garbage:
        _garbage.pop().__exit__()
