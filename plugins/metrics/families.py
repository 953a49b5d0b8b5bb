"""Every metric, and how it is read from a snapshot: pure, so that any thread may do it.

A bot has at most 15 series, whatever it does. Everything else is fleet-wide, with labels whose values come
from lists of ours; the methods of the Bot API are bounded where they are counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from operator import attrgetter
from platform import python_version
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from trioworkers.figures import BotFigures, ClusterFigures, Distribution, FleetFigures

    Row = tuple[tuple[str, ...], float]
    Kind = Literal["counter", "gauge", "histogram"]


DISABLED = ("off", "not loaded")  # states of plugins that do nothing, although the fleet wants them


@dataclass(frozen=True, slots=True)
class View:
    """What is shown.

    Attributes:
        figures: the snapshot.
        plugins: rows of the plugins.
        sizes: bytes of the store's files, by name; unknown ones are missing.
    """

    figures: FleetFigures
    plugins: Sequence[Mapping[str, Any]]
    sizes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric; `read` gives its series: the values of its labels, and a number."""

    name: str
    kind: Kind
    meaning: str
    labels: tuple[str, ...]
    read: Callable[[View], Iterable[Row]]


@dataclass(frozen=True, slots=True)
class Spread:
    """A histogram, fleet-wide."""

    name: str
    meaning: str
    read: Callable[[FleetFigures], Distribution]
    kind: Kind = "histogram"
    labels: tuple[str, ...] = ()


def _of_bots(name: str, kind: Kind, meaning: str, read: Callable[[BotFigures], float | None]) -> Metric:
    """A metric with one series for each bot of which there is a value."""

    def rows(view: View) -> Iterable[Row]:
        for bot in view.figures.bots:
            value = read(bot)
            if value is not None:
                yield (bot.bot,), value

    return Metric(name, kind, meaning, ("bot",), rows)


def _of_fleet(name: str, kind: Kind, meaning: str, read: Callable[[FleetFigures], float]) -> Metric:
    """A metric with one series."""
    return Metric(name, kind, meaning, (), lambda view: [((), read(view.figures))])


def _of_cluster(
    name: str,
    kind: Kind,
    meaning: str,
    read: Callable[[ClusterFigures], Iterable[Row]],
    labels: tuple[str, ...] = (),
) -> Metric:
    """A metric of a node of a cluster. A daemon outside a cluster exports no series of it."""

    def rows(view: View) -> Iterable[Row]:
        return () if view.figures.cluster is None else read(view.figures.cluster)

    return Metric(name, kind, meaning, labels, rows)


def _of_plugins(name: str, kind: Kind, meaning: str, field: str) -> Metric:
    return Metric(
        name,
        kind,
        meaning,
        ("plugin",),
        lambda view: [((row["name"],), float(row[field])) for row in view.plugins],
    )


def _queues(view: View) -> Iterable[Row]:
    for bot in view.figures.bots:
        yield (bot.bot, "ready"), bot.ready
        yield (bot.bot, "in_flight"), bot.in_flight
        yield (bot.bot, "retry"), bot.retry


def _ages(view: View) -> Iterable[Row]:
    at = view.figures.at
    for bot in view.figures.bots:
        yield (bot.bot,), 0.0 if bot.oldest_at is None else max(0.0, at - bot.oldest_at)


