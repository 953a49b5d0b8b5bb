"""Rules between settings: what no table can know by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from trioworkers.config.settings import BotSettings, FleetKeys, Webhook

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import BaseModel

    from trioworkers.config.problems import KeyPath

OFFICIAL_API = "https://api.telegram.org"
# Bot API, setWebhook: "Ports currently supported for webhooks". A server of one's own has no such limit.
TELEGRAM_PORTS = (443, 80, 88, 8443)

# What the rules look at. Of a table that is wrong elsewhere they are given these alone, so that what they
# find is told together with the rest.
LOOKED_AT: Mapping[type[BaseModel], tuple[str, ...]] = {
    FleetKeys: ("api_base",),
    Webhook: ("public_url",),
    BotSettings: ("token", "enabled", "transport"),
}

Fault = tuple["KeyPath", str]


def cross_checks(
    keys: FleetKeys | None, webhook: Webhook | None, bots: Mapping[str, BotSettings]
) -> Iterator[Fault]:
    """Yields what is wrong between tables that are each right; None is one that they cannot judge."""
    yield from _one_bot_per_id(bots)
    if webhook is None:
        return
    if keys is not None and webhook.public_url is not None and keys.api_base == OFFICIAL_API:
        yield from _reachable_by_telegram(webhook.public_url)
    if webhook.public_url is None:
        for name, bot in bots.items():
            if bot.enabled and bot.transport == "webhook":
                yield ("bots", name, "transport"), '"webhook" needs webhook.public_url, which is not set'


def _one_bot_per_id(bots: Mapping[str, BotSettings]) -> Iterator[Fault]:
    # Two pollers of one bot share its updates silently; Telegram reports it only sometimes.
    owners: dict[int, str] = {}
    for name, bot in bots.items():
        owner = owners.setdefault(bot.bot_id, name)
        if owner != name:
            found = f'the bots "{owner}" and "{name}" have the same bot id'
            yield ("bots", name, "token"), f"{found}, expected one bot per id"


def _reachable_by_telegram(url: str) -> Iterator[Fault]:
    parts = urlsplit(url)
    if parts.scheme != "https":
        yield ("webhook", "public_url"), "expected an https address, because api_base is Telegram's own"
    elif (port := parts.port or 443) not in TELEGRAM_PORTS:
        rule = f"a port that Telegram delivers to ({', '.join(map(str, TELEGRAM_PORTS))})"
        yield ("webhook", "public_url"), f"expected {rule}, got {port}"
