"""What hooks are given, and what they may answer.

:mod:`trioworkers.hookspecs` names all of it. The protocols are what the daemon promises to plugins; all else
may change.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
    from contextlib import AbstractContextManager

    from trioworkers.botapi.methods import Methods
    from trioworkers.events import Subscription
    from trioworkers.figures import FleetFigures
    from trioworkers.handling.update import Update
else:

    class Methods(Protocol):
        """A stub: all methods with their parameters, for type checkers and editors."""


HEARS = "trioworkers_hears"
FINE = frozenset({"update.stored", "update.delivered", "update.call"})
"""Events of each step of an update: a plugin hears them only if it asks for them by `@hears`."""

F = TypeVar("F", bound="Callable[..., Any]")


@dataclass(frozen=True, slots=True)
class Hearing:
    """Which events a plugin's `trioworkers_event` is called with.

    Attributes:
        least: events of this level and above; None: none by their level.
        names: these events, whatever their level.
        without: not these, but for those of `names`.
        capacity: how many may wait for the plugin; of more, the oldest are lost and counted.
    """

    least: str | None = "debug"
    names: frozenset[str] = frozenset()
    capacity: int = 10_000
    without: frozenset[str] = FINE


def hears(
    *, least: str | None = None, events: Collection[str] = (), capacity: int = 10_000
) -> Callable[[F], F]:
    """Narrow what a `trioworkers_event` is called with; it stands below `@hookimpl`.

    An event that nobody hears is not even created, so a plugin that hears little costs little.

        @hookimpl
        @hears(least="warn", events={"bot.resumed"})
        def trioworkers_event(event): ...

    Args:
        least: events of this level and above: `debug`, `info`, `warn` or `error`; None: only those of
            `events`.
        events: the names of further events.
        capacity: how many may wait; of more, the oldest are lost and counted.
    """

    def narrow(function: F) -> F:
        setattr(function, HEARS, Hearing(least, frozenset(events), capacity, without=frozenset()))
        return function

    return narrow


@dataclass(frozen=True, slots=True)
class Bots:
    """What a source of bots answers with.

    Attributes:
        tables: each bot's table by its name, with the keys of `[bots.NAME]`; the token itself in it. None:
            it does not know, and its last answer stays in force.
        ask_again: seconds after which to ask again; None: at each reload only.
        problems: what went wrong on the way here, one line each, without tokens.
    """

    tables: Mapping[str, Any] | None = field(repr=False)
    ask_again: float | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Take:
    """The answer of `trioworkers_route` that lets a function of the plugin handle an update.

    Attributes:
        run: an async function of the update and of a bot that has `store`, too. It has the order, attempts,
            time limit, recorded calls and dead letters of a handler, and may raise `Retry`, `Dead` and
            `Drop`; or `Reroute`, to have the update routed again.
    """

    run: Callable[[Update, DaemonBot], Awaitable[None]]


class Write(msgspec.Struct, frozen=True, gc=False):
    """A value that `trioworkers_accept` stores in the transaction that makes its update durable.

    It is stored only if the update is kept. `value`: JSON; None deletes. `ttl`: seconds; None: for ever.
    """

    key: str
    value: Any
    ttl: float | None = None


@dataclass(frozen=True, slots=True)
class BotFacts:
    """A bot as hooks see it that make no calls: its name, its Telegram id, its `settings` table."""

    name: str
    id: int
    settings: Mapping[str, Any] = field(repr=False)


class PluginStore(Protocol):
    """A plugin's own storage: values by key, in the inbox's database and as durable as that.

    Keys are texts of up to 256 characters. Values are whatever JSON holds, but for null, which is an absent
    value.

    Every method may raise StoreError: the store cannot do it now, and nothing changed.
    """

    async def get(self, key: str) -> Any:
        """Return the value, or None."""

    async def set(self, key: str, value: Any, *, ttl: float | None = None) -> None:
        """Store a value. `ttl`: seconds for which it is there; None: until it is deleted."""

    async def delete(self, key: str) -> bool:
        """Delete a value; return whether there was one."""

    async def compare_and_set(self, key: str, expected: Any, value: Any, *, ttl: float | None = None) -> bool:
        """Store `value` if the value is `expected` (None: absent); return whether it was. None deletes."""

    async def items(self, prefix: str = "", *, after: str = "", limit: int = 1000) -> list[tuple[str, Any]]:
        """Return keys and values by ascending key: those that begin with `prefix`, past `after`."""


class PluginLog(Protocol):
    """Writes to the daemon's log, as the event `plugin.log`. No texts of messages, no tokens."""

    def debug(self, says: str, /, **fields: Any) -> None: ...
    def info(self, says: str, /, **fields: Any) -> None: ...
    def warning(self, says: str, /, **fields: Any) -> None: ...
    def error(self, says: str, /, **fields: Any) -> None: ...


