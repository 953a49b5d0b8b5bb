"""One bot's turns to send, for all that speaks for it: workers, functions of the daemon, plugins."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import trio

from trioworkers.ratelimit.limiter import Limiter, Ticket

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from trioworkers.botapi.messages import Caller, Message
    from trioworkers.ratelimit.limiter import RateLimits

    Go = Callable[[float], None]
    """Called once, with 0 when the message may be sent, or with the seconds after which to ask again."""


@dataclass(frozen=True, slots=True)
class PaceFigures:
    """What a bot's rate limit came to since the daemon's start.

    Attributes:
        waiting: messages that wait for their turn now.
        delayed: messages that had to wait for it.
        waited: seconds that these waited, all together.
    """

    waiting: int
    delayed: int
    waited: float


class BotPace:
    """One bot's bucket. It lives as long as the daemon, whatever becomes of workers and runs of the bot.

    Everything happens between checkpoints, and nothing here blocks.

    Attributes:
        fault: is given what breaks in here, which is a bug; then nobody waits for what waited before.
    """

    def __init__(self, paces: Paces) -> None:
        self.fault: Callable[[Exception], None] | None = None
        self._paces = paces
        self._limits: RateLimits | None = None
        self._limiter: Limiter | None = None
        self._before = PaceFigures(0, 0, 0.0)  # of limiters that were switched off
        self._calls: dict[Ticket, Go] = {}
        self._timer: trio.CancelScope | None = None

    @property
    def is_on(self) -> bool:
        """Whether messages have to wait for their turn."""
        return self._limiter is not None and self._paces.is_served

    def tune(self, limits: RateLimits | None) -> None:
        """Have these limits from now on; None: all that waits goes."""
        self._limits = limits
        if limits is None:
            self._let_all_go()
        elif self._limiter is None:
            self._limiter = Limiter(limits)
        else:
            self._look(lambda limiter, _: limiter.tune(limits))

    def ask(self, message: Message, source: Hashable, go: Go) -> Ticket:
        """Have `go` called when the message may be sent, perhaps before this returns."""
        ticket = Ticket(message, source)
        if self._limiter is None or not self.is_on:
            go(0.0)
        else:
            self._calls[ticket] = go
            self._look(lambda limiter, now: limiter.ask(ticket, now))
        return ticket

    def over(self, ticket: Ticket, hold: float = 0.0) -> None:
        """The message was sent, or is not wanted any more. Once for each ticket but those that ask again.

        `hold`: seconds that Telegram asked to wait (429).
        """
        if self._calls.pop(ticket, None) is not None:
            self._look(lambda limiter, _: limiter.leave(ticket))
        else:
            self._look(lambda limiter, now: limiter.over(ticket, now, hold))

    def figures(self) -> PaceFigures:
        """What it came to."""
        limiter, before = self._limiter, self._before
        if limiter is None:
            return PaceFigures(0, before.delayed, before.waited)
        return PaceFigures(limiter.waiting, before.delayed + limiter.delayed, before.waited + limiter.waited)

    def status(self) -> dict[str, float | None] | None:
        """What the status document shows; None where there is no limit."""
        if self._limits is None:
            return None
        figures = self.figures()
        return {
            "per_second": self._limits.per_second,
            "per_chat": self._limits.per_chat,
            "per_group_minute": self._limits.per_group_minute,
            "waiting": figures.waiting,
            "delayed": figures.delayed,
            "waited_ms": round(figures.waited * 1000),
        }

    def _let_all_go(self) -> None:
        self._before = self.figures()
        self._limiter = None
        calls, self._calls = self._calls, {}
        for go in calls.values():
            go(0.0)

    def _look(self, change: Callable[[Limiter, float], None] | None = None) -> None:
        """Change something, let go whoever may, and see to it that this is done again in time."""
        limiter = self._limiter
        if limiter is None:
            return
        now = trio.current_time()
        try:
            if change is not None:
                change(limiter, now)
            gone = limiter.take(now)
            next_at = limiter.next_at(now)
        except Exception as error:  # a bug is this bot's matter, as everywhere, and not the caller's
            self._let_all_go()
            self._limiter = None if self._limits is None else Limiter(self._limits)
            if self.fault is not None:
                self.fault(error)
            return
        for ticket, wait in gone:
            self._calls.pop(ticket)(wait)
        if self._timer is not None:
            self._timer.deadline = next_at
        elif next_at < math.inf:
            self._timer = trio.CancelScope(deadline=next_at)
            self._paces.start(self._serve, self._timer)

    async def _serve(self, timer: trio.CancelScope) -> None:
        """Look when it is time, as long as somebody waits."""
        try:
            while timer.deadline < math.inf:
                with timer:
                    await trio.sleep_forever()
                self._timer = timer = trio.CancelScope()  # no deadline, unless somebody waits
                self._look()
        finally:
            self._timer = None


class Paces:
    """The buckets of all bots, by bot id: a bot that is renamed keeps its own. :meth:`serve` once."""

    def __init__(self) -> None:
        self._paces: dict[int, BotPace] = {}
        self._gone: list[PaceFigures] = []  # of all that are gone, as one
        self._nursery: trio.Nursery | None = None

    def of(self, bot_id: int) -> BotPace:
        """A bot's bucket."""
        pace = self._paces.get(bot_id)
        if pace is None:
            pace = self._paces[bot_id] = BotPace(self)
        return pace

    def forget(self, bot_id: int) -> None:
        """The bot is gone."""
        pace = self._paces.pop(bot_id, None)
        if pace is not None:
            pace.tune(None)
            self._gone.append(pace.figures())
            self._gone = [_sum(self._gone)]

    def figures(self) -> PaceFigures:
        """Those of all bots, and of those that are gone."""
        return _sum([*self._gone, *(pace.figures() for pace in self._paces.values())])

    @property
    def is_served(self) -> bool:
        """Whether somebody keeps time; else nobody waits."""
        return self._nursery is not None

    async def serve(self) -> None:
        """Keep time for those that wait, until cancelled; all go then."""
        try:
            async with trio.open_nursery() as self._nursery:
                await trio.sleep_forever()
        finally:
            self._nursery = None
            for pace in self._paces.values():
                pace.tune(None)

    def start(self, serve: Callable[[trio.CancelScope], Any], timer: trio.CancelScope) -> None:
        """Run a bucket's timer."""
        assert self._nursery is not None  # noqa: S101 - for mypy; it is served before there are bots
        self._nursery.start_soon(serve, timer)


