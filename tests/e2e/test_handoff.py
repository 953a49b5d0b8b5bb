"""Dialogs with operators, with real processes; with `DIALOGS=200` as `scripts/soak-handoff` runs them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import trio
from handoff_load import Load

from trioworkers.testing import Telegram, serve_telegram

if TYPE_CHECKING:
    from fleet_project import Project

DIALOGS = int(os.environ.get("DIALOGS", "40"))
ROUNDS = 3
KILL_EVERY = 1.5  # seconds


async def test_dialogs_under_load_and_kills(project: Project, world: Telegram, nursery: trio.Nursery) -> None:
    """No message of a user is lost, none is answered by both, transcripts are complete and in order."""
    base = await nursery.start(serve_telegram, world)
    load = Load(project, world, DIALOGS, ROUNDS)
    load.write(base)
    with trio.fail_after(300):
        await load.run(KILL_EVERY)
    print(f"{DIALOGS} dialogs, {ROUNDS} handoffs each, kills {dict(load.kills)}")
    nursery.cancel_scope.cancel()
