"""The dialogs that people have: their states, in memory and in the plugin's storage, and what follows.

A state is durable before it counts. Its memory is what the route asks, on the loop and without waiting; until
it is read, updates of bots that hand off are held (:mod:`trioworkers_plugins.handoff.route`).
"""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import trio
from trioworkers_plugins.handoff.bulletin import Bulletin
from trioworkers_plugins.handoff.machine import resume, step
from trioworkers_plugins.handoff.names import Names
from trioworkers_plugins.handoff.outbox import Outbox, Stamps
from trioworkers_plugins.handoff.pace import Flood, GroupPace
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
    from collections.abc import Awaitable, Callable

    from trioworkers_plugins.handoff.settings import Settings
    from trioworkers_plugins.handoff.state import Effect, Happening

    from trioworkers.plugin_types import DaemonBot, PluginDaemon, PluginHandle

ENDED = "handoff_ended"
DRAIN = 30.0  # seconds for which the bot waits until an operator's last words are sent
WRITING = 10.0  # seconds for one change of a state; it is not cut off in the middle
MOST_UNANSWERED = 50  # messages that the bot is told of
PAGE = 500


class UnknownBotError(Exception):
    """No bot of this id runs here."""


class Handoff:
    """All dialogs of one daemon.

    Args:
        plugin: the plugin's handle.
        daemon: the daemon.
        nursery: for what is done in the background; it ends with the service.
        clock: Unix seconds.

    Attributes:
        dialogs: those that the bots do not have.
        to_desk: what waits to be sent to the operators' group.
        to_users: what waits to be sent to users.
        transcripts: who said what.
        topics: the topics of the group.
        flood: how much of each user is shown.
        bulletin: numbers the changes.
        names: who the users are.
    """

    def __init__(
        self,
        plugin: PluginHandle,
        daemon: PluginDaemon,
        nursery: trio.Nursery,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.plugin = plugin
        self.daemon = daemon
        self.clock = clock
        self.dialogs: dict[Place, Dialog] = {}
        self.stamps = Stamps(clock)
        self.to_desk = Outbox("desk", plugin.store)
        self.bulletin = Bulletin(clock())
        self.to_users = Outbox("user", plugin.store, self.bulletin.note)
        self.transcripts = Transcripts(
            plugin.store, self.stamps, lambda: self.settings.keep, self._line_written
        )
        self.names = Names(self.bot, self.bulletin.note, clock)
        self.topics = Topics(plugin.store)
        self.flood = Flood()
        self._nursery = nursery
        self._active: dict[Place, float] = {}
        self._unanswered: dict[Place, list[dict[str, Any]]] = {}
        self._locks: dict[Place, trio.Lock] = {}
        self._changed: dict[Place, trio.Event] = {}
        self._paces: dict[str, GroupPace] = {}
        self._bot_names: dict[int, str] = {}
        self._going_back: set[Place] = set()

    @property
    def settings(self) -> Settings:
        """The plugin's settings in force."""
        settings: Settings = self.plugin.settings
        return settings

    # -- bots

    def bot_name(self, bot_id: int) -> str:
        """The name of a bot.

        Raises:
            UnknownBotError: it does not run here.
        """
        name = self._bot_names.get(bot_id)
        names = self.daemon.bot_names()
        if name is None or name not in names:
            self._bot_names = {self.daemon.bot(one).id: one for one in names}
            name = self._bot_names.get(bot_id)
        if name is None:
            raise UnknownBotError(f"no bot of id {bot_id} runs here")
        return name

    def bot(self, bot_id: int) -> DaemonBot:
        """A bot, for calls that belong to no update.

        Raises:
            UnknownBotError: it does not run here.
        """
        return self.daemon.bot(self.bot_name(bot_id))

    def pace(self, desk: str) -> GroupPace:
        """How fast this bot may speak in the group."""
        if desk not in self._paces:
            self._paces[desk] = GroupPace(lambda: self.settings.group_per_minute)
        return self._paces[desk]

    # -- states

    async def load(self) -> None:
        """Read all states and what waits to be sent, and go on with what was under way."""
        await self.to_desk.load()
        await self.to_users.load()
        after = ""
        while page := await self.plugin.store.items("dialog/", after=after, limit=PAGE):
            for key, stored in page:
                place, dialog = place_in(key), from_json(Dialog, stored)
                self.dialogs[place] = dialog
                self._active[place] = self.clock()
                self._unanswered[place] = await self.transcripts.unanswered(
                    place, dialog.began, self._in_doubt(place)
                )
            after = page[-1][0]

    async def resume(self) -> None:
        """Do again what a former run may not have finished; a bot that has gone may come again."""
        bots = {self.daemon.bot(name).id for name in self.daemon.bot_names()}
        for place, dialog in list(self.dialogs.items()):
            for effect in resume(dialog) if place.bot_id in bots else ():
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
            UnknownBotError: its bot does not run here.
        trio.TooSlowError: the storage takes too long.
        """
        self.bot_name(place.bot_id)
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
        stored = await self.plugin.store.get(place.key("rest"))
        return WITH_BOT if stored is None else from_json(Dialog, stored)

    async def _write(self, place: Place, dialog: Dialog) -> None:
        store = self.plugin.store
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
            self.daemon.reroute(self.bot_name(place.bot_id))
        elif isinstance(effect, TellUser):
            await self._tell_user(place, dialog, effect.notice)
        elif isinstance(effect, TellDesk):
            await self._tell_desk_of(place, dialog, effect.change)
        elif isinstance(effect, Report):
            self._report(place, dialog, effect.event)
        elif isinstance(effect, GiveBack):
            self.begin(partial(self._give_back, place, effect.epoch, dialog.operator))

    def begin(self, do: Callable[[], Awaitable[object]]) -> None:
        """Let something be done in the background, steadily, while the service runs."""
        with suppress(RuntimeError):  # the service has ended: the next one does it again by `resume`
            self._nursery.start_soon(self.steadily, do)

    async def _fence(self, place: Place, epoch: int) -> None:
        await self.daemon.fence(self.bot_name(place.bot_id), place.chat_id, epoch)
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
        await self.daemon.offer(self.bot_name(place.bot_id), ENDED, place.chat_id, content)
        await self.happen(place, Returned(epoch))

    def _report(self, place: Place, dialog: Dialog, event: str) -> None:
        bot = self.bot_name(place.bot_id)
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
            if await self.transcripts.counterpart(place, "desk", source) is not None:
                return
        else:
            source = f"{source}.{self.stamps.draw()}"
        name = dialog.name if what in ("assigned", "banned") else None
        line = Line(
            self.clock(), "desk", dialog.epoch, what, None, dialog.ends or dialog.reason, name or None
        )
        await self.transcripts.write(place, line)
        await self.tell_desk(place, text, source)

    async def tell_desk(self, place: Place, text: str, source: str | None = None) -> None:
        """Show operators a text in the topic of a user; nothing without a group."""
        if self.settings.desk_of(self.bot_name(place.bot_id)) is None:
            return
        stamp = self.stamps.draw()
        piece = Piece("text", source or f"told.{stamp}", self.dialog(place).epoch, text=text)
        await self.to_desk.add(place, stamp, piece)

    # -- time

    async def watch_times(self) -> None:
        """Give dialogs back that nobody takes, or in which nobody speaks, until cancelled."""
        while True:
            await trio.sleep(1)
            for place, dialog in list(self.dialogs.items()):
                tick = Tick(self._active.get(place, dialog.since))
                if dialog.state == "closing":  # it may have been given up, with its bot
                    await self.steadily(partial(self._resume_closing, place, dialog), once=True)
                elif step(dialog, tick, self.settings.limits, self.clock())[1]:
                    await self.steadily(partial(self.happen, place, tick), once=True)

    async def _resume_closing(self, place: Place, dialog: Dialog) -> None:
        if place not in self._going_back:
            for effect in resume(dialog):
                await self._follow(place, dialog, effect)

    async def steadily(self, do: Callable[[], Awaitable[object]], *, once: bool = False) -> None:
        """Do something in the background; what it raises is logged, and unless `once` it is done again.

        A service that ends by what fails here would be switched off after a while, and then the bots would
        answer dialogs that people have.
        """
        pause = 1.0
        while True:
            try:
                await do()
                return
            except UnknownBotError:
                return  # it has gone, and may come again: then what is outstanding is done
            except Exception as error:
                self.plugin.log.warning("something has to be done again", error=type(error).__name__)
            if once:
                return
            await trio.sleep(pause)
            pause = min(2 * pause, 30.0)
