"""What operators do in the group: commands, and words for the user of a topic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trioworkers_plugins.handoff.pieces import Line, Place
from trioworkers_plugins.handoff.said import line_of, piece_of
from trioworkers_plugins.handoff.state import Ban, Close, TakeOver, Unban
from trioworkers_plugins.handoff.words import HELP, kind_of, who

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trioworkers_plugins.handoff.core import Handoff

    from trioworkers import Update
    from trioworkers.plugin_types import DaemonBot

ANONYMOUS = "an administrator"
COMMANDS = ("take", "close", "note", "ban", "unban", "who")


@dataclass(frozen=True, slots=True)
class Operator:
    """Somebody who acts for the fleet: `tg:<user id>` or `api:<name>`, and a name for people."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Command:
    """What an operator asks for: `/name@bot words`."""

    name: str
    bot: str
    words: str


def read_command(message: Mapping[str, Any]) -> Command | None:
    """The command of a message, if it is one."""
    text = message.get("text")
    if not isinstance(text, str) or not text.startswith("/"):
        return None
    first, *rest = text.split(maxsplit=1)
    name, _, bot = first[1:].partition("@")
    return Command(name.lower(), bot, rest[0] if rest else "")


def read_operator(message: Mapping[str, Any], group: int, operators: tuple[int, ...]) -> Operator | None:
    """Who has said this, if it is somebody who may act; bots, channels and strangers may not."""
    sender = message.get("from") or {}
    if (message.get("sender_chat") or {}).get("id") == group:  # an administrator who hides
        return None if operators else Operator(f"tg:{group}", ANONYMOUS)
    user_id = sender.get("id")
    if user_id is None or sender.get("is_bot") or (operators and user_id not in operators):
        return None
    return Operator(f"tg:{user_id}", str(sender.get("first_name") or user_id))


class Operators:
    """Handles the updates of the operators' group."""

    def __init__(self, core: Handoff) -> None:
        self._core = core

    async def handle(self, update: Update, bot: DaemonBot) -> None:
        """Handle an update of the group: it is never given to a bot."""
        core = self._core
        message: Any = update.raw.get(update.kind)
        group = core.settings.group
        if update.kind not in ("message", "edited_message") or not isinstance(message, dict) or group is None:
            return
        operator = read_operator(message, group, core.settings.operators)
        if operator is None:
            return
        thread = message.get("message_thread_id") if message.get("is_topic_message") else None
        found = None if thread is None else await core.topics.place_of(group, int(thread))
        command = read_command(message) if update.kind == "message" else None
        if found is None:
            await self._without_topic(command, operator, bot, thread is None)
            return
        place, topic = found
        if topic.desk != bot.name:
            return  # another bot's topic, which hears it, too
        if command is not None:
            if command.bot and command.bot.lower() != await self._username(bot):
                return
            await self._obey(place, command, operator, update, bot)
        elif kind_of(message) != "service":
            await self._say(place, message, operator, update, bot)

    async def _obey(
        self, place: Place, command: Command, operator: Operator, update: Update, bot: DaemonBot
    ) -> None:
        core = self._core
        dialog, source = core.dialog(place), f"answer.{update.update_id}"
        if command.name == "take":
            if dialog.state in ("closing", "banned"):
                await core.tell_desk(place, who(dialog, dialog.name, 0), source)
            else:
                await core.happen(place, TakeOver(operator.id, operator.name))
        elif command.name == "close":
            if (await core.happen(place, Close("closed"))) == dialog:
                await core.tell_desk(place, who(dialog, dialog.name, 0), source)
        elif command.name == "ban":
            await core.happen(place, Ban(operator.id, operator.name))
        elif command.name == "unban":
            await core.happen(place, Unban(operator.id, operator.name))
        elif command.name == "who":
            waiting = len(core.to_users.waiting(place))
            await core.tell_desk(place, who(dialog, dialog.name or dialog.operator, waiting), source)
        elif command.name == "note" and command.words:
            line = Line(core.clock(), "note", dialog.epoch, "text", None, command.words, operator.name)
            await core.transcripts.write(place, line, bot.store)
        else:
            await core.tell_desk(place, f"Known are {HELP}.", source)

    async def _say(
        self, place: Place, message: Mapping[str, Any], operator: Operator, update: Update, bot: DaemonBot
    ) -> None:
        core = self._core
        edited = update.kind == "edited_message"
        source = f"o{update.update_id}"
        if core.dialog(place).state == "queued" and not edited:
            await core.happen(place, TakeOver(operator.id, operator.name))
        async with core.lock(place):
            dialog = core.dialog(place)
            if dialog.state != "assigned":
                if not edited:
                    words = f"Not sent. {who(dialog, dialog.name, 0)}"
                    words += " /take it first." if dialog.state == "bot" else ""
                    await core.tell_desk(place, words, source)
                return
            message_id = int(message["message_id"])
            piece = piece_of(message, source, dialog.epoch, edited=edited, words=True)
            if piece.what == "text":
                await core.tell_desk(place, f"Not sent. Telegram does not copy {piece.described}.", source)
                return
            if edited or await core.transcripts.counterpart(place, "user", message_id) is None:
                await core.to_users.add(place, core.stamps.draw(), piece)
            if not edited:
                await core.said_by_operator(place, message_id)
            line = line_of(
                message,
                core.clock(),
                "operator",
                dialog.epoch,
                by=bot.id,
                edited=edited,
                name=operator.name,
                source=None if edited else source,
            )
            await core.transcripts.write(place, line, bot.store)

    async def _without_topic(
        self, command: Command | None, operator: Operator, bot: DaemonBot, is_general: bool
    ) -> None:
        """`/take CHAT_ID` outside of users' topics: for a user who has none yet."""
        core = self._core
        if command is None or command.name != "take" or not command.words.isdecimal() or not is_general:
            return
        if command.bot and command.bot.lower() != await self._username(bot):
            return
        if not core.settings.hands_off(bot.name):
            return
        await core.happen(Place(bot.id, int(command.words)), TakeOver(operator.id, operator.name))

    async def _username(self, bot: DaemonBot) -> str:
        me = await bot.call("getMe")
        return str(me.get("username", "")).lower()
