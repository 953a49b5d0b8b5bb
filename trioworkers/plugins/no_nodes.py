"""The nodes of a daemon that is in no cluster, as plugins see them."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trioworkers.plugin_types import AllRows


class NoNodes:
    """As :class:`~trioworkers.plugin_types.PluginNodes`: there is no other node."""

    is_alone = True
    is_asking = False

    async def answer_of_owner(self, bot: str) -> Any:
        await trio.lowlevel.checkpoint()

    async def all_rows(self, own: Mapping[str, Any], rows: str, by: str) -> AllRows | None:
        await trio.lowlevel.checkpoint()
        return None

    async def tell(self, text: str) -> None:
        await trio.lowlevel.checkpoint()

    def hears(self, hear: Callable[[str], None]) -> AbstractContextManager[None]:
        return nullcontext()