BOTS: tuple[Metric, ...] = (
    _of_bots(
        "trioworkers_updates_accepted_total",
        "counter",
        "Updates that were accepted and made durable.",
        attrgetter("accepted"),
    ),
    _of_bots(
        "trioworkers_updates_handled_total",
        "counter",
        "Updates whose handler returned.",
        attrgetter("handled"),
    ),
    _of_bots(
        "trioworkers_updates_dropped_total",
        "counter",
        "Updates that a handler or a plugin dropped, before or after they were accepted.",
        attrgetter("dropped"),
    ),
    _of_bots(
        "trioworkers_updates_retried_total",
        "counter",
        "Handlings that failed and were scheduled again.",
        attrgetter("retried"),
    ),
    _of_bots(
        "trioworkers_updates_dead_total",
        "counter",
        "Updates that became dead letters since the daemon's start.",
        attrgetter("dead"),
    ),
    _of_bots(
        "trioworkers_updates_expired_total",
        "counter",
        "Queries that were too old to be answered.",
        attrgetter("expired"),
    ),
    Metric(
        "trioworkers_queue_updates",
        "gauge",
        "Updates that are not over, by state: ready, in_flight or retry.",
        ("bot", "state"),
        _queues,
    ),
    Metric(
        "trioworkers_queue_oldest_age_seconds",
        "gauge",
        "Age of the oldest update that is not over; 0 when there is none.",
        ("bot",),
        _ages,
    ),
    _of_bots(
        "trioworkers_dead_letters",
        "gauge",
        "Dead letters that are kept.",
        attrgetter("dead_letters"),
    ),
    Metric(
        "trioworkers_bot_state",
        "gauge",
        "1 for the state that the bot is in.",
        ("bot", "state"),
        lambda view: (((bot.bot, bot.state), 1.0) for bot in view.figures.bots),
    ),
    _of_bots(
        "trioworkers_worker_restarts_total",
        "counter",
        "How often the bot's worker was started again since the daemon's start.",
        attrgetter("restarts"),
    ),
    _of_bots(
        "trioworkers_worker_memory_bytes",
        "gauge",
        "The worker's proportional share of memory (PSS), as its last heartbeat said.",
        attrgetter("memory"),
    ),
    _of_bots(
        "trioworkers_worker_heartbeat_age_seconds",
        "gauge",
        "Time since the worker's last heartbeat.",
        attrgetter("heartbeat_age"),
    ),
)
"""Metrics of each bot: 15 series, those of a queue counted three times. A second label is a state of ours."""

SPREADS: tuple[Spread, ...] = (
    Spread(
        "trioworkers_handling_seconds",
        "Time from when an update was handed to an executor until its outcome.",
        attrgetter("handling"),
    ),
    Spread(
        "trioworkers_update_latency_seconds",
        "Time from when an update was accepted until it was handled or dropped, waits and retries included.",
        attrgetter("end_to_end"),
    ),
    Spread(
        "trioworkers_worker_loop_lag_seconds",
        "How late the loop of a worker was, by heartbeat.",
        attrgetter("lag"),
    ),
    Spread(
        "trioworkers_daemon_loop_lag_seconds",
        "How late the daemon's loop was, twice a second.",
        attrgetter("loop"),
    ),
    Spread(
        "trioworkers_store_commit_seconds",
        "Time that a commit of the store took.",
        attrgetter("commit_seconds"),
    ),
    Spread(
        "trioworkers_store_commit_operations",
        "Operations in one commit of the store.",
        attrgetter("commit_operations"),
    ),
)

