"""Telegram bots in production: one daemon, one fleet.toml, a process per bot, nothing lost.

What a bot imports is here, and is loaded when it is asked for: so each process carries only what it uses.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from trioworkers.version import __version__

if TYPE_CHECKING:
    from trioworkers.botapi.errors import BotApiError, TransportError
    from trioworkers.botapi.files import InputFile
    from trioworkers.botapi.refusals import (
        BadRequest,
        BotBlocked,
        BotKicked,
        CannotFetch,
        CannotParse,
        ChatNotFound,
        Conflict,
        Forbidden,
        GroupUpgraded,
        MessageEmpty,
        MessageLocked,
        MessageNotFound,
        MessageTooLong,
        NotEnoughRights,
        NotFound,
        NotModified,
        QueryTooOld,
        ServerError,
        TooLarge,
        TooManyRequests,
        TopicClosed,
        TopicNotFound,
        Unauthorized,
        UserDeactivated,
        UserNotFound,
    )
    from trioworkers.errors import AskRefusedError, Dead, Drop, Reroute, Retry
    from trioworkers.events import Event
    from trioworkers.handling.bot import Bot
    from trioworkers.handling.update import Update
    from trioworkers.hookspecs import hookimpl
    from trioworkers.plugin_settings import PluginSettings
    from trioworkers.plugin_types import Bots, Take, Write, hears
    from trioworkers.records import Once

__all__ = [
    "AskRefusedError",
    "BadRequest",
    "Bot",
    "BotApiError",
    "BotBlocked",
    "BotKicked",
    "Bots",
    "CannotFetch",
    "CannotParse",
    "ChatNotFound",
    "Conflict",
    "Dead",
    "Drop",
    "Event",
    "Forbidden",
    "GroupUpgraded",
    "InputFile",
    "MessageEmpty",
    "MessageLocked",
    "MessageNotFound",
    "MessageTooLong",
    "NotEnoughRights",
    "NotFound",
    "NotModified",
    "Once",
    "PluginSettings",
    "QueryTooOld",
    "Reroute",
    "Retry",
    "ServerError",
    "Take",
    "TooLarge",
    "TooManyRequests",
    "TopicClosed",
    "TopicNotFound",
    "TransportError",
    "Unauthorized",
    "Update",
    "UserDeactivated",
    "UserNotFound",
    "Write",
    "__version__",
    "hears",
    "hookimpl",
]

_HOMES = {
    "AskRefusedError": "trioworkers.errors",
    "BadRequest": "trioworkers.botapi.refusals",
    "Bot": "trioworkers.handling.bot",
    "BotApiError": "trioworkers.botapi.errors",
    "BotBlocked": "trioworkers.botapi.refusals",
    "BotKicked": "trioworkers.botapi.refusals",
    "Bots": "trioworkers.plugin_types",
    "CannotFetch": "trioworkers.botapi.refusals",
    "CannotParse": "trioworkers.botapi.refusals",
    "ChatNotFound": "trioworkers.botapi.refusals",
    "Conflict": "trioworkers.botapi.refusals",
    "Dead": "trioworkers.errors",
    "Drop": "trioworkers.errors",
    "Event": "trioworkers.events",
    "Forbidden": "trioworkers.botapi.refusals",
    "GroupUpgraded": "trioworkers.botapi.refusals",
    "InputFile": "trioworkers.botapi.files",
    "MessageEmpty": "trioworkers.botapi.refusals",
    "MessageLocked": "trioworkers.botapi.refusals",
    "MessageNotFound": "trioworkers.botapi.refusals",
    "MessageTooLong": "trioworkers.botapi.refusals",
    "NotEnoughRights": "trioworkers.botapi.refusals",
    "NotFound": "trioworkers.botapi.refusals",
    "NotModified": "trioworkers.botapi.refusals",
    "Once": "trioworkers.records",
    "PluginSettings": "trioworkers.plugin_settings",
    "QueryTooOld": "trioworkers.botapi.refusals",
    "Reroute": "trioworkers.errors",
    "Retry": "trioworkers.errors",
    "ServerError": "trioworkers.botapi.refusals",
    "Take": "trioworkers.plugin_types",
    "TooLarge": "trioworkers.botapi.refusals",
    "TooManyRequests": "trioworkers.botapi.refusals",
    "TopicClosed": "trioworkers.botapi.refusals",
    "TopicNotFound": "trioworkers.botapi.refusals",
    "TransportError": "trioworkers.botapi.errors",
    "Unauthorized": "trioworkers.botapi.refusals",
    "Update": "trioworkers.handling.update",
    "UserDeactivated": "trioworkers.botapi.refusals",
    "UserNotFound": "trioworkers.botapi.refusals",
    "Write": "trioworkers.plugin_types",
    "hears": "trioworkers.plugin_types",
    "hookimpl": "trioworkers.hookspecs",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        message = f"module 'trioworkers' has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(importlib.import_module(_HOMES[name]), name)
