"""The other nodes of the cluster as plugins see them: asked within their routes, and told short messages."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import trio

from trioworkers.plugin_types import AllRows
from trioworkers.web.peers import asked_by_node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from quart import Response

    from trioworkers.web.peers import Peers


class NodesOfPlugin:
    """As :class:`~trioworkers.plugin_types.PluginNodes`, for one plugin.

    Args:
        peers: the other nodes.
        plugin: the plugin's name.
    """

    is_alone = False

    def __init__(self, peers: Peers, plugin: str) -> None:
        self._peers = peers
        self._topic = f"plugin.{plugin}"
        self._hears: list[Callable[[str], None]] = []
        peers.cluster.listen(self._topic, self._hear)

    @property
    def is_asking(self) -> bool:
        return asked_by_node()

    async def answer_of_owner(self, bot: str) -> Response | None:
        return await self._peers.answer_of_owner(bot)

    async def all_rows(self, own: Mapping[str, Any], rows: str, by: str) -> AllRows | None:
        if self.is_asking:
            await trio.lowlevel.checkpoint()
            return None
        found = await self._peers.gather(own, rows, by)
        return AllRows(found.rows, found.nodes, found.missing)

    async def tell(self, text: str) -> None:
        await self._peers.cluster.tell(self._topic, text)

    @contextmanager
    def hears(self, hear: Callable[[str], None]) -> Iterator[None]:
        self._hears.append(hear)
        try:
            yield
        finally:
            self._hears.remove(hear)

    def _hear(self, text: str) -> None:
        for hear in list(self._hears):
            hear(text)
