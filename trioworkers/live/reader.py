"""What one client of the stream is sent next.

A reader keeps a number, that of the last message it gave out. While the client keeps up, that is all, and
what it is given is shared with the others. A client that is too slow for the ring of messages is given the
rows as they are now, a few at a time: its changes are merged, and they do not wait anywhere.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from trioworkers.live.frames import text_frame
from trioworkers.live.ring import CHANGE
from trioworkers.logs.render import redact

if TYPE_CHECKING:
    from collections.abc import Callable

    from trioworkers.live.merge import Board, Row
    from trioworkers.live.ring import Message, Ring, Wants

BEHIND = 64 * 1024  # bytes of messages that a client which is behind is given at a time
ROWS = 50  # merged rows that it is given at a time
EVENTS = 100  # of the events that it missed, the latest are sent all the same


@dataclass(slots=True)
class Catching:
    """A client on its way to the present: what it still has to be told of what came after `since`.

    Its rows come first and have that number, so that a client which is cut off meanwhile resumes from
    there. Its events are the last, with numbers of their own, up to `until`.
    """

    since: int
    until: int
    names: deque[str | None]
    events: list[Message]


class Reader:
    """Gives out what a client is to be sent.

    Args:
        ring: the latest messages.
        board: the rows.
        wants: what the client wants.
        since: the number of the last message that it has; None: it has nothing.
        snapshot: gives the frame of a snapshot and its number, shared with others.
    """

    def __init__(
        self,
        ring: Ring,
        board: Board,
        wants: Wants,
        since: int | None,
        snapshot: Callable[[frozenset[str] | None], tuple[int, bytes]],
    ) -> None:
        self._ring = ring
        self._board = board
        self._wants = wants
        self._seq = since
        self._snapshot = snapshot
        self._catching: Catching | None = None

    def next(self) -> bytes:
        """What the client is to be sent now; empty when it is up to date."""
        ring = self._ring
        seq = self._seq
        if self._catching is not None:
            return self._merged(self._catching)
        if seq is None or not self._board.floor <= seq <= ring.last:
            # it begins, or what it knows is of another run of the daemon
            self._seq, frame = self._snapshot(self._wants.bots)
            return frame
        if seq == ring.last:
            return b""
        if seq < ring.floor:
            return self._begin_catching(seq)
        cut = ring.cut(seq, self._wants) if seq >= ring.previous else ring.part(seq, self._wants, BEHIND)
        self._seq = cut.seq
        return cut.frames

    def _begin_catching(self, seq: int) -> bytes:
        """Say how many messages are left out; the rows come next, and then the latest events."""
        ring, wants = self._ring, self._wants
        names = [name for name in self._board.changed_since(seq) if wants.has(CHANGE, name)]
        events = ring.events(seq, wants, EVENTS)
        self._catching = Catching(seq, ring.last, deque(names), events)
        missed = ring.last - seq - len(names) - len(events)
        return encode({"type": "lagged", "missed": max(0, missed)})

    def _merged(self, catching: Catching) -> bytes:
        if not catching.names:
            self._catching, self._seq = None, catching.until
            return b"".join(event.frame for event in catching.events) or self.next()
        frames = []
        for _ in range(min(ROWS, len(catching.names))):
            name = catching.names.popleft()
            frames.append(encode_change(catching.since, name, self._board.fields_since(name, catching.since)))
        return b"".join(frames)


def encode_change(seq: int, bot: str | None, fields: Row | None) -> bytes:
    """The frame of a change."""
    return encode({"type": "change", "seq": seq, "bot": bot, "data": fields})


def encode(message: dict[str, Any], *, redacted: bool = False) -> bytes:
    """The frame of a message; what JSON does not know is shown as Python shows it.

    `redacted`: blot out what looks like a token, as in a log.
    """
    try:
        payload = msgspec.json.encode(message, enc_hook=repr)
    except (TypeError, ValueError):  # keys that are no texts, halves of characters: some plugin's or worker's
        payload = json.dumps(message, default=repr, skipkeys=True).encode()
    return text_frame(redact(payload.decode()).encode() if redacted else payload)
