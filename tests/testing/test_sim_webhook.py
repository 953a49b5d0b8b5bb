"""Webhooks, decided without sockets: what setWebhook accepts, who is sent what and when."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from trioworkers.testing import Refused, SimBot, Telegram

if TYPE_CHECKING:
    from trioworkers.testing.queue import Pending
    from trioworkers.testing.webhook import SimulatedWebhook

URL = "https://bots.example.org/hook"


class Hooked:
    """A webhook whose every call takes all that is due now."""

    def __init__(self, webhook: SimulatedWebhook, clock) -> None:
        self.webhook = webhook
        self.clock = clock

    def __call__(self) -> list[Pending]:
        taken = []
        while (update := self.webhook.take(self.clock())) is not None:
            taken.append(update)
        return taken


@pytest.fixture
def hooked(world: Telegram, bot: SimBot, clock):
    """The bot's webhook; calling it takes what is due."""
    world.call(bot, "setWebhook", url=URL)
    assert bot.webhook is not None
    return Hooked(bot.webhook, clock)


def test_one_delivery_in_flight_per_chat(world, bot, alice, hooked, clock):
    """The next update of a chat goes when the one before was taken; other chats do not wait."""
    one, two = alice.send(bot, "1"), alice.send(bot, "2")
    other = world.add_user("Bob").send(bot, "b")
    first, foreign = hooked()
    assert [first.update_id, foreign.update_id] == [one, other]
    hooked.webhook.succeeded(first, clock())
    assert world.confirmed(bot) == [one]
    assert [update.update_id for update in hooked()] == [two]


def test_callbacks_have_a_lane_of_their_own(world, bot, alice, hooked):
    """A message and a callback of the same user are both in flight."""
    alice.start(bot)
    markup = {"inline_keyboard": [[{"text": "b", "callback_data": "b"}]]}
    message = world.call(bot, "sendMessage", chat_id=alice.id, text="x", reply_markup=markup)
    alice.press(bot, message, "b")
    assert [update.kind for update in hooked()] == ["message", "callback_query"]


def test_a_refused_update_comes_again(bot, alice, hooked, clock):
    """At once, after 2, 4, 8, 16 and 32 s, then every 60 s; its chat waits behind it."""
    one = alice.send(bot, "1")
    alice.send(bot, "2")
    for wait in (0, 2, 4, 8, 16, 32, 60, 60):
        (update,) = hooked()
        assert update.update_id == one
        hooked.webhook.failed(update, clock(), "Wrong response from the webhook: 500 x", status=500)
        assert hooked.webhook.next_due() == clock() + wait
        if wait:
            clock.go(wait - 0.001)
            assert hooked() == []
        clock.go(0.001 if wait else 0)


def test_retry_after_is_honoured_up_to_an_hour(bot, alice, hooked, clock):
    """The receiver may slow Telegram down."""
    alice.send(bot, "1")
    for asked, waited in ((7, 7), (10_000, 3600)):
        (update,) = hooked()
        hooked.webhook.failed(update, clock(), "x", status=503, retry_after=asked)
        assert hooked.webhook.next_due() == clock() + waited
        clock.go(waited)


def test_an_update_that_would_come_too_late_is_forgotten(world, bot, alice, hooked, clock):
    """Its lifetime ends the retries; the next of its chat goes at once."""
    one, two = alice.send(bot, "1"), alice.send(bot, "2")
    clock.go(86_000)
    (update,) = hooked()
    hooked.webhook.failed(update, clock(), "x", status=500, retry_after=1000)
    assert (bot.queue.expired, world.confirmed(bot)) == ([one], [])
    assert [update.update_id for update in hooked()] == [two]


def test_410_for_23_hours_closes(bot, alice, hooked, clock):
    """Only if nothing else came in between."""

    def fail(status):
        (update,) = hooked()
        closes = hooked.webhook.failed(update, clock(), "x", status=status, retry_after=60)
        clock.go(60)
        return closes

    alice.send(bot, "1")
    assert not fail(410)
    clock.go(12 * 3600)
    assert not fail(500)
    assert not fail(410)
    alice.send(bot, "1")
    clock.go(11.5 * 3600)
    assert not fail(410)
    alice.send(bot, "2")
    bot.queue.expire(bot.queue.since(0)[0].update_id)
    clock.go(11.6 * 3600)
    assert fail(410)


