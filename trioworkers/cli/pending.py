"""Dropping what waits for a bot at Telegram: by the daemon where one runs, else by the command itself."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import trio

from trioworkers.bot_server import server_of
from trioworkers.botapi.client import BotApi
from trioworkers.botapi.errors import BotApiError, TransportError
from trioworkers.cli.control import Codes, NotRunningError, ask_or_fail, connect, find_socket
from trioworkers.cli.exits import TRY_AGAIN, USAGE
from trioworkers.cli.failures import fail
from trioworkers.cli.fleet import read_fleet
from trioworkers.config import FleetFileError
from trioworkers.transport.pending import drop_pending

if TYPE_CHECKING:
    from pathlib import Path

    from trioworkers.botapi.server import Server


def check_bot(config: Path | None, bot: str) -> None:
    """Exit as :func:`drop_pending_of` does when there is no such bot, before anybody is asked anything."""
    if _daemon_runs(config):
        ask_or_fail(config, f"/api/bots/{quote(bot, safe='')}", codes=Codes(missing=USAGE))
    else:
        _server_of(config, bot)


def drop_pending_of(config: Path | None, bot: str) -> int:
    """Drop them and return their number; what goes wrong is said in one line, with an exit code."""
    if _daemon_runs(config):
        path = f"/api/bots/{quote(bot, safe='')}/drop-pending"
        answer = ask_or_fail(config, path, {}, timeout=None, codes=Codes(missing=USAGE))
        return int(answer["dropped"])
    server, token = _server_of(config, bot)

    async def drop() -> int:
        async with BotApi(server, token) as api:
            return await drop_pending(api)

    try:
        return trio.run(drop)
    except BotApiError as error:
        fail(f"Telegram refused {error.method}: {error.error_code}")
    except TransportError as error:
        fail(str(error), TRY_AGAIN)


def _server_of(config: Path | None, bot: str) -> tuple[Server, str]:
    """The bot's Bot API server and its token, by the fleet file."""
    fleet = read_fleet(config)
    settings = fleet.bots.get(bot)
    if settings is None:
        fail(f"{fleet.path}: no bot of that name", USAGE)
    return server_of(fleet, settings), settings.token.reveal()


def _daemon_runs(config: Path | None) -> bool:
    """What else is wrong is found again, and told, by whoever asks."""
    try:
        connect(find_socket(config)).close()
    except NotRunningError:
        return False
    except (FleetFileError, OSError):
        return True
    return True
