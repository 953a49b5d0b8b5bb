"""What operators do in the group: commands, and words for the user of a topic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trioworkers_plugins.handoff.pieces import Line, Place
from trioworkers_plugins.handoff.said import line_of, piece_of
from trioworkers_plugins.handoff.state import Ban, Close, TakeOver, Unban
from trioworkers_plugins.handoff.topics import place_of
from trioworkers_plugins.handoff.transcript import EDITABLE
from trioworkers_plugins.handoff.words import HELP, kind_of, who

from trioworkers import Reroute

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trioworkers_plugins.handoff.core import Handoff
    from trioworkers_plugins.handoff.homes import Homes

    from trioworkers import Update
    from trioworkers.plugin_types import DaemonBot, PluginStore

MESSAGES = ("message", "edited_message")
SAID_ELSEWHERE = "handoff_said"  # the kind of an update that holds what the group's bot has heard elsewhere
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


@dataclass(frozen=True, slots=True)
class Said:
    """What an operator has said in the topic of a user.

    Attributes:
        message: as Telegram has it.
        edited: it is the new text of an earlier message.
        operator: who has said it.
        id: of the update that brought it, for the sources of what follows.
        by: the id of the bot that heard it.
    """

    message: Mapping[str, Any]
    edited: bool
    operator: Operator
    id: int
    by: int


class Operators:
    """Handles the updates of the operators' group.

    In a cluster, the bot that sits in the group may run on another node than the bot of the dialog. Then what
    is said goes into the inbox of that bot, and is done where that runs.

    Args:
        homes: the bots with their dialogs.
    """

    def __init__(self, homes: Homes) -> None:
        self._homes = homes
        self._office = homes.office

    async def handle(self, update: Update, bot: DaemonBot) -> None:
        """Handle an update of the group: it is never given to a bot.

        Raises:
            Reroute: the bot does not run here any more.
        """
        if update.kind == SAID_ELSEWHERE:
            await self._handle_elsewhere(update, bot)
            return
        message: Any = update.raw.get(update.kind)
        settings, group = self._office.settings, self._office.settings.group
        if update.kind not in MESSAGES or not isinstance(message, dict) or group is None:
            return
        operator = read_operator(message, group, settings.operators)
        if operator is None:
            return
        thread = message.get("message_thread_id") if message.get("is_topic_message") else None
        found = None if thread is None else await place_of(self._office.plugin.store, group, int(thread))
        command = read_command(message) if update.kind == "message" else None
        if found is None:
            await self._without_topic(command, operator, bot, thread is None)
            return
        place, topic = found
        if topic.desk != bot.name:
            return  # another bot's topic, which hears it, too
        if command is not None and command.bot and command.bot.lower() != await self._username(bot):
            return
        home = self._homes.get(place.bot_id)
        if home is None:
            content = {"user": place.chat_id, "of": update.kind, "message": message}
            ids = {"id": update.update_id, "by": bot.id}
            lane = {"message_thread_id": thread, "is_topic_message": True}
            name = self._office.name_of(place.bot_id)
            await self._office.daemon.offer(name, SAID_ELSEWHERE, group, {**lane, **content, **ids})
            return
        said = Said(message, update.kind == "edited_message", operator, update.update_id, bot.id)
        await self._do(home.core, place, said, bot.store)

    async def _handle_elsewhere(self, update: Update, bot: DaemonBot) -> None:
        """Do what the group's bot has heard on another node; that may have passed it on twice."""
        content: Any = update.raw.get(SAID_ELSEWHERE)
        settings = self._office.settings
        place, message = Place(bot.id, int(content["user"])), content["message"]
        operator = read_operator(message, content["chat"]["id"], settings.operators)
        home = self._homes.get(bot.id)
        if home is None:
            raise Reroute
        done = place.key("copy", "passed", content["id"])
        if operator is None or await bot.store.get(done) is not None:
            return
        said = Said(message, content["of"] == "edited_message", operator, content["id"], content["by"])
        await self._do(home.core, place, said, bot.store)
        await bot.store.set(done, True, ttl=EDITABLE)

    async def _do(self, core: Handoff, place: Place, said: Said, store: PluginStore) -> None:
        command = None if said.edited else read_command(said.message)
        if command is not None:
            await self._obey(core, place, command, said, store)
        elif kind_of(said.message) != "service":
            await self._say(core, place, said, store)

    async def _obey(
        self, core: Handoff, place: Place, command: Command, said: Said, store: PluginStore
    ) -> None:
        operator = said.operator
        dialog, source = core.dialog(place), f"answer.{said.id}"
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
            await core.transcripts.write(place, line, store)
        else:
            await core.tell_desk(place, f"Known are {HELP}.", source)

    async def _say(self, core: Handoff, place: Place, said: Said, store: PluginStore) -> None:
        message, edited, operator = said.message, said.edited, said.operator
        source = f"o{said.id}"
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
                by=said.by,
                edited=edited,
                name=operator.name,
                source=None if edited else source,
            )
            await core.transcripts.write(place, line, store)

    async def _without_topic(
        self, command: Command | None, operator: Operator, bot: DaemonBot, is_general: bool
    ) -> None:
        """`/take CHAT_ID` outside of users' topics: for a user who has none yet."""
        if command is None or command.name != "take" or not command.words.isdecimal() or not is_general:
            return
        if command.bot and command.bot.lower() != await self._username(bot):
            return
        if not self._office.settings.hands_off(bot.name):
            return
        home = self._homes.get(bot.id)
        if home is None:
            raise Reroute
        await home.core.happen(Place(bot.id, int(command.words)), TakeOver(operator.id, operator.name))

    async def _username(self, bot: DaemonBot) -> str:
        me = await bot.call("getMe")
        return str(me.get("username", "")).lower()
