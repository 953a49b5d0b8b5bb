"""Faults on demand: what the client sees, and whether the call took effect."""

from __future__ import annotations

import httpx
import pytest
import trio

from trioworkers.testing import faults


def count(scene):
    return len(scene.world.sent(scene.bot, scene.alice.id))


async def send(scene):
    path = f"/bot{scene.bot.token}/sendMessage"
    return await scene.http.post(path, json={"chat_id": scene.alice.id, "text": "x"})


@pytest.mark.parametrize(
    ("fault", "status", "words"),
    [
        (faults.too_many_requests(7), 429, "Too Many Requests: retry after 7"),
        (faults.server_error(), 500, "Internal Server Error"),
        (faults.server_error(502), 502, "Bad Gateway"),
        (faults.unauthorized(), 401, "Unauthorized"),
        (faults.forbidden(), 403, "Forbidden: bot was blocked by the user"),
        (faults.error(418, "I'm a teapot"), 418, "I'm a teapot"),
    ],
)
async def test_errors_on_demand(scene, fault, status, words):
    """The answer is the fault's, nothing took effect, and the next call is as ever."""
    scene.world.faults.add(method="sendMessage", respond=fault)
    response = await send(scene)
    assert (response.status_code, response.json()["description"]) == (status, words)
    if status == 429:
        assert response.headers["retry-after"] == "7"
        assert response.json()["parameters"] == {"retry_after": 7}
    assert count(scene) == 0
    call = scene.world.calls[-1]
    assert (call.ok, call.error_code, call.fault) == (False, status, True)
    assert (await send(scene)).status_code == 200


async def test_a_proxys_page(scene):
    """502 with HTML."""
    scene.world.faults.add(respond=faults.proxy_page())
    response = await send(scene)
    assert response.status_code == 502
    assert response.headers["content-type"] == "text/html"
    assert "<html>" in response.text


@pytest.mark.parametrize("executes", [True, False])
async def test_a_broken_body(scene, executes):
    """200 with something that is no JSON."""
    scene.world.faults.add(respond=faults.broken_body(executes=executes))
    response = await send(scene)
    assert response.status_code == 200
    with pytest.raises(ValueError, match="Expecting value"):
        response.json()
    assert count(scene) == executes


@pytest.mark.parametrize(
    ("fault", "took_effect"),
    [
        (faults.truncated_body(), 1),
        (faults.truncated_body(executes=False), 0),
        (faults.close_before(), 0),
        (faults.close_after(), 1),
        (faults.half_close(), 0),
        (faults.half_close(executes=True), 1),
        (faults.hang(0.01, executes=False), 0),
    ],
)
async def test_a_connection_that_breaks(scene, fault, took_effect):
    """The client sees a broken connection; whether the call took effect is the fault's."""
    scene.world.faults.add(respond=fault)
    with pytest.raises(httpx.RemoteProtocolError):
        await send(scene)
    assert count(scene) == took_effect
    assert scene.world.calls[-1].ok == bool(took_effect)
    assert (await send(scene)).status_code == 200


async def test_hanging_and_slow_answers(scene):
    """The call takes effect at once; the answer is late, or drips."""
    scene.world.faults.add(respond=faults.hang(0.05))
    started = trio.current_time()
    assert (await send(scene)).status_code == 200
    assert trio.current_time() - started >= 0.05
    scene.world.faults.add(respond=faults.slow(5_000))
    started = trio.current_time()
    assert (await send(scene)).json()["ok"]
    assert trio.current_time() - started >= 0.05
    scene.world.faults.add(respond=faults.hang(60))
    with pytest.raises(httpx.ReadTimeout):
        await scene.http.get(f"/bot{scene.bot.token}/getMe", timeout=0.05)
    assert count(scene) == 2


async def test_a_rule_meets_only_what_fits(scene):
    """Method, bot and chat choose; times runs out, None never does."""
    rules = scene.world.faults
    other = scene.world.add_bot("other")
    rules.add(method="SENDMESSAGE", bot=other, respond=faults.server_error())
    rules.add(method="getMe", respond=faults.server_error())
    rules.add(chat_id=4711, respond=faults.server_error())
    assert (await send(scene)).status_code == 200
    rules.clear()
    rule = rules.add(chat_id=scene.alice.id, times=2, respond=faults.server_error())
    assert [(await send(scene)).status_code for _ in range(3)] == [500, 500, 200]
    assert rule.hits == 2
    rule = rules.add(times=None, respond=faults.server_error())
    assert [(await send(scene)).status_code for _ in range(3)] == [500, 500, 500]
    rules.remove(rule)
    rules.remove(rule)
    assert (await send(scene)).status_code == 200


def test_probability_follows_the_seed(world, bot):
    """The same seed hits the same calls; about the share that was asked for."""
    from trioworkers.testing import Telegram

    def hits():
        telegram = Telegram(seed=3)
        who = telegram.add_bot("b")
        rule = telegram.faults.add(times=None, probability=0.3, respond=faults.server_error())
        for _ in range(1000):
            telegram.faults.match("getMe", who, None)
        return rule.hits

    assert hits() == hits()
    assert 250 < hits() < 350


async def test_getupdates_has_faults_too(scene):
    """A poll that was answered into a closed connection confirmed nothing by itself."""
    update_id = scene.alice.send(scene.bot, "x")
    scene.world.faults.add(method="getUpdates", respond=faults.close_after())
    with pytest.raises(httpx.RemoteProtocolError):
        await scene.call("getUpdates", timeout=5)
    assert (await scene.call("getUpdates"))["result"][0]["update_id"] == update_id
