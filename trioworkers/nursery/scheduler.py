"""One bot's scheduler: from its lanes to whoever handles the head of each, for as long as the bot lives.

Workers come and go, and so do operators and other functions of the daemon; the scheduler stays. It hands an
update out in the turn of the loop in which that is committed, or in which an executor has room again: a
task that waits for it would do so a turn later. So most of it runs as a callback of the inbox, and what
breaks there is noted as the bot's fault (:mod:`trioworkers.breakage`).
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio
from msgspec.structs import replace

from trioworkers.arrivals import album_of, is_broken, may_be_of_album
from trioworkers.inbox.album import gather
from trioworkers.inbox.dropping import drop_waiting
from trioworkers.inbox.settle import Finished, judge_before
from trioworkers.inbox.store import StoreError
from trioworkers.nursery.delivery import Delivery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from trioworkers.breakage import Breakage
    from trioworkers.inbox.feed import Feed
    from trioworkers.nursery.delivery import Run, Settling
    from trioworkers.nursery.executor import Executor
    from trioworkers.records import RecordedCall, Waiting

    Route = Callable[[Sequence[Waiting]], Sequence[Run | None]]

UNREAD_PAUSE = 1.0  # seconds until an update whose calls could not be read is tried again


class Line:
    """What one kind of executor takes its updates from.

    Attributes:
        feed: where they come from; None: updates are only routed here.
        executors: those that take updates now.
        routed: updates that were taken and routed here, with the function that handles them, and after
            how many changes the route said so.
        prepared: the same with their recorded calls, once these were read.
        preparing: how many are being read.
        is_full: no executor has room, so the due time of the next update does not matter.
        is_deaf: the task that serves it waits to be woken only, not for due times.
    """

    def __init__(self, feed: Feed | None) -> None:
        self.feed = feed
        self.executors: list[Executor] = []
        # lists, since they are short, and an empty deque has 0.6 kB
        self.routed: list[tuple[Waiting, Run | None, int]] = []
        self.prepared: list[tuple[Waiting, Run | None, Sequence[RecordedCall] | None]] = []
        self.preparing = 0
        self.is_full = True
        self.is_deaf = False

    @property
    def held(self) -> int:
        """How many updates are taken from their lanes and at no executor yet."""
        return len(self.routed) + len(self.prepared) + self.preparing


class LineWork:
    """Whether there is work for workers of one kind, for whoever starts them."""

    def __init__(self, line: Line, feed: Feed) -> None:
        self._line = line
        self._feed = feed

    @property
    def has_work(self) -> bool:
        """Whether an executor would get an update now."""
        return self._line.held > 0 or self._feed.has_work

    async def wait_change(self, *, due: bool = True) -> None:
        """Return when there may be work that there was not before, or when the backlog is poked.

        `due` is False for whoever cannot take anything now, and waits to be poked.
        """
        await self._feed.wait_change(due=due)


class Scheduler:
    """Hands one bot's updates to its executors. :meth:`run` once, in the bot's nursery.

    Args:
        settling: what deliveries need, the backlog included.
        fault: where it is noted what breaks in a callback.
        is_paused: nothing is handed out while it says so; whoever changes that pokes the backlog.
        route: names for each of these updates the function of the daemon that handles it in the worker's
            place, or None. It is asked when updates may be handled, and again after `reroute`. None: there
            are no such functions.

    Attributes:
        work: whether there are ordinary updates for a worker.
        suspect_work: whether there are suspects for a worker.
    """

    def __init__(
        self, settling: Settling, fault: Breakage, is_paused: Callable[[], bool], route: Route | None = None
    ) -> None:
        feeds = settling.backlog.ordinary, settling.backlog.suspects
        self._ordinary, self._suspects = map(Line, feeds)
        self._functions = Line(None)
        self.work = LineWork(self._ordinary, feeds[0])
        self.suspect_work = LineWork(self._suspects, feeds[1])
        self._settling = settling
        self._fault = fault
        self._is_paused = is_paused
        self._route = None if route is None else _sparing(route)
        self._nursery: trio.Nursery | None = None
        self._answers = 0

    async def run(self) -> None:
        """Schedule until cancelled. Executors end what they have; what is only held waits in the inbox."""
        feeds = self._settling.backlog.ordinary, self._settling.backlog.suspects
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                with (
                    feeds[0].taken_by(self._ordinary_changed, self._holds_ordinary),
                    feeds[1].taken_by(self._suspects_changed),
                ):
                    nursery.start_soon(self._serve, self._suspects, feeds[1])
                    await self._serve(self._ordinary, feeds[0])
            finally:
                self._nursery = None

    @property
    def held(self) -> int:
        """How many updates are taken from their lanes and at no executor yet."""
        return self._ordinary.held + self._suspects.held + self._functions.held

    @contextmanager
    def hands_to(self, executor: Executor, kind: str = "ordinary") -> Iterator[None]:
        """Inside, the executor is handed updates: `ordinary` ones, `suspects`, or those of `functions`."""
        line = self._line(kind)
        line.executors.append(executor)
        try:
            self.refill(kind)
            yield
        finally:
            line.executors.remove(executor)

    def refill(self, kind: str = "ordinary") -> None:
        """An executor has room again: hand out at once, which spares a turn of the loop."""
        self._fill(self._line(kind))

    def set_route(self, route: Route | None) -> None:
        """Ask this route from now on, also for all that wait for room.

        Once there was one, updates are sorted for as long as the scheduler lives: None becomes a route that
        takes nothing.
        """
        if route is None and self._route is None:
            return
        self._route = _takes_nothing if route is None else _sparing(route)
        self.reroute()

    async def drop_waiting(self, keep: int, reason: str) -> int:
        """As :func:`~trioworkers.inbox.dropping.drop_waiting`, with an event of each update.

        Raises:
            StoreError: some are not dropped.
        """
        settling = self._settling

        def dropped(update: Waiting) -> None:
            settling.emit("update.dropped", update, reason=reason, total=settling.total(update))

        return await drop_waiting(settling.backlog, keep, self._put_back_held, dropped)

    def _put_back_held(self) -> None:
        for line in (self._ordinary, self._suspects, self._functions):
            held = [update for update, *_ in (*line.routed, *line.prepared)]
            line.routed.clear()
            line.prepared.clear()
            for update in held:
                self._settling.backlog.put_back(update)

    def reroute(self) -> None:
        """Who handles updates has changed: ask the route again for all that wait for room."""
        if self._route is None:
            return
        self._answers += 1
        lines = self._ordinary, self._suspects, self._functions
        held = [(line, update) for line in lines for update, *_ in line.routed]
        for line in lines:
            line.routed.clear()
        held += [(line, update) for line in lines for update in self._take_misrouted(line)]
        for line, update in held:
            self._put(line, update, self._run_of(update))
        for line in lines:
            self._fill(line)

    def _take_misrouted(self, line: Line) -> list[Waiting]:
        """Take out those whose calls were read and that are another line's by now; it reads them again.

        An executor that has room would find that, too, but a bot may have no worker for long.
        """
        prepared, line.prepared = line.prepared, []
        misrouted = []
        for update, run, calls in prepared:
            if (run is None) == (self._run_of(update) is None):
                line.prepared.append((update, run, calls))
            else:
                misrouted.append(update)
        return misrouted

    def _line(self, kind: str) -> Line:
        if kind == "ordinary":
            return self._ordinary
        return self._suspects if kind == "suspects" else self._functions

    async def _serve(self, line: Line, feed: Feed) -> None:
        """Hand out what falls due, and what comes while nobody takes it."""
        while True:
            self._fill(line)
            line.is_deaf = line.is_full and (self._route is None or self._is_paused())
            await feed.wait_change(due=not line.is_deaf)

    def _ordinary_changed(self) -> None:
        self._changed(self._ordinary)

    def _holds_ordinary(self) -> bool:
        return bool(self._ordinary.routed or self._ordinary.prepared)

    def _suspects_changed(self) -> None:
        self._changed(self._suspects)

    def _changed(self, line: Line) -> None:
        """There may be more to take (the backlog's call). It never raises."""
        if self._fault.is_set:
            return
        try:
            self._fill(line)
            for executor in line.executors:
                executor.hurry()
        except Exception as error:
            self._fault.note(error)

    def _fill(self, line: Line) -> None:
        """Hand out what there is as far as there is room."""
        if self._nursery is None or self._is_paused():
            line.is_full = True
            return
        if self._route is not None and line.feed is not None:
            self._sort(line, line.feed, self._route)
        for executor in line.executors:
            room = executor.room() - line.preparing
            while room > 0:
                if line.prepared:
                    room -= self._begin_prepared(line, executor)
                elif (head := self._next(line)) is not None:
                    room -= self._begin(line, *head, executor)
                else:
                    line.is_full = False
                    if line.is_deaf and line.feed is not None:
                        line.is_deaf = False
                        line.feed.wake()  # what is due later concerns somebody again
                    return
        line.is_full = True

    def _begin_prepared(self, line: Line, executor: Executor) -> int:
        """Hand out an update whose calls were read, if this line still has it; return what room it takes."""
        update, run, calls = line.prepared.pop(0)
        again = self._run_of(update)
        if (run is None) == (again is None):
            executor.begin(Delivery(self._settling, update, again, calls))
            return 1
        self._put(line, update, again)
        if again is not None:
            self._fill(self._functions)
        return 0

    def _next(self, line: Line) -> tuple[Waiting, Run | None] | None:
        """The next update of a line that is to be handled, with its function."""
        if self._route is None:
            update = None if line.feed is None else line.feed.take()
            return None if update is None else (update, None)
        while line.routed:
            update, run, answer = line.routed.pop(0)
            if answer == self._answers:
                return update, run  # what the route said stands
            again = self._run_of(update)
            if (run is None) == (again is None):
                return update, again
            self._put(line, update, again)  # it was given to somebody else meanwhile
            if again is not None:
                self._fill(self._functions)
        return None

    def _sort(self, line: Line, feed: Feed, route: Route) -> None:
        """Take all that may be handled, and put it where it is handled; a lane has one of these at most."""
        updates = []
        while (update := feed.take()) is not None:
            updates.append(update)
        if updates:
            for update, run in zip(updates, route(updates), strict=True):
                self._put(line, update, run)
        if self._functions.routed or self._functions.prepared:  # read during a pause, which has ended
            self._fill(self._functions)

    def _run_of(self, update: Waiting) -> Run | None:
        """The function that handles an update as the route says now."""
        return None if self._route is None else self._route([update])[0]

    def _put(self, line: Line, update: Waiting, run: Run | None) -> None:
        if update.parts is not None:
            update = replace(update, parts=None)  # gathered anew where it is handed out
        if run is not None:
            self._functions.routed.append((update, run, self._answers))
            return
        target = line
        if line.feed is None:
            target = self._suspects if update.suspect else self._ordinary
        target.routed.append((update, None, self._answers))
        if target.feed is not None and (line.feed is None or not target.executors):
            target.feed.wake()  # whoever would start a worker, or hands out to one

    def _begin(self, line: Line, update: Waiting, run: Run | None, executor: Executor) -> int:
        """Hand an update to an executor; return how much of its room that takes."""
        settling = self._settling
        verdict = judge_before(update, settling.clock(), broken=is_broken(update))
        if verdict is not None:
            settling.obey(update, verdict)
            if isinstance(verdict, Finished):
                settling.emit("update.expired", update, kind=update.kind, total=settling.total(update))
            return 0
        # a function of the daemon handles them part by part: what it does with each is the daemon's own
        is_part = run is None and may_be_of_album(update) and settling.settings().albums > 0
        is_part = is_part and album_of(update) is not None
        if not is_part and not settling.settings().replay_safe:
            executor.begin(Delivery(settling, update, run, None))
        elif not is_part and not update.called:
            executor.begin(Delivery(settling, update, run, ()))
        else:
            assert self._nursery is not None  # noqa: S101 - for mypy; `_fill` has looked
            line.preparing += 1
            self._nursery.start_soon(self._prepare, line, update, run, is_part)
        return 1

    async def _prepare(self, line: Line, update: Waiting, run: Run | None, is_part: bool) -> None:
        """Read the calls of an update that was handled before, and the others of an album."""
        settling = self._settling
        calls: Sequence[RecordedCall] | None = ()
        try:
            if is_part:
                update, whole_at = await gather(settling.backlog, update, settling.settings().albums)
                if whole_at > settling.clock():
                    line.preparing -= 1
                    settling.backlog.put_back(update, whole_at)
                    return
            if not settling.settings().replay_safe:
                calls = None
            elif update.called:
                calls = await settling.backlog.calls(update)
        except StoreError:  # emitted as the store's trouble
            line.preparing -= 1
            settling.backlog.put_back(update, settling.clock() + UNREAD_PAUSE)
            return
        line.preparing -= 1
        again = self._run_of(update)
        if (run is None) != (again is None):  # another line's meanwhile; this one may have no executor
            self._put(line, update, again)
            self._fill(self._functions)
            return
        line.prepared.append((update, again, calls))
        self._fill(line)
        if line.prepared and line.feed is not None:
            line.feed.wake()


def _sparing(route: Route) -> Route:
    """A route that is not asked about what nobody can decode."""

    def asked(updates: Sequence[Waiting]) -> Sequence[Run | None]:
        for update in updates:
            if is_broken(update):
                break
        else:
            return route(updates)
        broken = [is_broken(update) for update in updates]
        runs = iter(route([update for update, is_so in zip(updates, broken, strict=True) if not is_so]))
        return [None if is_so else next(runs) for is_so in broken]

    return asked


def _takes_nothing(updates: Sequence[Waiting]) -> Sequence[None]:
    """A route by which the worker handles everything."""
    return [None] * len(updates)
