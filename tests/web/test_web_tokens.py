"""Whether Telegram knows a token, asked of a simulated one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from trioworkers.config import Fleet, load_fleet
from trioworkers.testing import Telegram, serve_telegram
from trioworkers.testing.faults import error
from trioworkers.web.tokens import refuses_token

if TYPE_CHECKING:
    from pathlib import Path


def fleet_of(folder: Path, api_base: str, token: str) -> Fleet:
    """A fleet with one bot, `a`."""
    file = folder / "fleet.toml"
    file.write_text(f'[fleet]\napi_base = "{api_base}"\n[bots.a]\ntoken = "{token}"\nhandler = "a:handle"\n')
    file.chmod(0o600)
    return load_fleet(file, {})


async def test_a_token_that_telegram_does_not_know_is_refused(tmp_path: Path, nursery: trio.Nursery) -> None:
    """One that it knows is not, nor one of which it says nothing of use."""
    world = Telegram()
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("a")
    assert not await refuses_token(fleet_of(tmp_path, base, bot.token), "a")
    assert await refuses_token(fleet_of(tmp_path, base, "7000000001:another"), "a")
    world.faults.add(respond=error(400, "Bad Request: no"), method="getMe")
    assert not await refuses_token(fleet_of(tmp_path, base, bot.token), "a")
    nursery.cancel_scope.cancel()


async def test_without_an_answer_in_time_nothing_is_refused(tmp_path: Path) -> None:
    """A server that is not there, and one that accepts and says nothing: the bot finds out for itself."""
    silent = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    port = silent.socket.getsockname()[1]
    fleet = fleet_of(tmp_path, f"http://127.0.0.1:{port}", "1:a")
    with trio.fail_after(5):
        assert not await refuses_token(fleet, "a", patience=0.2)
        await silent.aclose()
        assert not await refuses_token(fleet, "a", patience=0.2)
