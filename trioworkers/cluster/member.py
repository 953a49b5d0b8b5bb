"""This daemon as a node of its cluster: the fleet runs what the lease says, and nothing past the lease.

The lease is kept in a thread (:mod:`.lease_thread`), whose changes are obeyed here, on the loop. Until when
this node may work is read from `CLOCK_BOOTTIME`, in each turn of the loop before any task runs: a daemon that
was frozen past it is silent before it does anything else. Trio's clock in the daemon stands still while the
process does, and says nothing of that.
"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Protocol

import trio

from trioworkers.botapi.errors import TransportError
from trioworkers.breakage import Breakage
from trioworkers.cluster.lease_thread import LeaseThread
from trioworkers.cluster.nodes import Nodes
from trioworkers.inbox.postgres.errors import FENCED
from trioworkers.inbox.postgres.lease_change import FAILED_OVER
from trioworkers.inbox.store import StoreError, StoreFencedError
from trioworkers.lease_page import boottime

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping

    from trioworkers.inbox.inbox import Inbox
    from trioworkers.inbox.postgres.lease import NodeLease
    from trioworkers.inbox.postgres.lease_change import Change
    from trioworkers.lease_page import LeasePage

AGAIN = 0.2  # seconds until the writer is asked again, while the server is away
LOOK_EVERY = 0.1  # seconds between two looks whether all bots were given back
PORTION = 50  # bots that begin in one turn of the loop, where each takes a millisecond
PATIENCE = 3.0  # seconds for which a stop waits for a server that is away
EVICTED = "this node was evicted: it was silent for too long, or somebody ended it"
LATE = "the lease was not renewed in time"
TAKEN = "another node has it"


class RunsBots(Protocol):
    """The fleet, as far as leases go; see :class:`~trioworkers.nursery.fleet.FleetScope`."""

    def take(self, bot_ids: Collection[int]) -> None: ...
    def give_back(self, bot_ids: Collection[int]) -> None: ...
    def cut(self, bot_ids: Collection[int] | None = None) -> None: ...
    async def wait_gone(self, bot_ids: Collection[int] | None = None) -> None: ...


class Pulse:
    """Whether the loop turns; read from the lease's thread. `patience`: seconds between two beats of it."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._at = boottime()

    def beat(self) -> None:
        """The loop turns."""
        self._at = boottime()

    def is_there(self) -> bool:
        """Whether the loop has turned of late."""
        return boottime() - self._at < self._patience


