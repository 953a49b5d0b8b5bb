"""Handlers of which a worker was ready in this run of the daemon.

A bot's updates are fetched once it is known that its handler works: Telegram forgets what was fetched, and a
bot that cannot work must not take updates from wherever it ran before. The worker of another bot with the
same handler proves that, too. What a worker does until it is ready depends on the bot in one place only: the
handler's `start`, which sees the bot's settings. So where there is a `start`, the settings have to be the
same.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    import trio

    from trioworkers.protocol.frames import Configure


@dataclass(frozen=True, slots=True)
class HandlerStart:
    """What it depends on whether a worker gets ready.

    Attributes:
        code: the handler's name, and the folders where it is looked for.
        settings: a digest of the bot's `settings`, which may hold secrets.
    """

    code: tuple[str, ...]
    settings: bytes

    @classmethod
    def of(cls, handler: str, python_path: Sequence[str], settings: Mapping[str, Any]) -> HandlerStart:
        """Make one of a bot's handler and settings."""
        form = msgspec.json.encode(dict(settings), order="deterministic")
        return cls((handler, *python_path), blake2b(form, digest_size=16).digest())


def start_of(configure: Configure) -> HandlerStart | None:
    """What a worker starts with; None for one that runs a program, which proves nothing for others."""
    if configure.program is not None:
        return None
    return HandlerStart.of(configure.handler, configure.python_path, configure.tuning.settings)


class ProvenHandlers:
    """Which handlers are proven, and the bots that wait for it."""

    def __init__(self) -> None:
        self._proven: defaultdict[tuple[str, ...], set[bytes]] = defaultdict(set)
        self._whatever: set[tuple[str, ...]] = set()  # proven with any settings
        self._asked: dict[trio.Event, HandlerStart] = {}
        self._waiting: defaultdict[tuple[str, ...], dict[trio.Event, bytes]] = defaultdict(dict)

    def ask(self, event: trio.Event, start: HandlerStart) -> None:
        """Set an event once such a start is proven, now if it is. What was asked with it is forgotten."""
        self.forget(event)
        if start.code in self._whatever or start.settings in self._proven[start.code]:
            event.set()
        elif not event.is_set():
            self._asked[event] = start
            self._waiting[start.code][event] = start.settings

    def forget(self, event: trio.Event) -> None:
        """Nobody waits for this event any more."""
        start = self._asked.pop(event, None)
        if start is not None:
            del self._waiting[start.code][event]

    def note_ready(self, start: HandlerStart, *, has_start: bool) -> None:
        """A worker that began so is ready. `has_start`: something in it has seen the bot's settings."""
        if start.code in self._whatever or (has_start and start.settings in self._proven[start.code]):
            return
        if has_start:
            self._proven[start.code].add(start.settings)
        else:
            self._whatever.add(start.code)
        for event, settings in list(self._waiting[start.code].items()):
            if not has_start or settings == start.settings:
                self.forget(event)
                event.set()

    def note_unfit(self, start: HandlerStart) -> None:
        """The handler cannot be imported any more: nothing is proven of it now."""
        self._proven.pop(start.code, None)
        self._whatever.discard(start.code)
