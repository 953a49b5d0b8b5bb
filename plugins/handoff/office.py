"""What the dialogs of all bots of this daemon share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from trioworkers_plugins.handoff.bulletin import Bulletin
from trioworkers_plugins.handoff.carrying import Carrier
from trioworkers_plugins.handoff.names import Names
from trioworkers_plugins.handoff.pace import GroupPace

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trioworkers_plugins.handoff.settings import Settings

    from trioworkers.plugin_types import DaemonBot, PluginDaemon, PluginHandle


class UnknownBotError(Exception):
    """The fleet has no bot of this id, or it does not run here any more."""


class Office:
    """What the dialogs of all bots of this daemon share.

    Args:
        plugin: the plugin's handle.
        daemon: the daemon.
        nursery: for what belongs to no bot that runs here; it ends with the service.
        clock: Unix seconds.

    Attributes:
        bulletin: numbers the changes.
        names: who the users are.
        carriers: send files again; one to the group, one to users.
        told: when the group was told last what is wrong with it, by the bot and the words.
    """

    def __init__(
        self, plugin: PluginHandle, daemon: PluginDaemon, nursery: trio.Nursery, clock: Callable[[], float]
    ) -> None:
        self.plugin = plugin
        self.daemon = daemon
        self.nursery = nursery
        self.clock = clock
        self.bulletin = Bulletin(clock)
        self.names = Names(self.bot, self.bulletin.note, clock)
        self.carriers = Carrier(), Carrier()
        self.told: dict[tuple[str, str], float] = {}
        self._paces: dict[str, GroupPace] = {}

    @property
    def settings(self) -> Settings:
        """The plugin's settings in force."""
        settings: Settings = self.plugin.settings
        return settings

    def name_of(self, bot_id: int) -> str:
        """The name of a bot of the fleet, wherever it runs.

        Raises:
            UnknownBotError: there is none.
        """
        for name, id_ in self.daemon.fleet_bots().items():
            if id_ == bot_id:
                return name
        raise UnknownBotError(f"the fleet has no bot of id {bot_id}")

    def bot(self, bot_id: int) -> DaemonBot:
        """A bot of the fleet, for calls that belong to no update.

        Raises:
            UnknownBotError: there is none.
        """
        return self.daemon.bot(self.name_of(bot_id))

    def pace(self, desk: str) -> GroupPace:
        """How fast this bot may speak in the group."""
        if desk not in self._paces:
            self._paces[desk] = GroupPace(lambda: self.settings.group_per_minute)
        return self._paces[desk]

    async def steadily(self, do: Callable[[], Awaitable[object]], *, once: bool = False) -> None:
        """Do something in the background; what it raises is logged, and unless `once` it is done again.

        A service that ends by what fails here would be switched off after a while, and then the bots would
        answer dialogs that people have.
        """
        pause = 1.0
        while True:
            try:
                await do()
                return
            except UnknownBotError:
                return  # it has gone, and may come again: then what is outstanding is done
            except Exception as error:
                self.plugin.log.warning("something has to be done again", error=type(error).__name__)
            if once:
                return
            await trio.sleep(pause)
            pause = min(2 * pause, 30.0)
