"""Webhooks at the simulated Telegram, over real sockets: set when something differs, and only then."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import trio

from trioworkers.botapi.client import BotApi
from trioworkers.botapi.errors import BotApiError
from trioworkers.config.values import UPDATE_KINDS
from trioworkers.testing import Telegram, faults, serve_telegram
from trioworkers.transport import registration as module
from trioworkers.transport.poll import TokenRefusedError
from trioworkers.transport.registration import (
    UNASKED,
    Digests,
    Registration,
    Registry,
    Wanted,
    WebhookInfo,
    clean,
    differs,
    error_age,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

URL = "http://127.0.0.1:1/webhook/echo"


@dataclass
class Scene:
    """A served Telegram, a bot's registration with it, and what was told."""

    world: Telegram
    bot: Any
    digests: Digests
    api: BotApi
    wanted: Wanted
    registration: Registration = None  # type: ignore[assignment]
    told: list[tuple[Any, ...]] = field(default_factory=list)
    observed_infos: list[WebhookInfo] = field(default_factory=list)
    turns: int = 0

    def make(self) -> Registration:
        return Registration(
            self.api, self.bot.id, lambda: self.wanted, Registry(self.digests, self.turn), self
        )

    async def turn(self) -> None:
        self.turns += 1

    def registered(self, secret: str, reason: str | None) -> None:
        self.told.append(("registered", secret, reason))

    def refused(self, reason: str, pause: float) -> None:
        self.told.append(("refused", reason))

    def observed(self, info: WebhookInfo) -> None:
        self.observed_infos.append(info)

    def ignored(self, kinds: Sequence[str]) -> None:
        self.told.append(("ignored", *kinds))

    def calls(self, method: str) -> list[Any]:
        return [call for call in self.world.calls if call.method == method]

    async def until(self, condition) -> None:
        with trio.fail_after(20):
            while not condition():  # noqa: ASYNC110 - the other side of a socket has no event
                await trio.sleep(0.002)


@pytest.fixture
async def scene(nursery, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "WATCH_EVERY", 0.02)
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.002)
    world = Telegram(seed=1, repeat_guard=False)
    bot = world.add_bot("echo")
    base = await nursery.start(serve_telegram, world)
    async with BotApi(base, bot.token) as api:
        scene = Scene(world, bot, Digests(tmp_path / "webhooks.json"), api, Wanted(URL, "s" * 43))
        scene.registration = scene.make()
        yield scene
        nursery.cancel_scope.cancel()


async def test_it_is_set_once_and_then_watched(scene):
    """With its secret and its limits; looking at it sets nothing, nor does another start."""
    scene.wanted = replace(scene.wanted, allowed_updates=("message", "poll"), max_connections=7)
    for _ in range(2):
        seen = len(scene.observed_infos)
        async with trio.open_nursery() as serving:
            serving.start_soon(scene.registration.serve)
            await scene.until(lambda seen=seen: len(scene.observed_infos) >= seen + 3)
            serving.cancel_scope.cancel()
        scene.digests = Digests(scene.digests._path)
        scene.registration = scene.make()
    webhook = scene.bot.webhook
    assert (webhook.url, webhook.secret, webhook.max_connections) == (URL, "s" * 43, 7)
    assert scene.bot.queue.allowed == {"message", "poll"}
    (call,) = scene.calls("setWebhook")
    assert "drop_pending_updates" not in call.params
    assert scene.turns == 1
    assert scene.told[0] == ("registered", "s" * 43, "no webhook is set")
    assert {reason for _, _, reason in scene.told[1:]} == {None}


async def test_a_change_is_registered_at_once(scene, nursery, monkeypatch):
    """Without waiting for the next look; a new secret too, which Telegram would not show."""
    monkeypatch.setattr(module, "WATCH_EVERY", 3600)
    monkeypatch.setattr(module, "FIRST_PAUSE", 3600)
    scene.bot.webhook = None
    nursery.start_soon(scene.registration.serve)
    await scene.until(lambda: scene.told)
    scene.wanted = replace(scene.wanted, secret="t" * 43)
    scene.registration.changed()
    await scene.until(lambda: len(scene.told) == 2)
    assert scene.told[1] == ("registered", "t" * 43, "the settings changed")
    assert scene.bot.webhook.secret == "t" * 43


