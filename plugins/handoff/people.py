"""What users do while operators have their dialogs, or while they ask for one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio
from trioworkers_plugins.handoff.core import ENDED
from trioworkers_plugins.handoff.machine import turn
from trioworkers_plugins.handoff.pieces import Line, Piece, Place
from trioworkers_plugins.handoff.said import line_of, piece_of
from trioworkers_plugins.handoff.settings import is_keyword
from trioworkers_plugins.handoff.state import Close, Request
from trioworkers_plugins.handoff.words import happened, pressed

from trioworkers import BotApiError, Drop, Reroute

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trioworkers_plugins.handoff.core import Handoff

    from trioworkers import Update
    from trioworkers.plugin_types import DaemonBot

LONGEST_HOLD = 30.0  # seconds until an update that is held is looked at anew; it counts as no attempt
MAY_BE_ANSWERED = "☝️ The bot has answered the next message already, or may have."
SPEAKING = ("send", "copy", "forward", "edit")  # how the methods begin by which a bot answers
MESSAGES = ("message", "edited_message")


class People:
    """Handles the updates of private chats that operators have."""

    def __init__(self, core: Handoff) -> None:
        self._core = core

    async def handle(self, update: Update, bot: DaemonBot) -> None:
        """Handle an update of a user.

        Raises:
            Reroute: the bot has the dialog, after all.
            Drop: nobody has it; the user is banned.
        """
        assert update.chat_id is not None  # noqa: S101 - for mypy; the route has looked
        core, place = self._core, Place(bot.id, update.chat_id)
        content = update.raw.get(update.kind)
        message: Mapping[str, Any] = content if isinstance(content, dict) else {}
        if update.kind == "message":
            await self._begin_or_end(place, update, message)
        await self._wait_turn(place)
        if update.kind == ENDED:
            return  # of an earlier handoff; the end of this one will follow
        if update.kind == "callback_query":
            await self._stop_spinner(bot, message)
        async with core.lock(place):  # no close comes between what is looked at and what is noted
            dialog = core.dialog(place)
            if turn(dialog) != "operators":
                raise Reroute
            if update.kind in MESSAGES and "message_id" in message:
                await self._show_message(place, update, message, bot)
            else:
                await self._show_other(place, update, message, bot)

    async def _begin_or_end(self, place: Place, update: Update, message: Mapping[str, Any]) -> None:
        core = self._core
        whose = turn(core.dialog(place))
        if whose == "bot" and is_keyword(update.text, core.settings.keywords):
            await core.happen(place, Request("command"))
        elif whose == "operators" and is_keyword(update.text, core.settings.cancel_keywords):
            dialog = core.dialog(place)
            await core.transcripts.write(
                place, line_of(message, core.clock(), "user", dialog.epoch, by=place.bot_id)
            )
            await core.happen(place, Close("cancelled"))
            raise Drop("the user ended the handoff")

    async def _wait_turn(self, place: Place) -> None:
        """Return when operators have the dialog.

        Raises:
            Reroute: they have not.
            Drop: the user is banned.
        """
        core = self._core
        if turn(core.dialog(place)) == "later":
            with trio.move_on_after(LONGEST_HOLD):
                await core.wait_changed(place)
        whose = turn(core.dialog(place))
        if whose == "nobody":
            raise Drop("the user is banned")
        if whose != "operators":
            raise Reroute

    async def _show_message(
        self, place: Place, update: Update, message: Mapping[str, Any], bot: DaemonBot
    ) -> None:
        core = self._core
        edited = update.kind == "edited_message"
        epoch, source = core.dialog(place).epoch, f"u{update.update_id}"
        message_id = int(message["message_id"])
        if not edited and answered_by_bot(bot.earlier, place.chat_id):
            await core.tell_desk(place, MAY_BE_ANSWERED, f"earlier.{update.update_id}")
        is_copied = not edited and await core.transcripts.counterpart(place, "desk", message_id) is not None
        if not is_copied and core.settings.desk_of(bot.name) is not None:
            if edited or core.flood.admits(place, core.settings.flood, core.clock()):
                piece = piece_of(message, source, epoch, edited=edited)
                await core.to_desk.add(place, core.stamps.draw(), piece)
            elif core.flood.is_news(place, core.clock()):
                words = "⚠️ Many messages: until they become fewer, the next ones are in the transcript alone."
                await core.tell_desk(place, words)
        if not edited:
            core.said_by_user(place, message_id, update.text)
        line = line_of(message, core.clock(), "user", epoch, by=place.bot_id, edited=edited)
        await core.transcripts.write(place, line, bot.store)

    async def _show_other(
        self, place: Place, update: Update, content: Mapping[str, Any], bot: DaemonBot
    ) -> None:
        core, words = self._core, happened(update.kind, content)
        epoch, stamp = core.dialog(place).epoch, core.stamps.draw()
        if core.settings.desk_of(bot.name) is not None:
            await core.to_desk.add(place, stamp, Piece("text", f"u{update.update_id}", epoch, text=words))
        text = pressed(content) if update.kind == "callback_query" else None
        await core.transcripts.write(
            place, Line(core.clock(), "user", epoch, update.kind, None, text), bot.store
        )

    async def _stop_spinner(self, bot: DaemonBot, query: Mapping[str, Any]) -> None:
        try:
            await bot.call("answerCallbackQuery", callback_query_id=query.get("id"))
        except BotApiError:
            return  # too late, or answered by the bot before


def answered_by_bot(earlier: tuple[str, ...], chat_id: int) -> bool:
    """Whether the bot may have said something in this chat while it handled the update."""
    for call in earlier:
        method, _, chat = call.partition(" ")
        if method.startswith(SPEAKING) and method != "sendChatAction" and chat in ("", str(chat_id)):
            return True
    return False
