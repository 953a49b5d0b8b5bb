"""What bots print, shown on the terminal on which the daemon runs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trioworkers.logs.render import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from trioworkers.logs.render import Render


@dataclass(frozen=True, slots=True)
class Terminal:
    """The terminal that a daemon runs on: what it shows there besides its log, and what who sits there wants.

    Attributes:
        show_link: is given a login link for the dashboard when the daemon is ready; None: nobody can see it.
        echo: is given the name of a bot and what it prints; None: nobody looks on. Neither may block.
        watches_code: workers are to be replaced when their code changes.
        console: the terminal's path, for breakpoints of bots, which run without time limits; empty where
            there is no terminal; None: nobody debugs.
    """

    show_link: Callable[[str], None] | None = None
    echo: Callable[[str, bytes], None] | None = None
    watches_code: bool = False
    console: str | None = None


def echoed(bot: str, data: bytes, render: Render) -> list[str]:
    """What a terminal shows of what a bot wrote, in lines with their ends.

    Lines of `bot.log` look as the daemon's own, and all else stands behind the bot's name. `data` is whole
    lines, but perhaps for the last.
    """
    lines = []
    for text in data.decode(errors="replace").splitlines():
        told: Any = None
        if text.startswith("{"):
            try:
                told = json.loads(text)
            except (ValueError, RecursionError):
                told = None
        if isinstance(told, dict) and "event" in told and "level" in told:
            try:
                lines.append(render(told))
                continue
            except Exception:  # a bot may write anything, also what looks like one of our lines
                told = None
        lines.append(f"{bot} | {printable(text)}\n")
    return lines
