"""The daemon's log: events as lines, text for people and JSON for machines.

Only events are logged, and what libraries say from a warning up. As a last net below the rule that
nobody passes a token on, anything that looks like one is blotted out of each finished line.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from typing import TYPE_CHECKING, Any, TextIO

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trioworkers.events import Event

# https://core.telegram.org/bots/api#authorizing-your-bot; the secret has 35 characters today
TOKEN = re.compile(r"(?<!\d)\d{3,}(?::|%3[Aa])[A-Za-z0-9_-]{10,}")
LEVEL_NAMES = {"debug": "debug", "info": "info", "warn": "warning", "error": "error"}
JOURNAL_PRIORITY = {"debug": "<7>", "info": "<6>", "warning": "<4>", "error": "<3>"}  # sd-daemon(3)


def redact(line: str) -> str:
    """The line with everything that looks like a token blotted out."""
    return TOKEN.sub("<token>", line)


def open_log(
    *, format: str = "auto", stream: TextIO | None = None, environ: Mapping[str, str] = os.environ
) -> Callable[[Event], None]:
    """A listener that writes events to `stream` (standard error by default).

    Args:
        format: `text`, `json`, `journal`, or `auto`: text on a terminal, journal where systemd reads
            along, else JSON. The journal's format is text behind a priority.
        stream: where to write.
        environ: where `JOURNAL_STREAM` and `NO_COLOR` are looked up.
    """
    stream = stream or sys.stderr
    if format == "auto":
        format = "text" if stream.isatty() else "journal" if _is_journal(stream, environ) else "json"
    render: Any
    if format == "json":
        render = structlog.processors.JSONRenderer(sort_keys=False)
    else:
        colors = format == "text" and stream.isatty() and not environ.get("NO_COLOR")
        render = structlog.dev.ConsoleRenderer(colors=colors, pad_event_to=20)

    def write(level: str, line: str) -> None:
        prefix = JOURNAL_PRIORITY[level] if format == "journal" else ""
        stream.write(f"{prefix}{redact(line)}\n")
        stream.flush()

    def listen(event: Event) -> None:
        level = LEVEL_NAMES[event.level]
        told: dict[str, Any] = {"event": event.event, "level": level, "at": event.at}
        if event.bot is not None:
            told["bot"] = event.bot
        if event.trace_id is not None:
            told["trace_id"] = event.trace_id
        told.update(event.fields)
        structlog.processors.MaybeTimeStamper(fmt="iso", key="timestamp")(None, level, told)
        del told["at"]
        write(level, str(render(None, level, told)))

    _catch_libraries(write, render)
    return listen


def _catch_libraries(write: Callable[[str, str], None], render: Any) -> None:
    """Let what libraries log from a warning up appear among the events, without tracebacks' values."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            level = "error" if record.levelno >= logging.ERROR else "warning"
            try:
                says = record.getMessage()
            except Exception:  # a malformed call of a library's; its words without their values
                says = str(record.msg)
            told = {"event": "library", "level": level, "logger": record.name, "says": says}
            if record.exc_info and record.exc_info[0] is not None:
                told["error"] = record.exc_info[0].__name__
            write(level, str(render(None, level, told)))

    root = logging.getLogger()
    root.handlers = [Handler(logging.WARNING)]
    root.setLevel(logging.WARNING)


def _is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether `stream` is the very stream that $JOURNAL_STREAM names (systemd.exec(5))."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
