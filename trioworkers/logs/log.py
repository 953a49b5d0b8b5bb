"""The daemon's log: events, and what libraries say from a warning up, as lines in every sink.

A sink is standard error, in the format that suits who reads it, and `master.log`. The file holds JSON
whatever that format is: it is read by programs and by `trioworkers logs`, which makes text of it for a
terminal, with colours or not; text could not be made JSON again.
"""

from __future__ import annotations

import logging
import os
import stat
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, TextIO

import trio

from trioworkers.awake import next_beat
from trioworkers.logs.echo import echoed
from trioworkers.logs.lines import FileSink, Lines, StreamSink
from trioworkers.logs.render import rendering, stamp
from trioworkers.logs.throttle import Throttle
from trioworkers.service.journal import is_journal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trioworkers.events import Event
    from trioworkers.logs.files import RotatedFile
    from trioworkers.logs.render import Render

LAST_EVENT = "daemon.stopped"
TICK = 1.0  # seconds between two looks at what throttling holds


def open_log(
    *,
    format: str = "auto",
    stream: TextIO | StreamSink | None = None,
    file: RotatedFile | None = None,
    environ: Mapping[str, str] = os.environ,
    throttle_window: Callable[[], float] = lambda: 0.0,
    clock: Callable[[], float] = time.monotonic,
) -> Log:
    """A listener that writes events to `stream` and `file`. It never raises for it.

    Args:
        format: of the stream: `text`, `json`, `journal`, or `auto`: text on a terminal, journal where
            systemd reads along, else JSON. The journal's format is text behind a priority.
        stream: where to write, or the sink for it; by default standard error.
        file: where to write, too, as JSON.
        environ: where `JOURNAL_STREAM` and `NO_COLOR` are looked up.
        throttle_window: seconds for which repeats are held back, read each time; 0: none are. Otherwise
            :meth:`Log.serve` has to run.
        clock: seconds, for the windows.
    """
    sink: StreamSink | None = None
    if isinstance(stream, StreamSink):
        sink, stream = stream, stream.stream
    stream = stream or sys.stderr  # Python has None for a descriptor that is closed
    terminal: tuple[Render, Lines] | None = None
    sinks: dict[Render, list[Lines]] = {}  # what is one rendering is made once for all its sinks
    if stream is not None and not _leads_nowhere(stream):
        if format == "auto":
            format = "text" if stream.isatty() else "journal" if is_journal(stream, environ) else "json"
        colors = format == "text" and stream.isatty() and not environ.get("NO_COLOR")
        render = rendering(format, colors=colors)
        sinks[render] = [Lines(sink or StreamSink(stream), _lost(render))]
        if stream.isatty():
            terminal = render, sinks[render][0]
    if file is not None:
        render = rendering("json")
        sinks.setdefault(render, []).append(Lines(FileSink(file), _lost(render)))
    log = Log(sinks, throttle_window, clock, terminal)
    _hear_libraries(log)
    return log


def told_of(event: Event) -> dict[str, Any]:
    """An event as what a line tells."""
    told: dict[str, Any] = {"event": event.event, "level": event.level, "at": stamp(event.at)}
    if event.bot is not None:
        told["bot"] = event.bot
    if event.trace_id is not None:
        told["trace_id"] = event.trace_id
    return {**told, **event.fields}


def _lost(render: Render) -> Callable[[int], str]:
    """What makes the line that tells how many were lost."""
    return lambda lines: render(
        {"event": "log.lost", "level": "warn", "at": stamp(time.time()), "lines": lines}
    )


class Log:
    """Tells everything to each sink, but for the repeats that throttling holds; made by :func:`open_log`.

    To be called from any thread.
    """

    def __init__(
        self,
        sinks: Mapping[Render, Sequence[Lines]],
        throttle_window: Callable[[], float],
        clock: Callable[[], float],
        terminal: tuple[Render, Lines] | None = None,
    ) -> None:
        self._sinks = sinks
        self._terminal = terminal
        self._window = throttle_window
        self._clock = clock
        self._throttle = Throttle()
        self._lock = threading.RLock()

    def __call__(self, event: Event) -> None:
        """Log an event. With the daemon's last one comes what is held: nobody could tell it later."""
        if event.event == LAST_EVENT:
            self.flush()
        self.write(told_of(event))

    def write(self, told: Mapping[str, Any]) -> None:
        """Log what is told: `event`, `level`, `at` and fields; a repeat is held for its window."""
        with self._lock:
            if self._throttle.admits(told, self._clock(), self._window()):
                self._put([told])

    @property
    def echo(self) -> Callable[[str, bytes], None] | None:
        """Shows on the terminal what a bot wrote, given its name; None when no terminal is written to."""
        if self._terminal is None:
            return None
        render, lines = self._terminal

        def show(bot: str, data: bytes) -> None:
            for line in echoed(bot, data, render):
                lines.write(line)

        return show

    def flush(self) -> None:
        """Write what is held, with its counts."""
        with self._lock:
            self._put(self._throttle.flush())

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write held repeats when their window ends, a second late at most; all of them when cancelled."""
        task_status.started()
        try:
            while True:
                await trio.sleep_until(next_beat(TICK))
                with self._lock:
                    self._put(self._throttle.due(self._clock(), self._window()))
        finally:
            self.flush()

    def _put(self, lines: list[dict[str, Any]] | list[Mapping[str, Any]]) -> None:
        for told in lines:
            for render, sinks in self._sinks.items():
                line = render(told)
                for sink in sinks:
                    sink.write(line)


def _hear_libraries(log: Log) -> None:
    """Let what libraries log from a warning up appear among the events, without tracebacks' values."""

    class LogHandler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            level = "error" if record.levelno >= logging.ERROR else "warn"
            try:
                says = record.getMessage()
            except Exception:  # a malformed call of a library's; its words without their values
                says = str(record.msg)
            told = {
                "event": "library",
                "level": level,
                "at": stamp(record.created),
                "logger": record.name,
                "says": says,
            }
            if record.exc_info and record.exc_info[0] is not None:
                told["error"] = record.exc_info[0].__name__
            log.write(told)

    root = logging.getLogger()
    root.handlers = [LogHandler(logging.WARNING)]
    root.setLevel(logging.WARNING)


def _leads_nowhere(stream: TextIO) -> bool:
    """Whether it is the null device: lines for it would be made, and handed to a thread, for nobody."""
    try:
        found = os.fstat(stream.fileno())
        return stat.S_ISCHR(found.st_mode) and found.st_rdev == os.stat(os.devnull).st_rdev
    except (OSError, ValueError):
        return False
