"""What the API answers, as types: for `GET /api/openapi.json` alone. What is sent is not read against them.

Rows of the status may have more fields than are named here; clients have to take that.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from trioworkers.described import TypedDict

State = Literal[
    "starting", "running", "sleeping", "draining", "backoff", "failed", "paused", "stopped"
]  # of a worker


class Health(TypedDict):
    status: Literal["alive"]


class Readiness(TypedDict):
    status: Literal["ready", "starting"]


class ConfigState(TypedDict):
    hash: str
    last_reload_ok: bool
    kept: list[str]
    last_reload_at: float
    error: str | None


class NodeSeen(TypedDict):
    node: str
    state: Literal["running", "draining", "silent"]
    bots: int


class NodeState(TypedDict):
    name: str
    life: str
    bots: int
    lease_left_ms: NotRequired[int]
    nodes: list[NodeSeen]


class FleetState(TypedDict):
    name: str
    version: str
    pid: int
    uptime_ms: int
    state: Literal["starting", "running", "stopping"]
    node: NodeState | None
    config: ConfigState


class Queue(TypedDict):
    ready: int
    in_flight: int
    retry: int
    dead: int


class LastExit(TypedDict):
    at: float
    code: int | None
    signal: int | str | None
    oom: bool
    stderr: list[str] | str | None


class IntakeTrouble(TypedDict):
    problem: str
    since: float
    remedy: str


class WorkerHealth(TypedDict):
    alive: bool
    responsive: bool
    progressing: bool
    receiving: bool
    intake: IntakeTrouble | None
    loop_lag_ms: int
    oldest_in_flight_ms: int


class RateLimitState(TypedDict):
    per_second: float
    per_chat: float
    per_group_minute: float | None
    waiting: int
    delayed: int
    waited_ms: int


class WorkerState(TypedDict):
    bot: str
    bot_id: int
    state: State
    pid: int | None
    transport: str
    webhook: dict[str, Any] | None
    uptime_ms: int | None
    messages: int
    errors: int
    latency_ms: float | None
    restarts: int
    memory_bytes: int | None
    last_heartbeat_age_ms: int | None
    paused: bool
    epoch: int | None
    code: str | None
    acknowledge: str | None
    queue: Queue
    last_exit: LastExit | None
    next_start_at: float | None
    reason: str | None
    rate_limit: RateLimitState | None
    health: WorkerHealth
    plugins: dict[str, Any]
    node: NotRequired[str]


class NodeRow(TypedDict):
    node: str
    life: str
    is_self: bool
    state: Literal["running", "draining", "silent"]
    bots: int
    drains: bool
    silent_for: float
    other_bots: bool
    version: str | None
    answers: NotRequired[bool]


class NodeList(TypedDict):
    nodes: list[NodeRow]


class NodeDrained(TypedDict):
    node: str
    drains: bool
    takers: int


class NodeEvicted(TypedDict):
    node: str


class BotMoved(TypedDict):
    bot: str
    node: str | None
    once: str | None


class Status(TypedDict):
    fleet: FleetState
    workers: list[WorkerState]
    nodes: NotRequired[list[NodeRow]]


class BotRow(TypedDict):
    bot: str
    bot_id: int
    handler: str | None
    command: list[str] | None
    enabled: bool
    worker: str
    state: State
    reason: str | None
    paused: bool
    pid: int | None
    code: str | None
    transport: str
    node: NotRequired[str]


class BotList(TypedDict):
    bots: list[BotRow]
    nodes: NotRequired[list[NodeRow]]


class BotDetails(BotRow, WorkerState):
    settings: dict[str, Any]
    origin: str


class LogLines(TypedDict):
    lines: list[str]
    next: str
    skipped: int
    missed: bool


class PendingDropped(TypedDict):
    dropped: int


class Restarted(TypedDict):
    replaced: int
    failed: dict[str, str]


class PlanDocument(TypedDict):
    added: list[str]
    removed: list[str]
    replaced: dict[str, list[str]]
    retuned: dict[str, list[str]]
    unchanged: int
    changed: list[str]
    kept: list[str]


class ReloadRow(TypedDict):
    number: int
    at: float
    seconds: float
    by: str
    result: Literal["applied", "refused", "failed"]
    plan: PlanDocument | None
    problems: list[str]
    left_out: list[str]


class ReloadPage(TypedDict):
    reloads: list[ReloadRow]
    next: int | None


class PluginRow(TypedDict):
    name: str
    version: str | None
    origin: str
    state: Literal["active", "inactive", "off", "not loaded"]
    hooks: list[str]
    calls: int
    failures: int
    seconds: float
    slowest_ms: float
    missed_events: int
    reason: str | None


class PluginList(TypedDict):
    plugins: list[PluginRow]


class LetterRow(TypedDict):
    id: int
    bot: str | None
    bot_id: int
    chat_id: int | None
    update_id: int
    trace_id: str
    kind: str
    reason: str
    attempts: int
    died_at: float


class LetterPage(TypedDict):
    letters: list[LetterRow]
    next: int | None


class LetterAttempt(TypedDict):
    at: float
    error: str
    unknown: list[str]


class LetterCall(TypedDict):
    method: str
    chat_id: str | None
    at: float | None
    state: Literal["made", "unknown", "maybe twice"]


class Letter(LetterRow):
    accepted_at: float
    damaged: bool
    history: list[LetterAttempt]
    calls: list[LetterCall]
    payload: NotRequired[Any]


class Replayed(TypedDict):
    replayed: int


class Purged(TypedDict):
    purged: int


class Backup(TypedDict):
    path: str
    bytes: int


class LoginLink(TypedDict):
    url: str
    expires_in: float


class OpenApi(TypedDict):
    openapi: str
    info: dict[str, Any]
    paths: dict[str, Any]


class Problem(TypedDict):
    error: str
