"""Tells the owners of bots that this node has committed updates for them, by webhook or by replay.

The owner looks into the database each second anyway: a message that is lost delays updates by that at most.
What is committed within some milliseconds is told together, so that a busy webhook costs few messages.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from trioworkers.inbox.store import StoreError

if TYPE_CHECKING:
    from trioworkers.cluster.port import Cluster
    from trioworkers.inbox.inbox import Inbox

TOPIC = "wake"
GATHER = 0.007  # seconds
MOST = 300  # bots of one message: their ids have up to 20 digits


class Wakes:
    """Sends these messages, and obeys those of others. :meth:`serve` once.

    Args:
        cluster: the cluster.
        inbox: where updates are committed.
    """

    def __init__(self, cluster: Cluster, inbox: Inbox) -> None:
        self._cluster = cluster
        self._inbox = inbox
        self._bots: set[int] = set()
        self._noted = trio.Event()

    async def serve(self) -> None:
        """Serve until cancelled."""
        self._inbox.unclaimed = self._note
        self._cluster.listen(TOPIC, self._hear)
        while True:
            await self._noted.wait()
            await trio.sleep(GATHER)
            bots, self._bots, self._noted = self._bots, set(), trio.Event()
            for node, ids in self._by_owner(bots).items():
                for first in range(0, len(ids), MOST):
                    text = ",".join(map(str, ids[first : first + MOST]))
                    with suppress(StoreError):  # the owner looks for itself
                        await self._cluster.tell(TOPIC, text, node)

    def _note(self, bot_id: int) -> None:
        self._bots.add(bot_id)
        self._noted.set()

    def _hear(self, text: str) -> None:
        self._inbox.wake(int(word) for word in text.split(",") if word)

    def _by_owner(self, bots: set[int]) -> dict[str, list[int]]:
        """The bots that other nodes own, by node."""
        found: defaultdict[str, list[int]] = defaultdict(list)
        for bot_id in sorted(bots):
            owner = self._cluster.owner(bot_id)
            if owner is not None and owner.node not in (None, self._cluster.life):
                assert owner.node is not None  # noqa: S101 - for mypy
                found[owner.node].append(bot_id)
        return found
