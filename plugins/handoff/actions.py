"""What handlers, commands and the HTTP API do with dialogs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import trio
from trioworkers_plugins.handoff.core import UnknownBotError
from trioworkers_plugins.handoff.pieces import Line, Piece, Place, to_json
from trioworkers_plugins.handoff.state import Ban, Close, Request, TakeOver, Unban

from trioworkers import AskRefusedError

if TYPE_CHECKING:
    from trioworkers_plugins.handoff.core import Handoff
    from trioworkers_plugins.handoff.state import Dialog, Happening
    from trioworkers_plugins.handoff.to_users import ToUsers

    from trioworkers.plugin_types import DaemonBot

LONGEST_REASON = 1000  # characters
SHOWN = ("kind", "name", "mime", "size")  # of a file
DELIVERY = 10.0  # seconds for which whoever says something waits for its delivery


class RefusedError(Exception):
    """What was asked for cannot be done; the message says why. `status`: as in HTTP."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Actions:
    """Does what is asked for."""

    def __init__(self, core: Handoff, to_users: ToUsers) -> None:
        self._core = core
        self._to_users = to_users

    # -- looking

    def rows(self) -> list[dict[str, Any]]:
        """All dialogs that the bots do not have, oldest first."""
        dialogs = sorted(self._core.dialogs.items(), key=lambda one: one[1].began)
        return [self._row(place, dialog) for place, dialog in dialogs]

    def look_up_names(self) -> None:
        """Begin to look up the users of all dialogs who are not known yet."""
        names = self._core.names
        for place in self._core.dialogs:
            if names.is_wanted(place):
                self._core.begin(partial(names.look_up, place))

    async def row(self, place: Place, after: str, limit: int) -> dict[str, Any]:
        """A dialog with a page of its transcript, oldest first."""
        seen = self._seen(place)
        lines = await self._core.transcripts.read(place, after, limit + 1)
        page = lines[:limit]
        following = page[-1][0] if len(lines) > limit else None
        return {**self._page(seen, page, is_first=not after), "next": following}

    async def row_back(self, place: Place, before: str, limit: int) -> dict[str, Any]:
        """A dialog with the last lines before a stamp, oldest first."""
        seen = self._seen(place)
        lines = await self._core.transcripts.read_back(place, before, limit + 1)
        page = lines[-limit:]
        previous = page[0][0] if len(lines) > limit else None
        return {**self._page(seen, page, is_first=True), "previous": previous}

    def _seen(self, place: Place) -> dict[str, Any]:
        """A dialog and its version, to be taken before its lines are read: a page that holds a line too many
        is asked for once more, one that lacks a line of its version never is."""
        core = self._core
        if core.names.is_wanted(place):
            core.begin(partial(core.names.look_up, place))
        return {
            **self._row(place, core.dialog(place)),
            "version": core.bulletin.number,
            "sending": [piece.source for _, piece in core.to_users.waiting(place)],
        }

    @staticmethod
    def _page(seen: dict[str, Any], page: list[tuple[str, Line]], *, is_first: bool) -> dict[str, Any]:
        if not page and is_first and seen["state"] == "bot":
            raise RefusedError(404, "no such handoff")
        return {**seen, "transcript": [_line(stamp, line) for stamp, line in page]}

    def place(self, id: str) -> Place:
        """The dialog of an id, `BOT:CHAT`.

        Raises:
            RefusedError: there is no such bot, or this is not an id.
        """
        bot, _, chat = id.rpartition(":")
        if not chat.isdecimal() or len(chat) > 18:
            raise RefusedError(404, "no such handoff: expected BOT:CHAT_ID")
        return self._place(bot, int(chat))

    def _place(self, bot: str, chat_id: int) -> Place:
        if bot not in self._core.daemon.bot_names():
            raise RefusedError(404, "this daemon runs no bot of that name")
        return Place(self._core.daemon.bot(bot).id, chat_id)

    def _row(self, place: Place, dialog: Dialog) -> dict[str, Any]:
        core = self._core
        try:
            bot: str | None = core.bot_name(place.bot_id)
        except UnknownBotError:
            bot = None
        return {
            "id": f"{bot or place.bot_id}:{place.chat_id}",
            "bot": bot,
            "chat_id": place.chat_id,
            "state": dialog.state,
            "epoch": dialog.epoch,
            "reason": dialog.reason,
            "operator": dialog.operator or None,
            "name": dialog.name or None,
            "user": core.names.get(place),
            "began": dialog.began,
            "since": dialog.since,
            "active": core.active_at(place),
            "unanswered": len(core.unanswered(place)),
            "waiting": len(core.to_users.waiting(place)),
            "changed": core.bulletin.of(place),
        }

    # -- doing

    async def start(self, bot: str, chat_id: int, reason: str, words: str = "") -> dict[str, Any]:
        """Ask for an operator. `words`: the asker's reason, for operators to read."""
        if chat_id <= 0:
            raise RefusedError(400, "chat_id: expected the id of a private chat")
        if not self._core.settings.hands_off(bot):
            raise RefusedError(
                409, "the dialogs of this bot are not handed to operators: see plugins.handoff.bots"
            )
        core, place = self._core, self._place(bot, chat_id)
        before = core.dialog(place)
        if before.state == "banned":
            raise RefusedError(409, "the user is banned")
        dialog = await self._happen(place, Request(reason))
        if words and dialog.epoch != before.epoch:
            words = words[:LONGEST_REASON]
            await core.transcripts.write(
                place, Line(core.clock(), "desk", dialog.epoch, "reason", None, words)
            )
            await core.tell_desk(place, f"Reason: {words}", f"reason.{dialog.epoch}")
        return self._row(place, dialog)

    async def ask(self, bot: DaemonBot, params: dict[str, Any]) -> dict[str, Any]:
        """Answer `bot.handoff` of a handler.

        Raises:
            AskRefusedError: it cannot be done.
        """
        chat_id, reason = params.get("chat_id"), params.get("reason") or ""
        if not isinstance(chat_id, int) or not isinstance(reason, str):
            raise AskRefusedError("expected an integer as chat_id and a text as reason")
        try:
            row = await self.start(bot.name, chat_id, "handler", reason)
        except RefusedError as error:
            raise AskRefusedError(str(error)) from None
        return {"state": row["state"], "epoch": row["epoch"]}

    async def take(self, place: Place, operator: str, expected: str | None = None) -> dict[str, Any]:
        """Give a dialog to an operator; returns once the bot cannot speak in it any more.

        `expected`: who has it so far, empty for nobody: somebody else keeps it. None: whoever has it.
        """
        if self._core.dialog(place).state in ("banned", "closing"):
            raise RefusedError(409, f"the dialog is {self._core.dialog(place).state}")
        taken = await self._happen(place, TakeOver(f"api:{operator}", operator, expected))
        if taken.holder != f"api:{operator}":
            raise RefusedError(409, _whose(taken))
        return self._row(place, taken)

    async def release(self, place: Place, expected: str | None = None) -> dict[str, Any]:
        """Give a dialog back to the bot. `expected`: as for :meth:`take`."""
        before = self._core.dialog(place)
        if before.state not in ("queued", "assigned"):
            raise RefusedError(409, "no operator has this dialog, and it waits for none")
        released = await self._happen(place, Close("released", expected))
        if expected is not None and released.holder not in ("", expected):
            raise RefusedError(409, _whose(released))
        return self._row(place, released)

    async def say(
        self, place: Place, operator: str, text: str, *, key: str = "", expected: str | None = None
    ) -> dict[str, Any]:
        """Say something to the user; a dialog that waits is taken. Return whether it was delivered.

        Args:
            key: a name for these words: of the same key, they are said once, however often they are sent.
            expected: the operator who has to have the dialog; None: whoever has it, or nobody yet.
        """
        core = self._core
        if core.dialog(place).state == "queued" and expected is None:
            await self._happen(place, TakeOver(f"api:{operator}", operator))
        async with core.lock(place):
            stamp = core.stamps.draw()
            source = f"say.{key or stamp}"
            if key and await self._is_said(place, source):
                return {"delivered": None, "reason": None, "repeated": True}
            dialog = core.dialog(place)
            if dialog.state != "assigned":
                raise RefusedError(409, "no operator has this dialog: take it first")
            if expected not in (None, dialog.holder):
                raise RefusedError(409, _whose(dialog))
            self._to_users.expect(source)
            piece = Piece("text", source, dialog.epoch, words=True, text=text)
            await core.to_users.add(place, stamp, piece)
            if key:
                await core.transcripts.note_sent(place, "user", source)
            await core.said_by_operator(place, None)
            line = Line(core.clock(), "operator", dialog.epoch, "text", None, text, operator, source)
            await core.transcripts.write(place, line)
        await core.tell_desk(place, f"💬 {operator}: {text}")
        delivered, why = None, None
        with trio.move_on_after(DELIVERY):
            why = await self._to_users.wait_delivered(source)
            delivered = why is None
        return {"delivered": delivered, "reason": why}

    async def _is_said(self, place: Place, source: str) -> bool:
        core = self._core
        if core.to_users.holds(place, source):
            return True
        return await core.transcripts.counterpart(place, "user", source) is not None

    async def note(self, place: Place, operator: str, text: str) -> dict[str, Any]:
        """Note something in the transcript, which the user does not see."""
        core = self._core
        dialog = core.dialog(place)
        await core.transcripts.write(
            place, Line(core.clock(), "note", dialog.epoch, "text", None, text, operator)
        )
        await core.tell_desk(place, f"📝 {operator}: {text}")
        return self._row(place, dialog)

    async def ban(self, place: Place, operator: str) -> dict[str, Any]:
        """Let nobody answer the user any more."""
        return self._row(place, await self._happen(place, Ban(f"api:{operator}", operator)))

    async def unban(self, place: Place, operator: str) -> dict[str, Any]:
        """Give a banned user's dialog back to the bot."""
        if self._core.dialog(place).state != "banned":
            raise RefusedError(409, "the user is not banned")
        return self._row(place, await self._happen(place, Unban(f"api:{operator}", operator)))

    async def _happen(self, place: Place, happening: Happening) -> Dialog:
        try:
            return await self._core.happen(place, happening)
        except UnknownBotError as error:
            raise RefusedError(404, str(error)) from None


def _line(stamp: str, line: Line) -> dict[str, Any]:
    """A line as pages get it: of a file, what it is, and not by which id Telegram knows it."""
    shown = {"stamp": stamp, **to_json(line)}
    if line.media is not None:
        shown["media"] = {name: line.media[name] for name in SHOWN if name in line.media}
    return shown


def _whose(dialog: Dialog) -> str:
    if dialog.holder:
        return f"{dialog.name or dialog.holder} has this dialog now"
    states = {"queued": "nobody has this dialog: take it first", "bot": "the bot has this dialog again"}
    return states.get(dialog.state, f"the dialog is {dialog.state}")
