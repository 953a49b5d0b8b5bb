"""The daemon's log: events as lines, text for people and JSON for machines.

Only events are logged, and what libraries say from a warning up. As a last net below the rule that
nobody passes a token on, anything that looks like one is blotted out of each finished line.

No log is worth a fleet: lines that cannot be written are counted, and the count is told once they can.
"""

from __future__ import annotations

import atexit
import io
import logging
import os
import re
import stat
import sys
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, TextIO

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trioworkers.events import Event

# https://core.telegram.org/bots/api#authorizing-your-bot; the secret has 35 characters today
TOKEN = re.compile(r"(?<!\d)\d{3,}(?::|%3[Aa])[A-Za-z0-9_-]{10,}")
LEVEL_NAMES = {"debug": "debug", "info": "info", "warn": "warning", "error": "error"}
JOURNAL_PRIORITY = {"debug": "<7>", "info": "<6>", "warning": "<4>", "error": "<3>"}  # sd-daemon(3)
WAITING_LINES = 4096  # kept while nobody reads the log
LAST_WORDS = 1.0  # seconds that the end of the process waits for them to be written


def redact(line: str) -> str:
    """The line with everything that looks like a token blotted out."""
    return TOKEN.sub("<token>", line)


def open_log(
    *, format: str = "auto", stream: TextIO | None = None, environ: Mapping[str, str] = os.environ
) -> Callable[[Event], None]:
    """A listener that writes events to `stream` (standard error by default). It never raises for it.

    Args:
        format: `text`, `json`, `journal`, or `auto`: text on a terminal, journal where systemd reads
            along, else JSON. The journal's format is text behind a priority.
        stream: where to write.
        environ: where `JOURNAL_STREAM` and `NO_COLOR` are looked up.
    """
    stream = stream or sys.stderr or _Nowhere()  # Python has None for a descriptor that is closed
    if format == "auto":
        format = "text" if stream.isatty() else "journal" if _is_journal(stream, environ) else "json"
    render: Any
    if format == "json":
        render = structlog.processors.JSONRenderer(sort_keys=False)
    else:
        colors = format == "text" and stream.isatty() and not environ.get("NO_COLOR")
        render = structlog.dev.ConsoleRenderer(colors=colors, pad_event_to=20)

    def line(level: str, told: dict[str, Any]) -> str:
        prefix = JOURNAL_PRIORITY[level] if format == "journal" else ""
        return f"{prefix}{redact(str(render(None, level, told)))}\n"

    lines = _Lines(
        stream, lambda lost: line("warning", {"event": "log.lost", "level": "warning", "lines": lost})
    )

    def write(level: str, told: dict[str, Any]) -> None:
        lines.write(line(level, told))

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
        write(level, told)

    _catch_libraries(write)
    return listen


def _catch_libraries(write: Callable[[str, dict[str, Any]], None]) -> None:
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
            write(level, told)

    root = logging.getLogger()
    root.handlers = [Handler(logging.WARNING)]
    root.setLevel(logging.WARNING)


class _Lines:
    """Writes lines to a stream. One that cannot be written is counted; the count is told when one can.

    What takes lines at once, a file, gets them at once. A pipe, a socket or a terminal takes them when
    somebody reads, and this is called on the daemon's loop: there a thread of its own writes, and what
    does not fit into its queue is counted, too. Rejected: O_NONBLOCK, which would hold for every process
    that has the same terminal or pipe; asking with poll first, as a terminal that has room for one byte
    blocks on the second. The thread begins with the first line, and no process that logs may fork
    without exec: its child would have the queue and not the thread. (Workers are fresh interpreters; a
    server that forks them has to begin before the log does, or not log.)

    Args:
        stream: written to by its descriptor, past its own buffer, which would keep what failed and fail
            with it again, at the latest when the process ends (exit code 120).
        lost: the line that tells how many were lost.
    """

    def __init__(self, stream: TextIO, lost: Callable[[int], str]) -> None:
        self._stream = stream
        self._tell_lost = lost
        self._lost = 0
        self._torn = False  # the last line was written in part
        self._serving = False
        self._waiting: deque[str] = deque()
        self._changed = threading.Condition()
        try:
            self._descriptor = True
            self._at_once = stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
        except (OSError, ValueError):
            self._descriptor, self._at_once = False, True

    def write(self, line: str) -> None:
        """Write a line, or count it. Never raises, never waits for a reader."""
        with self._changed:
            if self._at_once:
                self._write(line)
            elif len(self._waiting) >= WAITING_LINES:
                self._lost += 1
            else:
                self._waiting.append(line)
                self._changed.notify_all()
                if not self._serving:
                    self._begin()

    def _begin(self) -> None:
        try:
            threading.Thread(target=self._serve, name="log", daemon=True).start()
        except RuntimeError:  # no room for a thread now; the next line asks again
            return
        self._serving = True
        atexit.register(self._flush)

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
            self._write(self._waiting[0])
            with self._changed:
                self._waiting.popleft()  # only now: until then it is not written
                self._changed.notify_all()

    def _flush(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting, LAST_WORDS)

    def _write(self, line: str) -> None:
        lost = self._lost
        if lost and self._put(self._tell_lost(lost)):
            self._count(-lost)
        if not self._put(line):
            self._count(1)

    def _count(self, lines: int) -> None:
        with self._changed:
            self._lost += lines

    def _put(self, line: str) -> bool:
        """Write it whole; False when that failed."""
        try:
            if not self._descriptor:
                self._stream.write(line)
                self._stream.flush()
                return True
            data = (b"\n" if self._torn else b"") + line.encode(errors="backslashreplace")
            whole = len(data)
            try:
                while data:
                    data = data[os.write(self._stream.fileno(), data) :]
                self._torn = False
            finally:
                self._torn = self._torn or 0 < len(data) < whole
        except (OSError, ValueError):
            return False
        return True


class _Nowhere(io.StringIO):
    """What is written where there is no standard error."""

    def write(self, line: str, /) -> int:
        return len(line)


def _is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether `stream` is the very stream that $JOURNAL_STREAM names (systemd.exec(5))."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