class PluginHandle(Protocol):
    """A plugin as its own hooks see it: the argument `plugin`.

    Attributes:
        name: as in `[plugins.NAME]`.
        settings: what its `Settings` made of `[plugins.NAME]`; without a `Settings`, the table as it stands.
        store: its storage. It may be used from when the daemon runs: not in `trioworkers_bots`, which is
            asked before the inbox is open.
        log: the daemon's log.
        memory: what the plugin wants to keep for this run of the daemon: a module is no place for that.
    """

    @property
    def name(self) -> str: ...
    @property
    def settings(self) -> Any: ...
    @property
    def store(self) -> PluginStore: ...
    @property
    def log(self) -> PluginLog: ...
    @property
    def memory(self) -> dict[str, Any]: ...

    def emit(self, event: str, bot: str | None = None, *, trace_id: str | None = None, **fields: Any) -> None:
        """Emit one of the declared events. No field may hold a token or what a user wrote."""

    async def wait_settings_changed(self) -> None:
        """Return when a reload has changed the plugin's settings."""


class DaemonBot(Methods, Protocol):
    """A bot as functions of the daemon see it: a :class:`~trioworkers.Bot` with storage.

    For a `Take`, what `store` sets and deletes is committed in the transaction that ends the update: never
    for a handling that failed. Everywhere else it is the plugin's store.

    Attributes:
        earlier: within a `Take`, the calls that an earlier handling of the update made, or may have made: a
            method and, where one belongs to it, the chat (`sendMessage 123`). Otherwise empty.
    """

    @property
    def name(self) -> str: ...
    @property
    def id(self) -> int: ...
    @property
    def earlier(self) -> tuple[str, ...]: ...
    @property
    def settings(self) -> Mapping[str, Any]: ...
    @property
    def store(self) -> PluginStore: ...

    async def call(self, method: str, /, *, once: str | None = None, **params: Any) -> Any:
        """As :meth:`trioworkers.Bot.call`; recorded only within a `Take`."""

    async def download(self, file_path: str) -> bytes:
        """As :meth:`trioworkers.Bot.download`."""

    async def download_to(
        self, file_path: str, sink: Callable[[bytes], Awaitable[None]], *, most: int, total: float
    ) -> None:
        """Give `sink` a file part by part: of at most `most` bytes, within `total` seconds.

        A bot of `PluginDaemon.bot` has it, one of a `Take` does not.
        """


class LogFile(Protocol):
    """A log of a plugin's own in the fleet's `log_dir`, rotated as all logs are."""

    def append(self, lines: bytes) -> bool:
        """Write whole lines at the end; False: not all of it could be written. It blocks, and never raises.

        It may be called from any thread, but from one at a time. No texts of messages, no tokens.
        """


class BotHere(Protocol):
    """A bot, for as long as it runs on this daemon."""

    @property
    def name(self) -> str: ...
    @property
    def id(self) -> int: ...

    async def wait_ending(self) -> None:
        """Return when the bot's updates are drained: whoever serves it has a few seconds left."""


@dataclass(frozen=True, slots=True)
class AllRows:
    """The rows of a list on all nodes of a cluster.

    Attributes:
        rows: each with its `node`, the name of the node that has it.
        nodes: a row for each node, with whether it `answers`.
        missing: the bots of which no node has answered: they move, or their node has died.
    """

    rows: Sequence[Mapping[str, Any]]
    nodes: Sequence[Mapping[str, Any]] = ()
    missing: Sequence[str] = ()


