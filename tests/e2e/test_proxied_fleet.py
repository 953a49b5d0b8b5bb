"""A fleet that reaches the Bot API by proxies alone: polls and calls, and no credentials in any log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from proxies import SmallProxy, connect, socks5

from trioworkers.testing import Telegram, serve_telegram

if TYPE_CHECKING:
    from fleet_project import Project


async def test_polls_and_calls_go_by_the_proxies(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """The environment's for the fleet, a bot's own, and none where it says so; passwords are in no log."""
    base = await nursery.start(serve_telegram, world)
    port = int(base.rpartition(":")[2])
    names = {"api.test": "127.0.0.1"}
    fleets, own = SmallProxy("user:covert1", names), SmallProxy("user:covert2", names)
    await nursery.start(fleets.serve, connect)
    await nursery.start(own.serve, socks5)
    bots = {name: world.add_bot(name) for name in ("one", "two")}
    tables = {
        name: {"token": bot.token, "handler": "echo:handle", "poll_timeout": 1} for name, bot in bots.items()
    }
    tables["two"]["proxy"] = f"socks5h://user:covert2@127.0.0.1:{own.port}"
    project.environ["ALL_PROXY"] = f"http://user:covert1@127.0.0.1:{fleets.port}"
    project.write(f"http://api.test:{port}", tables)
    daemon = await project.start().ready()
    alice = world.add_user("Alice")
    with trio.fail_after(30):
        for bot in bots.values():
            await alice.say(bot, "hello")
            assert (await alice.expect(bot))["text"] == "hello"
    for proxy in (fleets, own):
        assert set(proxy.asked) == {("api.test", port)}
        assert len(proxy.asked) >= 2, "one connection for polls, one for calls"
    assert await daemon.stop() == 0
    for path in project.folder.rglob("*.log"):
        assert "covert" not in path.read_text()
    nursery.cancel_scope.cancel()
