"""What waited at Telegram while a bot was away is handled, unless a person drops it."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from fleet_project import ECHO, Project, until
from proxies import SmallProxy, connect

from trioworkers.testing import Telegram, serve_telegram


async def away(project: Project, world: Telegram, nursery: trio.Nursery, **keys: Any) -> tuple[Any, Any]:
    """A bot that is not fetched for, and has missed three messages."""
    base = await nursery.start(serve_telegram, world)
    bot, person = world.add_bot("echo"), world.add_user("Ann")
    project.module("echo", ECHO)
    project.write(base, {"echo": {"token": bot.token, "handler": "echo:handle", **keys}})
    for number in range(3):
        person.send(bot, f"missed {number}")
    return bot, person


async def drop(project: Project, *words: str, bot: str = "echo", **options: Any) -> Any:
    """Run the command, in a thread: the Telegram that it reaches is on this loop."""
    return await trio.to_thread.run_sync(lambda: project.run("bots", "drop-pending", bot, *words, **options))


def said(world: Telegram, bot: Any, person: Any) -> list[str]:
    return [message["text"] for message in world.sent(bot, person.id)]


@pytest.mark.parametrize("runs", [False, True])
async def test_it_is_dropped_before_the_bot_fetches_it(
    project: Project, world: Telegram, nursery: trio.Nursery, runs: bool
) -> None:
    """While no daemon runs, or while the bot is not enabled; only where it is meant."""
    bot, person = await away(project, world, nursery, enabled=not runs)
    if runs:
        await project.start().ready()
    asked = await drop(project, input="n\n")
    assert asked.returncode == 1
    assert "for good?" in asked.stdout
    assert len(bot.queue) == 3
    assert (await drop(project, "--yes")).stdout == "echo: dropped 3 updates that waited at Telegram\n"
    assert "dropped 0 updates" in (await drop(project, input="y\n")).stdout
    assert (await drop(project, "--yes", bot="ekho")).returncode == 2
    unknown = await drop(project, bot="ekho", input="")
    assert (unknown.returncode, unknown.stdout) == (2, ""), "nobody is asked about a bot that is not there"
    if runs:
        assert [event["count"] for event in project.events("transport.dropped")] == [3, 0]
        project.file.write_text(project.file.read_text().replace("enabled = false", "enabled = true"))
        assert project.run("reload").returncode == 0
    else:
        await project.start().ready()
    person.send(bot, "hello")
    await until(lambda: said(world, bot, person) == ["hello"])


async def test_a_bot_that_runs_goes_on(project: Project, world: Telegram, nursery: trio.Nursery) -> None:
    """It has fetched what waited; nothing of that is dropped, and its polling is not disturbed."""
    bot, person = await away(project, world, nursery)
    await project.start().ready()
    missed = [f"missed {number}" for number in range(3)]
    await until(lambda: said(world, bot, person) == missed)
    answer = await drop(project, "--yes")
    assert answer.stdout == "echo: dropped 0 updates that waited at Telegram\n"
    person.send(bot, "more")
    await until(lambda: said(world, bot, person) == [*missed, "more"])
    assert project.events("transport.conflict") == []


@pytest.mark.parametrize("runs", [False, True])
async def test_the_bots_own_server_is_asked_by_its_own_proxy(
    project: Project, world: Telegram, nursery: trio.Nursery, runs: bool
) -> None:
    """A bot of the test environment behind a proxy, beside which nothing leads to its server."""
    base = await nursery.start(serve_telegram, world)
    port = int(base.rpartition(":")[2])
    proxy = SmallProxy("user:covert", {"api.test": "127.0.0.1"})
    await nursery.start(proxy.serve, connect)
    bot, person = world.add_bot("echo", test=True), world.add_user("Ann")
    project.module("echo", ECHO)
    keys = {"test_servers": True, "proxy": f"http://user:covert@127.0.0.1:{proxy.port}", "enabled": not runs}
    project.write(f"http://api.test:{port}", {"echo": {"token": bot.token, "handler": "echo:handle", **keys}})
    if runs:
        await project.start().ready()
    person.send(bot, "missed")
    answer = await drop(project, "--yes")
    assert answer.stdout == "echo: dropped 1 update that waited at Telegram\n", answer.stderr
    assert set(proxy.asked) == {("api.test", port)}
    nursery.cancel_scope.cancel()
