"""The Bot API server of each bot, by its settings and the fleet's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trioworkers.botapi.server import Server
from trioworkers.config.settings import DIRECT

if TYPE_CHECKING:
    from trioworkers.config.settings import BotSettings, FleetKeys


def server_of(fleet: FleetKeys, bot: BotSettings) -> Server:
    """Return where a bot's server is, and by which proxy: the bot's own, or the fleet's."""
    proxy = bot.proxy or fleet.proxy
    address = "" if proxy is None else proxy.reveal()
    return Server(
        fleet.api_base,
        "" if address == DIRECT else address,
        bot.test_servers,
        "" if fleet.local_files is None else str(fleet.local_files),
    )
