"""Functions of the daemon as an executor: they handle updates in the place of a bot's worker.

An operator's dialog is one: the bot must get none of its updates, and they have the same order, attempts,
time limit, recorded calls and dead letters as all others. A function runs on the daemon's loop and must not
block it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import trio

from trioworkers.botapi.client import SMALL_ANSWER_LIMIT, BotApi
from trioworkers.errors import Reroute
from trioworkers.handling.bot import Bot
from trioworkers.handling.calls import Calls
from trioworkers.handling.fence import HandlingFence, close_all
from trioworkers.handling.handle import handle
from trioworkers.handling.log import BotLog
from trioworkers.handling.update import Update
from trioworkers.nursery.delivery_recorder import DeliveryRecorder, recorded_calls
from trioworkers.records import belongs_to_chat, shown_call

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from random import Random

    from trioworkers.botapi.messages import Turns
    from trioworkers.botapi.meter import CallMeter
    from trioworkers.botapi.server import Server
    from trioworkers.handling.bot import AsksDaemon, Handling
    from trioworkers.inbox.store import StoreWrite
    from trioworkers.nursery.delivery import Delivery, Run
    from trioworkers.nursery.scheduler import Scheduler
    from trioworkers.protocol.frames import Outcome

CONNECTIONS = 4  # to the Bot API, for all functions of one bot
FENCE_TIMEOUT = 5.0  # seconds for a function to take notice that it was cut off


class FunctionSettings(Protocol):
    """What of a bot's settings its functions work with, read anew for each update."""

    @property
    def name(self) -> str: ...
    @property
    def bot_id(self) -> int: ...
    @property
    def settings(self) -> Mapping[str, Any]: ...
    @property
    def concurrency(self) -> int: ...
    @property
    def handler_timeout(self) -> float: ...


@dataclass(frozen=True, slots=True)
class FunctionContext:
    """What a bot's functions work with.

    Attributes:
        settings: those in force.
        server: the Bot API server and the token in force.
        log_level: the level of the bot's log.
        write: writes a line into the bot's log.
        rng: where jitter comes from.
        asks: answers what functions ask for; None: nobody does.
        meter: counts requests to the Bot API; None: they are not counted.
        turns: where messages wait for their turn; None: they do not.
    """

    settings: Callable[[], FunctionSettings]
    server: Callable[[], tuple[Server | str, str]]
    log_level: Callable[[], str]
    write: Callable[[str], None]
    rng: Random
    asks: AsksDaemon | None = None
    meter: CallMeter | None = None
    turns: Turns | None = None


class FunctionBot(Bot):
    """The bot that a function of the daemon is given.

    Attributes:
        earlier: the calls that an earlier handling of the update made, or may have made, by method and chat.
        writes: values of plugins that are committed in the transaction that ends the update, if it is done.
    """

    def __init__(
        self,
        settings: FunctionSettings,
        log: BotLog,
        api: BotApi,
        handling: Handling,
        earlier: tuple[str, ...] = (),
    ) -> None:
        super().__init__(settings.name, settings.bot_id, settings.settings, log, api, handling)
        self.earlier = earlier
        self.writes: list[StoreWrite] = []