def test_polling_and_webhook_share_one_queue(world, bot, alice, hooked, clock):
    """Switching loses nothing; what is in flight when the webhook goes stays pending."""
    world.repeat_guard = False
    one, two = alice.send(bot, "1"), alice.send(bot, "2")
    (update,) = hooked()
    world.call(bot, "deleteWebhook")
    hooked.webhook.succeeded(update, clock())
    assert len(world.call(bot, "getUpdates")) == 2
    world.call(bot, "setWebhook", url=URL)
    assert bot.webhook.take(clock()).update_id == one
    assert world.confirmed(bot) == []
    world.call(bot, "deleteWebhook", drop_pending_updates=True)
    assert (world.pending(bot), world.confirmed(bot)) == (0, [one, two])


def test_updates_after_a_week_reach_the_webhook(bot, alice, hooked, clock):
    """A new random id, smaller or greater, is delivered like any other."""
    for _ in range(6):
        alice.send(bot, "x")
        (update,) = hooked()
        hooked.webhook.succeeded(update, clock())
        clock.go(8 * 86_400)
    assert len(bot.queue.confirmed) == 6


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"url": "http://bots.example.org/"}, "bad webhook: HTTPS url must be provided for webhook"),
        (
            {"url": "https://bots.example.org:8080/"},
            "bad webhook: Webhook can be set up only on ports 80, 88, 443 or 8443",
        ),
        ({"url": "https://:0/"}, "invalid webhook URL specified"),
        ({"url": "ftp://x/"}, "invalid webhook URL specified"),
        ({"url": "https://x:y/"}, "invalid webhook URL specified"),
        ({"url": URL, "secret_token": "no spaces"}, "secret token contains unallowed characters"),
        ({"url": URL, "secret_token": "x" * 257}, "secret token is too long"),
    ],
)
def test_a_wrong_webhook_is_refused(clock, params, words):
    """https, four ports and a plain secret, unless the server is a local one."""
    telegram = Telegram(clock=clock, local=False)
    bot = telegram.add_bot("b")
    with pytest.raises(Refused) as caught:
        telegram.call(bot, "setWebhook", **params)
    assert caught.value.description == f"Bad Request: {words}"
    telegram.local = True
    clock.go(1)
    if words.startswith("bad webhook"):
        assert telegram.call(bot, "setWebhook", **params) is True


def test_the_same_webhook_again_changes_nothing(world, bot, clock):
    """Identical is a no-op at any rate; a different one within a second earns 429."""
    assert world.call(bot, "setWebhook", url=URL, secret_token="s") is True
    webhook = bot.webhook
    assert world.call(bot, "setWebhook", url=URL, secret_token="s") is True
    assert bot.webhook is webhook
    with pytest.raises(Refused) as caught:
        world.call(bot, "setWebhook", url=URL, secret_token="t")
    assert caught.value.parameters == {"retry_after": 1}
    clock.go(1)
    world.call(bot, "setWebhook", url=URL, secret_token="t", max_connections=500)
    assert bot.webhook is not webhook
    assert webhook.closed


def test_webhook_info_tells_the_state(world, bot, alice, clock):
    """URL, pending, limits, and the last error; empty without a webhook."""
    empty = {"url": "", "has_custom_certificate": False, "pending_update_count": 0}
    assert world.call(bot, "getWebhookInfo") == empty
    world.call(bot, "setWebhook", url=URL, max_connections=7, allowed_updates=["message"])
    alice.send(bot, "x")
    update = bot.webhook.take(clock())
    bot.webhook.failed(update, clock(), "Connection refused")
    info = world.call(bot, "getWebhookInfo")
    assert info["url"] == URL
    assert (info["max_connections"], info["pending_update_count"]) == (7, 1)
    assert info["allowed_updates"] == ["message"]
    assert (info["last_error_date"], info["last_error_message"]) == (1_700_000_000, "Connection refused")


def test_nothing_waits_when_nothing_is_due(hooked):
    """An idle webhook has no deadline."""
    assert hooked() == []
    assert hooked.webhook.next_due() == math.inf
