"""What is counted for metrics beside what the daemon keeps anyway, and a snapshot of all of it.

A counter costs some tenths of a microsecond, because one or two are on the way of every update. Each is
changed by one thread only: those of :class:`Commits` by the writer's, the others by the loop. Other threads
may read them; what they read is never less than before.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from trioworkers.botapi.meter import CallMeter

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from trioworkers.protocol.frames import CallCount

HANDLING = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
)  # seconds
END_TO_END = (*HANDLING, 300.0, 900.0, 3600.0)  # seconds; retries take long
COMMIT = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)  # seconds
OPERATIONS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)
LAG = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0)  # seconds

EXITS = (
    "crashed", "hung", "oom", "not_ready", "not_started", "unfit",
    "recycled", "restarted", "replaced", "parked", "sleeping", "leaving",
)  # fmt: skip
"""Why worker processes end. Those of the first line were not asked to, but for `hung`."""


class Distribution(msgspec.Struct, frozen=True):
    """A histogram at one moment.

    Attributes:
        bounds: the upper bounds of its buckets, ascending; there is one more bucket without a bound.
        counts: how many values fell into each bucket.
        total: the sum of all values.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float


class Histogram:
    """Counts values into buckets with fixed bounds."""

    __slots__ = ("_bounds", "_counts", "_total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0

    def observe(self, value: float) -> None:
        """Count a value; it belongs to the first bucket whose bound is not less."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value

    def taken(self) -> Distribution:
        """Return it as it is now."""
        return Distribution(self._bounds, tuple(self._counts), self._total)


class Commits:
    """The store's commits, as the writer's thread counts them.

    Attributes:
        seconds: how long each took that succeeded.
        operations: how many operations each of these had.
        failed: how many did not succeed.
    """

    __slots__ = ("failed", "operations", "seconds")

    def __init__(self) -> None:
        self.seconds = Histogram(COMMIT)
        self.operations = Histogram(OPERATIONS)
        self.failed = 0

    def committed(self, seconds: float, operations: int) -> None:
        """Count a commit that succeeded."""
        self.seconds.observe(seconds)
        self.operations.observe(operations)


@dataclass(frozen=True, slots=True)
class Figures:
    """The counters of one run of the daemon. Where nobody wants metrics there are none.

    Attributes:
        handling: seconds from when an executor was given an update until its outcome.
        end_to_end: seconds from when an update was accepted until it was done or dropped.
        lag: seconds by which workers' loops were late, by heartbeat.
        loop: seconds by which the daemon's loop was late.
        commits: the store's commits.
        calls: requests to the Bot API.
        deaths: dead letters that were made, by bot id.
        restarts: how often workers were started again, by bot id.
        exits: ends of worker processes, by cause.
    """

    handling: Histogram = field(default_factory=lambda: Histogram(HANDLING))
    end_to_end: Histogram = field(default_factory=lambda: Histogram(END_TO_END))
    lag: Histogram = field(default_factory=lambda: Histogram(LAG))
    loop: Histogram = field(default_factory=lambda: Histogram(LAG))
    commits: Commits = field(default_factory=Commits)
    calls: CallMeter = field(default_factory=CallMeter)
    deaths: Counter[int] = field(default_factory=Counter)
    restarts: Counter[int] = field(default_factory=Counter)
    exits: Counter[str] = field(default_factory=Counter)

    def heard(self, lag: float, calls: Iterable[CallCount], waited: float) -> None:
        """Count what a worker's heartbeat says."""
        self.lag.observe(lag)
        self.calls.add(((one.method, one.result, one.times) for one in calls), waited)


class RunFigures(msgspec.Struct, frozen=True, gc=False):
    """What of :class:`BotFigures` a run of the bot knows."""

    in_flight: int
    retry: int
    oldest_at: float | None
    memory: int | None
    heartbeat_age: float | None


NO_RUN = RunFigures(0, 0, None, None, None)


class BotFigures(msgspec.Struct, frozen=True, gc=False):
    """One bot at one moment.

    Attributes:
        bot: its name.
        state: as in the status document.
        accepted, handled, dropped, retried, dead, expired: what became of its updates; they only grow.
            `dropped` includes those that were dropped before they were accepted.
        ready, in_flight, retry: how many updates are in these states.
        dead_letters: how many there are now.
        oldest_at: when the oldest update that is not over was accepted, Unix seconds; None: there is none.
        restarts: how often its worker was started again.
        memory: its worker's share of memory, bytes; None without a worker.
        heartbeat_age: seconds since its worker's last heartbeat; None without one.
    """

    bot: str
    state: str
    accepted: int
    handled: int
    dropped: int
    retried: int
    dead: int
    expired: int
    ready: int
    in_flight: int
    retry: int
    dead_letters: int
    oldest_at: float | None
    restarts: int
    memory: int | None
    heartbeat_age: float | None


class ReloadFigures(msgspec.Struct, frozen=True):
    """Reloads since the daemon's start.

    Attributes:
        applied, refused: how many there were.
        is_good: whether the last one was applied.
        applied_at: when the last one was applied, Unix seconds; at first, the daemon's start.
        seconds: how long the last one took.
    """

    applied: int
    refused: int
    is_good: bool
    applied_at: float
    seconds: float


class ClusterFigures(msgspec.Struct, frozen=True):
    """What a node of a cluster knows at one moment.

    Attributes:
        nodes: how many there are, by state: `running`, `draining`, `silent`.
        bots: how many this node runs.
        changes: how many bots this node has acquired, released and lost, and how many nodes it has `evicted`.
        lease_left: seconds for which it may work without another renewal.
    """

    nodes: Mapping[str, int]
    bots: int
    changes: Mapping[str, int]
    lease_left: float


class FleetFigures(msgspec.Struct, frozen=True):
    """All figures at one moment; nothing of it changes, so that any thread may read it.

    Attributes:
        at: the moment, Unix seconds.
        version: of trioworkers.
        started_at: when the daemon started, Unix seconds.
        bots: the fleet's bots.
        handling, end_to_end, lag, loop, commit_seconds, commit_operations: as in :class:`Figures`.
        commits_failed: commits that did not succeed.
        requests: method, result and number of requests to the Bot API.
        waited: seconds that calls waited because Telegram asked them to (429).
        exits: ends of worker processes, by cause; each cause is there.
        deliveries: answers to deliveries of webhooks, by HTTP status; each status is there.
        reloads: of the fleet's files.
        workers, most_workers: slots for worker processes that are taken, and that there are.
        database: the store's file, where it has one; its journal has the same name with `-wal` at its end.
        turns_waiting: messages that wait because of a bot's `rate_limit`.
        turns_waited: seconds that messages waited for it.
        cluster: None where the daemon is in none.
    """

    at: float
    version: str
    started_at: float
    bots: tuple[BotFigures, ...]
    handling: Distribution
    end_to_end: Distribution
    lag: Distribution
    loop: Distribution
    commit_seconds: Distribution
    commit_operations: Distribution
    commits_failed: int
    requests: tuple[tuple[str, str, int], ...]
    waited: float
    exits: Mapping[str, int]
    deliveries: Mapping[int, int]
    reloads: ReloadFigures
    workers: int
    most_workers: int
    database: Path | None = None
    turns_waiting: int = 0
    turns_waited: float = 0.0
    cluster: ClusterFigures | None = None
