"""Sends to users: what operators say, and the notices of a handoff."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import trio
from trioworkers_plugins.handoff.carrying import NotCarriedError
from trioworkers_plugins.handoff.office import UnknownBotError
from trioworkers_plugins.handoff.pieces import Line
from trioworkers_plugins.handoff.sending import as_one, edit, is_unchanged, message_of, send_text

from trioworkers import BotApiError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trioworkers_plugins.handoff.core import Handoff
    from trioworkers_plugins.handoff.pieces import Piece, Place

    from trioworkers.plugin_types import DaemonBot

BLOCKED = {
    "bot was blocked by the user": "the user has blocked the bot",
    "user is deactivated": "the user's account does not exist any more",
    "bot can't initiate conversation": "the user has never started the bot",
}
REPEATED = "☝️ The user may read this twice: "
QUOTED = 100  # characters


class ToUsers:
    """Delivers the outbox `to_users`."""

    def __init__(self, core: Handoff) -> None:
        self._core = core
        self._awaited: dict[str, list[str | None]] = {}
        self._delivered = trio.Event()
        self._has_ended = False
        self._carrier = core.office.carriers[1]

    async def deliver(self, place: Place) -> None:
        """Send the first piece of a dialog, or an album.

        Raises:
            Exception: it is to be tried again.
        """
        core = self._core
        pieces = await as_one(core.to_users, place, core.settings.album_gather, core.clock)
        first = pieces[0][1]
        dialog = core.dialog(place)
        refusal: str | None = None
        if dialog.state == "banned" or (first.words and dialog.epoch != first.epoch):
            refusal = "the user is banned" if dialog.state == "banned" else "the bot has the dialog again"
        elif first.words and not dialog.may_speak:
            await core.wait_changed(place)  # the fence is not acknowledged yet
            return
        if refusal is not None:
            await self._end(place, pieces, refusal)
            return
        async with core.to_users.sending(place, pieces) as again:
            if again:
                await self._tell_repeated(place, first)
            await self._end(place, pieces, await self._try(place, [piece for _, piece in pieces]))

    async def _end(self, place: Place, pieces: list[tuple[int, Piece]], refusal: str | None) -> None:
        """Note that something was sent, or why it cannot be."""
        core, first = self._core, pieces[0][1]
        if refusal is not None and first.words:
            await core.tell_desk(place, f"⚠️ Not delivered: {refusal}.", f"undelivered.{first.source}")
            line = Line(
                core.clock(),
                "desk",
                first.epoch,
                "undelivered",
                first.message_id or None,
                refusal,
                source=first.source,
            )
            await core.transcripts.write(place, line)
        for _, piece in pieces:
            if piece.source.startswith("say."):  # who said it may ask again, also where the bot runs next
                await core.transcripts.note_sent(place, "user", piece.source)
        await core.to_users.remove(place, [stamp for stamp, _ in pieces])
        for _, piece in pieces:
            if piece.source in self._awaited:
                self._awaited[piece.source].append(refusal)
        self._delivered.set()
        self._delivered = trio.Event()

    async def _tell_repeated(self, place: Place, piece: Piece) -> None:
        """Say that the user may read something twice; it is noted before it is sent once more."""
        core, told = self._core, f"repeated.{piece.source}"
        if await core.transcripts.counterpart(place, "user", told) is not None:
            return
        core.plugin.log.warning("something may reach a user twice", bot=core.name)
        await core.tell_desk(place, f"{REPEATED}{(piece.text or piece.described)[:QUOTED]}", told)
        line = Line(
            core.clock(), "desk", piece.epoch, "repeated", piece.message_id or None, source=piece.source
        )
        await core.transcripts.write(place, line)
        await core.transcripts.note_sent(place, "user", told)

    def end(self) -> None:
        """Nothing is delivered any more: the bot has left."""
        self._has_ended = True
        self._delivered.set()

    @contextmanager
    def awaited(self, source: str) -> Iterator[None]:
        """Inside, somebody waits for the delivery of this source, by :meth:`wait_delivered`."""
        self._awaited[source] = []
        try:
            yield
        finally:
            del self._awaited[source]

    async def wait_delivered(self, source: str) -> str | None:
        """Return why what is awaited could not be delivered; None: it was.

        Raises:
            UnknownBotError: the bot has left, and where it runs next, that is sent.
        """
        while not self._awaited[source]:
            if self._has_ended:
                raise UnknownBotError(f"{self._core.name} does not run here any more")
            await self._delivered.wait()
        return self._awaited[source][0]

    async def _try(self, place: Place, pieces: list[Piece]) -> str | None:
        core = self._core
        bot = core.bot
        desk = core.settings.desk_of(bot.name)
        try:
            with core.office.pace(desk or bot.name).replying():
                await self._send(place, bot, desk, pieces)
        except BotApiError as error:
            if error.error_code == 403:
                says = error.description.lower()
                return next(
                    (words for known, words in BLOCKED.items() if known in says), "the user cannot be reached"
                )
            if error.heals:
                raise
            return f"Telegram refused it ({error.description})"
        except NotCarriedError as error:
            return str(error)
        return None

    async def _send(self, place: Place, bot: DaemonBot, desk: str | None, pieces: list[Piece]) -> None:
        core, first = self._core, pieces[0]
        where: dict[str, Any] = {"chat_id": place.chat_id}
        if first.reply_to:
            other = await core.transcripts.counterpart(place, "user", first.reply_to)
            if other:
                where["reply_parameters"] = {"message_id": other, "allow_sending_without_reply": True}
        if first.what == "text":
            await send_text(bot, where, first)
            return
        if first.what == "edit":
            copy = await core.transcripts.counterpart(place, "user", first.message_id)
            if copy:
                try:
                    await edit(bot, place.chat_id, copy, first)
                except BotApiError as error:
                    if not is_unchanged(error):
                        raise
            return
        if desk is not None and desk != bot.name:
            for piece in pieces:
                made = await self._carrier.carry(core.daemon.bot(desk), bot, where, piece)
                await core.transcripts.pair(place, made, piece.message_id)
            return
        origin: dict[str, Any] = {"from_chat_id": core.settings.group}
        if len(pieces) > 1:
            ids = [piece.message_id for piece in pieces]
            copies = await bot.call("copyMessages", **where, **origin, message_ids=ids)
            if len(copies) == len(ids):
                for id_, one in zip(ids, copies, strict=True):
                    await core.transcripts.pair(place, message_of(one), id_)
            return
        copy = await bot.call("copyMessage", **where, **origin, message_id=first.message_id)
        await core.transcripts.pair(place, message_of(copy), first.message_id)
