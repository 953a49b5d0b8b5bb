"""Bots that hear nothing: seen in the status, told when the daemon is ready, and what to do about it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import trio
from fleet_project import Project, until

from trioworkers.testing import Telegram, serve_telegram

if TYPE_CHECKING:
    from fleet_project import Daemon

    from trioworkers.testing import SimBot


async def _poll_too(base: str, bot: SimBot) -> None:
    """Another program with the same token."""
    async with httpx.AsyncClient(timeout=30) as client:
        while True:
            await client.get(f"{base}/bot{bot.token}/getUpdates", params={"timeout": 2})


async def _intake(daemon: Daemon, name: str) -> Any:
    return (await daemon.bot(name))["health"]["intake"]


async def test_a_bot_with_another_poller_is_seen_to_hear_nothing(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """Its worker is well all the while: `status` says what is wrong, for how long and what to do."""
    base = await nursery.start(serve_telegram, world)
    bots = {name: world.add_bot(name) for name in ("alone", "shared")}
    table = {"handler": "echo:handle", "poll_timeout": 1}
    project.write(base, {name: {**table, "token": bot.token} for name, bot in bots.items()})
    daemon = await project.start().ready()
    nursery.start_soon(_poll_too, base, bots["shared"])
    found = await until(partial(_intake, daemon, "shared"))
    assert found["problem"] == "another poller uses this token"
    row = await daemon.bot("shared")
    assert (row["state"], row["reason"]) == ("running", found["problem"])
    assert (row["health"]["alive"], row["health"]["receiving"]) == (True, False)
    assert (await daemon.bot("alone"))["health"]["receiving"] is True
    lines = (await trio.to_thread.run_sync(project.run, "status")).stdout.splitlines()
    assert lines[1] == "1 of 2 bots is not well: 1 hears nothing"
    assert lines[2].startswith("  hears nothing for ")
    assert lines[2].endswith("s (another poller uses this token): shared")
    assert lines[4] == f"  shared: {found['remedy']}"
    shown = (await trio.to_thread.run_sync(project.run, "bots", "show", "shared")).stdout
    assert shown.startswith("shared: it runs, but it hears nothing for ")
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_daemon_that_is_ready_names_what_is_not_well(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """In `daemon.ready`, and on the terminal of whoever starts it; a refused token, too."""
    base = await nursery.start(serve_telegram, world)
    bots = {name: world.add_bot(name) for name in ("well", "broken", "stranger")}
    project.module("broken", "raise RuntimeError")
    tables = {name: {"handler": "echo:handle", "token": bot.token} for name, bot in bots.items()}
    tables["broken"]["handler"] = "broken:handle"
    world.revoke(bots["stranger"])
    project.write(base, tables)
    done = await trio.to_thread.run_sync(project.run, "start")
    try:
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert lines[0].startswith("runs with pid ")
        assert "  failed (handler cannot be imported): broken" in lines
        log = (project.folder / "state" / "logs" / "master.log").read_text()
        assert '"not_well": ["broken: failed: handler cannot be imported' in log
    finally:
        await trio.to_thread.run_sync(project.run, "stop")
    nursery.cancel_scope.cancel()