class FunctionExecutor:
    """Runs functions on one bot's updates. :meth:`run` once, in the bot's nursery."""

    def __init__(self, context: FunctionContext, scheduler: Scheduler) -> None:
        self._context = context
        self._scheduler = scheduler
        self._in_flight: dict[HandlingFence, Delivery] = {}
        self._nursery: trio.Nursery | None = None
        self._draining = False
        self._idle = trio.Event()
        self._client: _Client | None = None

    def room(self) -> int:
        """As :class:`~trioworkers.nursery.executor.Executor`."""
        if self._draining or self._nursery is None:
            return 0
        return self._context.settings().concurrency - len(self._in_flight)

    def begin(self, delivery: Delivery) -> None:
        """As :class:`~trioworkers.nursery.executor.Executor`."""
        assert self._nursery is not None  # noqa: S101 - for mypy; there was room
        fence = HandlingFence()
        self._in_flight[fence] = delivery
        delivery.delivered()
        self._nursery.start_soon(self._handle, delivery, fence)

    def hurry(self) -> None:
        """As :class:`~trioworkers.nursery.executor.Executor`; nothing leaves the daemon."""

    async def fence(self, chat_id: int, is_spared: Callable[[Run], bool]) -> None:
        """Cut off the functions that have updates of a chat; return once they can make no call any more.

        Their updates are put back. A function that ignores cancellation is not waited for longer than
        `FENCE_TIMEOUT` seconds, as its calls are refused in any case.

        Args:
            chat_id: the chat; all threads of a forum are meant.
            is_spared: whether this function goes on: it is the caller's own.
        """
        fences = [
            fence
            for fence, delivery in self._in_flight.items()
            if belongs_to_chat(delivery.update.key, chat_id)
            and (delivery.run is None or not is_spared(delivery.run))
        ]
        with trio.move_on_after(FENCE_TIMEOUT):
            await close_all(fences)

    async def run(self) -> None:
        """Run functions until drained. Cancelled, what is in flight is put back and handled again."""
        try:
            async with trio.open_nursery() as self._nursery:
                with self._scheduler.hands_to(self, "functions"):
                    await self._idle.wait()
        finally:
            before, self._client = self._client, None
            if before is not None:
                before.close_unused(None)

    def drain(self) -> None:
        """Take nothing more; once nothing is in flight, :meth:`run` returns."""
        self._draining = True
        if not self._in_flight:
            self._idle.set()

    async def _handle(self, delivery: Delivery, fence: HandlingFence) -> None:
        settings, update = self._context.settings(), delivery.update
        function = delivery.run
        assert function is not None  # noqa: S101 - for mypy; only such updates are handed to this executor
        recorded = recorded_calls(delivery)
        calls = None if recorded is None else Calls(recorded, DeliveryRecorder(delivery))
        client = self._client_in_force()

        writes: Sequence[StoreWrite] = ()

        async def run(handling: Handling) -> None:
            nonlocal writes
            seen = Update(
                update.body,
                bot_id=settings.bot_id,
                attempt=update.attempt,
                after_gap=update.after_gap,
                head=update.head,
            )
            seen.key = update.key
            log = BotLog(self._context.log_level(), self._context.write, bot=settings.name).about(seen)
            handling.asks = self._context.asks
            earlier = tuple(shown_call(call.key) for call in delivery.calls or ())
            bot = FunctionBot(settings, log, client.api, handling, earlier)
            writes = bot.writes
            try:
                await function(seen, bot)
            except Reroute:
                rerouted.set()

        rerouted = trio.Event()
        client.users += 1
        outcome: Outcome | None = None
        try:
            outcome = await handle(run, calls, settings.handler_timeout, fence=fence)
        finally:
            if outcome is None:  # cancelled, like all of this executor
                self._draining = True
                delivery.put_back()
            del self._in_flight[fence]
            client.users -= 1
            client.close_unused(self._client)
            fence.ended()
        if outcome.result == "fenced" or rerouted.is_set():
            delivery.put_back()
        else:
            delivery.settle(outcome, tuple(writes))
        if self._draining and not self._in_flight:
            self._idle.set()
        self._scheduler.refill("functions")

    def _client_in_force(self) -> _Client:
        """The bot's connection to the Bot API; shared until the server or the token changes."""
        server, before = self._context.server(), self._client
        if before is None or before.server != server:
            self._client = _Client(server, self._context)
            if before is not None:
                before.close_unused(self._client)
        assert self._client is not None  # noqa: S101 - for mypy
        return self._client


class _Client:
    """A connection to the Bot API, and how many functions use it."""

    def __init__(self, server: tuple[Server | str, str], context: FunctionContext) -> None:
        self.server = server
        self.users = 0
        self.api = BotApi(
            *server,
            connections=CONNECTIONS,
            rng=context.rng,
            meter=context.meter,
            largest=SMALL_ANSWER_LIMIT,
        )
        self.api.turns = context.turns

    def close_unused(self, in_force: _Client | None) -> None:
        """Close it when no function uses it and none will."""
        if not self.users and self is not in_force:
            self.api.close()
