"""The plugin's storage as the dialogs of one bot use it: nothing is written once the bot has left.

In a cluster, another node may have read the dialogs by then. What is written here has been handed to the
writer before anything else runs on the loop, so that it comes before the bot is given away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trioworkers_plugins.handoff.office import UnknownBotError

if TYPE_CHECKING:
    from trioworkers.plugin_types import PluginStore


class HeldStore:
    """As :class:`~trioworkers.plugin_types.PluginStore`, until :meth:`close`.

    Args:
        store: the plugin's storage.
        bot: the bot's name.
    """

    def __init__(self, store: PluginStore, bot: str) -> None:
        self._store = store
        self._bot = bot
        self._is_closed = False

    def close(self) -> None:
        """Refuse to write from now on."""
        self._is_closed = True

    async def get(self, key: str) -> Any:
        return await self._store.get(key)

    async def set(self, key: str, value: Any, *, ttl: float | None = None) -> None:
        """As the plugin's storage.

        Raises:
            UnknownBotError: the bot has left; nothing is written.
        """
        self._see_open()
        await self._store.set(key, value, ttl=ttl)

    async def delete(self, key: str) -> bool:
        """As :meth:`set`."""
        self._see_open()
        return await self._store.delete(key)

    async def compare_and_set(self, key: str, expected: Any, value: Any, *, ttl: float | None = None) -> bool:
        """As :meth:`set`."""
        self._see_open()
        return await self._store.compare_and_set(key, expected, value, ttl=ttl)

    async def items(self, prefix: str = "", *, after: str = "", limit: int = 1000) -> list[tuple[str, Any]]:
        return await self._store.items(prefix, after=after, limit=limit)

    def _see_open(self) -> None:
        if self._is_closed:
            message = f"{self._bot} does not run here any more"
            raise UnknownBotError(message)
