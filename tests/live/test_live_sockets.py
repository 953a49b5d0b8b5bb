"""The live stream over real sockets: what a client is sent, and what it cannot do to the daemon."""

from __future__ import annotations

import tracemalloc
from contextlib import suppress

import pytest
import trio
from live_source import BEARER, Rows, Served, serving, upgrade
from trio_websocket import ConnectionClosed

from trioworkers.web.live import Every
from trioworkers.web.sessions import Sessions


async def test_a_client_gets_a_snapshot_and_then_what_changes() -> None:
    """The changes name only what changed; a bot that is gone has no data; numbers ascend."""
    rows = Rows("echo", "shop")
    async with serving(rows) as served, served.client() as stream:
        snapshot = await stream.get()
        assert snapshot["type"] == "snapshot"
        assert snapshot["data"]["fleet"].pop("uptime_ms") < 60_000
        fleet = {name: value for name, value in rows.fleet.items() if name != "uptime_ms"}
        assert snapshot["data"] == {"fleet": fleet, "workers": list(rows.rows.values())}
        rows.set("echo", messages=7)
        first = await stream.get()
        assert first == {"type": "change", "seq": snapshot["seq"] + 1, "bot": "echo", "data": {"messages": 7}}
        rows.remove("shop")
        assert await stream.get() == {"type": "change", "seq": first["seq"] + 1, "bot": "shop", "data": None}
        rows.set("new", state="starting")
        assert (await stream.get())["data"] == {"bot": "new", "state": "starting"}
        rows.fleet["state"] = "stopping"
        assert (await stream.get())["data"] == {"state": "stopping"}


async def test_events_come_with_their_fields_and_at_the_level_that_is_asked_for() -> None:
    """Information by default; each client has its own level."""
    async with (
        serving(Rows("echo")) as served,
        served.client() as usual,
        served.client("?events=debug") as all_,
    ):
        assert (await usual.get())["type"] == (await all_.get())["type"] == "snapshot"
        served.events.emit("update.done", "echo", trace_id="abc", took=0.25)
        served.events.emit("worker.ready", "echo", pid=7)
        ready = await usual.get()
        assert (ready["type"], ready["level"], ready["event"], ready["bot"], ready["pid"]) == (
            "event", "info", "worker.ready", "echo", 7,
        )  # fmt: skip
        done = await all_.get()
        assert (done["event"], done["trace_id"], done["took"]) == ("update.done", "abc", 0.25)
        assert (await all_.get())["event"] == "worker.ready"


async def test_what_looks_like_a_token_is_blotted_out_of_events() -> None:
    """As in a log."""
    async with serving(Rows()) as served, served.client() as stream:
        await stream.get()
        served.events.emit("plugin.failed", plugin="x", reason="123456:" + "A" * 35)
        assert (await stream.get())["reason"] == "<token>"


async def test_a_client_may_want_some_bots_only_and_no_events() -> None:
    """The daemon's own messages come all the same."""
    rows = Rows("echo", "shop")
    async with serving(rows) as served, served.client("?bots=shop&events=none") as stream:
        assert [row["bot"] for row in (await stream.get())["data"]["workers"]] == ["shop"]
        rows.set("echo", messages=1)
        served.events.emit("worker.ready", "shop")
        rows.set("shop", messages=2)
        assert (await stream.get())["data"] == {"messages": 2}
        rows.fleet["state"] = "stopping"
        assert (await stream.get())["bot"] is None


async def test_a_client_resumes_after_the_last_message_that_it_had() -> None:
    """Nothing twice, nothing missed; a number of another run gets a snapshot."""
    rows = Rows("echo")
    async with serving(rows) as served, served.client() as stays:
        await stays.get()
        async with served.client() as stream:
            await stream.get()
            rows.set("echo", messages=1)
            last = (await stream.get())["seq"]
        await stays.find(type="change")
        rows.set("echo", messages=2)
        served.events.emit("worker.ready", "echo")
        await stays.find(type="event")
        async with served.client(f"?since={last}") as again:
            found = [await again.get(), await again.get()]
            assert sorted(message["type"] for message in found) == ["change", "event"]
            assert [message["seq"] for message in found] == [last + 1, last + 2]
        for other in (last + 1000, 5):
            async with served.client(f"?since={other}") as strange:
                assert (await strange.get())["type"] == "snapshot"


