"""What handlers, commands and the HTTP API do with dialogs."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import trio
from trioworkers_plugins.handoff.office import UnknownBotError
from trioworkers_plugins.handoff.outbox import Stamps
from trioworkers_plugins.handoff.pieces import Line, Piece, Place, from_json, place_in, stamped, to_json
from trioworkers_plugins.handoff.state import Ban, Close, Dialog, Request, TakeOver, Unban
from trioworkers_plugins.handoff.transcript import Transcripts

from trioworkers import AskRefusedError

if TYPE_CHECKING:
    from collections.abc import Collection

    from trioworkers_plugins.handoff.core import Handoff
    from trioworkers_plugins.handoff.homes import Home, Homes
    from trioworkers_plugins.handoff.state import Happening

    from trioworkers.plugin_types import DaemonBot

MOST_STORED = 200  # dialogs of bots that run nowhere
LONGEST_REASON = 1000  # characters
SHOWN = ("kind", "name", "mime", "size")  # of a file
RECENT = 50  # lines in which words are looked for that may have been noted before
DELIVERY = 10.0  # seconds for which whoever says something waits for its delivery


class RefusedError(Exception):
    """What was asked for cannot be done; the message says why. `status`: as in HTTP."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Actions:
    """Does what is asked for, to the dialogs of bots that run here.

    Args:
        homes: the bots with their dialogs.
    """

    def __init__(self, homes: Homes) -> None:
        self._homes = homes
        self._office = homes.office

    # -- looking

    def rows(self) -> list[dict[str, Any]]:
        """All dialogs that the bots do not have, oldest first."""
        found = [
            (dialog.began, self._row(home, place, dialog))
            for home in self._homes.all
            for place, dialog in home.core.dialogs.items()
        ]
        return [row for _, row in sorted(found, key=lambda one: one[0])]

    async def rows_from_storage(self, bots: Collection[str]) -> list[dict[str, Any]]:
        """The dialogs of bots that run nowhere at this moment, or whose node does not answer.

        Raises:
            StoreError: they cannot be read now.
        """
        ids = self._office.daemon.fleet_bots()
        wanted = {ids[bot] for bot in bots if bot in ids}
        stored = await self._homes.reader.all("dialog/")
        found = [(place_in(key), from_json(Dialog, value)) for key, value in stored]
        orphans = [(place, dialog) for place, dialog in found if place.bot_id in wanted]
        return [await self._stored_row(*one) for one in orphans[:MOST_STORED]]

    def look_up_names(self) -> None:
        """Begin to look up the users of all dialogs who are not known yet."""
        for home in self._homes.all:
            for place in home.core.dialogs:
                self._look_up_name(home, place)

    def _look_up_name(self, home: Home, place: Place) -> None:
        if self._office.names.is_wanted(place):
            home.core.begin(partial(self._office.names.look_up, place))

    async def row(self, place: Place, after: str, limit: int) -> dict[str, Any]:
        """A dialog with a page of its transcript, oldest first."""
        home = self._home(place)
        seen = self._seen(home, place)
        lines = await home.core.transcripts.read(place, after, limit + 1)
        page = lines[:limit]
        following = page[-1][0] if len(lines) > limit else None
        return {**self._page(seen, page, is_first=not after), "next": following}

    async def row_back(self, place: Place, before: str, limit: int) -> dict[str, Any]:
        """A dialog with the last lines before a stamp, oldest first."""
        home = self._home(place)
        seen = self._seen(home, place)
        lines = await home.core.transcripts.read_back(place, before, limit + 1)
        page = lines[-limit:]
        previous = page[0][0] if len(lines) > limit else None
        return {**self._page(seen, page, is_first=True), "previous": previous}

    def _seen(self, home: Home, place: Place) -> dict[str, Any]:
        """A dialog and its version, to be taken before its lines are read: a page that holds a line too many
        is asked for once more, one that lacks a line of its version never is."""
        self._look_up_name(home, place)
        return {
            **self._row(home, place, home.core.dialog(place)),
            "version": self._office.bulletin.number,
            "sending": [piece.source for _, piece in home.core.to_users.waiting(place)],
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
        bots = self._office.daemon.fleet_bots()
        if bot not in bots:
            raise RefusedError(404, "there is no bot of that name")
        return Place(bots[bot], chat_id)

    def _home(self, place: Place) -> Home:
        home = self._homes.get(place.bot_id)
        if home is None:
            raise RefusedError(503, "the bot's dialogs are not read yet, or it is not enabled: ask again")
        return home

    def _row(self, home: Home, place: Place, dialog: Dialog) -> dict[str, Any]:
        core = home.core
        spoken = core.active_at(place), len(core.unanswered(place)), len(core.to_users.waiting(place))
        return self._told(core.name, place, dialog, spoken)

    async def _stored_row(self, place: Place, dialog: Dialog) -> dict[str, Any]:
        store = self._office.plugin.store
        waiting = await store.items(place.key("user") + "/")
        transcripts = Transcripts(store, Stamps(self._office.clock), lambda: self._office.settings.keep)
        unanswered = await transcripts.unanswered(place, dialog.began, dialog.epoch)
        spoken = None, len(unanswered), len(waiting)
        return self._told(self._office.name_of(place.bot_id), place, dialog, spoken)

    def _told(
        self, bot: str, place: Place, dialog: Dialog, spoken: tuple[float | None, int, int]
    ) -> dict[str, Any]:
        active, unanswered, waiting = spoken
        return {
            "id": f"{bot}:{place.chat_id}",
            "bot": bot,
            "chat_id": place.chat_id,
            "state": dialog.state,
            "epoch": dialog.epoch,
            "reason": dialog.reason,
            "operator": dialog.operator or None,
            "name": dialog.name or None,
            "user": self._office.names.get(place),
            "began": dialog.began,
            "since": dialog.since,
            "active": active,
            "unanswered": unanswered,
            "waiting": waiting,
            "changed": self._office.bulletin.of(place),
        }

    # -- doing

    async def start(self, bot: str, chat_id: int, reason: str, words: str = "") -> dict[str, Any]:
        """Ask for an operator. `words`: the asker's reason, for operators to read."""
        if chat_id <= 0:
            raise RefusedError(400, "chat_id: expected the id of a private chat")
        if not self._office.settings.hands_off(bot):
            raise RefusedError(
                409, "the dialogs of this bot are not handed to operators: see plugins.handoff.bots"
            )
        place = self._place(bot, chat_id)
        home = self._home(place)
        core = home.core
        before = core.dialog(place)
        if before.state == "banned":
            raise RefusedError(409, "the user is banned")
        dialog = await self._happen(home, place, Request(reason))
        if words and dialog.epoch != before.epoch:
            words = words[:LONGEST_REASON]
            await core.transcripts.write(
                place, Line(core.clock(), "desk", dialog.epoch, "reason", None, words)
            )
            await core.tell_desk(place, f"Reason: {words}", f"reason.{dialog.epoch}")
        return self._row(home, place, dialog)

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
        home = self._home(place)
        if home.core.dialog(place).state in ("banned", "closing"):
            raise RefusedError(409, f"the dialog is {home.core.dialog(place).state}")
        taken = await self._happen(home, place, TakeOver(f"api:{operator}", operator, expected))
        if taken.holder != f"api:{operator}":
            raise RefusedError(409, _whose(taken))
        return self._row(home, place, taken)

    async def release(self, place: Place, expected: str | None = None) -> dict[str, Any]:
        """Give a dialog back to the bot. `expected`: as for :meth:`take`."""
        home = self._home(place)
        before = home.core.dialog(place)
        if before.state not in ("queued", "assigned"):
            raise RefusedError(409, "no operator has this dialog, and it waits for none")
        released = await self._happen(home, place, Close("released", expected))
        if expected is not None and released.holder not in ("", expected):
            raise RefusedError(409, _whose(released))
        return self._row(home, place, released)

    async def say(
        self, place: Place, operator: str, text: str, *, key: str = "", expected: str | None = None
    ) -> dict[str, Any]:
        """Say something to the user; a dialog that waits is taken. Return whether it was delivered.

        Args:
            key: a name for these words: of the same key, they are said once, however often they are sent.
            expected: the operator who has to have the dialog; None: whoever has it, or nobody yet.
        """
        home = self._home(place)
        core = home.core
        if core.dialog(place).state == "queued" and expected is None:
            await self._happen(home, place, TakeOver(f"api:{operator}", operator))
        with ExitStack() as awaiting:
            async with core.lock(place):
                stamp = core.stamps.draw()
                source = f"say.{key or stamp}"
                if key and await self._is_said(core, place, source):
                    await self._note_said(core, place, operator, text, source)
                    return {"delivered": None, "reason": None, "repeated": True}
                dialog = core.dialog(place)
                if dialog.state != "assigned":
                    raise RefusedError(409, "no operator has this dialog: take it first")
                if expected not in (None, dialog.holder):
                    raise RefusedError(409, _whose(dialog))
                awaiting.enter_context(home.to_users.awaited(source))
                piece = Piece("text", source, dialog.epoch, words=True, text=text)
                await core.to_users.add(place, stamp, piece)
                await core.said_by_operator(place, None)
                line = Line(core.clock(), "operator", dialog.epoch, "text", None, text, operator, source)
                await core.transcripts.write(place, line)
            await core.tell_desk(place, f"💬 {operator}: {text}")
            delivered, why = None, None
            with suppress(UnknownBotError), trio.move_on_after(DELIVERY):
                why = await home.to_users.wait_delivered(source)
                delivered = why is None
        return {"delivered": delivered, "reason": why}

    async def _note_said(self, core: Handoff, place: Place, operator: str, text: str, source: str) -> None:
        """Words that were said on the node that had the bot before, which left before it noted them."""
        now = stamped(core.stamps.draw())
        if any(line.source == source for _, line in await core.transcripts.read_back(place, now, RECENT)):
            return
        await core.said_by_operator(place, None)
        line = Line(core.clock(), "operator", core.dialog(place).epoch, "text", None, text, operator, source)
        await core.transcripts.write(place, line)

    async def _is_said(self, core: Handoff, place: Place, source: str) -> bool:
        if core.to_users.holds(place, source):
            return True
        return await core.transcripts.counterpart(place, "user", source) is not None

    async def note(self, place: Place, operator: str, text: str) -> dict[str, Any]:
        """Note something in the transcript, which the user does not see."""
        home = self._home(place)
        core = home.core
        dialog = core.dialog(place)
        await core.transcripts.write(
            place, Line(core.clock(), "note", dialog.epoch, "text", None, text, operator)
        )
        await core.tell_desk(place, f"📝 {operator}: {text}")
        return self._row(home, place, dialog)

    async def ban(self, place: Place, operator: str) -> dict[str, Any]:
        """Let nobody answer the user any more."""
        home = self._home(place)
        return self._row(home, place, await self._happen(home, place, Ban(f"api:{operator}", operator)))

    async def unban(self, place: Place, operator: str) -> dict[str, Any]:
        """Give a banned user's dialog back to the bot."""
        home = self._home(place)
        if home.core.dialog(place).state != "banned":
            raise RefusedError(409, "the user is not banned")
        return self._row(home, place, await self._happen(home, place, Unban(f"api:{operator}", operator)))

    async def _happen(self, home: Home, place: Place, happening: Happening) -> Dialog:
        try:
            return await home.core.happen(place, happening)
        except UnknownBotError as error:
            raise RefusedError(503, f"{error}: ask again") from None


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
