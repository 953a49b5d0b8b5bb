"""The Bot API methods by which a bot gets its updates: getUpdates, and those of its webhook.

The rules of webhooks are those of `Client.cpp`, `process_set_webhook_query`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from trioworkers.testing.answers import Described, bad_request, conflict, too_many_requests
from trioworkers.testing.polling import OTHER_WEBHOOK, open_poll
from trioworkers.testing.queue import KINDS, UNASKED, parse_allowed_updates
from trioworkers.testing.webhook import SimulatedWebhook

if TYPE_CHECKING:
    from trioworkers.testing.bots import SimBot
    from trioworkers.testing.params import Params
    from trioworkers.testing.world import World

PORTS = {80, 88, 443, 8443}
CERTIFICATE_LIMIT = 3 << 20  # bytes
_SECRET = re.compile(r"[A-Za-z0-9_-]{1,256}")


def get_updates(world: World, bot: SimBot, params: Params) -> object:
    """getUpdates without waiting; the server uses :func:`wait_poll`."""
    poll = open_poll(world, bot, params)
    return [msgspec.Raw(update.body) for update in bot.queue.fetch(poll.offset, poll.limit)]


def _check_url(world: World, url: str) -> None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise bad_request("invalid webhook URL specified") from None
    if not parts.hostname or parts.scheme not in {"http", "https"}:
        raise bad_request("invalid webhook URL specified")
    if world.local:
        return
    if parts.scheme != "https":
        raise bad_request("bad webhook: HTTPS url must be provided for webhook")
    if port not in PORTS | {None}:
        raise bad_request("bad webhook: Webhook can be set up only on ports 80, 88, 443 or 8443")


def set_webhook(world: World, bot: SimBot, params: Params) -> object:
    """setWebhook; without a URL it is deleteWebhook. The same one again changes nothing."""
    url = params.text("url").strip()
    if not url:
        return delete_webhook(world, bot, params)
    if "://" not in url:
        url = f"https://{url}"
    secret = params.text("secret_token")
    connections = min(max(params.integer("max_connections", 40), 1), 100_000 if world.local else 100)
    certificate = params.files.get("certificate")
    allowed = parse_allowed_updates(params.values.get("allowed_updates"))
    now = world.clock()
    old = bot.webhook
    dropping = params.flag("drop_pending_updates")
    same = (
        old is not None
        and (url, secret, connections, params.text("ip_address"))
        == (old.url, old.secret, old.max_connections, old.ip_address)
        and certificate is None
        and old.certificate is None
        and (allowed is None or allowed == bot.queue.allowed)
        and not dropping
    )
    if same:
        return Described(True, "Webhook is already set")
    if world.repeat_guard and now < bot.last_set_webhook_at + 1.0:
        raise too_many_requests(1)
    bot.last_set_webhook_at = now
    _check_url(world, url)
    if secret and not _SECRET.fullmatch(secret):
        what = "is too long" if len(secret) > 256 else "contains unallowed characters"
        raise bad_request(f"secret token {what}")
    if certificate is not None and len(certificate.content) > CERTIFICATE_LIMIT:
        raise bad_request(f"certificate size is too big ({len(certificate.content)} bytes)")
    world.close_webhook(bot)
    if dropping:
        bot.queue.drop()
    bot.end_poll(conflict(OTHER_WEBHOOK))
    if allowed is not None:
        bot.queue.allowed = allowed
    bot.webhook = SimulatedWebhook(
        bot.queue,
        url,
        secret=secret,
        max_connections=connections,
        ip_address=params.text("ip_address"),
        certificate=None if certificate is None else certificate.content,
    )
    world.webhooks_changed.fire()
    return Described(True, "Webhook was set")


def delete_webhook(world: World, bot: SimBot, params: Params) -> object:
    """deleteWebhook; what is pending stays, unless `drop_pending_updates` is set."""
    was_set = bot.webhook is not None
    world.close_webhook(bot)
    if params.flag("drop_pending_updates"):
        bot.queue.drop()
    return Described(True, "Webhook was deleted" if was_set else "Webhook is already deleted")


def get_webhook_info(world: World, bot: SimBot, params: Params) -> object:
    """getWebhookInfo."""
    webhook = bot.webhook
    info: dict[str, Any] = {
        "url": webhook.url if webhook is not None else "",
        "has_custom_certificate": webhook is not None and webhook.certificate is not None,
        "pending_update_count": len(bot.queue),
    }
    if webhook is not None:
        info["max_connections"] = webhook.max_connections
        info["ip_address"] = webhook.ip_address or "127.0.0.1"
        if webhook.last_error is not None:
            info["last_error_date"] = int(webhook.last_error[0])
            info["last_error_message"] = webhook.last_error[1]
    if bot.queue.allowed != KINDS - UNASKED:
        info["allowed_updates"] = sorted(bot.queue.allowed)
    return info
