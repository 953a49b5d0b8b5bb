"""What a demo shows: the conversations, and between them what the daemon reports of warnings and errors.

Colour and width are for terminals; into a file or a pipe go plain whole lines.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, TextIO

import trio
from rich.console import Console
from rich.table import Table
from rich.text import Text

from trioworkers.events import LEVELS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trioworkers.demo.summary import Summary
    from trioworkers.events import Event

COLOURS = ("cyan", "green", "magenta", "blue")
NAME_WIDTH = 6


class Screen:
    """Writes the demo to `stream`, which may go away: then all else is silent.

    Written without yielding to other tasks: a terminal that is stopped (Ctrl-S) stops the demo with it.

    Args:
        stream: where to write.
        bots: what each bot does, by name.
        on_gone: called when nobody reads any more.
    """

    def __init__(self, stream: TextIO, bots: Mapping[str, str], *, on_gone: Callable[[], None]) -> None:
        self._on_gone: Callable[[], None] | None = on_gone
        self._stream = stream
        self._console = _Console(file=stream, highlight=False, soft_wrap=True, markup=False, emoji=False)
        self._colours = {bot: COLOURS[number % len(COLOURS)] for number, bot in enumerate(bots)}
        self._bots = bots
        self._people: dict[str, str] = {}
        self._began = 0.0

    def introduce(self, people: int, command: str) -> None:
        """Say what this is and where to look further."""
        self._print(
            Text(
                f"A real daemon runs {len(self._bots)} bots, each in its own process."
                f" Telegram and {people} people are simulated.",
                "bold",
            )
        )
        for bot, about in self._bots.items():
            self._print(Text.assemble("  ", (f"{bot:<{NAME_WIDTH}}", self._colours[bot]), f"  {about}"))
        self._print(Text(f"Look around from another terminal: {command}"))

    def ready(self, pids: Mapping[str, int | None], ends: str) -> None:
        """Say that all workers are up, and how the demo ends."""
        processes = ", ".join(f"{bot} is process {pid}" for bot, pid in pids.items())
        self._print(Text(f"Ready: {processes}. {ends}\n"))
        self._began = trio.current_time()

    def person_says(self, person: str, bot: str, what: str) -> None:
        self._line(person, "→", bot, Text(what), bot=bot)

    def bot_says(self, bot: str, person: str, text: str, buttons: list[str], *, edited: bool) -> None:
        said = Text(text)
        for button in buttons:
            said.append(f"  [{button}]", "bold")
        if edited:
            said.append("  (edited)", "dim")
        self._line(bot, "→", person, said, bot=bot)

    def meets(self, user_id: int, name: str) -> None:
        """Know a person by name, as events name chats."""
        self._people[str(user_id)] = name

    def event(self, event: Event) -> None:
        """A listener of the daemon's events: shows what was dropped, warnings and errors."""
        fields = dict(event.fields)
        bot = event.bot or "daemon"
        person = self._people.get(str(fields.pop("dialog", "")).rpartition("/")[2], "")
        if event.event == "update.retried":
            words = f"RETRY {fields['attempt']} in {fields['wait']:.2f} s: {fields['error']}"
            self._line(bot, "↻", person, Text(words, "yellow"), bot=bot)
        elif event.event == "update.dead":
            self._line(bot, "✗", person, Text(f"DEAD LETTER: {fields['reason']}", "red"), bot=bot)
        elif event.event == "update.dropped":
            self._line(bot, "∅", person, Text(f"DROPPED: {fields['reason']}", "dim"), bot=bot)
        elif LEVELS[event.level] >= LEVELS["warn"]:
            told = " ".join(f"{name}={value}" for name, value in fields.items())
            colour = "red" if event.level == "error" else "yellow"
            self._line(bot, "!", person, Text(f"{event.event} {told}", colour), bot=bot)

    def say(self, text: str) -> None:
        """A line about the demo itself."""
        self._print(Text(f"\n{text}"))

    def summarize(self, summary: Summary) -> None:
        """The numbers, and whether they agree."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        columns = ("accepted", "answered", "done", "dropped", "retried", "dead", "pending")
        table.add_column("")
        for column in columns:
            table.add_column(column, justify="right")
        for bot, counts in [*summary.bots.items(), ("all", summary.total)]:
            values = asdict(counts)
            name = Text(bot, self._colours.get(bot, "bold"))
            table.add_row(name, *(Text(str(values[column])) for column in columns))
        self._print(Text())
        self._print(table)
        self._print(Text(summary.verdict(), "green" if summary.agrees else "red"))

    def _line(self, who: str, sign: str, whom: str, what: Text, *, bot: str) -> None:
        colour = self._colours.get(bot, "default")
        at = Text(f"{trio.current_time() - self._began:6.1f} ", "dim")
        parts = (at, (f"{who:>{NAME_WIDTH}}", colour), f" {sign} ", (f"{whom:<{NAME_WIDTH}}", colour), " ")
        self._print(Text.assemble(*parts, what))

    def _print(self, what: Text | Table) -> None:
        if self._on_gone is None:
            return
        try:
            self._console.print(what)
        except OSError:  # the terminal was closed, or the reader of the pipe has left
            on_gone, self._on_gone = self._on_gone, None
            _silence(self._stream)
            on_gone()


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Let the error through: rich would exit here, and the fleet has to be stopped first."""
        raise


def _silence(stream: TextIO) -> None:
    """Send what is left in the buffer nowhere, or the interpreter complains as it exits."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
