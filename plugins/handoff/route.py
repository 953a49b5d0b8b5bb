"""Which updates the plugin takes; asked on the loop for every update, so it only looks into memory."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import trio
from trioworkers_plugins.handoff.media import Media
from trioworkers_plugins.handoff.operators import Operators
from trioworkers_plugins.handoff.people import LONGEST_HOLD, People
from trioworkers_plugins.handoff.settings import is_keyword, may_hold

from trioworkers import Reroute, Take

if TYPE_CHECKING:
    from trioworkers_plugins.handoff.actions import Actions
    from trioworkers_plugins.handoff.core import Handoff
    from trioworkers_plugins.handoff.settings import Settings
    from trioworkers_plugins.handoff.to_users import ToUsers

    from trioworkers import Update
    from trioworkers.plugin_types import BotFacts, DaemonBot, PluginHandle

KEY = "runtime"
ELSEWHERE = "business/", "guest_message/"  # keys of chats that are not the bot's own with somebody


class Running:
    """The dialogs of the service that runs now; what the plugin's hooks share.

    While no service runs, or its states are not read yet, nobody knows whose a dialog is: updates are held.

    Attributes:
        core: the dialogs, or None.
        to_users: what sends to users.
        actions: what is done by hand, and by failures.
        media: the files of messages.
    """

    def __init__(self) -> None:
        self.core: Handoff | None = None
        self.to_users: ToUsers | None = None
        self.actions: Actions | None = None
        self.media: Media | None = None
        self._begun = trio.Event()
        self._people: People | None = None
        self._operators: Operators | None = None

    def begin(self, core: Handoff, to_users: ToUsers, actions: Actions) -> None:
        """The states are read."""
        self.core, self.to_users, self.actions = core, to_users, actions
        self.media = Media(core)
        self._people, self._operators = People(core), Operators(core)
        self._begun.set()

    def end(self) -> None:
        """The service has ended; another one may begin."""
        self.core = self.to_users = self.actions = self.media = None
        self._begun = trio.Event()

    def counts(self, bot_id: int) -> dict[str, int]:
        """How many dialogs of a bot wait for an operator, have one, or are banned."""
        dialogs = {} if self.core is None else self.core.dialogs
        return dict(Counter(dialog.state for place, dialog in dialogs.items() if place.bot_id == bot_id))

    def route(self, bot: BotFacts, update: Update, settings: Settings) -> Take | None:
        """Take what is the operators' and what asks for them; hold what may be."""
        chat_id = update.chat_id
        if chat_id is None:
            return None
        if chat_id < 0:
            if chat_id != settings.group or not settings.hears_group(bot.name):
                return None
            return Take(self._hold if self.core is None else self._by_operators)
        if self.core is None:
            return Take(self._hold) if settings.hands_off(bot.name) else None
        if (bot.id, chat_id) in self.core.dialogs:
            is_elsewhere = update.kind == "business_connection" or update.key.startswith(ELSEWHERE)
            return None if is_elsewhere else Take(self._by_people)
        if update.kind != "message" or not settings.keywords or not settings.hands_off(bot.name):
            return None
        if not may_hold(update.body, settings.keywords):
            return None
        return Take(self._by_people) if is_keyword(update.text, settings.keywords) else None

    async def _hold(self, update: Update, bot: DaemonBot) -> None:
        with trio.move_on_after(LONGEST_HOLD):
            await self._begun.wait()
        raise Reroute

    async def _by_people(self, update: Update, bot: DaemonBot) -> None:
        if self.core is None or self._people is None:
            raise Reroute
        await self._people.handle(update, bot)

    async def _by_operators(self, update: Update, bot: DaemonBot) -> None:
        if self.core is None or self._operators is None:
            raise Reroute
        await self._operators.handle(update, bot)


def running(plugin: PluginHandle) -> Running:
    """What the hooks of this plugin share, in this run of the daemon."""
    found: Running | None = plugin.memory.get(KEY)
    if found is None:
        found = plugin.memory[KEY] = Running()
    return found
