"""All workers replaced while the fleet runs: canaries first, then a window at a time.

For each handler that a bot works with, a second worker of one of its bots, the canary, is started up to its
handshake. When a canary does not get there, nothing is replaced. Then the bots are restarted, some at a
time. At most one worker handles a bot's updates at any moment; they wait in the inbox meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from trioworkers.config import BotSettings

PART = 10  # a tenth of the bots is restarted at a time,
MOST = 50  # but never more than these
STOPPED = "the daemon stops"


class Rolls(Protocol):
    """A bot, as far as a rolling restart knows it."""

    @property
    def settings(self) -> BotSettings: ...
    @property
    def state(self) -> str: ...
    @property
    def rests(self) -> bool: ...
    async def try_worker(self) -> str | None: ...
    async def restart(self, *, by_hand: bool) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Rolled:
    """The outcome of a rolling restart.

    Attributes:
        refused: why nothing was replaced; None when it was.
        replaced: how many workers were replaced.
        failed: the bots that have no ready worker now, each with the reason.
    """

    refused: str | None = None
    replaced: int = 0
    failed: Mapping[str, str] = field(default_factory=dict)


class _Roll:
    def __init__(self) -> None:
        self.done = trio.Event()
        self.outcome = Rolled(refused=STOPPED)

    def finish(self, outcome: Rolled | None = None) -> None:
        self.outcome = outcome or self.outcome
        self.done.set()


class RollingRestarts:
    """Rolling restarts, one after another. A request that comes during one is served by the next one.

    Args:
        emit: emits an event of the fleet.
    """

    def __init__(self, emit: Callable[..., None]) -> None:
        self._emit = emit
        self._next: _Roll | None = None
        self._asked = trio.Event()
        self._scope = trio.CancelScope()

    def request(self) -> None:
        """Ask for one."""
        self._turn()

    async def ask(self) -> Rolled:
        """Ask for one and return its outcome; cancelling stops the waiting only."""
        turn = self._turn()
        await turn.done.wait()
        return turn.outcome

    def stop(self) -> None:
        """Begin no other, and give up the one under way; `serve` returns then."""
        self._scope.cancel()

    async def serve(
        self,
        bots: Callable[[], Mapping[str, Rolls]],
        ready: trio.Event,
        renew_libraries: Callable[[], Awaitable[None]],
    ) -> None:
        """Carry out the rolling restarts that are asked for, until stopped.

        Args:
            bots: returns the present bots, by name.
            ready: set when the fleet has started; no rolling restart begins before.
            renew_libraries: makes later workers start from fresh libraries. It raises OSError when it
                cannot; nothing has changed then.
        """
        turn: _Roll | None = None
        try:
            with self._scope:
                await ready.wait()
                while True:
                    await self._asked.wait()
                    turn = self._turn()
                    self._next, self._asked = None, trio.Event()
                    turn.finish(await self._roll(bots(), renew_libraries))
        finally:
            for left in (turn, self._next):
                if left is not None:
                    left.finish()

    def _turn(self) -> _Roll:
        if self._next is None:
            self._next = _Roll()
            self._asked.set()
            if self._scope.cancel_called:
                self._next.finish()
        return self._next

    async def _roll(
        self, bots: Mapping[str, Rolls], renew_libraries: Callable[[], Awaitable[None]]
    ) -> Rolled:
        self._emit("restart.began", count=len(bots))
        try:
            await renew_libraries()
        except OSError as error:
            return self._refuse(f"no fresh start of workers: {error}")
        window = max(1, min(MOST, len(bots) // PART))
        canaries = choose_canaries(bots)
        handlers = {name: bots[name].settings.handler for name in canaries}

        async def try_worker(name: str) -> str | None:
            """Try the handler of a bot; by another bot, if a reload removes this one meanwhile."""
            wanted, chosen = handlers[name], [name]
            while chosen:
                bot = bots.get(chosen[0])
                problem = None if bot is None else await bot.try_worker()
                if bot is not None and bots.get(chosen[0]) is bot:
                    return problem
                chosen = [other for other in choose_canaries(bots) if bots[other].settings.handler == wanted]
            return None

        async def restart(name: str) -> str | None:
            bot = bots.get(name)
            problem = None if bot is None else await bot.restart(by_hand=False)
            return problem if bots.get(name) is bot else None

        problems = await _each(canaries, window, try_worker, enough=1)
        if problems:
            ((name, problem),) = problems.items()
            self._emit("restart.refused", name, handler=handlers[name], reason=problem)
            return Rolled(refused=f"{name}: {problem}; nothing was replaced")
        names = [name for name, bot in bots.items() if not bot.rests]
        failed = await _each(names, window, restart)
        replaced = len(names) - len(failed)
        self._emit("restart.done", level="error" if failed else None, count=replaced, failed=len(failed))
        return Rolled(replaced=replaced, failed=failed)

    def _refuse(self, reason: str) -> Rolled:
        self._emit("restart.refused", reason=reason)
        return Rolled(refused=f"{reason}; nothing was replaced")


def choose_canaries(bots: Mapping[str, Rolls]) -> list[str]:
    """Choose one bot for each handler that a bot works with; a running one, where there is one.

    Bots that failed have no worker to lose. A handler that only such bots have gets no canary, so that it
    does not hold up all others.
    """
    working = {name: bot for name, bot in bots.items() if bot.state not in ("failed", "stopped")}
    chosen: dict[str, str] = {}
    for name in sorted(working, key=lambda name: working[name].state not in ("running", "paused")):
        if (handler := working[name].settings.handler) is not None:  # a program is not run twice at a time
            chosen.setdefault(handler, name)
    return list(chosen.values())


async def _each(
    names: Sequence[str],
    window: int,
    work: Callable[[str], Awaitable[str | None]],
    *,
    enough: int | None = None,
) -> dict[str, str]:
    """Do the work for each name, `window` at a time; return the problems, and stop at `enough` of them."""
    problems: dict[str, str] = {}

    async def take(names: Iterable[str], scope: trio.CancelScope) -> None:
        for name in names:
            problem = await work(name)
            if problem is not None and (enough is None or len(problems) < enough):
                problems[name] = problem
            if len(problems) == enough:
                scope.cancel()

    left = iter(names)  # shared: a task that is done takes the next
    async with trio.open_nursery() as nursery:
        for _ in range(window):
            nursery.start_soon(take, left, nursery.cancel_scope)
    return problems
