"""The latest messages of the stream, framed, for all who read them."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

CHANGE = 1000  # the level of a change: above every level of an event
MOST_BYTES = 2 * 2**20


class Message(NamedTuple):
    """A message of the stream.

    Attributes:
        seq: its number.
        level: an event's level, as in :data:`trioworkers.events.LEVELS`; `CHANGE` for a change.
        bot: the bot it is about; None: the daemon.
        frame: the whole frame.
    """

    seq: int
    level: int
    bot: str | None
    frame: bytes


class Wants(NamedTuple):
    """What a client is sent.

    Attributes:
        level: the least level of events, as a number; `CHANGE`: no events.
        bots: the bots; None: all. The daemon's own messages are always sent.
    """

    level: int
    bots: frozenset[str] | None = None

    def has(self, level: int, bot: str | None) -> bool:
        """Whether a message of this level about this bot is sent."""
        return level >= self.level and (self.bots is None or bot is None or bot in self.bots)


class Cut(NamedTuple):
    """Messages for a client. `seq`: the number of the last one; `frames`: those that it wants."""

    seq: int
    frames: bytes


class Ring:
    """The latest messages, in ascending order of their numbers without gaps; the oldest make room.

    Args:
        seq: the number before that of the first message.
        most: bytes.

    Attributes:
        last: the number of the last message.
        floor: the number of the last message that is gone.
        previous: the number of the last message before those that were put together at last.
    """

    def __init__(self, seq: int, most: int = MOST_BYTES) -> None:
        self.last = self.floor = self.previous = seq
        self._messages: deque[Message] = deque()
        self._most = most
        self._size = 0
        self._cuts: dict[tuple[int, Wants], Cut] = {}  # until the next message

    def put(self, message: Message) -> None:
        """Append the message whose number is `last + 1`."""
        self._messages.append(message)
        self._size += len(message.frame)
        self.last = message.seq
        self._cuts.clear()
        while self._size > self._most and len(self._messages) > 1:
            gone = self._messages.popleft()
            self._size -= len(gone.frame)
            self.floor = gone.seq

    def begin(self) -> None:
        """More messages are put now, which belong together."""
        self.previous = self.last

    def cut(self, seq: int, wants: Wants) -> Cut:
        """All messages after `seq`, which is not below `floor`: one piece of memory for all who ask."""
        key = (seq, wants)
        cut = self._cuts.get(key)
        if cut is None:
            cut = self._cuts[key] = Cut(
                self.last, b"".join(one.frame for one in self._after(seq) if wants.has(one.level, one.bot))
            )
        return cut

    def part(self, seq: int, wants: Wants, most: int) -> Cut:
        """Messages after `seq`, as many as have at most so many bytes, one at least."""
        frames: list[bytes] = []
        size, last = 0, seq
        for message in self._after(seq):
            if wants.has(message.level, message.bot):
                size += len(message.frame)
                if frames and size > most:
                    break
                frames.append(message.frame)
            last = message.seq
        return Cut(last, b"".join(frames))

    def events(self, seq: int, wants: Wants, most: int) -> list[Message]:
        """The latest events after `seq`, at most so many, that are wanted."""
        seq = max(seq, self.floor)
        found = [one for one in self._after(seq) if one.level < CHANGE and wants.has(one.level, one.bot)]
        return found[-most:]

    def _after(self, seq: int) -> Iterator[Message]:
        """The messages after `seq`. Their numbers have no gaps; a deque is quick near both of its ends."""
        return (self._messages[place] for place in range(seq - self.floor, len(self._messages)))
