"""Who the users of dialogs are, for operators who work over HTTP: asked of Telegram, kept in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio
from trioworkers_plugins.handoff.words import full_name

from trioworkers import BotApiError, TransportError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trioworkers_plugins.handoff.pieces import Place

    from trioworkers.plugin_types import DaemonBot

MOST = 5000  # users
AGAIN = 600.0  # seconds until somebody who could not be looked up is looked up again
PATIENCE = 5.0  # seconds for one look
AT_ONCE = 4  # looks


class Names:
    """The names of users, by dialog.

    Args:
        bot: the bot of a dialog.
        found: told of each name that was looked up.
        clock: seconds.
    """

    def __init__(
        self,
        bot: Callable[[int], DaemonBot],
        found: Callable[[Place], None],
        clock: Callable[[], float],
    ) -> None:
        self._bot = bot
        self._found = found
        self._clock = clock
        self._names: dict[Place, dict[str, Any]] = {}
        self._asked: dict[Place, float] = {}
        self._turns = trio.CapacityLimiter(AT_ONCE)

    def get(self, place: Place) -> dict[str, Any] | None:
        """The `name` and `username` of a user, if they are known."""
        return self._names.get(place)

    def is_wanted(self, place: Place) -> bool:
        """Whether a user should be looked up now; if so, it is noted that somebody does."""
        if place in self._names or self._clock() < self._asked.get(place, -AGAIN) + AGAIN:
            return False
        _make_room(self._asked)
        self._asked[place] = self._clock()
        return True

    async def look_up(self, place: Place) -> None:
        """Ask Telegram for a user; who it does not know stays nameless for a while."""
        async with self._turns:
            with trio.move_on_after(PATIENCE):
                try:
                    chat: Mapping[str, Any] = await self._bot(place.bot_id).call(
                        "getChat", chat_id=place.chat_id
                    )
                except (BotApiError, TransportError):
                    return
                _make_room(self._names)
                self._names[place] = {"name": full_name(chat), "username": chat.get("username")}
                self._found(place)


def _make_room(kept: dict[Place, Any]) -> None:
    while len(kept) >= MOST:
        del kept[next(iter(kept))]
