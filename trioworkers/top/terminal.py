"""The terminal that `top` has to itself: its keys one by one and its other screen, given back at the end."""

from __future__ import annotations

import os
import shutil
import termios
import tty
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

import trio
from rich.console import Console

from trioworkers.top.keys import Keys
from trioworkers.top.render import Screen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from rich.text import Text

ENTER, LEAVE = (
    "\x1b[?1049h\x1b[?25l\x1b[?7l",
    "\x1b[?7h\x1b[?25h\x1b[?1049l",
)  # other screen, cursor, wrapping
HOME, TO_END, BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
ESCAPE_WAIT = 0.05  # seconds after which a lone escape is the key


class Terminal:
    """A terminal while :meth:`held`.

    Args:
        source: its input.
        sink: its output.
    """

    def __init__(self, source: TextIO, sink: TextIO) -> None:
        self._source = source.fileno()
        self._sink = sink
        self._console = Console(file=sink, highlight=False, soft_wrap=True, legacy_windows=False)

    @property
    def screen(self) -> Screen:
        """Its size now, and whether it shows more than ASCII."""
        size = (
            os.get_terminal_size(self._sink.fileno()) if self._sink.isatty() else shutil.get_terminal_size()
        )
        is_plain = "utf" not in (self._sink.encoding or "").lower()
        return Screen(max(1, size.columns), max(1, size.lines), is_plain)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Inside, keys are not echoed and come at once, and the other screen is shown."""
        before = termios.tcgetattr(self._source)
        try:
            tty.setcbreak(self._source, termios.TCSANOW)  # ctrl-c is a signal as before
            mode = termios.tcgetattr(self._source)
            mode[6][termios.VSUSP] = b"\x00"  # in the background nobody would give the screen back
            termios.tcsetattr(self._source, termios.TCSANOW, mode)
            self._write(ENTER)
            yield
        finally:
            self._write(LEAVE)
            termios.tcsetattr(self._source, termios.TCSAFLUSH, before)

    def draw(self, lines: Sequence[Text]) -> None:
        """Draw the whole screen."""
        with self._console.capture() as capture:
            for place, line in enumerate(lines):
                if place:
                    self._console.out(TO_END, end="\n", highlight=False)
                self._console.print(line, end="", no_wrap=True, overflow="ignore", crop=False)
        self._write(HOME + capture.get() + TO_END + BELOW)

    async def keys(self) -> AsyncIterator[str]:
        """The names of the keys that are pressed, until the terminal is gone."""
        keys = Keys()
        while True:
            with trio.move_on_after(ESCAPE_WAIT if keys.is_waiting else float("inf")) as wait:
                await trio.lowlevel.wait_readable(self._source)
            if wait.cancelled_caught:
                pressed = keys.rest()
            else:
                data = os.read(self._source, 1024)
                if not data:
                    return
                pressed = keys.feed(data)
            for key in pressed:
                yield key

    def _write(self, text: str) -> None:
        self._sink.write(text)
        self._sink.flush()