async def test_a_lost_registration_is_made_again(scene, nursery):
    """Whoever took it away; updates that came meanwhile are delivered then."""
    nursery.start_soon(scene.registration.serve)
    await scene.until(lambda: scene.observed_infos)
    for method, params, reason in (
        ("deleteWebhook", {}, "no webhook is set"),
        ("setWebhook", {"url": "http://127.0.0.1:1/other"}, "another address is set"),
    ):
        told = len(scene.told)
        scene.world.call(scene.bot, method, **params)
        await scene.until(lambda reason=reason, told=told: any(t[-1] == reason for t in scene.told[told:]))
        assert scene.bot.webhook.url == URL


async def test_a_server_that_refuses_is_tried_again(scene, nursery):
    """With pauses; it is told in words that hold no token."""
    scene.wanted = replace(scene.wanted, url="ftp://nowhere")
    nursery.start_soon(scene.registration.serve)
    await scene.until(lambda: len(scene.told) >= 3)
    assert {what for what, *_ in scene.told} == {"refused"}
    assert "invalid webhook URL" in scene.told[0][1]
    assert not scene.registration.is_set
    scene.wanted = replace(scene.wanted, url=URL)
    scene.registration.changed()
    await scene.until(lambda: scene.observed_infos)
    assert scene.registration.is_set


@pytest.mark.parametrize("quoted", ['"secret words"', "https://secret.example/words", "@secret_name"])
async def test_a_refusal_is_told_without_what_it_quotes(scene, nursery, quoted):
    """The reason is logged: a description is Telegram's, or whose server it is, and may quote anything."""
    error = faults.error(403, f"Forbidden: bad webhook for {quoted}")
    scene.world.faults.add(method="setWebhook", respond=error, times=None)
    nursery.start_soon(scene.registration.serve)
    await scene.until(lambda: scene.told)
    (reason,) = {reason for what, reason in scene.told if what == "refused"}
    assert reason == "setWebhook: 403 Forbidden: bad webhook for …"


async def test_a_refused_token_ends_it(scene):
    """Nothing is set for a bot that is no more."""
    scene.world.revoke(scene.bot)
    with pytest.raises(TokenRefusedError):
        await scene.registration.serve()
    with pytest.raises(TokenRefusedError):
        await scene.registration.delete()


async def test_a_self_signed_certificate_is_uploaded(scene, nursery):
    """And again when it is another one."""
    scene.wanted = replace(scene.wanted, certificate=b"one")
    nursery.start_soon(scene.registration.serve)
    await scene.until(lambda: scene.observed_infos)
    assert scene.bot.webhook.certificate == b"one"
    scene.wanted = replace(scene.wanted, certificate=b"two")
    scene.registration.changed()
    await scene.until(lambda: scene.bot.webhook.certificate == b"two")


async def test_leaving_keeps_what_is_pending(scene):
    """deleteWebhook drops nothing, and the next registration is one."""
    async with trio.open_nursery() as serving:
        serving.start_soon(scene.registration.serve)
        await scene.until(lambda: scene.observed_infos)
        serving.cancel_scope.cancel()
    scene.world.add_user("Alice").send(scene.bot, "hello")
    await scene.registration.delete()
    assert scene.bot.webhook is None
    assert scene.world.pending(scene.bot) == 1
    assert scene.digests.get(scene.bot.id) is None
    (call,) = scene.calls("deleteWebhook")
    assert call.params == {}


async def test_telegrams_errors_are_observed(scene, nursery):
    """What it says of deliveries, and what is pending."""
    scene.world.add_user("Alice").send(scene.bot, "hello")
    nursery.start_soon(scene.registration.serve)
    await scene.until(lambda: scene.observed_infos and scene.observed_infos[-1].last_error_date)
    document = scene.observed_infos[-1].document()
    assert document["pending"] == 1
    assert document["last_error"] == "Connection refused"


WANTED = Wanted(URL, "s", ("poll", "message"), 40, None)
AS_WANTED = WebhookInfo(url=URL, allowed_updates=["message", "poll"])


@pytest.mark.parametrize(
    ("info", "kept", "reason"),
    [
        (AS_WANTED, WANTED.digest(), None),
        (AS_WANTED, None, "the settings changed"),
        (AS_WANTED, replace(WANTED, secret="t").digest(), "the settings changed"),
        (WebhookInfo(), WANTED.digest(), "no webhook is set"),
        (WebhookInfo(url="x"), WANTED.digest(), "another address is set"),
        (WebhookInfo(url=URL), WANTED.digest(), "other allowed_updates are set"),
        (WebhookInfo(url=URL, max_connections=1), WANTED.digest(), "another max_connections is set"),
        (WebhookInfo(url=URL, has_custom_certificate=True), WANTED.digest(), "another certificate is set"),
    ],
)
def test_what_differs(info, kept, reason):
    """Everything that Telegram shows is compared, the rest by its digest."""
    assert differs(info, WANTED, kept) == reason


