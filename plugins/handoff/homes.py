"""The bots whose dialogs this daemon has: each for as long as the bot runs here.

A bot's dialogs are read when it begins to run here. When it ends here, what is being sent is still noted, and
nothing is written any more: then another node of the cluster may read them, and goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import trio
from trioworkers_plugins.handoff.core import Handoff
from trioworkers_plugins.handoff.courier import serve_couriers
from trioworkers_plugins.handoff.office import UnknownBotError
from trioworkers_plugins.handoff.people import People
from trioworkers_plugins.handoff.reader import Reader
from trioworkers_plugins.handoff.to_desk import ToDesk
from trioworkers_plugins.handoff.to_users import ToUsers

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from trioworkers_plugins.handoff.office import Office
    from trioworkers_plugins.handoff.outbox import Outbox

    from trioworkers.plugin_types import BotHere

AGAIN = 1.0  # seconds until dialogs that could not be read are read again
LAST = 3.0  # seconds for which an end waits until what is being sent has been sent


@dataclass(frozen=True, slots=True)
class Home:
    """A bot that runs here, with its dialogs.

    Attributes:
        core: its dialogs.
        to_users: what sends to its users.
        people: what handles its users' updates.
    """

    core: Handoff
    to_users: ToUsers
    people: People


class Homes:
    """All homes of this daemon. :meth:`serve` once for each bot that runs here.

    Args:
        office: what they share.
        changed: called when there is another one, or one less.

    Attributes:
        office: as given.
        reader: reads dialogs from the storage.
    """

    def __init__(self, office: Office, changed: Callable[[], None]) -> None:
        self.office = office
        self.reader = Reader(office.plugin.store)
        self._changed = changed
        self._homes: dict[int, Home] = {}

    def get(self, bot_id: int) -> Home | None:
        """The home of a bot; None: the bot does not run here, or its dialogs are not read yet."""
        return self._homes.get(bot_id)

    @property
    def all(self) -> Collection[Home]:
        """All that there are."""
        return self._homes.values()

    async def serve(self, bot: BotHere) -> None:
        """Have the dialogs of a bot until it ends here; cancelled, it lets go of them at once."""
        async with trio.open_nursery() as nursery:
            home = self._make(bot, nursery)
            core = home.core
            try:
                await self._load(core)
                # before updates are taken: operators see what they wait for first
                await self.office.steadily(core.resume)
                core.to_desk.begin()
                core.to_users.begin()
                self._homes[bot.id] = home
                self._changed()
                await bot.wait_ending()
                with trio.move_on_after(LAST):
                    await core.to_users.stop()
                    await core.to_desk.stop()
            finally:
                core.store.close()
                home.to_users.end()
                if self._homes.get(bot.id) is home:
                    del self._homes[bot.id]
                for place in core.dialogs:
                    core.bulletin.forget(place)
                self._changed()
            nursery.cancel_scope.cancel()

    async def watch_times(self) -> None:
        """Give dialogs back that nobody takes, or in which nobody speaks, until cancelled."""
        while True:
            await trio.sleep(1)
            for home in list(self.all):
                if home.core.dialogs:
                    await home.core.tick()

    async def _load(self, core: Handoff) -> None:
        while True:
            try:
                return await core.load(await self.reader.read(core.bot_id))
            except Exception as error:  # its updates are held until they are read
                self.office.plugin.log.warning(
                    "dialogs could not be read, and are read again", bot=core.name, error=type(error).__name__
                )
            await trio.sleep(AGAIN)

    def _make(self, bot: BotHere, nursery: trio.Nursery) -> Home:
        def serve(outbox: Outbox) -> None:
            deliver = to_users.deliver if outbox is core.to_users else ToDesk(core).deliver
            nursery.start_soon(serve_couriers, outbox, deliver, partial(self._failed, core))

        core = Handoff(self.office, bot, nursery, serve)
        to_users = ToUsers(core)
        return Home(core, to_users, People(core))

    def _failed(self, core: Handoff, error: Exception) -> None:
        if not isinstance(error, UnknownBotError):  # it may come again
            self.office.plugin.log.warning(
                "something could not be sent, and is tried again", bot=core.name, error=type(error).__name__
            )
