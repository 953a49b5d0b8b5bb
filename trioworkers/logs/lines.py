"""Lines into a sink that may fail: what is lost is counted, and told once there is room again.

No log is worth a fleet: nothing here raises, and nothing waits for a reader.
"""

from __future__ import annotations

import atexit
import os
import stat
import threading
from collections import deque
from contextlib import nullcontext
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from trioworkers.logs.files import RotatedFile

WAITING_LINES = 4096  # kept while nobody reads the log
LAST_WORDS = 1.0  # seconds that the end of the process waits for them to be written


class Lines:
    """Writes lines to a sink. One that cannot be written is counted; the count is told when one can.

    What takes lines at once, a file, gets them at once. A pipe, a socket or a terminal takes them when
    somebody reads, and this is called on the daemon's loop: there a thread of its own writes, and what
    does not fit into its queue is counted, too. Rejected: O_NONBLOCK, which would hold for every process
    that has the same terminal or pipe; asking with poll first, as a terminal that has room for one byte
    blocks on the second. The thread begins with the first line, and no process that logs may fork
    without exec: its child would have the queue and not the thread. (What forks
    workers is a fresh interpreter, which logs nothing.)

    Args:
        sink: takes the lines.
        lost: the line that tells how many were lost.
    """

    def __init__(self, sink: StreamSink | FileSink, lost: Callable[[int], str]) -> None:
        self._sink = sink
        self._emit_lost = lost
        self._lost = 0
        self._serving = False
        self._waiting: deque[str] = deque()
        self._changed = threading.Condition()

    def write(self, line: str) -> None:
        """Write a line, or count it. Never raises, never waits for a reader."""
        with self._changed:
            if self._sink.at_once:
                self._write(line)
            elif len(self._waiting) >= WAITING_LINES:
                self._lost += 1
            else:
                self._waiting.append(line)
                if len(self._waiting) == 1:  # else the thread is awake: each call for it costs a switch
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
                if not self._waiting:
                    self._changed.notify_all()

    def _flush(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting, LAST_WORDS)

    def _write(self, line: str) -> None:
        lost = self._lost
        if lost and self._sink.put(self._emit_lost(lost)):
            self._count(-lost)
        if not self._sink.put(line):
            self._count(1)

    def _count(self, lines: int) -> None:
        with self._changed:
            self._lost += lines


class StreamSink:
    """A stream, written to by its descriptor.

    Past its own buffer, which would keep what failed and fail with it again, at the latest when the
    process ends (exit code 120).

    Args:
        stream: a text stream.
        turn: entered around each write, in the thread that writes; it may block.

    Attributes:
        stream: the stream.
    """

    def __init__(
        self, stream: TextIO, turn: Callable[[], AbstractContextManager[object]] = nullcontext
    ) -> None:
        self.stream = stream
        self._turn = turn
        self._torn = False  # the last line was written in part
        try:
            self._descriptor = True
            self.at_once = stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
        except (OSError, ValueError):
            self._descriptor, self.at_once = False, True

    def put(self, line: str) -> bool:
        """Write it whole; False when that failed."""
        try:
            if not self._descriptor:
                self.stream.write(line)
                self.stream.flush()
                return True
            data = (b"\n" if self._torn else b"") + line.encode(errors="backslashreplace")
            whole = len(data)
            try:
                with self._turn():
                    while data:
                        data = data[os.write(self.stream.fileno(), data) :]
                self._torn = False
            finally:
                self._torn = self._torn or 0 < len(data) < whole
        except (OSError, ValueError):
            return False
        return True


class FileSink:
    """A log file."""

    at_once = True

    def __init__(self, file: RotatedFile) -> None:
        self._file = file

    def put(self, line: str) -> bool:
        """Write it whole; False when that failed."""
        data = (b"\n" if self._file.inside else b"") + line.encode(errors="backslashreplace")
        return self._file.append(data) == len(data)