@pytest.mark.parametrize("query", ["?since=x", "?since=-1", "?events=loud", "?more=1"])
async def test_a_query_that_is_not_understood_is_refused_with_400(query: str) -> None:
    """Before the connection becomes a websocket."""
    async with serving(Rows()) as served:
        answer = await _ask(served, f"/api/live{query}", *BEARER)
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"expected" in answer


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 401),
        ([(b"Authorization", b"Bearer wrong")], 401),
        ([*BEARER, (b"Origin", b"http://evil.example")], 403),
        ([*BEARER, (b"Origin", b"null")], 403),
    ],
)
async def test_strangers_and_pages_of_other_origins_are_refused(
    headers: list[tuple[bytes, bytes]], status: int
) -> None:
    """A websocket is not bound by the browser's same-origin rule; so the daemon has to look."""
    async with serving(Rows()) as served:
        answer = await _ask(served, "/api/live", *headers)
    assert answer.startswith(b"HTTP/1.1 %d" % status)
    assert b'{"error":' in answer


async def test_one_client_too_many_is_closed_with_1013_and_a_reason() -> None:
    """The others go on; when one leaves there is room."""
    rows = Rows("echo")
    async with serving(rows, most=2) as served, served.client() as first:
        async with served.client() as second:
            await first.get()
            await second.get()
            async with served.client() as third:
                with pytest.raises(ConnectionClosed) as closed:
                    await third.get()
                assert closed.value.reason is not None
                assert closed.value.reason.code == 1013
                assert closed.value.reason.reason == "2 clients are connected, which is the most"
        while served.feed.clients > 1:  # noqa: ASYNC110 - the server's side ends a moment later
            await trio.sleep(0.01)
        async with served.client() as third:
            assert (await third.get())["type"] == "snapshot"
        rows.set("echo", messages=1)
        assert (await first.get())["data"] == {"messages": 1}


async def test_a_client_that_says_something_is_closed_with_1008() -> None:
    """Nothing is expected of it, and what it sends must not gather."""
    async with serving(Rows()) as served, served.client() as stream:
        await stream.get()
        await stream.connection.send_message("hello")
        with pytest.raises(ConnectionClosed) as closed:
            await stream.get()
        assert closed.value.reason is not None
        assert closed.value.reason.code == 1008


async def test_a_message_that_never_ends_is_not_kept() -> None:
    """Its parts would gather in the daemon; the connection ends instead."""

    async def send_parts() -> None:
        part = b"\xff" + (2**18).to_bytes(8, "big") + bytes(4) + b"x" * 2**18  # masked with zeros
        await peer.send_all(b"\x01" + part)
        while True:
            await peer.send_all(b"\x00" + part)

    async with serving(Rows()) as served:
        peer = await trio.open_tcp_stream("127.0.0.1", served.port)
        async with peer:
            await peer.send_all(upgrade("/api/live", *BEARER))
            assert (await peer.receive_some()).startswith(b"HTTP/1.1 101")
            with trio.fail_after(20), pytest.raises(trio.BrokenResourceError):
                await send_parts()


async def test_a_stream_ends_with_the_token_that_admitted_it() -> None:
    """Whoever changes a token that has leaked wants nobody to read on with the old one."""
    async with serving(Rows(), live_every=Every(admit=0.02)) as served, served.client() as stream:
        assert (await stream.get())["type"] == "snapshot"
        served.token = "another"
        with pytest.raises(ConnectionClosed) as closed:
            await stream.get()
        assert closed.value.reason is not None
        assert closed.value.reason.code == 1008
        assert closed.value.reason.reason == "the session or the token has ended"