def test_a_digest_shows_no_secret_and_differs_by_everything():
    """Any part of a registration changes it; the order of kinds does not."""
    others = [
        replace(WANTED, url="x"),
        replace(WANTED, secret="t"),
        replace(WANTED, allowed_updates=()),
        replace(WANTED, max_connections=1),
        replace(WANTED, certificate=b"c"),
    ]
    assert len({WANTED.digest(), *(other.digest() for other in others)}) == 6
    assert replace(WANTED, allowed_updates=("message", "poll")).digest() == WANTED.digest()


async def test_digests_are_kept_for_us_alone(tmp_path):
    """Over a restart; a file that cannot be read is as none."""
    path = tmp_path / "webhooks.json"
    digests = Digests(path)
    await digests.put(1, "a")
    await digests.put(2, "b")
    await digests.put(1, None)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [Digests(path).get(bot) for bot in (1, 2)] == [None, "b"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["webhooks.json"]
    path.write_text("[")
    assert Digests(path).get(2) is None


async def test_digests_that_cannot_be_written_stop_nothing(scene, nursery, tmp_path):
    """They count until the end of the process."""
    scene.digests = Digests(tmp_path / "none" / "webhooks.json")
    scene.registration = scene.make()
    nursery.start_soon(scene.registration.serve)
    await scene.until(lambda: len(scene.observed_infos) > 1)
    assert len(scene.calls("setWebhook")) == 1


def test_a_servers_words_are_cleaned():
    """No control characters, nothing like a token, and not much of it."""
    said = clean("SSL error \x1b[31m 123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1 " + "x" * 500)
    assert "\x1b" not in said
    assert "AAHdq" not in said
    assert len(said) == 200


def test_the_age_of_an_error():
    """Seconds, never negative: clocks differ."""
    assert error_age(WebhookInfo(), 100) is None
    assert error_age(WebhookInfo(last_error_date=90), 100) == 10
    assert error_age(WebhookInfo(last_error_date=110), 100) == 0


@pytest.mark.parametrize("field", ["last_error_date", "pending_update_count"])
@pytest.mark.parametrize("number", [b"9" * 400, b"-1", b"1e400", b'"1"'])
async def test_a_number_that_is_none_is_a_trouble_and_no_end(scene, nursery, field, number):
    """400 digits are JSON, too, but no clock can be compared with them: that is told, and asked again."""

    async def answer(method, params):
        return msgspec.Raw(b'{"url":"%s","%s":%s}' % (URL.encode(), field.encode(), number))

    scene.registration._api = SimpleNamespace(call=answer)
    nursery.start_soon(scene.registration.serve)
    await scene.until(lambda: len(scene.told) >= 2)
    assert {(what, words) for what, words, *_ in scene.told} == {
        ("refused", "getWebhookInfo: an answer that is no WebhookInfo")
    }


async def test_a_call_that_fails_to_delete_says_so(scene, monkeypatch):
    """The webhook may still be set."""

    async def refuse(method, params):
        raise BotApiError(method, 400, "no")

    monkeypatch.setattr(scene.api, "call", refuse)
    with pytest.raises(BotApiError):
        await scene.registration.delete()


@pytest.mark.parametrize(
    ("kinds", "ignored"),
    [
        (("message", "of_tomorrow", "poll"), [("ignored", "of_tomorrow")]),
        (("of_tomorrow",), [("ignored", "of_tomorrow")]),
        (tuple(sorted(set(UPDATE_KINDS) - UNASKED)), []),  # the default, which a server does not show
    ],
)
async def test_a_kind_that_the_server_does_not_know_is_registered_once(scene, nursery, kinds, ignored):
    """What the server kept is what is compared from then on; that is reported once."""
    scene.wanted = replace(scene.wanted, allowed_updates=kinds)
    nursery.start_soon(scene.registration.serve)
    await scene.until(lambda: len(scene.observed_infos) >= 3)
    assert len(scene.calls("setWebhook")) == 1
    assert [one for one in scene.told if one[0] == "ignored"] == ignored


async def test_kinds_that_somebody_else_changes_later_are_set_again(scene, nursery):
    """Also where the server does not know all of those that are wanted."""
    scene.wanted = replace(scene.wanted, allowed_updates=("message", "of_tomorrow"))
    nursery.start_soon(scene.registration.serve)
    await scene.until(lambda: scene.observed_infos)
    scene.bot.queue.allowed = frozenset({"poll"})
    await scene.until(lambda: ("registered", "s" * 43, "other allowed_updates are set") in scene.told)
    assert scene.bot.queue.allowed == {"message"}
