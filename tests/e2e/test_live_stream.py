"""The live stream of a real daemon: over its control socket and its API, while bots work, and at its stop."""

from __future__ import annotations

import json
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio_websocket import ConnectionClosed, wrap_client_stream

from trioworkers.client import live
from trioworkers.testing import Telegram, serve_telegram

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fleet_project import Daemon, Project
    from trio_websocket import WebSocketConnection

    from trioworkers.client import LiveStream


@asynccontextmanager
async def stream(project: Project, query: str = "") -> AsyncIterator[WebSocketConnection]:
    """A client on the control socket."""
    peer = await trio.open_unix_socket(str(project.control))
    async with peer, trio.open_nursery() as nursery:
        connection = await wrap_client_stream(
            nursery, peer, "control", f"/api/live{query}", max_message_size=2**26
        )
        yield connection
        await connection.aclose()
        nursery.cancel_scope.cancel()


async def get(connection: WebSocketConnection, **fields: Any) -> dict[str, Any]:
    """The next message that has these fields."""
    with trio.fail_after(30):
        while True:
            message: dict[str, Any] = json.loads(await connection.get_message())
            if fields.items() <= message.items():
                return message


async def follow(connection: WebSocketConnection, rows: dict[str | None, dict[str, Any]]) -> None:
    """Keep rows as the changes say, until the stream ends."""
    while True:
        message = await get(connection)
        if message["type"] == "change":
            rows[message["bot"]] |= message["data"]


async def row_until(connection: WebSocketConnection, bot: str, **fields: Any) -> dict[str, Any]:
    """The bot's row as changes tell it, once it has these values."""
    row: dict[str, Any] = {}
    while not fields.items() <= row.items():
        row |= (await get(connection, type="change", bot=bot))["data"]
    return row


@pytest.fixture
async def daemon(project: Project, world: Telegram, nursery: trio.Nursery) -> Daemon:
    """A daemon with the bots `one` and `two`."""
    base = await nursery.start(serve_telegram, world)
    bots = {name: {"token": world.add_bot(name).token, "handler": "echo:handle"} for name in ("one", "two")}
    project.write(base, bots)
    return await project.start().ready()


async def test_the_stream_shows_what_the_status_shows_and_what_changes(
    project: Project, world: Telegram, daemon: Daemon
) -> None:
    """A snapshot with the same rows; then the counts of a bot that worked, its latency, and a pause."""
    one = next(bot for bot in world.bots.values() if bot.username.startswith("one"))
    alice = world.add_user("Alice")
    async with stream(project) as connection:
        snapshot = await get(connection)
        status = await daemon.status()
        assert snapshot["type"] == "snapshot"
        assert snapshot["data"].keys() == status.keys()
        assert snapshot["data"]["fleet"].keys() == status["fleet"].keys()
        assert [row.keys() for row in snapshot["data"]["workers"]] == [
            row.keys() for row in status["workers"]
        ]
        await alice.say(one, "hello")
        await alice.expect(one)
        row = await row_until(connection, "one", messages=1)
        if row.get("latency_ms") is None:
            row |= await row_until(connection, "one")
        assert row["latency_ms"] >= 0
        await trio.to_thread.run_sync(project.run, "bots", "pause", "one")
        assert (await get(connection, type="event", event="bot.paused"))["bot"] == "one"
        await row_until(connection, "one", paused=True, state="paused")


async def test_a_stop_is_told_and_closes_with_1001(
    project: Project, daemon: Daemon, nursery: trio.Nursery
) -> None:
    """The bots are stopped by then, as the stream says itself."""
    async with stream(project) as connection:
        await get(connection)
        daemon.process.send_signal(signal.SIGTERM)
        rows: dict[str | None, dict[str, Any]] = {None: {}, "one": {}, "two": {}}
        with pytest.raises(ConnectionClosed) as closed:
            await follow(connection, rows)
        assert closed.value.reason is not None
        assert closed.value.reason.code == 1001
        assert (rows[None]["state"], rows["one"]["state"], rows["two"]["state"]) == (
            "stopping", "stopped", "stopped",
        )  # fmt: skip
    assert await daemon.wait() == 0
    nursery.cancel_scope.cancel()


async def test_the_client_goes_on_over_a_kill_and_a_new_start(
    project: Project, world: Telegram, daemon: Daemon, nursery: trio.Nursery
) -> None:
    """It says that the daemon is gone, and gives a snapshot of the next one; so with a stop."""
    async with live(project.control) as client:
        assert [(await following(client))["type"] for _ in range(2)] == ["online", "snapshot"]
        for number, reason in (
            (signal.SIGKILL, "the connection was lost"),
            (signal.SIGTERM, "the daemon stops"),
        ):
            before = client.since
            daemon.process.send_signal(number)
            await daemon.wait()
            offline = await following(client, type="offline")
            assert offline["reason"] == reason
            daemon = await project.start().ready()
            await following(client, type="online")
            snapshot = await following(client)
            assert snapshot["type"] == "snapshot"
            assert snapshot["seq"] > before
            assert snapshot["data"]["fleet"]["pid"] == daemon.process.pid
    await daemon.stop()
    nursery.cancel_scope.cancel()


async def following(client: LiveStream, **fields: Any) -> dict[str, Any]:
    """The next message of the client that has these fields."""
    with trio.fail_after(30):
        async for message in client:
            if fields.items() <= message.items():
                return message
    raise AssertionError
