"""The daemon as a plugin's services and routes see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from trioworkers.arrivals import read_update
from trioworkers.logs.files import RotatedFile
from trioworkers.plugins.no_nodes import NoNodes
from trioworkers.version import __version__

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping
    from contextlib import AbstractContextManager

    from trioworkers.config import FleetInForce
    from trioworkers.events import Events, Subscription
    from trioworkers.figures import FleetFigures
    from trioworkers.plugin_types import PluginNodes
    from trioworkers.plugins.asks import AskedBot, Asks
    from trioworkers.plugins.plugin import Plugin
    from trioworkers.plugins.registry import Plugins
    from trioworkers.records import Arrival


class ServesBots(Protocol):
    """As :class:`~trioworkers.nursery.residents.Residents`."""

    async def serve_each(self, serve: Callable[[Any], Awaitable[None]]) -> None: ...


class RunsBots(Protocol):
    """The bots that run here, as :class:`~trioworkers.nursery.fleet.FleetScope` has them."""

    @property
    def residents(self) -> ServesBots: ...
    def get_bots(self) -> Mapping[str, object]: ...
    def reroute(self, bot: str) -> None: ...
    async def fence(
        self, bot: str, chat_id: int, epoch: int, is_spared: Callable[[object], bool]
    ) -> None: ...
    async def offer(self, bot: str, make: Callable[[int], Arrival]) -> None: ...


@dataclass(frozen=True, slots=True)
class DaemonAccess:
    """What plugins may reach of the daemon.

    Attributes:
        in_force: the fleet in force.
        events: where it is emitted what happens.
        plugins: the plugins of this run.
        status: makes the status document.
        figures: takes a snapshot of what is counted; it answers None where nothing is.
        fleet: the bots that run here.
        asks: what workers may ask for.
        nodes: the other nodes of the cluster, for a plugin by its name; None: there is no cluster.
        acting: notes that the act of the request which is being answered is told; its address, or None.
    """

    in_force: FleetInForce
    events: Events
    plugins: Plugins
    status: Callable[[], dict[str, Any]]
    figures: Callable[[], Awaitable[FleetFigures | None]]
    fleet: RunsBots
    asks: Asks
    nodes: Callable[[str], PluginNodes] | None
    acting: Callable[[], str | None]


class DaemonFacade:
    """As :class:`~trioworkers.plugin_types.PluginDaemon`, for one plugin."""

    def __init__(self, access: DaemonAccess, plugin: Plugin) -> None:
        self._access = access
        self._plugin = plugin

    @property
    def name(self) -> str:
        return self._access.in_force().name

    @property
    def version(self) -> str:
        """The version of trioworkers."""
        return __version__

    def status(self) -> dict[str, Any]:
        return self._access.status()

    async def figures(self) -> FleetFigures | None:
        return await self._access.figures()

    def plugins(self) -> list[dict[str, Any]]:
        return self._access.plugins.rows()

    def bot_names(self) -> list[str]:
        return list(self._access.fleet.get_bots())

    def fleet_bots(self) -> Mapping[str, int]:
        return {name: bot.bot_id for name, bot in self._access.in_force().bots.items()}

    async def serve_bots(self, serve: Callable[[Any], Awaitable[None]]) -> None:
        await self._access.fleet.residents.serve_each(serve)

    @property
    def nodes(self) -> PluginNodes:
        return NoNodes() if self._access.nodes is None else self._access.nodes(self._plugin.name)

    def bot(self, name: str) -> AskedBot:
        return self._access.asks.bot(self._plugin, name)

    def events(
        self, least: str | None = "info", names: Collection[str] = (), capacity: int = 1000
    ) -> Subscription:
        return self._access.events.subscribe(least, capacity, frozenset(names))

    def log_file(self) -> PluginLogFile:
        fleet = self._access.in_force
        path = fleet().log_dir / f"{self._plugin.name}.log"
        return PluginLogFile(RotatedFile(path, lambda: fleet().log))

    def reroute(self, bot: str) -> None:
        self._access.fleet.reroute(bot)

    async def fence(self, bot: str, chat_id: int, epoch: int) -> None:
        await self._access.fleet.fence(bot, chat_id, epoch, self._is_own)

    def _is_own(self, run: object) -> bool:
        """Whether a function that has an update is this plugin's, and may be what asks for the fence."""
        return getattr(run, "plugin", None) is self._plugin

    async def offer(self, bot: str, kind: str, chat_id: int, content: Mapping[str, Any]) -> None:
        def arrival(update_id: int) -> Arrival:
            made = {"update_id": update_id, kind: {"chat": {"id": chat_id}, **content}}
            return read_update(msgspec.json.encode(made))

        await self._access.fleet.offer(bot, arrival)

    def answers(
        self, name: str, function: Callable[[Any, dict[str, Any]], Awaitable[Any]]
    ) -> AbstractContextManager[None]:
        return self._access.asks.answered(self._plugin, name, function)

    def action(self, action: str, *, bot: str | None = None, by: str, **fields: Any) -> None:
        given = {"source": self._access.acting(), **fields}
        self._access.events.emit("control.action", bot, action=action, by=by, **given)


class PluginLogFile:
    """As :class:`~trioworkers.plugin_types.LogFile`."""

    def __init__(self, file: RotatedFile) -> None:
        self._file = file

    def append(self, lines: bytes) -> bool:
        data = b"\n" + lines if self._file.inside else lines
        return self._file.append(data) == len(data)
