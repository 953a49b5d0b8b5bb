"""The counts of the summaries add up to those of the database, also those of a stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleet_project import Project, until

from trioworkers.testing import Telegram, serve_telegram

if TYPE_CHECKING:
    import trio

WAITS = """
import trio

async def handle(update, bot):
    open(f"begun_{update.chat_id}", "w").close()
    await trio.sleep(1)
"""


async def test_the_last_summary_has_what_a_stop_let_end(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """Updates that are done while the daemon drains count, once they are committed."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("waits")
    project.module("waits", WAITS)
    project.write(base, {"waits": {"token": bot.token, "handler": "waits:handle", "concurrency": 40}})
    daemon = await project.start().ready()
    for number in range(40):
        world.add_user(f"user {number}").send(bot, "hello")
    await until(lambda: len(list(project.folder.glob("begun_*"))) == 40)
    assert await daemon.stop() == 0
    done = sum(event["done"] for event in project.events("daemon.summary"))
    assert done == project.tally(bot)["done"] == 40
    nursery.cancel_scope.cancel()
