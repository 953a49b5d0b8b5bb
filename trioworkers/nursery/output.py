"""What a worker writes to its standard output and error: kept in the bot's log file."""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from pathlib import Path

READ_SIZE = 64 * 1024
LAST_LINES = 20  # kept for the post-mortem
LINE_LENGTH = 500  # characters of each of them


class Output:
    """Copies one bot's output to a file, with the bot's token blotted out of it.

    Args:
        path: the log file; made with mode 0600, appended to.
        token: what must not appear in it.
    """

    def __init__(self, path: Path, token: str) -> None:
        self._path = path
        self._token = token.encode()
        self._rest = b""
        self._last: deque[str] = deque(maxlen=LAST_LINES)

    @property
    def last_lines(self) -> list[str]:
        """The end of what was written."""
        return list(self._last)

    async def copy(self, descriptor: int) -> None:
        """Copy what comes from the pipe at `descriptor`, which it closes, until its end.

        Cancelling it loses what is in the pipe. A disk that is full loses lines, never the worker.
        """
        async with trio.lowlevel.FdStream(descriptor) as pipe:
            while data := await pipe.receive_some(READ_SIZE):
                self._write(data)
        self._write(b"", end=True)

    def _write(self, data: bytes, *, end: bool = False) -> None:
        data = self._rest + data
        cut = len(data) if end or len(data) > READ_SIZE else data.rfind(b"\n") + 1
        whole, self._rest = data[:cut], data[cut:]  # a token is on one line: whole lines hold it whole
        if not whole:
            return
        whole = whole.replace(self._token, b"<token>")
        for line in whole.splitlines()[-LAST_LINES:]:
            self._last.append(line.decode(errors="replace")[:LINE_LENGTH])
        try:
            log = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(log, whole)
            finally:
                os.close(log)
        except OSError:
            return
