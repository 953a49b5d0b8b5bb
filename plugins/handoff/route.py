"""Which updates the plugin takes; asked on the loop for every update, so it only looks into memory."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import trio
from trioworkers_plugins.handoff.media import Media
from trioworkers_plugins.handoff.operators import SAID_ELSEWHERE, Operators
from trioworkers_plugins.handoff.people import LONGEST_HOLD
from trioworkers_plugins.handoff.settings import is_keyword, may_hold

from trioworkers import Reroute, Take

if TYPE_CHECKING:
    from trioworkers_plugins.handoff.actions import Actions
    from trioworkers_plugins.handoff.homes import Home, Homes
    from trioworkers_plugins.handoff.settings import Settings

    from trioworkers import Update
    from trioworkers.plugin_types import BotFacts, DaemonBot, PluginHandle

KEY = "runtime"
ELSEWHERE = "business/", "guest_message/"  # keys of chats that are not the bot's own with somebody


class Running:
    """The dialogs of the service that runs now; what the plugin's hooks share.

    While no service runs, or the dialogs of a bot are not read yet, nobody knows whose a dialog is: updates
    are held.

    Attributes:
        homes: the bots with their dialogs, or None.
        actions: what is done by hand, and by failures.
        media: the files of messages.
    """

    def __init__(self) -> None:
        self.homes: Homes | None = None
        self.actions: Actions | None = None
        self.media: Media | None = None
        self._changed = trio.Event()
        self._operators: Operators | None = None

    def begin(self, homes: Homes, actions: Actions) -> None:
        """A service runs."""
        self.homes, self.actions = homes, actions
        self.media, self._operators = Media(homes), Operators(homes)
        self.note_change()

    def end(self) -> None:
        """The service has ended; another one may begin."""
        self.homes = self.actions = self.media = self._operators = None

    def note_change(self) -> None:
        """The dialogs of a bot are read, or the bot does not run here any more."""
        self._changed.set()
        self._changed = trio.Event()

    def home(self, bot_id: int) -> Home | None:
        """A bot that runs here, whose dialogs are read."""
        return None if self.homes is None else self.homes.get(bot_id)

    def counts(self, bot_id: int) -> dict[str, int]:
        """How many dialogs of a bot wait for an operator, have one, or are banned."""
        home = self.home(bot_id)
        return {} if home is None else dict(Counter(dialog.state for dialog in home.core.dialogs.values()))

    def route(self, bot: BotFacts, update: Update, settings: Settings) -> Take | None:
        """Take what is the operators' and what asks for them; hold what may be."""
        chat_id = update.chat_id
        if chat_id is None:
            return None
        home = self.home(bot.id)
        if chat_id < 0:
            if update.kind != SAID_ELSEWHERE and (
                chat_id != settings.group or not settings.hears_group(bot.name)
            ):
                return None
            return Take(self._hold if home is None else self._by_operators)
        if home is None:
            return Take(self._hold) if settings.hands_off(bot.name) else None
        if (bot.id, chat_id) in home.core.dialogs:
            is_elsewhere = update.kind == "business_connection" or update.key.startswith(ELSEWHERE)
            return None if is_elsewhere else Take(self._by_people)
        if update.kind != "message" or not settings.keywords or not settings.hands_off(bot.name):
            return None
        if not may_hold(update.body, settings.keywords):
            return None
        return Take(self._by_people) if is_keyword(update.text, settings.keywords) else None

    async def _hold(self, update: Update, bot: DaemonBot) -> None:
        with trio.move_on_after(LONGEST_HOLD):
            while self.home(bot.id) is None:
                await self._changed.wait()
        raise Reroute

    async def _by_people(self, update: Update, bot: DaemonBot) -> None:
        home = self.home(bot.id)
        if home is None:
            raise Reroute
        await home.people.handle(update, bot)

    async def _by_operators(self, update: Update, bot: DaemonBot) -> None:
        if self._operators is None:
            raise Reroute
        await self._operators.handle(update, bot)


def running(plugin: PluginHandle) -> Running:
    """What the hooks of this plugin share, in this run of the daemon."""
    found: Running | None = plugin.memory.get(KEY)
    if found is None:
        found = plugin.memory[KEY] = Running()
    return found
