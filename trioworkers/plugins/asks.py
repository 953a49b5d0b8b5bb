"""Bots as functions of the daemon have them outside of any update, and what workers ask for."""

from __future__ import annotations

from contextlib import contextmanager
from random import Random
from typing import TYPE_CHECKING, Any

from trioworkers.bot_server import server_of
from trioworkers.botapi.client import SMALL_ANSWER_LIMIT, BotApi
from trioworkers.handling.bot import Bot
from trioworkers.handling.log import BotLog
from trioworkers.plugins.errors import PluginError
from trioworkers.ratelimit.pace import OwnTurns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from trioworkers.botapi.meter import CallMeter
    from trioworkers.botapi.server import Server
    from trioworkers.config import BotSettings, FleetInForce
    from trioworkers.plugin_types import PluginStore
    from trioworkers.plugins.plugin import Plugin
    from trioworkers.ratelimit.pace import Paces

    Function = Callable[[Any, dict[str, Any]], Awaitable[Any]]

CONNECTIONS = 4  # to the Bot API, for all plugins, of one bot


class AskedBot(Bot):
    """A bot in the daemon, outside of any handling: its calls are not recorded.

    Attributes:
        store: the plugin's storage.
        earlier: empty: there is no update that was handled before.
    """

    earlier: tuple[str, ...] = ()

    def __init__(self, settings: BotSettings, log: BotLog, api: BotApi, store: PluginStore) -> None:
        super().__init__(settings.name, settings.bot_id, settings.settings, log, api)
        self.store = store

    async def download_to(
        self, file_path: str, sink: Callable[[bytes], Awaitable[None]], *, most: int, total: float
    ) -> None:
        """As :meth:`trioworkers.botapi.client.BotApi.download_to`."""
        await self._api.download_to(file_path, sink, most=most, total=total)


class Asks:
    """What functions of plugins answer, and the bots that they are given. :meth:`close` ends its connections.

    Args:
        in_force: the fleet in force.
        meter: counts requests to the Bot API; None: they are not counted.
        paces: the bots' turns to send; None: nobody limits these.

    Attributes:
        gate: as that of :class:`~trioworkers.botapi.client.BotApi`; it is set before the first call.
    """

    def __init__(
        self, in_force: FleetInForce, meter: CallMeter | None = None, paces: Paces | None = None
    ) -> None:
        self._in_force = in_force
        self._meter = meter
        self._paces = paces
        self._answers: dict[str, tuple[Plugin, Function]] = {}
        self._clients: dict[str, tuple[tuple[Server, str], BotApi]] = {}
        self.gate: Callable[[], Awaitable[None]] | None = None
        self._rng = Random()  # noqa: S311 - jitter

    @contextmanager
    def answered(self, plugin: Plugin, name: str, function: Function) -> Iterator[None]:
        """Inside, answer what is asked for under a name.

        Raises:
            ValueError: another function answers it.
        """
        if name in self._answers:
            message = f"{name} is answered by the plugin {self._answers[name][0].name}"
            raise ValueError(message)
        self._answers[name] = plugin, function
        try:
            yield
        finally:
            del self._answers[name]

    async def ask(self, bot: str, name: str, params: dict[str, Any]) -> Any:
        """Return the answer to what a bot asks for.

        Raises:
            PluginError: nobody answers it, or the bot has gone.
            Exception: what the function raised.
        """
        if name not in self._answers:
            message = f"no plugin answers {name} now"
            raise PluginError(message)
        plugin, function = self._answers[name]
        try:
            asked = self.bot(plugin, bot)
        except KeyError:
            message = f"there is no bot {bot}"
            raise PluginError(message) from None
        return await function(asked, params)

    def bot(self, plugin: Plugin, name: str) -> AskedBot:
        """A bot, for calls that belong to no update.

        Raises:
            KeyError: the fleet has none of this name.
        """
        fleet = self._in_force()
        settings = fleet.bots[name]
        return AskedBot(settings, BotLog(fleet.log.level, _nowhere), self._client(settings), plugin.store)

    def close(self) -> None:
        """Close all connections."""
        for _, client in self._clients.values():
            client.close()
        self._clients.clear()

    def _client(self, settings: BotSettings) -> BotApi:
        """The daemon's own connections of a bot; another server or token gets others.

        Those of bots that the fleet has no more are closed when another bot's are made.
        """
        fleet = self._in_force()
        server = server_of(fleet, settings), settings.token.reveal()
        before = self._clients.get(settings.name)
        if before is not None and before[0] == server:
            return before[1]
        for gone in self._clients.keys() - fleet.bots.keys():
            self._clients.pop(gone)[1].close()
        made = BotApi(
            *server,
            connections=CONNECTIONS,
            rng=self._rng,
            meter=self._meter,
            largest=SMALL_ANSWER_LIMIT,
        )
        made.gate = self.gate
        made.turns = None if self._paces is None else OwnTurns(self._paces, settings.bot_id)
        self._clients[settings.name] = server, made
        if before is not None:
            before[1].close()
        return made


def _nowhere(_: str) -> None:
    """Functions of plugins log by `plugin.log`; a line of the bot's log would say nothing of whose it is."""
