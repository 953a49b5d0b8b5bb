"""Connections over real sockets: how many, how long, and how they end."""

from __future__ import annotations

import socket
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest
import trio
import trio.testing
from admitting import admission_for
from listening import SECRET, ListenerThread, Settings, request, update
from unix_listener import listen_unix

from trioworkers.inbox.gate import Stored
from trioworkers.transport.deliveries import Deliveries
from trioworkers.web.connections import ARRIVAL, Bounds, Connections
from trioworkers.web.webhook import WebhookApp


def test_idle_connections_are_ended():
    """One that asked for something and one that never did; a request under way is not idle."""
    with ListenerThread(Bounds(idle=1.0)) as listener, listener.peer() as one, listener.peer() as two:
        one.send(request(update()))
        assert one.status() == 200
        with listener.peer() as busy:
            listener.hold.clear()
            busy.send(request(update(2)))
            assert one.status() is None
            assert two.status() is None
            listener.hold.set()
            assert busy.status() == 200


def test_what_comes_seldom_keeps_its_connection():
    """Hypercorn would end it after 5 s, and Telegram would have to make a new one for each update."""
    assert Bounds().idle >= 60
    assert Bounds().sending < Bounds().idle


def test_a_head_that_comes_slowly_is_cut_off():
    """However the bytes trickle: the whole head has one time limit."""
    with ListenerThread(Bounds(idle=1.0)) as listener, listener.peer() as peer:
        with pytest.raises(ConnectionError):
            trickle(peer.raw)
        assert listener.ask(request(update())) == 200


def trickle(raw: socket.socket) -> None:
    raw.sendall(b"POST /webhook/echo HTTP/1.1\r\n")
    raw.settimeout(0.005)
    while True:
        raw.sendall(b"X: y\r\n")
        try:
            if not raw.recv(1):
                raise ConnectionResetError
        except TimeoutError:
            pass


def test_a_newcomer_ends_the_idlest():
    """Whoever fills all places with silence loses them."""
    with ListenerThread(Bounds(connections=3)) as listener:
        with listener.peer() as one, listener.peer() as two, listener.peer() as three:
            for peer in (one, two, three, one):
                peer.send(request(update()))
                assert peer.status() == 200
            assert listener.ask(request(update())) == 200
            assert two.status() is None
            one.send(request(update()))
            assert one.status() == 200
        assert listener.connections.evicted >= 1


def test_when_all_are_busy_a_newcomer_waits():
    """It is not refused: the kernel keeps it until one is done."""
    with ListenerThread(Bounds(connections=2)) as listener:
        listener.hold.clear()
        with listener.peer() as one, listener.peer() as two:
            for number, peer in enumerate((one, two)):
                peer.send(request(update(number)))
            listener.until(lambda: listener.connections.open == 2 and not listener.connections._idle)
            with listener.peer() as three:
                three.send(request(update(3)))
                listener.hold.set()
                assert [peer.status() for peer in (one, two, three)] == [200, 200, 200]
            assert listener.connections.open <= 2


def test_a_stop_finishes_what_is_in_flight_and_ends_the_rest():
    """Idle connections end at once; a request under way is answered."""
    with ListenerThread() as listener, listener.peer() as idle, listener.peer() as busy:
        idle.send(request(update(1)))
        assert idle.status() == 200
        listener.hold.clear()
        busy.send(request(update(2)))
        listener.until(listener.entered.is_set)
        listener.until(lambda: len(listener.connections._idle) == 1)
        listener.stop()
        assert idle.status() is None
        listener.hold.set()
        assert busy.statuses() == [200]


def test_once_deliveries_are_closed_new_requests_are_503():
    """The first step of a stop, while the listener still stands."""
    with ListenerThread() as listener, listener.peer() as peer:
        peer.send(request(update(1)))
        assert peer.status() == 200
        listener.do(listener.deliveries.close)
        listener.until(listener.deliveries._closing.is_set)
        peer.send(request(update(2)))
        status, headers, _ = peer.answer() or (0, {"retry-after": ""}, b"")
        assert (status, headers["retry-after"]) == (503, "5")


async def test_what_was_not_accepted_stays_for_the_next():
    """Two servers after each other on one socket, as under systemd: nobody is refused in between."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    with trio.fail_after(20), socket.create_server(("127.0.0.1", 0), backlog=64) as held:
        address = held.getsockname()
        get = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        for _ in range(3):
            stop = trio.Event()
            early = [await trio.open_tcp_stream(*address) for _ in range(5)]  # nobody serves now
            async with trio.open_nursery() as nursery:
                await nursery.start(Connections(app, bounds=Bounds()).serve, [held.dup()], stop)
                for stream in early:
                    await stream.send_all(get)
                    assert b"204" in await stream.receive_some()
                    await stream.aclose()
                stop.set()


async def test_who_has_just_connected_may_still_ask_at_a_stop(autojump_clock):
    """Its request may be on its way. Connections that have asked before, and silent ones, are closed."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    get = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    stop = trio.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    connections = Connections(app, bounds=Bounds())
    autojump_clock.autojump_threshold = 0.1  # the kernel's part takes real time
    async with AsyncExitStack() as closing, trio.open_nursery() as nursery:

        async def connect() -> trio.SocketStream:
            return await closing.enter_async_context(await trio.open_tcp_stream(*address))

        await nursery.start(connections.serve, [listener], stop)
        idle, silent = await connect(), await connect()
        await idle.send_all(get)
        assert b"204" in await idle.receive_some()
        await trio.sleep(0.6)
        late, later = await connect(), await connect()
        while connections.accepted < 4:  # noqa: ASYNC110 - the kernel's part takes a moment
            await trio.sleep(0.01)
        began = trio.current_time()
        stop.set()
        assert await idle.receive_some() == b""
        assert await silent.receive_some() == b""
        assert trio.current_time() - began < 0.5
        await late.send_all(get)
        assert b"204" in await late.receive_some()
        assert await late.receive_some() == b""
        assert await later.receive_some() == b""
    assert abs(trio.current_time() - began - ARRIVAL) < 0.1  # by the test's clock


