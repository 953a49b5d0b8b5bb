"""The client of the live stream: messages, resuming, refusals, back-off."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
import trio
from live_source import TOKEN, Rows, Served, serving

from trioworkers.client import LiveRefusedError, LiveStream, live
from trioworkers.client.errors import BackOff
from trioworkers.client.target import parse_target

if TYPE_CHECKING:
    from pathlib import Path


def url(served: Served) -> str:
    return f"http://127.0.0.1:{served.port}"


async def get(stream: LiveStream) -> dict[str, Any]:
    with trio.fail_after(20):
        return await anext(stream)


async def test_it_gives_the_messages_of_the_daemon() -> None:
    """After one of its own, which says that the daemon answers."""
    rows = Rows("echo", "shop")
    async with serving(rows) as served, live(url(served), token=TOKEN, bots=["echo"]) as stream:
        assert await get(stream) == {"type": "online"}
        assert [row["bot"] for row in (await get(stream))["data"]["workers"]] == ["echo"]
        rows.set("echo", messages=3)
        change = await get(stream)
        assert change["data"] == {"messages": 3}
        assert stream.since == change["seq"]


async def test_it_resumes_when_the_connection_is_lost() -> None:
    """It says so, connects again by itself, and gets what was missed, without a second snapshot."""
    rows = Rows("echo")
    async with serving(rows) as served, live(url(served), token=TOKEN) as stream:
        assert [(await get(stream))["type"] for _ in range(2)] == ["online", "snapshot"]
        served.sever()
        rows.set("echo", messages=4)
        offline = await get(stream)
        assert offline["type"] == "offline"
        assert offline["reason"] == "the connection was lost"
        assert 0 < offline["retry_in"] <= 0.25
        assert await get(stream) == {"type": "online"}
        assert (await get(stream))["data"] == {"messages": 4}


async def test_it_goes_on_from_where_another_stream_ended() -> None:
    """A program that was restarted itself may keep the number."""
    rows = Rows("echo")
    async with serving(rows) as served:
        async with live(url(served), token=TOKEN) as stream:
            await get(stream)
            since = (await get(stream))["seq"]
        rows.set("echo", messages=5)
        async with live(url(served), token=TOKEN, since=since) as stream:
            assert await get(stream) == {"type": "online"}
            assert (await get(stream))["data"] == {"messages": 5}


async def test_a_stop_of_the_daemon_is_a_reason() -> None:
    """And without `reconnect`, the stream ends there."""
    async with serving(Rows()) as served, live(url(served), token=TOKEN, reconnect=False) as stream:
        await get(stream)
        await get(stream)
        served.feed.close()
        assert [message async for message in stream] == [
            {"type": "offline", "reason": "the daemon stops", "retry_in": None}
        ]


async def test_a_full_daemon_is_tried_again() -> None:
    """Its reason is given, and there was no `online` before it."""
    async with serving(Rows(), most=0) as served, live(url(served), token=TOKEN) as stream:
        assert (await get(stream))["reason"] == "0 clients are connected, which is the most"


async def test_a_wrong_token_is_an_error_and_not_tried_again() -> None:
    """The message is the daemon's."""
    async with serving(Rows()) as served, live(url(served), token="wrong") as stream:
        with pytest.raises(LiveRefusedError, match="the API token is wrong") as refusal:
            await get(stream)
    assert refusal.value.status == 401


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
async def test_a_refusal_that_passes_is_tried_again(nursery: trio.Nursery, status: int) -> None:
    """Somebody else's wrong tokens come from the same address, or a proxy waits for the daemon."""

    async def refuse(peer: trio.SocketStream) -> None:
        async with peer:
            await peer.receive_some()
            await peer.send_all(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status)

    listeners = await nursery.start(trio.serve_tcp, refuse, 0)
    async with live(f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}", token=TOKEN) as stream:
        for _ in range(2):
            assert (await get(stream))["reason"] == f"the daemon answers HTTP {status}"
    nursery.cancel_scope.cancel()


async def test_what_the_caller_raises_inside_is_not_put_into_a_group() -> None:
    """Nor is a refusal that it lets through."""
    async with serving(Rows()) as served:
        error = KeyError("mine")
        with pytest.raises(KeyError) as raised:
            async with live(url(served), token=TOKEN):
                raise error
        assert raised.value is error
        with pytest.raises(LiveRefusedError):
            async with live(url(served), token="wrong") as stream:
                await get(stream)


async def test_where_nobody_listens_it_tries_on(tmp_path: Path) -> None:
    """It may come before the daemon."""
    async with live(tmp_path / "control.sock") as stream:
        for _ in range(2):
            assert (await get(stream))["reason"] == f"nobody answers on {tmp_path / 'control.sock'}"


async def test_a_slow_caller_is_waited_for() -> None:
    """Its messages do not gather in the client: the daemon merges them."""
    rows = Rows("echo")
    async with serving(rows) as served, live(url(served), token=TOKEN) as stream:
        await get(stream)
        await get(stream)
        rows.set("echo", messages=1)
        await trio.sleep(0.2)
        assert stream._messages.statistics().current_buffer_used == 0
        assert (await get(stream))["data"] == {"messages": 1}


def test_pauses_double_up_to_a_limit_and_vary() -> None:
    """From half of it to the whole; after a success they begin anew."""
    back_off = BackOff(random.Random(1))
    for longest in (0.25, 0.5, 1, 2, 4, 8, 10, 10):
        assert longest / 2 <= back_off.next() <= longest
    back_off.reset()
    assert back_off.next() <= 0.25


@pytest.mark.parametrize(
    ("text", "path", "host", "port", "authority", "prefix", "tls"),
    [
        ("state/run/control.sock", "state/run/control.sock", "", 0, "control", "", False),
        ("unix:/run/control.sock", "/run/control.sock", "", 0, "control", "", False),
        ("http://127.0.0.1:3001", None, "127.0.0.1", 3001, "127.0.0.1:3001", "", False),
        ("ws://[::1]:3001/", None, "::1", 3001, "[::1]:3001", "", False),
        ("https://ops.example/bots/", None, "ops.example", 443, "ops.example", "/bots", True),
    ],
)
def test_targets(
    text: str, path: str | None, host: str, port: int, authority: str, prefix: str, tls: bool
) -> None:
    """Sockets by their path, addresses by their URL."""
    target = parse_target(text)
    assert (target.path, target.host, target.port) == (path, host, port)
    assert (target.authority, target.prefix, target.tls) == (authority, prefix, tls)


@pytest.mark.parametrize("text", ["ftp://x", "http://", "http:///path"])
def test_a_url_that_cannot_be_meant(text: str) -> None:
    """The message says what is expected."""
    with pytest.raises(ValueError, match="expected http://host:port"):
        parse_target(text)
