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
    from trioworkers.errors import Dead, Drop, Retry
    from trioworkers.handling.bot import Bot
    from trioworkers.handling.update import Update
    from trioworkers.hookspecs import hookimpl

__all__ = [
    "Bot",
    "BotApiError",
    "Dead",
    "Drop",
    "InputFile",
    "Retry",
    "TransportError",
    "Update",
    "__version__",
    "hookimpl",
]

_HOMES = {
    "Bot": "trioworkers.handling.bot",
    "BotApiError": "trioworkers.botapi.errors",
    "Dead": "trioworkers.errors",
    "Drop": "trioworkers.errors",
    "InputFile": "trioworkers.botapi.files",
    "Retry": "trioworkers.errors",
    "TransportError": "trioworkers.botapi.errors",
    "Update": "trioworkers.handling.update",
    "hookimpl": "trioworkers.hookspecs",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        message = f"module 'trioworkers' has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(importlib.import_module(_HOMES[name]), name)