class Member(trio.abc.Instrument):
    """One node. It is an instrument of the loop while :meth:`serve` runs.

    Args:
        lease: of this node, alive by `pulse`.
        pulse: shows whether the loop turns.
        page: shows workers until when they may call.
        emit: emits an event.
        names: the names of the fleet's bots, by bot id.

    Attributes:
        thread: keeps the lease; whoever makes the member runs it, and :meth:`tick`.
        page: as given.
        nodes: the cluster as others see it.
        trouble: why the last step has failed; None: it has not.
        arrive: awaited with bots before the fleet runs them.
        services: they run as long as :meth:`serve` does.
        changes: how many bots it has `acquired`, `released` and `lost`, and how many nodes it has `evicted`.
    """

    def __init__(
        self,
        lease: NodeLease,
        pulse: Pulse,
        page: LeasePage,
        emit: Callable[..., None],
        names: Callable[[], Mapping[int, str]],
    ) -> None:
        self.lease, self.page = lease, page
        self.thread = LeaseThread(lease, self._hear)
        self.nodes = Nodes(lease, self.thread)
        self.trouble: StoreError | None = None
        self.arrive: Callable[[Collection[int]], Awaitable[None]] | None = None
        self.services: list[Callable[[], Awaitable[None]]] = []
        self.changes: Counter[str] = Counter()
        self._pulse = pulse
        self._emit, self._names = emit, names
        self._fault = Breakage()
        self._fleet: RunsBots | None = None
        self._inbox: Inbox | None = None
        self._nursery: trio.Nursery | None = None
        self._epochs: dict[int, int] = {}  # of the bots that the fleet runs, or will in a moment
        self._works = self._is_over = self._leaves = False
        self._failing_since: float | None = None

    async def tick(self) -> None:
        """Let the lease be renewed as long as the loop turns, until cancelled."""
        while True:
            self._pulse.beat()
            if self._nursery is not None:
                self._look()
                if not self._works and not self._is_over and self.lease.may_work():
                    self._works = True
                    self._gain(self.lease.kept)
            await trio.sleep(self.lease.terms.beat / 5)

    async def serve(
        self, fleet: RunsBots, inbox: Inbox, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Let the fleet run what this node owns, until cancelled. Started once it has been given that.

        Raises (in groups):
            Exception: a mistake of ours; this daemon must not go on.
        """
        self._fleet, self._inbox = fleet, inbox
        inbox.outlive_fence(self._fenced)
        trio.lowlevel.add_instrument(self)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._fault.wait_raise)
                owned = self.lease.kept
                await self._prepare(owned)
                fleet.take([*owned])
                self._tell("lease.acquired", owned)
                self._epochs = dict(owned)
                self._works, self._nursery = True, nursery
                self._gain(self.lease.kept)  # meanwhile
                for service in self.services:
                    nursery.start_soon(service)
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._nursery = None
            self._works, self._leaves = False, True
            trio.lowlevel.remove_instrument(self)

    async def leave(self) -> None:
        """Give all bots back, as fast as others take them; return when none is left.

        It returns as well when the server has been away for some seconds, or another node has evicted this
        one. Cancelled, it leaves the rest as it is.
        """
        self._leaves = True
        self.lease.leave()
        while self.lease.owned and not self._is_over:
            away = self._failing_since is not None and trio.current_time() - self._failing_since > PATIENCE
            if away:
                return
            await trio.sleep(LOOK_EVERY)

    @property
    def running(self) -> int:
        """How many bots this node runs."""
        return len(self._epochs)

    def may_call(self) -> bool:
        """Whether calls of bots may be made at this moment."""
        return boottime() < self.lease.deadline

    async def gate(self) -> None:
        """See that a call may be made at this moment.

        Raises:
            TransportError: it may not.
        """
        if not self.may_call():
            raise TransportError("request", "this daemon's lease has ended")

    def epoch(self, bot_id: int) -> int | None:
        """Under which epoch this node runs a bot; None: it does not."""
        return self._epochs.get(bot_id)

    def after_io_wait(self, timeout: float) -> None:
        """Before a task runs in this turn of the loop, see that it may (Trio's call)."""
        self._look()

    def _look(self) -> None:
        if self._works and boottime() >= self.lease.deadline:
            with self._noted():
                self._works = False
                self._lose_all(LATE if self.trouble is None else f"{LATE}: {self.trouble}")

    def _hear(self, change: Change) -> None:
        """A change of the thread, on the loop."""
        with self._noted():
            self._note(change)
            if change.life is not None and change.life != self.lease.life:
                return  # another life has begun since
            if self._nursery is None or self._fleet is None:
                if change.life is not None and not self._leaves:  # nothing runs yet
                    self.thread.soon(partial(self.lease.begin_after, change.life))
                return
            if change.is_over:
                self._end_life(FAILED_OVER if change.is_failover else EVICTED)
                return
            if change.lost:
                self._lose(change.lost)
            if change.give_back:
                self._give_back(change.give_back)
            if change.gained and self._works:
                self._gain(change.gained)

    @contextmanager
    def _noted(self) -> Iterator[None]:
        """What breaks in a callback of the loop's is raised by :meth:`serve`."""
        try:
            yield
        except Exception as error:
            self._fault.note(error)

    def _note(self, change: Change) -> None:
        self.trouble = change.trouble
        if change.trouble is None:
            self._failing_since = None
        elif self._failing_since is None:
            self._failing_since = trio.current_time()
        for event, names in (("joined", change.joined), ("left", change.left), ("evicted", change.evicted)):
            for name in names:
                if event != "left" or name not in change.evicted:
                    self._emit(f"node.{event}", node=name)
        self.changes["evicted"] += len(change.evicted)
        self._tell("lease.released", change.released)
        self.nodes.hear(change.told)

    def _gain(self, epochs: Mapping[int, int]) -> None:
        new = {bot: epoch for bot, epoch in epochs.items() if self._epochs.get(bot) != epoch}
        if new and self._nursery is not None and not self._leaves:
            self._epochs.update(new)
            self._nursery.start_soon(self._take, new)

    async def _take(self, epochs: Mapping[int, int]) -> None:
        assert self._fleet is not None  # noqa: S101 - for the type
        await self._prepare(epochs)
        bots = self._by_need(epochs)
        for start in range(0, len(bots), PORTION):
            still = {bot: epochs[bot] for bot in bots[start : start + PORTION] if self._has(bot, epochs)}
            if self._works:
                self._fleet.take([*still])
                self._tell("lease.acquired", still)
            await trio.lowlevel.checkpoint()

    def _by_need(self, bots: Collection[int]) -> list[int]:
        """These bots, those first whose updates wait."""
        assert self._inbox is not None  # noqa: S101 - for the type
        inbox = self._inbox
        return sorted(bots, key=lambda bot: not inbox.tally(bot).pending)

    def _has(self, bot: int, epochs: Mapping[int, int]) -> bool:
        """Whether a bot is still to run under one of these epochs."""
        return self._epochs.get(bot) == epochs[bot]

    async def _prepare(self, bots: Collection[int]) -> None:
        """Know of these bots what other nodes have changed."""
        assert self._inbox is not None  # noqa: S101 - for the type
        if self.arrive is not None:
            await self.arrive([*bots])
        await self._inbox.recount([*bots])

    def _give_back(self, bots: Collection[int]) -> None:
        assert self._fleet is not None  # noqa: S101 - for the type
        for bot in bots:
            self._epochs.pop(bot, None)
        self._fleet.give_back(bots)
        for bot in bots:
            self._start(self._release, bot)

    async def _release(self, bot: int) -> None:
        """Release a bot that has been drained, and all whose acknowledgements are durable."""
        assert self._fleet is not None  # noqa: S101 - for the type
        life = self.lease.life
        await self._fleet.wait_gone([bot])
        await self._wait_written()
        if self.lease.life == life and not self._is_over:
            self.lease.release([bot])

    def _lose(self, bots: Collection[int]) -> None:
        assert self._fleet is not None  # noqa: S101 - for the type
        lost = {bot: self._epochs.pop(bot) for bot in bots if bot in self._epochs}
        self._fleet.cut(bots)
        self._tell("lease.lost", lost, reason=TAKEN)

    def _lose_all(self, reason: str) -> None:
        assert self._fleet is not None  # noqa: S101 - for the type
        lost, self._epochs = self._epochs, {}
        self._fleet.cut()
        self._tell("lease.lost", lost, reason=reason)

    def _fenced(self, error: StoreFencedError) -> None:
        """The writer was refused (the inbox's call, on the loop)."""
        life = error.life or self.lease.life
        self.lease.end(life)
        if self._nursery is not None and life == self.lease.life:  # else another one has begun since
            self._end_life(EVICTED if str(error) == FENCED else str(error))

    def _end_life(self, reason: str) -> None:
        if self._is_over:
            return
        self._is_over, self._works = True, False
        self._lose_all(reason)
        self._emit("node.evicted", node=self.lease.name, level="error", reason=reason)
        self._start(self._begin_anew)

    async def _begin_anew(self) -> None:
        """Begin another life, once nothing of the former one is left that could write or call."""
        assert self._fleet is not None  # noqa: S101 - for the type
        await self._fleet.wait_gone()
        await self._wait_written()
        if not self._leaves:
            life = self.lease.life
            await self.thread.call(lambda lease: lease.begin_after(life))
            self._is_over = False

    async def _wait_written(self) -> None:
        """Wait until everything that was submitted to the writer is durable, or was refused for good."""
        assert self._inbox is not None  # noqa: S101 - for the type
        while True:
            try:
                return await self._inbox.answers()
            except StoreFencedError:
                return
            except StoreError:
                await trio.sleep(AGAIN)

    def _start(self, work: Callable[..., object], *what: object) -> None:
        if self._nursery is not None:
            self._nursery.start_soon(work, *what)  # type: ignore[arg-type]

    def _tell(self, event: str, epochs: Mapping[int, int], **fields: object) -> None:
        self.changes[event.removeprefix("lease.")] += len(epochs)
        names = self._names() if epochs else {}
        for bot, epoch in epochs.items():
            self._emit(event, names.get(bot), epoch=epoch, **fields)
