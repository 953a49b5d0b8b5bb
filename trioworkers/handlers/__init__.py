"""Handlers that need no code of one's own: `http_backend` leaves a bot's mind to a service.

A handler's module also holds what is called around a worker's life, so `start`, `stop` and
`settings_changed` below are those of `http_backend`.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from trioworkers.botapi.errors import BotApiError
from trioworkers.errors import Drop
from trioworkers.handlers.answer import BackendCall, read_answer
from trioworkers.handlers.backend import Backend, Request
from trioworkers.handlers.settings import SettingsError, read_settings

if TYPE_CHECKING:
    from typing import Any

    from trioworkers.handling.bot import Bot
    from trioworkers.handling.update import Update

ANSWER, REFUSED = "answer", "refused"
NOTHING_TO_DO = "the backend has nothing to do"

_backend: trio.lowlevel.RunVar[Backend] = trio.lowlevel.RunVar("http_backend")


async def http_backend(update: Update, bot: Bot) -> None:
    """Post an update to the bot's backend, and make the Bot API calls that it answers with, in their order.

    The backend is asked once: when the update is handled again, its recorded answer is used, and calls that
    succeeded are not made again. Only when Telegram refuses a call of its first answer is that forgotten, and
    the backend is asked a second time; a refusal that cannot heal is final then, as it is for every handler.

    Raises:
        Dead, Drop, Retry, TransportError: as :meth:`Backend.ask`; `Drop` where there is nothing to do.
        BotApiError, TransportError: a call failed; later calls were not made.
    """
    backend = _backend.get()

    async def ask() -> Any:
        body = await backend.ask(Request.of(update, bot.name))
        return None if body is None else [call.as_json() for call in read_answer(body)]

    answer = await bot.remember(ANSWER, ask)
    if answer is None:
        raise Drop(NOTHING_TO_DO)
    for place, call in enumerate(map(BackendCall.from_json, answer)):
        try:
            await bot.call(call.method, once=call.once or f"call {place}", **call.params)
        except BotApiError as error:
            if error.error_code < 500 and error.error_code != 403:
                bot.forget(ANSWER)
                if not error.heals:
                    error.heals = await _is_first_refusal(bot)
            raise


async def _is_first_refusal(bot: Bot) -> bool:
    """Whether Telegram refuses an answer about this update for the first time, also after a replay of it."""
    is_first = False

    async def note() -> None:
        nonlocal is_first
        is_first = True

    await bot.remember(REFUSED, note)
    if not is_first:
        bot.forget(REFUSED)
    return is_first


async def start(bot: Bot) -> None:
    """Read the bot's settings, and open a client for its backend.

    Raises:
        SettingsError: they are wrong, which is logged in words.
    """
    _use(bot)


async def settings_changed(bot: Bot) -> None:
    """Use the changed settings from now on; when they are wrong, the old ones stay in force.

    Raises:
        SettingsError: they are wrong, which is logged in words.
    """
    _use(bot)


async def stop(bot: Bot) -> None:
    """Close the connections to the backend."""
    _backend.get().retire()


def _use(bot: Bot) -> None:
    try:
        settings = read_settings(bot.settings)
    except SettingsError as error:
        bot.log.error("settings refused", problems=list(error.problems))
        raise
    with suppress(LookupError):  # there is none at the start
        _backend.get().retire()
    _backend.set(Backend(settings))