async def test_a_stream_ends_with_the_session_that_admitted_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """After signing out in another tab. Until then an open page keeps its session from becoming idle."""
    asked: list[str] = []
    async with serving(Rows("echo"), live_every=Every(admit=0.02)) as served:
        sessions = served.admission.sessions
        id_ = await sessions.begin()
        is_open = Sessions.is_open

        async def noted(self: Sessions, given: str) -> bool:
            asked.append(given)
            return await is_open(self, given)

        monkeypatch.setattr(Sessions, "is_open", noted)
        cookie = (b"Cookie", f"trioworkers_session={id_}".encode())
        with trio.socket.socket() as peer, trio.fail_after(20):
            await peer.connect(("127.0.0.1", served.port))
            await peer.send(upgrade("/api/live", cookie, (b"Origin", b"http://localhost")))
            received = b""
            while len(asked) < 4:
                received += await peer.recv(65536) if b"snapshot" not in received else b""
                await trio.sleep(0.01)
            assert set(asked) == {id_}
            assert await sessions.end(id_)
            while more := await peer.recv(65536):
                received += more
        assert (1008).to_bytes(2, "big") + b"the session or the token has ended" in received


async def test_a_stop_tells_the_last_changes_and_closes_with_1001() -> None:
    """Also when there is nothing left to tell."""
    rows = Rows("echo")
    async with serving(rows) as served, served.client() as stream, served.client("?events=none") as other:
        await stream.get()
        await other.get()
        rows.rows["echo"]["state"] = "stopped"  # not even touched
        served.feed.close()
        for one in (stream, other):
            assert (await one.get())["data"] == {"state": "stopped"}
            with pytest.raises(ConnectionClosed) as closed:
                await one.get()
            assert closed.value.reason is not None
            assert (closed.value.reason.code, closed.value.reason.reason) == (1001, "the daemon stops")


async def test_a_client_is_pinged() -> None:
    """A peer that is gone is noticed, and proxies keep the connection."""
    async with serving(Rows(), live_every=Every(ping=0.05)) as served:
        with trio.socket.socket() as peer:
            await peer.connect(("127.0.0.1", served.port))
            await peer.send(upgrade("/api/live", *BEARER))
            received = b""
            with trio.fail_after(20):
                while received.count(b"\x89\x00") < 2:
                    received += await peer.recv(65536)
        assert received.startswith(b"HTTP/1.1 101")


async def test_a_client_that_stops_reading_costs_bounded_memory_and_nobody_else_anything() -> None:
    """16 MB of changes pass it by: the others see them all, and the daemon keeps none for it.

    At a stop it is cut off, since it does not take in the end.
    """
    rows = Rows(*(f"bot{number}" for number in range(300)))
    async with serving(rows) as served, served.client("?events=none") as reads:
        await reads.get()
        with trio.socket.socket() as deaf:
            deaf.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 4096)
            await deaf.connect(("127.0.0.1", served.port))
            await deaf.send(upgrade("/api/live", *BEARER))
            await deaf.recv(1000)
            tracemalloc.start()
            try:
                for number in range(80):
                    for bot in range(300):
                        rows.set(f"bot{bot}", messages=number, reason=f"{number:0600}")
                    await reads.find(type="change", bot="bot299")
                    assert number or served.feed.clients == 2  # on a slow machine it is too late at the end
                kept, most = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            assert kept < 6 * 2**20
            assert most < 10 * 2**20
            served.feed.close()
            with trio.fail_after(20), suppress(OSError):
                while await deaf.recv(2**20):
                    pass


async def _ask(served: Served, path: str, *headers: tuple[bytes, bytes]) -> bytes:
    """The whole answer to a handshake that is refused."""
    answer = b""
    with trio.fail_after(20), trio.socket.socket() as peer:
        await peer.connect(("127.0.0.1", served.port))
        await peer.send(upgrade(path, *headers))
        while more := await peer.recv(65536):
            answer += more
    return answer
