"""One bot in its own cancel scope: its runs, its settings, and whether it is paused.

Intake begins when the bot's handler is proven (:mod:`trioworkers.nursery.proven_handlers`), and goes on
whatever becomes of workers after that: a bot that cannot work must not take updates from wherever it ran
before, one that can loses none. A bot whose workers start on demand has none to wait for, and takes its
updates from the start; so does one whose webhook an earlier daemon has set, and one that was taken over from
another daemon of the fleet, where updates of it were accepted.

What breaks in a run ends that run, and the bot alone is `failed`, for an `internal error`. A restart by
hand, a change of its settings, or a trial after some minutes begins another run. Until then nothing fetches
its updates, so that Telegram keeps them; what a webhook delivers is still accepted for ten minutes.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import trio

from trioworkers.bot_server import server_of
from trioworkers.botapi.client import BotApi
from trioworkers.errors import describe
from trioworkers.figures import NO_RUN, BotFigures
from trioworkers.logs.files import RotatedFile
from trioworkers.nursery.bot_context import BotContext
from trioworkers.nursery.bot_run import BotRun
from trioworkers.nursery.life import BROKEN, STOPPING
from trioworkers.nursery.restart import FIRST_TRIAL, LONGEST_TRIAL, STARVED
from trioworkers.starved import is_starved
from trioworkers.transport.pending import drop_pending

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trioworkers.config import BotSettings, LogSettings
    from trioworkers.figures import Figures
    from trioworkers.nursery.delivery import Run

__all__ = ["BotContext", "BotScope"]

NO_LIMIT = 10 * 366 * 86400.0  # seconds; JSON has no infinity


class BotScope:
    """Runs one bot. :meth:`run` once; :meth:`stop_intake` and :meth:`drain` end it in order.

    Attributes:
        settings: the settings in force.
        log_path: the file that the bot's output goes to.
        log: that file, which has no other writer.
        ended: set by whoever runs it, when it has been drained.
    """

    def __init__(self, settings: BotSettings, context: BotContext) -> None:
        self._context = context
        self.settings = self._in_force(settings)
        self.log_path = context.fleet().log_dir / f"worker_{settings.name}.log"
        self.log = RotatedFile(self.log_path, self._log_settings)
        self._run: BotRun | None = None
        self._began = trio.Event()
        self._wanted = trio.Event()  # another run, after one that broke
        self._is_broken = self._stops_intake = self._drains = False
        self._tune_pace()
        self.ended = trio.Event()

    @property
    def state(self) -> str:
        """As in the status document."""
        if self._run is None:
            return "failed" if self._is_broken else "starting"
        state = self._run.supervisor.state
        return "paused" if self.paused and state in ("running", "sleeping") else state

    @property
    def restarts(self) -> int:
        """How often a worker was started again."""
        return 0 if self._run is None else self._run.supervisor.restarts

    @property
    def rests(self) -> bool:
        """Whether it has no worker, and the next will be a fresh one without anybody's doing."""
        return self._run is None or self._run.supervisor.rests

    @property
    def paused(self) -> bool:
        """Whether its updates are accepted, and none is handled."""
        return self.settings.bot_id in self._context.paused

    async def run(self) -> None:
        """Run until drained; cancelling it ends the workers' groups and leaves no trace."""
        pause = FIRST_TRIAL
        while True:
            began, starved = trio.current_time(), False
            try:
                await self._run_once()
                return
            except* Exception as group:
                # by type and place: an exception's words may quote what a user wrote
                self._park_broken(describe(group))
                starved = is_starved(group)
            self._began.set()  # it may not even have begun
            self._is_broken, self._began = True, trio.Event()
            if trio.current_time() - began >= self.settings.restart.healthy_after:
                pause = FIRST_TRIAL
            if not self._drains:
                with trio.move_on_after(STARVED if starved else pause):
                    await self._wanted.wait()
            if self._drains:
                return
            if starved:  # which is nobody's mistake, and may be over soon
                continue
            pause = FIRST_TRIAL if self._wanted.is_set() else min(2 * pause, LONGEST_TRIAL)

    async def _run_once(self) -> None:
        self._wanted = trio.Event()
        self._run = run = BotRun(self._get_settings, self._context, self.log)
        self._is_broken = False
        self._began.set()
        if self._stops_intake or not self.settings.enabled:
            run.stop_intake()
        if self._drains or not self.settings.enabled:
            run.drain()
        await run.run()

    def _park_broken(self, error: str) -> None:
        if self._run is None:
            self._context.events.emit("bot.failed", self.settings.name, reason=BROKEN, error=error)
        else:
            self._run.supervisor.park(BROKEN, error=error)

    async def wait_judged(self) -> None:
        """Return once it had its first verdict: a worker is ready, or it failed, sleeps or is not enabled."""
        if self._run is None and not self._is_broken:
            await self._began.wait()
        if self._run is not None:
            await self._run.supervisor.judged.wait()

    def stop_intake(self) -> None:
        """Fetch no more updates; what was accepted is still handled."""
        self._stops_intake = True
        if self._run is not None:
            with self._own_breakage():
                self._run.stop_intake()

    def drain(self) -> None:
        """Let the worker finish what it has, and end; `run` returns then."""
        self._drains = True
        self._wanted.set()
        self._began.set()  # whoever waits for another run waits no more
        if self._run is not None:
            with self._own_breakage():
                self._run.drain()

    async def restart(self, *, by_hand: bool = True) -> str | None:
        """Replace the worker by one that runs the code as it is now; return once it is ready.

        Returns why there is none, or None. `by_hand`: as for :meth:`Supervisor.restart`.
        """
        if not self.settings.enabled:
            return "the bot is not enabled"
        if self._run is None or self._is_broken:
            self._wanted.set()
            await self._began.wait()
            if self._run is None or self._is_broken:
                return STOPPING if self._drains else BROKEN
        return await self._run.restart(by_hand=by_hand)

    async def try_worker(self) -> str | None:
        """Start a second worker up to its handshake, and end it; return why it was not ready, or None."""
        return None if self._run is None else await self._run.try_worker()

    async def pause(self) -> None:
        """Hand out nothing more, also after a restart of the daemon. Updates are accepted all the same.

        Raises:
            OSError: it could not be made durable, and nothing changed.
        """
        await self._change_pause(True, "bot.paused")

    async def resume(self) -> None:
        """Hand out updates again.

        Raises:
            OSError: it could not be made durable, and nothing changed.
        """
        await self._change_pause(False, "bot.resumed")

    async def drop_pending(self) -> int:
        """Drop the updates that wait at Telegram, and return their number; those in the inbox stay.

        Raises:
            BotApiError: Telegram refused it.
            TransportError: Telegram was not reached, or did not answer as it should. They may be dropped.
        """
        async with AsyncExitStack() as stack:
            if self._run is not None and not self._is_broken:
                await stack.enter_async_context(self._run.nothing_fetched())
            api = BotApi(server_of(self._context.fleet(), self.settings), self.settings.token.reveal())
            dropped = await drop_pending(await stack.enter_async_context(api))
        self._context.events.emit("transport.dropped", self.settings.name, count=dropped)
        return dropped

    def retune(self, settings: BotSettings) -> None:
        """Work with new settings that touch no process; updates in flight keep those they began with."""
        settings = self._in_force(settings)
        differs = settings.digest != self.settings.digest
        self.settings = settings
        self._tune_pace()
        if self._is_breaking:
            if differs:
                self._wanted.set()
        elif self._run is not None:
            with self._own_breakage():
                self._run.retune(differs=differs)

    def reroute(self) -> None:
        """Which functions of the daemon handle updates has changed: ask again for those that wait."""
        if self._run is not None:
            with self._own_breakage():
                self._run.reroute()

    def hooks_changed(self) -> None:
        """Plugins became active, or are not active any more."""
        if self._run is not None:
            with self._own_breakage():
                self._run.hooks_changed()

    async def fence(
        self, chat_id: int, epoch: int, is_spared: Callable[[Run], bool] = lambda run: False
    ) -> None:
        """Return once nothing that has an update of a chat in flight can make a call any more.

        Workers' handlers, and functions of the daemon, are cut off, and their updates put back: who handles
        them is asked again. So the answer to that has to have changed before (:meth:`reroute`), else they
        are handled by the same ones again. A worker that does not obey within 5 s is killed.

        Args:
            chat_id: the chat; all threads of a forum are meant.
            epoch: the caller's own number of the take-over, for events.
            is_spared: whether a function of the daemon goes on: it is the caller's own.
        """
        if self._run is not None:
            await self._run.fence(chat_id, epoch, is_spared)

    def webhook_changed(self) -> None:
        """What Telegram has to know of its webhook may have changed."""
        if self._run is not None:
            with self._own_breakage():
                self._run.webhook_changed()

    def replace(self, settings: BotSettings, *, fetch_anew: bool) -> None:
        """Replace the worker by one with these settings, which gets ready while the old one works.

        `fetch_anew`: how updates are fetched has changed, too (the token); else they come in all the while.
        """
        self.settings = self._in_force(settings)
        self._tune_pace()
        if self._is_breaking:
            self._wanted.set()
        elif self._run is not None:
            with self._own_breakage():
                self._run.replace(fetch_anew=fetch_anew)

    def try_code(self) -> None:
        """The code changed: replace the worker by one that has it; if it is broken, the present one stays."""
        if self._is_breaking:
            self._wanted.set()
        elif self._run is not None and self.settings.enabled:
            with self._own_breakage():
                self._run.replace(tries=True)

    def may_run_beside(self, other: BotScope) -> bool:
        """Whether both may run at the same time: not with one bot id, nor with one log."""
        mine, its = self.settings, other.settings
        return mine.bot_id != its.bot_id and mine.name != its.name

    def status(self) -> dict[str, Any]:
        """This bot's row of the status document."""
        row = None
        if self._run is not None:
            with self._own_breakage():
                row = self._run.status()
                if row["reason"] is None and row["health"]["intake"] is not None:
                    row["reason"] = row["health"]["intake"]["problem"]
        return {
            "bot": self.settings.name,
            "bot_id": self.settings.bot_id,
            "state": self.state,
            "paused": self.paused,
            "epoch": self._context.epoch(self.settings.bot_id),
            **(row or self._status_before()),
            "plugins": self._context.hooks.status(self.settings),
        }

    def figures(self, counted: Figures) -> BotFigures:
        """What metrics show of this bot; `counted`: what is counted for all bots."""
        run = NO_RUN
        if self._run is not None:
            with self._own_breakage():
                run = self._run.figures()
        bot_id = self.settings.bot_id
        counts = self._context.inbox.counts(bot_id)
        return BotFigures(
            bot=self.settings.name,
            state=self.state,
            accepted=counts["accepted"],
            handled=counts["done"],
            dropped=counts["dropped"] + counts["filtered"],
            retried=counts["retried"],
            dead=counted.deaths[bot_id],
            expired=counts["expired"],
            ready=max(0, counts["pending"] - run.in_flight - run.retry),
            in_flight=run.in_flight,
            retry=run.retry,
            dead_letters=counts["dead"],
            oldest_at=run.oldest_at,
            restarts=counted.restarts[bot_id],
            memory=run.memory,
            heartbeat_age=run.heartbeat_age,
        )

    def _status_before(self) -> dict[str, Any]:
        """What is known before its run: it waits for one that has its bot id, name or log."""
        tally = self._context.inbox.tally(self.settings.bot_id)
        unknown = ["pid", "webhook", "uptime_ms", "memory_bytes", "last_heartbeat_age_ms", "code"]
        unknown += ["acknowledge", "latency_ms", "last_exit", "next_start_at", "rate_limit"]
        health = {"alive": False, "responsive": False, "progressing": True, "receiving": True}
        return {
            **dict.fromkeys(unknown),
            "transport": "poll" if self.settings.transport == "poll" else "webhook",
            "messages": 0,
            "errors": 0,
            "restarts": 0,
            "queue": {"ready": tally.pending, "in_flight": 0, "retry": 0, "dead": tally.dead},
            "reason": BROKEN if self._is_broken else None,
            "health": {**health, "intake": None, "loop_lag_ms": 0, "oldest_in_flight_ms": 0},
        }

    def _in_force(self, settings: BotSettings) -> BotSettings:
        """These settings, or, where somebody debugs, the same without time limits."""
        if self._context.console is None:
            return settings
        return settings.model_copy(update={"handler_timeout": NO_LIMIT, "hang_timeout": NO_LIMIT})

    @property
    def _is_breaking(self) -> bool:
        """Whether its run is broken, or about to end for that: the next one reads the settings in force."""
        return self._is_broken or (self._run is not None and self._run.is_breaking)

    @contextmanager
    def _own_breakage(self) -> Iterator[None]:
        """Let what breaks inside end this bot's run, and not its caller, who changes all bots."""
        try:
            yield
        except Exception as error:
            if self._run is None:
                raise
            self._run.breaks(error)

    async def _change_pause(self, paused: bool, event: str) -> None:
        if await self._context.paused.change(self.settings.bot_id, paused):
            self._context.events.emit(event, self.settings.name)
            if self._run is not None:
                self._run.poke()

    def _tune_pace(self) -> None:
        if self._context.paces is not None:
            self._context.paces.of(self.settings.bot_id).tune(self.settings.rate_limit)

    def _get_settings(self) -> BotSettings:
        return self.settings

    def _log_settings(self) -> LogSettings:
        return self._context.fleet().log
