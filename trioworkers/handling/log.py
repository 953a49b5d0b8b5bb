"""`bot.log`: lines of JSON on standard output, which the daemon writes to the bot's log file.

Written here because the structured loggers bring a tenth of a second and asyncio into every worker.
"""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from trioworkers.errors import describe
from trioworkers.handling.failure import failure_fields

if TYPE_CHECKING:
    from collections.abc import Callable

LEVELS = {"debug": 10, "info": 20, "warn": 30, "error": 40}


class Traced(Protocol):
    """What has a trace id."""

    @property
    def trace_id(self) -> str: ...


class BotLog:
    """Writes events with fields: `bot.log.info("order placed", order=7)`.

    Args:
        level: `debug`, `info`, `warn` or `error`; quieter events are left out.
        write: takes each line, with its line break; by default it goes to standard output.
        fields: what each line carries.
    """

    def __init__(
        self, level: str = "info", /, write: Callable[[str], None] | None = None, **fields: Any
    ) -> None:
        self._least = LEVELS.get(level, 30 if level == "warning" else 20)
        self._level = level
        self._write_line = write or _print
        self._fields = fields
        self._update: Traced | None = None

    def bind(self, /, **fields: Any) -> BotLog:
        """The same log with more fields on each line."""
        bound = BotLog(self._level, self._write_line)
        bound._fields = self._fields | fields
        bound._update = self._update
        return bound

    def about(self, update: Traced) -> BotLog:
        """The same log with the update's trace id on each line, worked out when a line is written."""
        log = BotLog.__new__(BotLog)  # for each update: reading the level again would take most of the time
        log._least, log._level = self._least, self._level
        log._write_line, log._fields, log._update = self._write_line, self._fields, update
        return log

    def debug(self, event: str, /, **fields: Any) -> None:
        self._write("debug", event, fields)

    def info(self, event: str, /, **fields: Any) -> None:
        self._write("info", event, fields)

    def warning(self, event: str, /, **fields: Any) -> None:
        self._write("warn", event, fields)

    def error(self, event: str, /, **fields: Any) -> None:
        self._write("error", event, fields)

    def exception(self, event: str, /, **fields: Any) -> None:
        """An error with the current exception: its type and traceback. What it says may be private."""
        error = sys.exception()
        where = {} if error is None else failure_fields(error)
        self._write("error", event, where | fields)

    def _write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        if LEVELS[level] < self._least:
            return
        now = datetime.fromtimestamp(time.time(), UTC)
        at = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        traced = {} if self._update is None else {"trace_id": self._update.trace_id}
        line = {"at": at, "level": level, "event": event, **self._fields, **traced, **fields}
        try:
            text = msgspec.json.encode(line, enc_hook=str)
        except Exception as error:  # no handling fails because of what it wanted to log
            text = msgspec.json.encode(
                {
                    "at": at,
                    "level": level,
                    "event": str(event).encode(errors="replace").decode(),
                    "unloggable": describe(error),
                }
            )
        self._write_line(text.decode() + "\n")


def _print(line: str) -> None:
    sys.stdout.write(line)
    sys.stdout.flush()
