"""Sends to the operators' group: copies of what users say, and what has become of their dialogs."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import trio
from trioworkers_plugins.handoff.carrying import NotCarriedError
from trioworkers_plugins.handoff.sending import as_one, edit, is_unchanged, message_of, send_text
from trioworkers_plugins.handoff.topics import DeskError, is_topic_gone, trouble

from trioworkers import BotApiError

if TYPE_CHECKING:
    from trioworkers_plugins.handoff.core import Handoff
    from trioworkers_plugins.handoff.pieces import Piece, Place, Topic

    from trioworkers.plugin_types import DaemonBot

TOLD_AGAIN = 600.0  # seconds until the group is told again what is wrong with it
REFUSED = "refused."  # begins the source of what says that something was refused
REPEATED = "☝️ The next message may stand here twice."
DESK_PAUSE = 15.0  # seconds until a group that could not be used is tried again


class ToDesk:
    """Delivers the outbox `to_desk`."""

    def __init__(self, core: Handoff) -> None:
        self._core = core
        self._carrier = core.office.carriers[0]

    async def deliver(self, place: Place) -> None:
        """Send the first piece of a dialog, or an album.

        Raises:
            Exception: it is to be tried again.
        """
        core = self._core
        pieces = await as_one(core.to_desk, place, core.settings.album_gather, core.clock)
        stamps = [stamp for stamp, _ in pieces]
        name = core.name
        desk_name = core.settings.desk_of(name)
        group = core.settings.group
        if desk_name is None or group is None:
            await core.to_desk.remove(place, stamps)
            return
        desk = core.daemon.bot(desk_name)
        try:
            topic = await core.topics.ensure(place, group, core.bot, desk, core.office.pace(desk_name))
            again = stamps[0] <= core.to_desk.loaded
            if not await self._sent(place, topic, desk, pieces, again):
                return
        except DeskError as error:
            await self._tell_group(desk, group, str(error))
            if core.dialog(place).state != "bot":
                await trio.sleep(DESK_PAUSE)
                return
        except BotApiError as error:
            if error.heals:
                raise
            # there is no topic to say it in; what was said is in the transcript
            words = f"A message to {name} could not be shown: Telegram refused a topic ({error.description})."
            await self._tell_group(desk, group, words)
        await core.to_desk.remove(place, stamps)

    async def _sent(
        self, place: Place, topic: Topic, desk: DaemonBot, pieces: list[tuple[int, Piece]], again: bool
    ) -> bool:
        """Send; return False if its topic is gone, and was forgotten. `again`: a former run may have sent it.

        Raises:
            DeskError: the group does not allow it.
        """
        core = self._core
        await core.office.pace(desk.name).wait(len(pieces))
        try:
            async with core.to_desk.sending(place, pieces) as is_repeated:
                if is_repeated:
                    where: dict[str, Any] = {"chat_id": topic.group, "message_thread_id": topic.thread}
                    await desk.call("sendMessage", **where, text=REPEATED)
                await self._send(place, topic, desk, [piece for _, piece in pieces], again)
        except BotApiError as error:
            if is_topic_gone(error):
                await core.topics.forget(place, topic)
                return False
            words = trouble(error)
            if words is not None:
                raise DeskError(words) from None
            if error.heals:
                raise
            await self._tell_refused(place, pieces[0][1], error)
        return True

    async def _tell_refused(self, place: Place, piece: Piece, error: BotApiError) -> None:
        """Say in the topic that something is not shown there; if that is refused, too, it is in the log."""
        core = self._core
        core.plugin.log.warning("a copy was refused by Telegram", method=error.method, code=error.error_code)
        if not piece.source.startswith(REFUSED):
            words = f"⚠️ A message could not be shown here: Telegram refused it ({error.description})."
            await core.tell_desk(place, words, f"{REFUSED}{piece.source}")

    async def _send(
        self, place: Place, topic: Topic, desk: DaemonBot, pieces: list[Piece], again: bool
    ) -> None:
        core, first = self._core, pieces[0]
        where: dict[str, Any] = {"chat_id": topic.group, "message_thread_id": topic.thread}
        if first.reply_to:
            other = await core.transcripts.counterpart(place, "desk", first.reply_to)
            if other:
                where["reply_parameters"] = {"message_id": other, "allow_sending_without_reply": True}
        if first.what == "text":
            await send_text(desk, where, first)
            if first.source.startswith("requested."):
                await core.transcripts.note_sent(place, "desk", first.source)
            return
        if first.what == "edit":
            copy = await core.transcripts.counterpart(place, "desk", first.message_id)
            if copy:
                try:
                    await edit(desk, topic.group, copy, first)
                    return
                except BotApiError as error:
                    if is_unchanged(error):
                        return
                    if error.error_code != 400 or is_topic_gone(error):
                        raise
            await send_text(desk, where, first, before="✏️ ")
            return
        if desk.id != place.bot_id:
            for piece in pieces:
                made = await self._carry(core.bot, desk, where, piece)
                await core.transcripts.pair(place, piece.message_id, made, again=again)
            return
        await self._copy(place, desk, where, pieces, again)

    async def _carry(self, bot: DaemonBot, desk: DaemonBot, where: dict[str, Any], piece: Piece) -> int:
        """Send a message again by the group's bot; where its file cannot be had, say so beside its text."""
        try:
            return await self._carrier.carry(bot, desk, where, piece)
        except NotCarriedError as error:
            described = replace(piece, described=f"{piece.described} ⚠️ {error}.".strip())
            return message_of(await send_text(desk, where, described))

    async def _copy(
        self, place: Place, desk: DaemonBot, where: dict[str, Any], pieces: list[Piece], again: bool
    ) -> None:
        pair = partial(self._core.transcripts.pair, again=again)
        origin: dict[str, Any] = {"from_chat_id": place.chat_id}
        if len(pieces) > 1:
            ids = [piece.message_id for piece in pieces]
            made = await desk.call("copyMessages", **where, **origin, message_ids=ids)
            if len(made) == len(ids):  # else some were skipped, and nobody can tell which
                for id_, one in zip(ids, made, strict=True):
                    await pair(place, id_, message_of(one))
            return
        piece = pieces[0]
        try:
            copy = await desk.call("copyMessage", **where, **origin, message_id=piece.message_id)
        except BotApiError as error:
            if error.error_code != 400 or is_topic_gone(error) or trouble(error) is not None:
                raise
            copy = await send_text(desk, where, piece)  # what it is, in words
        await pair(place, piece.message_id, message_of(copy))

    async def _tell_group(self, desk: DaemonBot, group: int, words: str) -> None:
        core = self._core
        key, now = (desk.name, words), core.clock()
        if now < core.office.told.get(key, 0.0) + TOLD_AGAIN:
            return
        core.office.told[key] = now
        core.plugin.log.error(words, bot=desk.name)
        try:
            await desk.call("sendMessage", chat_id=group, text=f"⚠️ {words}")
        except BotApiError:
            return  # it is in the log
