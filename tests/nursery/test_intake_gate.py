"""What a bot's intake asks Telegram for passes the gate of leases, at the very moment of the request."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, cast

import trio

from trioworkers.botapi.errors import TransportError
from trioworkers.config import BotSettings
from trioworkers.nursery.intake import BotIntake, Webhooks
from trioworkers.testing import Telegram, serve_telegram
from trioworkers.transport.deliveries import Deliveries
from trioworkers.transport.registration import Digests, Registry

if TYPE_CHECKING:
    from pathlib import Path


async def test_nothing_is_asked_of_telegram_while_the_gate_is_shut(tmp_path: Path) -> None:
    """Neither for updates nor whether the token is known; when it is open again, it is asked."""
    world = Telegram(seed=1, repeat_guard=False)
    bot = world.add_bot("one")
    settings = BotSettings.model_validate(
        {"name": "one", "token": bot.token, "handler": "m:f", "poll_timeout": "1s"}
    )
    is_open = False
    asked = trio.Event()

    async def gate() -> None:
        asked.set()
        if not is_open:
            raise TransportError("request", "the lease has ended")

    async def at_once() -> None: ...

    webhooks = Webhooks(Deliveries(), lambda settings: None, Registry(Digests(tmp_path / "d"), at_once))
    webhooks.gate = gate
    intake = BotIntake(lambda: settings, cast("Any", None), webhooks, lambda *a, **k: None, random.Random(1))
    async with trio.open_nursery() as nursery:
        base = await nursery.start(serve_telegram, world)
        server = cast("Any", base)
        nursery.start_soon(intake.serve, server)
        with trio.fail_after(10):
            await asked.wait()
            assert not await intake.is_known(server)
            assert world.calls_of("getUpdates") == []
            is_open = True
            assert await intake.is_known(server)
            assert world.calls_of("getUpdates") != []
        nursery.cancel_scope.cancel()