FLEET: tuple[Metric, ...] = (
    Metric(
        "trioworkers_build_info",
        "gauge",
        "1; the versions are in the labels.",
        ("version", "python"),
        lambda view: [((view.figures.version, python_version()), 1.0)],
    ),
    _of_fleet(
        "trioworkers_daemon_start_time_seconds",
        "gauge",
        "When the daemon started, Unix time.",
        attrgetter("started_at"),
    ),
    Metric(
        "trioworkers_worker_exits_total",
        "counter",
        "Worker processes that ended, by cause.",
        ("cause",),
        lambda view: [((cause,), times) for cause, times in view.figures.exits.items()],
    ),
    _of_fleet(
        "trioworkers_worker_slots_taken",
        "gauge",
        "Slots for worker processes that are taken.",
        attrgetter("workers"),
    ),
    _of_fleet(
        "trioworkers_worker_slots",
        "gauge",
        "Slots for worker processes that there are (limits.max_workers).",
        attrgetter("most_workers"),
    ),
    Metric(
        "trioworkers_api_requests_total",
        "counter",
        "Requests to the Bot API, by method and result; those of workers as of their last heartbeats.",
        ("method", "result"),
        lambda view: [((method, result), times) for method, result, times in view.figures.requests],
    ),
    _of_fleet(
        "trioworkers_api_rate_limit_wait_seconds_total",
        "counter",
        "Time for which calls waited because Telegram asked them to (429).",
        attrgetter("waited"),
    ),
    _of_fleet(
        "trioworkers_rate_limit_waiting_messages",
        "gauge",
        "Messages that wait for their turn because of a bot's rate_limit.",
        attrgetter("turns_waiting"),
    ),
    _of_fleet(
        "trioworkers_rate_limit_wait_seconds_total",
        "counter",
        "Time for which messages waited for their turn because of a bot's rate_limit.",
        attrgetter("turns_waited"),
    ),
    Metric(
        "trioworkers_webhook_deliveries_total",
        "counter",
        "Deliveries of webhooks, by the HTTP status that answered them.",
        ("status",),
        lambda view: [((str(status),), times) for status, times in view.figures.deliveries.items()],
    ),
    Metric(
        "trioworkers_reloads_total",
        "counter",
        "Reloads of the fleet's files, by result.",
        ("result",),
        lambda view: [
            (("applied",), view.figures.reloads.applied),
            (("refused",), view.figures.reloads.refused),
        ],
    ),
    _of_fleet(
        "trioworkers_reload_last_successful",
        "gauge",
        "Whether the last reload was applied (1) or refused (0).",
        lambda figures: float(figures.reloads.is_good),
    ),
    _of_fleet(
        "trioworkers_reload_last_applied_timestamp_seconds",
        "gauge",
        "When the fleet in force was read, Unix time.",
        lambda figures: figures.reloads.applied_at,
    ),
    _of_fleet(
        "trioworkers_reload_last_duration_seconds",
        "gauge",
        "How long the last reload took.",
        lambda figures: figures.reloads.seconds,
    ),
    _of_fleet(
        "trioworkers_store_commit_failures_total",
        "counter",
        "Commits of the store that failed.",
        attrgetter("commits_failed"),
    ),
    Metric(
        "trioworkers_store_size_bytes",
        "gauge",
        "Size of the store's files: database, or wal.",
        ("file",),
        lambda view: [((name,), size) for name, size in view.sizes.items()],
    ),
    _of_cluster(
        "trioworkers_cluster_nodes",
        "gauge",
        "Nodes of the cluster, by state: running, draining or silent.",
        lambda cluster: [((state,), number) for state, number in cluster.nodes.items()],
        ("state",),
    ),
    _of_cluster(
        "trioworkers_cluster_bots", "gauge", "Bots that this node runs.", lambda one: [((), one.bots)]
    ),
    _of_cluster(
        "trioworkers_cluster_changes_total",
        "counter",
        "Bots that this node has acquired, released or lost, and nodes that it has evicted.",
        lambda cluster: [((change,), times) for change, times in cluster.changes.items()],
        ("change",),
    ),
    _of_cluster(
        "trioworkers_cluster_lease_seconds",
        "gauge",
        "Time for which this node may work without another renewal of its lease.",
        lambda cluster: [((), cluster.lease_left)],
    ),
    _of_plugins("trioworkers_plugin_calls_total", "counter", "Calls of a plugin's hooks.", "calls"),
    _of_plugins(
        "trioworkers_plugin_failures_total", "counter", "Calls that raised or took too long.", "failures"
    ),
    _of_plugins("trioworkers_plugin_seconds_total", "counter", "Time spent in a plugin's hooks.", "seconds"),
    _of_plugins(
        "trioworkers_plugin_missed_events_total",
        "counter",
        "Events that a plugin lost because it was too slow for them.",
        "missed_events",
    ),
    Metric(
        "trioworkers_plugin_disabled",
        "gauge",
        "1 when a plugin could not be loaded, or was switched off after failures.",
        ("plugin",),
        lambda view: [((row["name"],), float(row["state"] in DISABLED)) for row in view.plugins],
    ),
)

METRICS: tuple[Metric | Spread, ...] = (*FLEET, *SPREADS, *BOTS)


def buckets(distribution: Distribution) -> list[tuple[str, float]]:
    """Return the buckets as Prometheus wants them: cumulative, each with its bound as a text."""
    bounds = [*(_shown(bound) for bound in distribution.bounds), "+Inf"]
    return list(zip(bounds, accumulate(map(float, distribution.counts)), strict=True))


def _shown(bound: float) -> str:
    return f"{bound:.1f}" if bound.is_integer() else f"{bound:g}"
