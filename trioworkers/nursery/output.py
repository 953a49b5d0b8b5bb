"""What a worker writes to its standard output and error: kept in the bot's log file.

The disk that these files are on holds the inbox, too: what a worker writes faster than its budget is
read, so that it goes on, and dropped. The file is rotated by size (`logs.files`).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from trioworkers.logs.files import RotatedFile

READ_SIZE = 64 * 1024
LAST_LINES = 20  # kept of all processes
TAIL_LINES = 40  # kept of one process; a crash writes a stack of some twenty
LINE_LENGTH = 500  # characters of each of them
RATE = 2**20  # bytes a second that reach the file in the long run
BURST = 8 * 2**20  # bytes that may come at once
CALM = 1.0  # seconds of silence after which dropped lines are told
BREATH = 0.001  # seconds between two reads of what is dropped: a flood costs little of the daemon's time
LEAST_SECRET = 10  # characters; a shorter one would blot out words


class Output:
    """Copies one bot's output to a file, with the bot's token blotted out of it.

    The token is found whole, as it stands in an address (`123%3AAAA`), and by its secret half alone.

    Args:
        file: the log file. Each write is of 128 KiB at most and within the budget, so it is made on the
            loop.
        token: what must not appear in it.
        echo: is given what was written, the token blotted out; None: nobody looks on. It must not block.
    """

    def __init__(self, file: RotatedFile, token: str, echo: Callable[[bytes], None] | None = None) -> None:
        self._file = file
        self._echo = echo
        self._forms = _forms(token)
        self._last: deque[str] = deque(maxlen=LAST_LINES)
        self._allowance = float(BURST)
        self._allowed_at = 0.0
        self._dropped = 0
        self._cut = False  # within a line that is counted as dropped

    @property
    def last_lines(self) -> list[str]:
        """The end of what was written, dropped or not."""
        return list(self._last)

    def hide(self, token: str) -> None:
        """Blot this one out, too, from now on."""
        self._forms = sorted({*self._forms, *_forms(token)}, key=len, reverse=True)

    def forget(self, token: str) -> None:
        """This one opens nothing any more, and may appear."""
        self._forms = [form for form in self._forms if form not in _forms(token)]

    async def copy(self, descriptor: int, tail: deque[str] | None = None) -> None:
        """Copy what comes from the pipe at `descriptor`, which it closes, until its end.

        Its last lines are put into `tail`, too, which is bounded: those of the process at the pipe's other
        end, where :attr:`last_lines` are those of all. Cancelling it loses what is in the pipe. A disk that
        is full loses lines, never the worker; lines that were lost are counted in the file, once there is
        something to follow them or silence.
        """
        rest = b""  # each process has its own: a bot may have two for a moment
        try:
            async with trio.lowlevel.FdStream(descriptor) as pipe:
                while True:
                    data: bytes | bytearray | None = None
                    with trio.move_on_after(CALM if self._dropped else float("inf")):
                        data = await pipe.receive_some(READ_SIZE)
                    if data is None:
                        self._write(b"")
                    elif data:
                        rest = self._take(rest + data, tail)
                        if self._dropped:
                            await trio.sleep(BREATH)
                    else:
                        break
        finally:  # also of a process that was killed amid a line, while another holds its pipe open
            self._take(rest, tail, end=True)

    def write_line(self, line: str) -> None:
        """Write a line of the daemon's own about the bot; its line break is part of it."""
        kept = self.last_lines
        self._write(self._blotted(line.encode(errors="replace")))
        self._last = deque(kept, maxlen=LAST_LINES)  # a worker's post-mortem shows the worker's own lines

    def _take(self, data: bytes, tail: deque[str] | None = None, *, end: bool = False) -> bytes:
        """Write what is whole, return the rest. A token is on one line: whole lines hold it whole.

        Of a line without an end so much is kept back that a token that has begun in it is kept back, too.
        """
        cut = len(data) if end else data.rfind(b"\n") + 1
        if not cut and len(data) > READ_SIZE:
            data = self._blotted(data)
            cut = max(0, len(data) - len(self._forms[0]) + 1)
        if cut or end:
            self._write(self._blotted(data[:cut]), tail)
        return data[cut:]

    def _blotted(self, data: bytes) -> bytes:
        for form in self._forms:
            data = data.replace(form, b"<token>")
        return data

    def _write(self, data: bytes, tail: deque[str] | None = None) -> None:
        """Write or drop it; before what is written stands how much was dropped before it."""
        lines = [line.decode(errors="replace")[:LINE_LENGTH] for line in data.splitlines()[-TAIL_LINES:]]
        self._last.extend(lines)
        if tail is not None:
            tail.extend(lines)
        now = trio.current_time()
        self._allowance = min(BURST, self._allowance + (now - self._allowed_at) * RATE)
        self._allowed_at = now
        if data and len(data) > self._allowance:
            self._drop(data)
            return
        note = b""
        if self._dropped:
            note = b"\n" * self._file.inside + f"… {self._dropped} lines dropped\n".encode()
        written = self._file.append(note + data) if note + data else 0
        if written >= len(note):
            self._dropped = 0
            self._cut = self._cut and not data
        copied = max(0, written - len(note))
        self._allowance -= copied
        if self._echo is not None and copied:
            self._echo(data[:copied])
        self._drop(data[copied:])

    def _drop(self, data: bytes) -> None:
        """Count the lines that `data` is, or is a part of."""
        if data:
            whole = data.endswith(b"\n")
            self._dropped += data.count(b"\n") + (not whole) - self._cut
            self._cut = not whole


def _forms(token: str) -> list[bytes]:
    """How a token may be written, the longest first."""
    bot_id, _, secret = token.partition(":")
    forms = [f"{bot_id}%3A{secret}", f"{bot_id}%3a{secret}", token]
    if len(secret) >= LEAST_SECRET:
        forms.append(secret)
    return [form.encode() for form in forms]
