"""The dialogs of a bot that people have: their states, in memory and in the plugin's storage; what follows.

A state is durable before it counts. Its memory is what the route asks, on the loop and without waiting; until
it is read, updates of bots that hand off are held (:mod:`trioworkers_plugins.handoff.route`). It is in memory
as long as the bot runs here (:mod:`trioworkers_plugins.handoff.homes`).
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import trio
from trioworkers_plugins.handoff.held_store import HeldStore
from trioworkers_plugins.handoff.machine import resume, step
from trioworkers_plugins.handoff.outbox import Outbox, Stamps
from trioworkers_plugins.handoff.pace import Flood
from trioworkers_plugins.handoff.pieces import Line, Piece, Place, from_json, place_in, to_json
from trioworkers_plugins.handoff.state import (
    WITH_BOT,
    Dialog,
    Fence,
    Fenced,
    GiveBack,
    Report,
    Reroute,
    Returned,
    TellDesk,
    TellUser,
    Tick,
)
from trioworkers_plugins.handoff.topics import Topics
from trioworkers_plugins.handoff.transcript import Transcripts
from trioworkers_plugins.handoff.words import change

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from trioworkers_plugins.handoff.office import Office
    from trioworkers_plugins.handoff.reader import Rows
    from trioworkers_plugins.handoff.settings import Settings
    from trioworkers_plugins.handoff.state import Effect, Happening

    from trioworkers.plugin_types import BotHere, DaemonBot

ENDED = "handoff_ended"
DRAIN = 30.0  # seconds for which the bot waits until an operator's last words are sent
WRITING = 10.0  # seconds for one change of a state; it is not cut off in the middle
MOST_UNANSWERED = 50  # messages that the bot is told of


class Handoff:
    """The dialogs of one bot, as long as it runs here.

    Args:
        office: what the dialogs of all bots share.
        bot: the bot.
        nursery: for what is done in the background; it ends when the bot ends here.
        serve: begins to send what waits in an outbox; it is called once for each.

    Attributes:
        office: as given.
        name, bot_id: of the bot.
        store: the plugin's storage; it refuses to write once the bot does not run here any more.
        dialogs: those that the bot does not have.
        to_desk: what waits to be sent to the operators' group.
        to_users: what waits to be sent to users.
        transcripts: who said what.
        topics: the topics of the group.
        flood: how much of each user is shown.
        bulletin: numbers the changes.
    """

    def __init__(
        self, office: Office, bot: BotHere, nursery: trio.Nursery, serve: Callable[[Outbox], None]
    ) -> None:
        self.office = office
        self.name, self.bot_id = bot.name, bot.id
        self.plugin, self.daemon, self.clock = office.plugin, office.daemon, office.clock
        self.bulletin = office.bulletin
        self.store = HeldStore(office.plugin.store, bot.name)
        self.dialogs: dict[Place, Dialog] = {}
        self.stamps = Stamps(self.clock)
        self.to_desk = Outbox("desk", self.store, lambda: serve(self.to_desk))
        self.to_users = Outbox("user", self.store, lambda: serve(self.to_users), self.bulletin.note)
        self.transcripts = Transcripts(
            self.store, self.stamps, lambda: self.settings.keep, self._line_written
        )
        self.topics = Topics(self.store)
        self.flood = Flood()
        self._nursery = nursery
        self._active: dict[Place, float] = {}
        self._unanswered: dict[Place, list[dict[str, Any]]] = {}
        self._locks: dict[Place, trio.Lock] = {}
        self._changed: dict[Place, trio.Event] = {}
        self._going_back: set[Place] = set()

    @property
    def settings(self) -> Settings:
        """The plugin's settings in force."""
        return self.office.settings

    @property
    def bot(self) -> DaemonBot:
        """The bot, for calls that belong to no update."""
        return self.daemon.bot(self.name)

    # -- states

    async def load(self, records: Mapping[str, Rows]) -> None:
        """Take in what a former run has left, or another node of the cluster.

        Raises:
            StoreError: a transcript cannot be read now.
        """
        self.to_desk.load(records["desk"])
        self.to_users.load(records["user"])
        self.stamps.reach(max(self.to_desk.loaded, self.to_users.loaded))
        for key, stored in records["dialog"]:
            place, dialog = place_in(key), from_json(Dialog, stored)
            self.dialogs[place] = dialog
            self._active[place] = self.clock()
            self._unanswered[place] = await self.transcripts.unanswered(
                place, dialog.began, dialog.epoch, self._in_doubt(place)
            )
            self.bulletin.note(place)

    async def resume(self) -> None:
        """Do again what a former run may not have finished."""
        for place, dialog in list(self.dialogs.items()):
            for effect in resume(dialog):
                if isinstance(effect, Fence):
                    self.begin(partial(self._fence, place, effect.epoch))
                else:
                    await self._follow(place, dialog, effect)

    def dialog(self, place: Place) -> Dialog:
        """The state of a dialog; that of one which the bot has tells nothing more."""
        return self.dialogs.get(place, WITH_BOT)

    def lock(self, place: Place) -> trio.Lock:
        """Held while the state of a dialog changes, and by whoever relies on it for what is said."""
        return self._locks.setdefault(place, trio.Lock())

    async def wait_changed(self, place: Place) -> None:
        """Return when the state of a dialog has changed."""
        await self._changed.setdefault(place, trio.Event()).wait()

    async def happen(self, place: Place, happening: Happening) -> Dialog:
        """Let something happen to a dialog; return its state once that is durable and the fence acknowledged.

        Cancelled, the state is as before, or has changed with all that follows but the fence.

        Raises:
            UnknownBotError: the bot does not run here any more.
            trio.TooSlowError: the storage takes too long.
        """
        fence: Fence | None = None
        async with self.lock(place):
            with trio.fail_after(WRITING, shield=True):
                before = self.dialogs.get(place) or await self._rested(place)
                dialog, effects = step(before, happening, self.settings.limits, self.clock())
                if dialog != before:
                    await self._write(place, dialog)
                for effect in effects:
                    if isinstance(effect, Fence):
                        fence = effect
                    else:
                        await self._follow(place, dialog, effect)
                if dialog.state == "bot":
                    self.bulletin.forget(place)  # after the lines of its end, which are noted, too
        if fence is not None:
            await self._fence(place, fence.epoch)
        return self.dialogs.get(place, dialog)

    async def _rested(self, place: Place) -> Dialog:
        stored = await self.store.get(place.key("rest"))
        return WITH_BOT if stored is None else from_json(Dialog, stored)

    async def _write(self, place: Place, dialog: Dialog) -> None:
        store = self.store
        if dialog.state == "bot":
            await store.set(place.key("rest"), to_json(dialog), ttl=4 * self.settings.keep)
            await store.delete(place.key("dialog"))
            self.dialogs.pop(place, None)
            self._active.pop(place, None)
            self._unanswered.pop(place, None)
            self.flood.forget(place)
        else:
            await store.set(place.key("dialog"), to_json(dialog))
            if self.dialogs.get(place, WITH_BOT).epoch != dialog.epoch:
                self._active[place] = self.clock()
            self.dialogs[place] = dialog
        self._changed.pop(place, trio.Event()).set()
        self.bulletin.note(place)

    async def _follow(self, place: Place, dialog: Dialog, effect: Effect) -> None:
        if isinstance(effect, Reroute):
            self.daemon.reroute(self.name)
        elif isinstance(effect, TellUser):
            await self._tell_user(place, dialog, effect.notice)
        elif isinstance(effect, TellDesk):
            await self._tell_desk_of(place, dialog, effect.change)
        elif isinstance(effect, Report):
            self._report(place, dialog, effect.event)
        elif isinstance(effect, GiveBack):
            self.begin(partial(self._give_back, place, effect.epoch, dialog.operator))

    def begin(self, do: Callable[[], Awaitable[object]]) -> None:
        """Let something be done in the background, steadily, while the bot runs here."""
        with suppress(RuntimeError):  # the bot has left: where it runs next, it is done again by `resume`
            self._nursery.start_soon(self.office.steadily, do)

    async def _fence(self, place: Place, epoch: int) -> None:
        await self.daemon.fence(self.name, place.chat_id, epoch)
        await self.happen(place, Fenced(epoch))

    async def _give_back(self, place: Place, epoch: int, operator: str) -> None:
        if place in self._going_back:
            return
        self._going_back.add(place)
        try:
            await self._tell_bot(place, epoch, operator)
        finally:
            self._going_back.discard(place)

    async def _tell_bot(self, place: Place, epoch: int, operator: str) -> None:
        with trio.move_on_after(DRAIN):
            await self.to_users.wait_empty(place)
        dialog = self.dialog(place)
        if (dialog.state, dialog.epoch) != ("closing", epoch):
            return
        said = self._unanswered.get(place, [])[-MOST_UNANSWERED:]
        content = {
            "epoch": epoch,
            "began": dialog.began,
            "reason": dialog.reason,
            "ended_by": dialog.ends,
            "operator": operator,
            "unanswered": said,
        }
        await self.daemon.offer(self.name, ENDED, place.chat_id, content)
        await self.happen(place, Returned(epoch))

    def _report(self, place: Place, dialog: Dialog, event: str) -> None:
        bot = self.name
        reasons = {"handoff.requested": dialog.reason, "handoff.released": dialog.ends}
        self.plugin.emit(
            event,
            bot,
            dialog=f"{bot}/{place.chat_id}",
            epoch=dialog.epoch,
            reason=reasons.get(event),
            operator=dialog.operator or None,
        )

    # -- what is said

    def _line_written(self, place: Place, key: str, is_durable: bool) -> None:
        if is_durable:
            self.bulletin.note(place)
        else:
            self.begin(partial(self._note_committed, place, key))

    async def _note_committed(self, place: Place, key: str) -> None:
        if await self.transcripts.wait_committed(key):
            self.bulletin.note(place)

    def active_at(self, place: Place) -> float | None:
        """When somebody last said something in a dialog, Unix seconds; None: the bot has it."""
        return self._active.get(place)

    def unanswered(self, place: Place) -> list[dict[str, Any]]:
        """What the user has said and no operator has answered."""
        return self._unanswered.get(place, [])

    def said_by_user(self, place: Place, message_id: int | None, text: str | None) -> None:
        """Note what waits for an operator's answer."""
        self._active[place] = self.clock()
        open_ = self._unanswered.setdefault(place, [])
        if len(open_) < 2 * MOST_UNANSWERED:
            open_.append({"message_id": message_id, "text": text})

    async def said_by_operator(self, place: Place, message_id: int | None) -> None:
        """Note that an operator has answered. `message_id`: in the group; None: over the API."""
        self._active[place] = self.clock()
        said = self._unanswered.get(place, [])
        left = await self.transcripts.not_answered(place, said, message_id, self._in_doubt(place))
        self._unanswered[place] = left

    def _in_doubt(self, place: Place) -> set[int]:
        """The messages whose copies wait since a former run: it may have shown them to operators."""
        waiting = self.to_desk.waiting(place)
        return {piece.message_id for stamp, piece in waiting if stamp <= self.to_desk.loaded}

    async def _tell_user(self, place: Place, dialog: Dialog, notice: str) -> None:
        settings = self.settings
        text = getattr(settings, f"{notice}_text")
        if not text:
            return
        anonymous = settings.anonymous or not dialog.name
        text = text.replace("{operator}", settings.operator_word if anonymous else dialog.name)
        piece = Piece("text", f"{notice}.{dialog.epoch}", dialog.epoch, text=text)
        await self.to_users.add(place, self.stamps.draw(), piece)

    async def _tell_desk_of(self, place: Place, dialog: Dialog, what: str) -> None:
        text = change(what, dialog, dialog.name or dialog.operator)
        source = f"{what}.{dialog.epoch}"
        if what == "requested":
            is_told = await self.transcripts.counterpart(place, "desk", source) is not None
            if is_told or self.to_desk.holds(place, source):
                return
        else:
            source = f"{source}.{self.stamps.draw()}"
        name = dialog.name if what in ("assigned", "banned") else None
        line = Line(
            self.clock(), "desk", dialog.epoch, what, None, dialog.ends or dialog.reason, name or None
        )
        await self.transcripts.write(place, line)
        await self.tell_desk(place, text, source)
        if what == "requested" and self.settings.desk_of(self.name) is None:
            await self.transcripts.note_sent(place, "desk", source)  # else by who sends it

    async def tell_desk(self, place: Place, text: str, source: str | None = None) -> None:
        """Show operators a text in the topic of a user; nothing without a group."""
        if self.settings.desk_of(self.name) is None:
            return
        stamp = self.stamps.draw()
        piece = Piece("text", source or f"told.{stamp}", self.dialog(place).epoch, text=text)
        await self.to_desk.add(place, stamp, piece)

    # -- time

    async def tick(self) -> None:
        """Give dialogs back that nobody takes, or in which nobody speaks for too long."""
        for place, dialog in list(self.dialogs.items()):
            tick = Tick(self._active.get(place, dialog.since))
            if dialog.state == "closing":  # it may have been given up
                await self.office.steadily(partial(self._resume_closing, place, dialog), once=True)
            elif step(dialog, tick, self.settings.limits, self.clock())[1]:
                await self.office.steadily(partial(self.happen, place, tick), once=True)

    async def _resume_closing(self, place: Place, dialog: Dialog) -> None:
        if place not in self._going_back:
            for effect in resume(dialog):
                await self._follow(place, dialog, effect)