class PluginNodes(Protocol):
    """The other nodes of the daemon's cluster, for one plugin; a daemon in no cluster has none.

    A request to a node is one to the plugin's own routes there.
    """

    @property
    def is_alone(self) -> bool:
        """Whether the daemon is in no cluster."""

    @property
    def is_asking(self) -> bool:
        """Within a route: whether another node asks, which waits for three seconds at most."""

    async def answer_of_owner(self, bot: str) -> Any:
        """Within a route: the answer of the node that runs a bot to the same request.

        None: this node answers it. Else it is a response of Quart's, with status and body as they came from
        there. Where no node runs the bot at this moment, the request is answered with 503, and this does not
        return.
        """

    async def all_rows(self, own: Mapping[str, Any], rows: str, by: str) -> AllRows | None:
        """Within a route: the rows of all nodes that answer the same request within three seconds.

        None: another node asks, or there is none, so that the answer is the daemon's own. `own`: that answer;
        `rows`: the key of its list of rows, each with a `bot`; `by`: the key by which rows are told apart.
        """

    async def tell(self, text: str) -> None:
        """Send up to 7,000 bytes to the plugin on all other nodes. It may be lost where a node has trouble.

        Raises StoreError: it was not sent.
        """

    def hears(self, hear: Callable[[str], None]) -> AbstractContextManager[None]:
        """Inside, `hear` is called with what other nodes tell; with "" when some of it may have been lost."""


class PluginDaemon(Protocol):
    """The daemon as its plugins see it."""

    @property
    def name(self) -> str:
        """The fleet's name."""

    @property
    def version(self) -> str:
        """The version of trioworkers."""

    def status(self) -> dict[str, Any]:
        """The status document, as `GET /api/workers/status` answers it."""

    async def figures(self) -> FleetFigures | None:
        """All that is counted, as it is now; None while the plugin `metrics` is disabled."""

    def plugins(self) -> list[dict[str, Any]]:
        """What `trioworkers plugins` shows, a row for each plugin."""

    def bot_names(self) -> list[str]:
        """The bots that run here."""

    def fleet_bots(self) -> Mapping[str, int]:
        """All bots of the fleet, wherever in a cluster they run: their ids, by their names."""

    def bot(self, name: str) -> DaemonBot:
        """A bot of the fleet, for calls that belong to no update. KeyError: there is none of this name."""

    async def serve_bots(self, serve: Callable[[BotHere], Awaitable[None]]) -> None:
        """Run `serve(bot)` for each bot as long as it runs here, until cancelled.

        In a cluster, a bot that ends here begins on another node: so what a plugin holds of a bot in memory
        is read by `serve` when it begins, and out of use when it ends. The bot is given away only then. After
        `bot.wait_ending()`, `serve` has five seconds until it is cancelled. Where the bot is lost, it is
        cancelled at once.
        """

    @property
    def nodes(self) -> PluginNodes:
        """The other nodes of the cluster."""

    def events(
        self, least: str | None = "info", names: Collection[str] = (), capacity: int = 1000
    ) -> Subscription:
        """A bounded queue of events; a context manager."""

    def log_file(self) -> LogFile:
        """The plugin's own log, `<log_dir>/<plugin>.log`; to be asked for once."""

    def reroute(self, bot: str) -> None:
        """Ask `trioworkers_route` again for the updates of a bot that wait for room."""

    async def fence(self, bot: str, chat_id: int, epoch: int) -> None:
        """Return when no handler of this chat that was begun before can make a call any more."""

    async def offer(self, bot: str, kind: str, chat_id: int, content: Mapping[str, Any]) -> None:
        """Put an update of the plugin's own into a bot's inbox; durable when it returns.

        It is the last of its chat's, and has a negative `update_id`. `content` is what `raw[kind]` holds,
        beside its `chat`.
        """

    def answers(
        self, name: str, function: Callable[[DaemonBot, dict[str, Any]], Awaitable[Any]]
    ) -> AbstractContextManager[None]:
        """Inside, answer what workers ask for under this name (`bot.handoff` asks for `handoff`)."""

    def action(self, action: str, *, bot: str | None = None, by: str, **fields: Any) -> None:
        """Emit `control.action`: somebody did something by hand.

        Inside a route, `quart.g.by` says who, and the event also has the address they came from. A route that
        changes something and does not call this is told by its path.
        """
