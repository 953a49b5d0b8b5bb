"""A poll that waits, and what it is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import trio

if TYPE_CHECKING:
    from collections.abc import Sequence

LARGEST_BATCH = 4 * 2**20  # bytes of one answer, from which on it takes no more; as at Telegram


class Waiting:
    """A poll that is to be answered.

    Args:
        limit: with how many updates at most.

    Attributes:
        given: the updates that it will be answered with.
        woken: set when it is to be answered.
    """

    def __init__(self, limit: int) -> None:
        self.given: list[bytes] = []
        self.woken = trio.Event()
        self._limit = limit
        self._size = 0

    @property
    def room(self) -> int:
        """How many more it takes."""
        return 0 if self._size >= LARGEST_BATCH else self._limit - len(self.given)

    def add(self, body: bytes) -> None:
        """Give it an update."""
        self.given.append(body)
        self._size += len(body)


def with_id(body: bytes, number: int) -> bytes:
    """Return an update with another `update_id`, all else as it stands."""
    update = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    update["update_id"] = msgspec.Raw(b"%d" % number)
    return msgspec.json.encode(update)


def updates_of(bodies: Sequence[bytes]) -> bytes:
    """The answer to a poll."""
    return b'{"ok":true,"result":[%s]}' % b",".join(bodies)