async def test_a_newcomers_request_that_takes_longer_is_answered_at_a_stop(autojump_clock):
    """It is under way when the time for a first request is over."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        await trio.sleep(2 * ARRIVAL)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    stop = trio.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    connections = Connections(app, bounds=Bounds())
    autojump_clock.autojump_threshold = 0.1  # the kernel's part takes real time
    async with trio.open_nursery() as nursery:
        await nursery.start(connections.serve, [listener], stop)
        async with await trio.open_tcp_stream(*address) as newcomer:
            while not connections.accepted:  # noqa: ASYNC110 - the kernel's part takes a moment
                await trio.sleep(0.01)
            stop.set()
            await trio.testing.wait_all_tasks_blocked(0.01)
            await newcomer.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"204" in await newcomer.receive_some()


async def test_cancelling_cuts_off_a_peer_that_does_not_read():
    """Hypercorn would wait for it for ever."""
    began = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        await send({"type": "http.response.start", "status": 200, "headers": []})
        began.set()
        await send({"type": "http.response.body", "body": b"x" * 50_000_000})

    listener = socket.create_server(("127.0.0.1", 0))
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            address = listener.getsockname()
            await nursery.start(Connections(app, bounds=Bounds()).serve, [listener], trio.Event())
            async with await trio.open_tcp_stream(*address) as stream:
                await stream.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                await began.wait()
                await trio.testing.wait_all_tasks_blocked(0.01)
                nursery.cancel_scope.cancel()


def test_who_asks_and_never_reads_loses_its_place():
    """Its answers fill what the kernel holds for it; then it has a limit, too, and others get its place."""
    with ListenerThread(Bounds(connections=1, sending=0.3)) as listener, listener.peer() as deaf:
        deaf.raw.settimeout(0.5)
        with suppress(OSError):  # once nothing more fits, or it was cut off
            while True:
                deaf.send(request(update(), bot="nobody") * 200)
        assert listener.ask(request(update())) == 200


@pytest.mark.parametrize("path", ["/health", "/nowhere"])
def test_a_request_that_is_answered_before_it_is_whole_ends(path):
    """By Quart, which waits for no body that nobody reads: the rest of it would be the next request."""
    with ListenerThread() as listener, listener.peer() as peer:
        peer.send(f"GET {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n".encode())
        _, headers, _ = peer.answer() or (0, {}, b"")
        assert headers["connection"] == "close"  # or its next request would find the connection gone
        assert peer.answer() is None
        listener.until(lambda: listener.connections.open == 0)


@pytest.mark.parametrize("path", ["/health", "/nowhere", "/webhook/nobody"])
def test_a_request_that_is_whole_keeps_its_connection(path):
    """Also one whose body nobody reads: it has come, and the next request is behind it."""
    with ListenerThread() as listener, listener.peer() as peer:
        for _ in range(10):  # who runs first, the reader or who answers, is chance
            peer.send(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n".encode() + b"x" * 100)
            _, headers, _ = peer.answer() or (0, {"connection": "lost"}, b"")
            assert "connection" not in headers
        assert listener.connections.accepted == 1


async def test_a_unix_socket_is_served_and_its_peer_is_a_proxy(tmp_path):
    """Nobody is there but by a proxy of this machine, whose word is taken for the sender's address."""
    accepted: list[int] = []

    class OpenGate:
        async def offer(self, arrivals: Any) -> list[Stored]:
            accepted.extend(arrival.update_id for arrival in arrivals)
            return [Stored() for _ in arrivals]

    settings = Settings(telegram_ips_only=True)
    deliveries = Deliveries()
    stop = trio.Event()
    app = WebhookApp(deliveries, lambda: settings, admission_for("token").refusal_without_token)
    path = tmp_path / "webhook.sock"
    with trio.fail_after(20), listen_unix(path, key="[webhook] bind") as listener:
        async with trio.open_nursery() as nursery:
            await nursery.start(deliveries.serve)
            deliveries.open("echo", 7, OpenGate()).add_secret(SECRET)
            await nursery.start(Connections(app, bounds=Bounds()).serve, [listener], stop)
            async with await trio.open_unix_socket(path) as stream:
                for sender, status in (("149.154.167.1", b"200"), ("1.2.3.4", b"403")):
                    await stream.send_all(request(update(1), headers=f"X-Forwarded-For: {sender}\r\n"))
                    assert (await stream.receive_some()).split()[1] == status
            deliveries.close()
            stop.set()
    assert accepted == [1]
