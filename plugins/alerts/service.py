"""Watches the daemon, keeps the book of alerts, and lets notices go out; no failure of one stops another."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec
import trio
from trioworkers_plugins.alerts.book import AlertBook, BookState, Seen, restored
from trioworkers_plugins.alerts.kinds import HEARD
from trioworkers_plugins.alerts.outbox import Outbox, Parcel
from trioworkers_plugins.alerts.senders import ChatSender, UrlSender

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from trioworkers_plugins.alerts.book import Happened
    from trioworkers_plugins.alerts.outbox import Target
    from trioworkers_plugins.alerts.settings import Settings

    from trioworkers.plugin_types import PluginDaemon, PluginHandle

KEY = "state"  # in the plugin's storage
LOOK_EVERY = 15.0  # seconds between looks at the status
KEEP_TIME, KEEP_AGAIN = 10.0, 5.0  # seconds for one write, and until it is tried again
SAME_RUN = 5.0  # seconds by which the start of one run may seem to differ
WELL = frozenset({"running", "sleeping", "paused", "stopped"})


class Kept(msgspec.Struct, frozen=True):
    """What survives a restart. `run`: when the daemon had started that wrote it, Unix seconds."""

    run: float = 0.0
    book: BookState = BookState()
    outbox: tuple[Parcel, ...] = ()


class AlertService:
    """One run of the plugin's service; :meth:`serve` once."""

    def __init__(
        self, daemon: PluginDaemon, plugin: PluginHandle, clock: Callable[[], float] = time.time
    ) -> None:
        self._daemon = daemon
        self._plugin = plugin
        self._clock = clock
        self._run = 0.0
        self._state = BookState()
        self._outbox = Outbox((), self, clock)
        self._dirty = trio.Event()

    @property
    def state(self) -> BookState:
        """What the book knows now."""
        return self._state

    @property
    def waiting(self) -> int:
        """How many notices wait to be sent."""
        return len(self._outbox.parcels)

    @property
    def _settings(self) -> Settings:
        settings: Settings = self._plugin.settings
        return settings

    async def serve(self) -> None:
        """Watch and send until cancelled."""
        with self._daemon.events(None, HEARD, 10_000) as events:  # before the look at what was before
            self._run = self._clock() - self._daemon.status()["fleet"]["uptime_ms"] / 1000
            await self._load()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, events)
                nursery.start_soon(self._keep)
                chat = ChatSender(self._daemon, lambda: self._settings, self._mute)
                nursery.start_soon(self._outbox.serve, "chat", chat)
                nursery.start_soon(self._outbox.serve, "url", UrlSender(self._daemon, lambda: self._settings))

    async def _watch(self, events: Any) -> None:
        look_at = self._clock()
        while True:
            now = self._clock()
            if now >= look_at:
                self._step(self._seen())
                look_at = now + LOOK_EVERY
            next_at = min(look_at, AlertBook(self._settings.rules()).next_at(self._state))
            batch: list[Happened] = []
            with trio.move_on_after(max(0.0, next_at - self._clock())):
                batch, missed = await events.receive()
                if missed:
                    look_at = self._clock()
            self._step(batch)

    def _step(self, events: Iterable[Happened | Seen]) -> None:
        before = self._state
        book = AlertBook(self._settings.rules())
        self._state, notices = book.step(before, events, self._clock())
        if notices:
            self._outbox.put(notices, self._targets())
        if self._state != before:
            self.changed()
            self._outbox.wake()

    def _targets(self) -> list[Target]:
        targets: list[Target] = []
        if self._settings.bot is not None:
            targets.append("chat")
            reason = self._mute()
            if reason is not None:
                has_url = self._settings.url is not None
                says = "alerts go only to the URL" if has_url else "alerts go nowhere: there is no URL"
                self._plugin.log.warning(says, bot=self._settings.bot, reason=reason)
        if self._settings.url is not None:
            targets.append("url")
        return targets

    def _mute(self) -> str | None:
        """Why the bot that writes to the chat cannot; one that failed for another reason still can."""
        bot = self._settings.bot
        if f"token_refused/{bot}" in self._state.alerts:
            return "the token of the bot that sends alerts is refused"
        return None

    def _seen(self) -> list[Seen]:
        status = self._daemon.status()
        if status["fleet"]["state"] != "running":  # some bots have no verdict yet, or it stops
            return []
        rows = status["workers"]
        config = status["fleet"]["config"]
        refused = None if config["last_reload_ok"] else str(config["error"] or "").partition("\n")[0]
        seen = Seen(
            failed={row["bot"]: row["reason"] or "" for row in rows if row["state"] == "failed"},
            well=frozenset(row["bot"] for row in rows if row["state"] in WELL),
            bots=frozenset(row["bot"] for row in rows),
            refused=refused,
            off=frozenset(row["name"] for row in self._daemon.plugins() if row["state"] == "off"),
        )
        return [seen]

    # -- what survives a restart ---------------------------------------------------------------------

    async def _load(self) -> None:
        try:
            found = await self._plugin.store.get(KEY)
            kept = Kept() if found is None else msgspec.convert(found, Kept)
        except Exception as error:  # whatever it is: alerts begin anew rather than not at all
            self._plugin.log.warning("the alerts of before are not known", error=type(error).__name__)
            kept = Kept()
        is_same_run = abs(kept.run - self._run) < SAME_RUN
        self._state = kept.book if is_same_run else restored(kept.book, self._clock())
        self._outbox = Outbox(kept.outbox, self, self._clock)

    async def _keep(self) -> None:
        """Write what changed. Sending does not wait for it: a store that fails is itself an alert."""
        told = False
        while True:
            await self._dirty.wait()
            self._dirty = trio.Event()
            kept = msgspec.to_builtins(Kept(self._run, self._state, self._outbox.parcels))
            try:
                with trio.fail_after(KEEP_TIME):
                    await self._plugin.store.set(KEY, kept)
                told = False
            except Exception as error:  # the store's errors are its own
                if not told:
                    self._plugin.log.warning("alerts are not stored", error=type(error).__name__)
                told = True
                self._dirty.set()
                await trio.sleep(KEEP_AGAIN)

    # -- what the outbox tells -----------------------------------------------------------------------

    def changed(self) -> None:
        """There is something new to store."""
        self._dirty.set()

    def failed(self, target: Target, reason: str) -> None:
        """A try failed; there will be more."""
        self._plugin.log.warning("an alert was not sent and is tried again", target=target, reason=reason)

    def given_up(self, target: Target, reason: str, count: int) -> None:
        """Notices will not reach their target."""
        self._plugin.log.error("alerts were given up", target=target, reason=reason, count=count)
        self.changed()