def _sum(figures: list[PaceFigures]) -> PaceFigures:
    return PaceFigures(
        sum(one.waiting for one in figures),
        sum(one.delayed for one in figures),
        sum(one.waited for one in figures),
    )


class OwnTurns:
    """The turns of what sends from the daemon itself; :class:`~trioworkers.botapi.messages.Turns`."""

    def __init__(self, paces: Paces, bot_id: int) -> None:
        self._paces = paces
        self._bot_id = bot_id

    @property
    def is_on(self) -> bool:
        """Whether messages have to wait for their turn."""
        return self._paces.of(self._bot_id).is_on

    async def take(self, message: Message, caller: Caller) -> tuple[BotPace, Ticket]:
        """Return once the message may be sent; cancelled, its place is given up.

        Raises:
            Exception: what the caller raises when it has to wait for what Telegram asked.
        """
        while True:
            came, waits = trio.Event(), [0.0]

            def go(wait: float, came: trio.Event = came, waits: list[float] = waits) -> None:
                waits[0] = wait
                came.set()

            pace = self._paces.of(self._bot_id)  # a bot that came again has another one
            ticket = pace.ask(message, caller.source, go)
            if not came.is_set():
                try:
                    with caller.standing_still():
                        await came.wait()
                except BaseException:
                    if not waits[0]:
                        pace.over(ticket)
                    raise
            if not waits[0]:
                return pace, ticket
            await caller.wait(waits[0])

    def over(self, turn: object, hold: float = 0.0) -> None:
        """The request has ended."""
        pace, ticket = cast("tuple[BotPace, Ticket]", turn)
        pace.over(ticket, hold)
