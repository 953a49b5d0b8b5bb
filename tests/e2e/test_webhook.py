"""Bots with webhooks, from Telegram's delivery to the answer, while their settings change."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import httpx
import pytest
from fleet_project import Project, until
from webhook_project import Hooked

from trioworkers.testing import SimBot, Telegram, faults, serve_telegram

if TYPE_CHECKING:
    import trio


def is_hooked(bot: SimBot, hooked: bool) -> bool:
    return (bot.webhook is not None) == hooked


NOTING = """
async def handle(update, bot):
    with open("handled", "a") as file:
        file.write(f"{update.update_id}\\n")
"""


@pytest.fixture
async def hooked(project: Project, world: Telegram, nursery: trio.Nursery) -> Hooked:
    return Hooked(project, world, await nursery.start(serve_telegram, world), ("one", "two"))


async def test_bots_are_registered_delivered_to_and_answer(
    project: Project, hooked: Hooked, nursery: trio.Nursery
) -> None:
    """Each at its own address with a secret of its own; status and statistics tell of it."""
    daemon = await project.start().ready()

    async def told() -> bool:
        row = await daemon.bot("one")
        return row["transport"] == "webhook" and row["webhook"] is not None

    await until(told)  # before anything is pending, and might be seen so
    assert (await daemon.bot("one"))["webhook"] == {
        "pending": 0,
        "last_error_at": None,
        "last_error": None,
        "last_synchronization_error_at": None,
    }
    for name in hooked.bots:
        bot = await hooked.registered(name)
        assert bot.webhook is not None
        assert bot.webhook.url == f"http://127.0.0.1:{hooked.port}/webhook/{name}"
        hooked.say(20, name)
    for name in hooked.bots:
        await hooked.all_answered(name)
        assert "drop_pending_updates" not in hooked.registrations(name)[0]
    secrets = {bot.webhook.secret for bot in hooked.bots.values() if bot.webhook}
    assert len(secrets) == 2
    assert "s" * 20 not in secrets

    stats = await hooked.stats()
    assert stats["connections"]["open"] >= 1
    for row in stats["bots"].values():
        assert (row["accepted"], row["duplicates"], row["refused"]) == (200, 0, {})
        assert row["bytes"] > 200
        assert row["last_delivery_at"] > 0
        assert row["latency_ms"]["max"] >= row["latency_ms"]["mean"] > 0
    async with httpx.AsyncClient() as client:
        url = f"http://127.0.0.1:{hooked.port}"
        assert (await client.get(f"{url}/webhook/stats")).status_code == 401
        assert (await client.get(f"{url}/health")).json() == {"status": "alive"}
    assert await daemon.stop() == 0
    log = project.log.read_text()
    assert not [secret for secret in secrets if secret in log]
    nursery.cancel_scope.cancel()


async def test_what_is_not_telegrams_never_reaches_a_handler(
    project: Project, hooked: Hooked, nursery: trio.Nursery
) -> None:
    """Refused with the status that says why, and counted by it."""
    project.module("noting", NOTING)
    hooked.tables["one"]["handler"] = "noting:handle"
    hooked.webhook["max_body"] = 5000
    hooked.write()
    daemon = await project.start().ready()
    one, two = [(await hooked.registered(name)).webhook for name in ("one", "two")]
    assert one is not None
    assert two is not None
    for wrong in (None, "", "s" * 20, two.secret, one.secret[:-1], one.secret + "x"):
        assert (await hooked.post(wrong)).status_code == 401
    assert (await hooked.post(one.secret, bot="three")).status_code == 404
    assert (await hooked.post(one.secret, method="PUT")).status_code == 405
    assert (await hooked.post(one.secret, b"{")).status_code == 400
    assert (await hooked.post(one.secret, b"x" * 6000)).status_code == 413
    assert not (project.folder / "handled").exists()
    assert (await hooked.post(one.secret, hooked.update(7))).status_code == 200
    await until(lambda: (project.folder / "handled").exists())
    stats = await hooked.stats()
    assert stats["refused"] == {"unknown bot": 1}
    assert stats["bots"]["one"]["refused"] == {
        "wrong secret": 6,
        "wrong method": 1,
        "no update": 1,
        "body too large": 1,
    }
    assert await daemon.stop() == 0
    assert (project.folder / "handled").read_text() == "7\n"
    assert "forged" not in project.log.read_text()
    nursery.cancel_scope.cancel()


async def test_a_bot_goes_from_polling_to_a_webhook_and_back_under_load(
    project: Project, hooked: Hooked, nursery: trio.Nursery
) -> None:
    """By a reload that touches no process; each update is handled once, in order."""
    hooked.tables["one"]["transport"] = "poll"
    hooked.write()
    daemon = await project.start().ready()
    before = (await daemon.bot("one"))["pid"]
    bot = hooked.bots["one"]
    assert bot.webhook is None
    for switch in range(6):
        hooked.say(3)
        hooked.tables["one"]["transport"] = "poll" if switch % 2 else "webhook"
        hooked.write()
        hooked.say(3)
        await until(partial(is_hooked, bot, not switch % 2))
        hooked.say(3)
    await hooked.all_answered()
    row = await daemon.bot("one")
    assert (row["transport"], row["webhook"], row["pid"]) == ("poll", None, before)
    assert project.events("transport.switched")[0]["to"] == "webhook"
    assert not project.events("transport.unhooked")  # each was deleted, not found by the next poll
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_changed_secret_or_address_is_registered_at_once(
    project: Project, hooked: Hooked, nursery: trio.Nursery
) -> None:
    """The old secret is still good; a change of something else asks Telegram nothing."""
    daemon = await project.start().ready()
    bot = await hooked.registered()
    await hooked.registered("two")
    assert bot.webhook is not None
    old = bot.webhook.secret
    hooked.webhook["secret"] = "t" * 20
    hooked.write()
    await until(lambda: bot.webhook and bot.webhook.secret != old)
    assert (await hooked.post(old, hooked.update(7))).status_code == 200
    hooked.webhook["public_url"] = f"http://localhost:{hooked.port}/"
    hooked.write()
    url = f"http://localhost:{hooked.port}/webhook/one"
    await until(lambda: bot.webhook and bot.webhook.url == url)
    hooked.say(2, "two")
    await hooked.all_answered("two")
    hooked.tables["one"]["allowed_updates"] = ["message"]
    hooked.write()
    await until(lambda: bot.queue.allowed == {"message"})
    asked = len(hooked.registrations())
    hooked.tables["two"]["concurrency"] = 3
    hooked.write()
    await until(lambda: len(project.events("reload.applied")) == 4)
    hooked.say(2, "two")
    await hooked.all_answered("two")
    assert len(hooked.registrations()) == asked == 4
    assert [row["restarts"] for row in (await daemon.status())["workers"]] == [0, 0]
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_fleets_webhooks_are_set_at_a_rate(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """Twenty a second: a secret that changes for all of them is no burst of calls."""
    names = tuple(f"bot{number}" for number in range(15))
    hooked = Hooked(project, world, await nursery.start(serve_telegram, world), names)
    daemon = await project.start().ready()
    for name in names:
        await hooked.registered(name)
    hooked.webhook["secret"] = "t" * 20
    hooked.write()
    await until(lambda: all(len(hooked.registrations(name)) == 2 for name in names))
    moments = [world.calls_of("setWebhook", bot)[-1].at for bot in hooked.bots.values()]
    assert max(moments) - min(moments) > 0.6
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_what_the_listener_refuses_is_changed_live(
    project: Project, hooked: Hooked, nursery: trio.Nursery
) -> None:
    """The size of bodies, and whose address counts; nothing is registered anew for it."""
    daemon = await project.start().ready()
    bot = await hooked.registered()
    assert bot.webhook is not None
    secret = bot.webhook.secret
    assert (await hooked.post(secret, hooked.update(7))).status_code == 200
    hooked.webhook["max_body"] = 10
    hooked.write()
    await until(lambda: len(project.events("reload.applied")) == 1)
    assert (await hooked.post(secret, hooked.update(8))).status_code == 413
    hooked.webhook |= {"max_body": "1MB", "telegram_ips_only": True}
    hooked.write()
    await until(lambda: len(project.events("reload.applied")) == 2)
    assert (await hooked.post(secret, hooked.update(8))).status_code == 403
    assert (await hooked.post(secret, hooked.update(8), sender="149.154.160.1")).status_code == 403
    hooked.webhook["trusted_proxies"] = ["127.0.0.0/8"]
    hooked.write()
    await until(lambda: len(project.events("reload.applied")) == 3)
    assert (await hooked.post(secret, hooked.update(8), sender="149.154.160.1, 8.8.8.8")).status_code == 403
    assert (await hooked.post(secret, hooked.update(8), sender="8.8.8.8, 149.154.160.1")).status_code == 200
    assert len(hooked.registrations()) == 1
    hooked.webhook["bind"] = "127.0.0.1:1"
    hooked.write()
    told = await until(lambda: project.events("reload.applied")[3:])
    assert told[0]["plan"]["kept"] == ["webhook.bind"]
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_disabled_bots_webhook_waits_for_it(
    project: Project, hooked: Hooked, nursery: trio.Nursery
) -> None:
    """It stays set, and what comes late is kept; a start sets nothing anew that is as it should be."""
    daemon = await project.start().ready()
    bot = await hooked.registered()
    hooked.say(2)
    await hooked.all_answered()
    hooked.tables["one"]["enabled"] = False
    hooked.write()
    await until(lambda: project.events("reload.applied"))
    hooked.say(2)
    assert bot.webhook is not None
    hooked.tables["one"]["enabled"] = True
    hooked.write()
    await hooked.all_answered()
    assert await daemon.stop() == 0
    hooked.say(2)
    daemon = await project.start().ready()
    await hooked.all_answered()
    assert len(hooked.registrations()) == 1
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_auto_polls_when_the_webhook_is_refused(
    project: Project, world: Telegram, hooked: Hooked, nursery: trio.Nursery
) -> None:
    """Three refusals, told once; then it polls, and status and event tell why."""
    refusal = faults.error(400, "Bad Request: bad webhook: Failed to resolve host")
    world.faults.add(respond=refusal, method="setWebhook", bot=hooked.bots["one"], times=None)
    for table in hooked.tables.values():
        table["transport"] = "auto"
    hooked.write()
    daemon = await project.start().ready()
    hooked.say(3)
    hooked.say(3, "two")
    await hooked.all_answered("two")
    await hooked.all_answered()
    assert len(hooked.registrations()) == 3
    transports = {row["bot"]: row["transport"] for row in (await daemon.status())["workers"]}
    assert transports == {"one": "poll", "two": "webhook"}
    (switched,) = project.events("transport.switched")
    assert (switched["bot"], switched["to"]) == ("one", "poll")
    assert switched["reason"] == "registration failed 3 times"
    (refused,) = project.events("webhook.refused")
    assert "Failed to resolve host" in refused["reason"]
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_auto_without_an_address_polls_until_it_has_one(
    project: Project, hooked: Hooked, nursery: trio.Nursery
) -> None:
    """Nothing is bound nor registered meanwhile."""
    url = hooked.webhook.pop("public_url")
    hooked.tables["one"]["transport"] = "auto"
    hooked.tables["two"]["transport"] = "poll"
    hooked.write()
    daemon = await project.start().ready()
    hooked.say(2)
    await hooked.all_answered()
    assert (await daemon.bot("one"))["transport"] == "poll"
    assert hooked.registrations() == []
    with pytest.raises(httpx.ConnectError):
        await hooked.post("any")
    hooked.webhook["public_url"] = url
    hooked.write()
    await hooked.registered()
    hooked.say(2)
    await hooked.all_answered()
    assert (await daemon.bot("one"))["transport"] == "webhook"
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()
