"""Telegram bots in production: one daemon, one fleet.toml, a process per bot, nothing lost.

What a bot imports is here. Nothing of the daemon is imported by this module, so that a worker
process carries only what it needs.
"""

from __future__ import annotations

from trioworkers.errors import BotApiError, Dead, Drop, Retry, TransportError
from trioworkers.transport.files import InputFile
from trioworkers.worker.bot import Bot
from trioworkers.worker.update import Update

__version__ = "0.1.0"

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
]
