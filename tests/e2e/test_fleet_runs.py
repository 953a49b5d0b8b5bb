"""Three bots, many chats: every update answered once, in order; faults of a bot stay with that bot."""

from __future__ import annotations

import os
import signal
import sqlite3
import zlib
from contextlib import closing

import httpx
import pytest
import trio
from fleet_project import PATIENCE, Daemon, Project, alive, until, workers_of

from trioworkers.testing import Telegram, faults, serve_telegram

TOKEN = "123456:made-up-secret-of-a-bot"


async def test_every_update_is_answered_once_and_in_order_within_its_chat(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """3 bots, 300 updates each in 30 chats: 900 answers, each chat's in the order of its questions."""
    base = await nursery.start(serve_telegram, world)
    bots = [world.add_bot(f"bot{number}") for number in range(3)]
    people = [world.add_user(f"Person{number}") for number in range(30)]
    project.write(base, {bot.username: {"token": bot.token, "handler": "echo:handle"} for bot in bots})
    daemon = await project.start().ready()
    for number in range(10):
        for person in people:
            for bot in bots:
                person.send(bot, f"line {number}")
    await until(lambda: all(project.tally(bot)["done"] == 300 for bot in bots))
    lines = [f"line {number}" for number in range(10)]
    for bot in bots:
        for person in people:
            assert [message["text"] for message in world.sent(bot, person.id)] == lines
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_term_under_load_ends_with_0_and_leaves_no_process(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """What was in flight is finished, what was not is durable, and the next run answers it."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("slow")
    project.module(
        "slow",
        "import trio\nasync def handle(update, bot):\n    await trio.sleep(0.05)\n"
        "    await bot.send_message(chat_id=update.chat_id, text=update.text)\n",
    )
    project.write(base, {"slow": {"token": bot.token, "handler": "slow:handle"}})
    people = [world.add_user(f"Person{number}") for number in range(40)]
    daemon = await project.start().ready()
    for number in range(20):
        for person in people:
            person.send(bot, f"line {number}")
    await until(lambda: project.tally(bot)["done"] > 50)
    workers = workers_of(daemon.process.pid)
    assert workers
    assert await daemon.stop() == 0
    assert not [pid for pid in workers if alive(pid)]
    tally = project.tally(bot)
    assert tally["done"] + tally["pending"] == tally["accepted"]
    assert tally["retried"] == tally["dead"] == 0, "a stop is nobody's failure"
    assert tally["pending"] > 0
    sent = sum(len(world.sent(bot, person.id)) for person in people)
    assert sent == tally["done"], "nothing in flight was cut off after its answer"
    daemon = await project.start().ready()
    await until(lambda: project.tally(bot)["done"] == 800)
    for person in people:
        texts = [message["text"] for message in world.sent(bot, person.id)]
        assert texts == [f"line {number}" for number in range(20)]
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_one_bot_that_cannot_start_is_failed_and_the_others_run(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """A handler that is not there: `failed` with the reason, none of its updates fetched, no restarts."""
    base = await nursery.start(serve_telegram, world)
    good, bad = world.add_bot("good"), world.add_bot("bad")
    project.write(
        base,
        {
            "good": {"token": good.token, "handler": "echo:handle"},
            "bad": {"token": bad.token, "handler": "nowhere:handle"},
        },
    )
    alice = world.add_user("Alice")
    alice.send(bad, "anybody there?")
    daemon = await project.start().ready()

    async def ended() -> bool:
        return (await daemon.bot("bad"))["last_exit"] is not None

    await until(ended)
    row = await daemon.bot("bad")
    assert (row["state"], row["reason"], row["restarts"]) == ("failed", "handler cannot be imported", 0)
    assert row["last_exit"]["code"] == 78
    assert "nowhere" in project.events("bot.failed")[0]["detail"]
    await alice.say(good, "hello")
    assert (await alice.expect(good))["text"] == "hello"
    assert world.pending(bad) == 1, "a bot that never worked takes no updates away"
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_revoked_token_parks_its_bot_only(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """401: `failed`, `token refused`, its worker ended and not started again; the others run."""
    base = await nursery.start(serve_telegram, world)
    kept, revoked = world.add_bot("kept"), world.add_bot("revoked")
    bots = {
        bot.username: {"token": bot.token, "handler": "echo:handle", "poll_timeout": 1}
        for bot in (kept, revoked)
    }
    project.write(base, bots)
    daemon = await project.start().ready()
    world.revoke(revoked)

    async def parked() -> bool:
        row = await daemon.bot("revoked")
        return row["state"] == "failed" and row["pid"] is None

    await until(parked)
    row = await daemon.bot("revoked")
    assert (row["reason"], row["restarts"]) == ("token refused", 0)
    alice = world.add_user("Alice")
    await alice.say(kept, "hello")
    assert (await alice.expect(kept))["text"] == "hello"
    assert len(workers_of(daemon.process.pid)) == 1
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("code", "transport"), [(401, "poll"), (404, "webhook")])
async def test_a_token_that_is_refused_for_a_while_is_tried_again(
    project: Project, world: Telegram, nursery: trio.Nursery, code: int, transport: str
) -> None:
    """The bot is `failed` and says when it is looked at again; then it works, without anybody's doing."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("echo")
    refuses = faults.error(code, "Unauthorized")
    rules = [
        world.faults.add(method=method, respond=refuses, times=None)
        for method in ("getUpdates", "getWebhookInfo", "setWebhook")
    ]
    table = {"token": bot.token, "handler": "echo:handle", "poll_timeout": 1, "transport": transport}
    webhook = {"public_url": "http://127.0.0.1:9", "secret": "s", "bind": "127.0.0.1:0"}
    project.write(base, {"echo": table}, webhook=webhook)
    daemon = await project.start().ready()

    async def failed() -> bool:
        row = await daemon.bot("echo")
        return row["state"] == "failed" and row["next_start_at"] is not None

    await until(failed)
    assert (await daemon.bot("echo"))["reason"] == "token refused"
    seen = rules[0].hits
    await until(lambda: rules[0].hits > seen)  # it is looked at, and goes on being refused
    await until(failed)
    world.faults.clear()

    async def running() -> bool:
        row = await daemon.bot("echo")
        return row["state"] == "running" and row["next_start_at"] is None

    await until(running)
    if transport == "poll":
        alice = world.add_user("Alice")
        await alice.say(bot, "hello")
        assert (await alice.expect(bot))["text"] == "hello"
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_failures_are_retried_then_dead_and_the_chat_goes_on(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """A handler that fails twice succeeds at the third attempt; one that always fails ends among the dead."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("moody")
    project.module(
        "moody",
        "from trioworkers import Dead, Drop, Retry\n"
        "async def handle(update, bot):\n"
        "    if update.text == 'twice' and update.attempt < 2: raise ValueError(update.text)\n"
        "    if update.text == 'soon' and update.attempt < 1: raise Retry(after=0.01)\n"
        "    if update.text == 'always': raise RuntimeError(update.text)\n"
        "    if update.text == 'dead': raise Dead('no use')\n"
        "    if update.text == 'drop': raise Drop('not for us')\n"
        "    gap = ' after a gap' if update.after_gap else ''\n"
        "    await bot.send_message(chat_id=update.chat_id, text=update.text + gap)\n",
    )
    retry = {"attempts": 3, "initial": 0.01, "max": 0.05}
    project.write(base, {"moody": {"token": bot.token, "handler": "moody:handle", "retry": retry}})
    alice = world.add_user("Alice")
    for text in ("one", "twice", "soon", "always", "two", "dead", "three", "drop", "four"):
        alice.send(bot, text)
    daemon = await project.start().ready()
    await until(lambda: project.tally(bot).items() >= {"accepted": 9, "pending": 0}.items())
    texts = [message["text"] for message in world.sent(bot, alice.id)]
    assert texts == ["one", "twice", "soon", "two after a gap", "three after a gap", "four"]
    tally = project.tally(bot)
    assert (tally["done"], tally["dead"], tally["dropped"], tally["retried"]) == (6, 2, 1, 5)

    async def told() -> bool:  # the loop hears of a commit a moment after the database shows it
        return bool(
            (await daemon.bot("moody"))["queue"] == {"ready": 0, "in_flight": 0, "retry": 0, "dead": 2}
        )

    await until(told)
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_worker_that_dies_is_started_again(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """SIGKILL: its end is told in the status, another one takes its place, and answers."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("phoenix")
    project.write(
        base, {"phoenix": {"token": bot.token, "handler": "echo:handle", "restart": {"initial": "50ms"}}}
    )
    daemon = await project.start().ready()
    (pid,) = workers_of(daemon.process.pid)
    os.kill(pid, signal.SIGKILL)
    alice = world.add_user("Alice")
    await alice.say(bot, "still there?")
    assert (await alice.expect(bot, timeout=PATIENCE))["text"] == "still there?"
    row = await daemon.bot("phoenix")
    assert row["restarts"] == 1
    assert row["last_exit"]["signal"] == "SIGKILL"
    assert row["pid"] != pid
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_the_fleet_survives_a_bad_bot_api(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """429, 5xx, pages of proxies, broken bodies, cut connections: every update is answered once."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("tough")
    bad = [
        faults.too_many_requests(1),
        faults.server_error(500),
        faults.proxy_page(502),
        faults.broken_body(executes=False),
        faults.truncated_body(executes=False),
        faults.close_before(),
        faults.half_close(),
    ]
    for fault in bad:
        world.faults.add(respond=fault, method="sendMessage", times=1)
    for fault in bad[:4]:
        world.faults.add(respond=fault, method="getUpdates", times=1)
    project.write(
        base,
        {"tough": {"token": bot.token, "handler": "echo:handle", "poll_timeout": 2}},
        log={"level": "debug"},
    )
    people = [world.add_user(f"Person{number}") for number in range(20)]
    for person in people:
        person.send(bot, "hello")
    daemon = await project.start().ready()
    await until(lambda: project.tally(bot)["done"] == 20)
    for person in people:
        assert [message["text"] for message in world.sent(bot, person.id)] == ["hello"]
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_the_api_wants_its_token_and_its_own_host(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """Open are /health and /ready; the status wants the token; foreign hosts and origins are refused."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("one")
    with trio.socket.socket() as free:
        await free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    project.write(
        base, {"one": {"token": bot.token, "handler": "echo:handle"}}, api={"bind": f"127.0.0.1:{port}"}
    )
    daemon = await project.start().ready()
    kept = project.folder / "state" / "run" / "api-token"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert project.control.stat().st_mode & 0o777 == 0o600
    token = {"authorization": f"Bearer {kept.read_text().strip()}"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        assert (await client.get("/health")).json() == {"status": "alive"}
        assert (await client.get("/ready")).status_code == 200
        assert (await client.get("/api/workers/status")).status_code == 401
        wrong = {"authorization": "Bearer wrong"}
        assert (await client.get("/api/workers/status", headers=wrong)).status_code == 401
        answer = await client.get("/api/workers/status", headers=token)
        assert answer.json()["workers"][0]["bot"] == "one"
        foreign = {**token, "host": "evil.example"}
        assert (await client.get("/api/workers/status", headers=foreign)).status_code == 421
        foreign = {**token, "origin": "https://evil.example"}
        assert (await client.get("/api/workers/status", headers=foreign)).status_code == 403
        assert (await client.get("/nothing", headers=token)).status_code == 404
        assert (await client.post("/health")).status_code == 405
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_the_status_document_has_the_promised_shape(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """Exactly the keys that users build on."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("one")
    off = {"token": TOKEN, "handler": "echo:handle", "enabled": False}
    project.write(base, {"one": {"token": bot.token, "handler": "echo:handle"}, "off": off})
    daemon = await project.start().ready()
    document = await daemon.status()
    assert set(document) == {"fleet", "workers"}
    assert set(document["fleet"]) == {"name", "version", "pid", "uptime_ms", "state", "config", "node"}
    assert document["fleet"]["node"] is None
    assert set(document["fleet"]["config"]) == {"hash", "last_reload_ok", "last_reload_at", "error", "kept"}
    row = await daemon.bot("one")
    keys = (
        "bot bot_id state pid transport uptime_ms messages errors latency_ms restarts memory_bytes"
        " last_heartbeat_age_ms"
    )
    assert set(row) == {
        *keys.split(),
        "paused",
        "code",
        "epoch",
        "acknowledge",
        "queue",
        "last_exit",
        "next_start_at",
        "reason",
        "rate_limit",
        "health",
        "webhook",
        "plugins",
    }
    assert set(row["queue"]) == {"ready", "in_flight", "retry", "dead"}
    assert row["pid"] in workers_of(daemon.process.pid)
    assert row["bot_id"] == bot.id
    assert row["last_exit"] is None
    assert row["memory_bytes"] > 1_000_000
    assert (await daemon.bot("off"))["state"] == "stopped"
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_second_daemon_on_one_state_directory_is_told_who_holds_it(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """Exit 75 and one line with the pid; the first goes on."""
    base = await nursery.start(serve_telegram, world)
    project.write(base, {})
    daemon: Daemon = await project.start().ready()
    second = await trio.to_thread.run_sync(project.run, "run")
    assert second.returncode == 75
    assert f"pid {daemon.process.pid}" in second.stderr
    assert "Traceback" not in second.stderr
    assert await daemon.ask() is not None
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_stop_during_the_start_ends_in_time(
    project: Project, world: Telegram, nursery: trio.Nursery, number: signal.Signals
) -> None:
    """Twenty bots that are still starting do not hold it up."""
    base = await nursery.start(serve_telegram, world)
    bots = [world.add_bot(f"bot{number}") for number in range(20)]
    project.write(base, {bot.username: {"token": bot.token, "handler": "echo:handle"} for bot in bots})
    daemon = project.start()
    await until(lambda: workers_of(daemon.process.pid))
    assert await daemon.stop(number, 10) == 0
    nursery.cancel_scope.cancel()


async def test_a_second_int_stops_at_once(project: Project, world: Telegram, nursery: trio.Nursery) -> None:
    """A handler that would take an hour is ended; its update is still there for the next start."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("long")
    project.module("long", "import trio\nasync def handle(update, bot):\n    await trio.sleep(3600)\n")
    project.write(base, {"long": {"token": bot.token, "handler": "long:handle"}})
    daemon = await project.start().ready()
    world.add_user("Alice").send(bot, "take your time")

    async def in_flight() -> bool:
        return bool((await daemon.bot("long"))["queue"]["in_flight"] == 1)

    await until(in_flight)
    (worker,) = workers_of(daemon.process.pid)
    daemon.process.send_signal(signal.SIGINT)

    async def stopping() -> bool:
        return bool((await daemon.status())["fleet"]["state"] == "stopping")

    await until(stopping)
    assert await daemon.stop(signal.SIGINT, 10) == 0
    assert not alive(worker)
    assert project.tally(bot)["pending"] == 1
    nursery.cancel_scope.cancel()


async def test_a_worker_that_sends_garbage_is_replaced_and_harms_nobody(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """A handler that writes into the channel: its worker is ended, its update comes again, others go on."""
    base = await nursery.start(serve_telegram, world)
    hostile, good = world.add_bot("hostile"), world.add_bot("good")
    project.module(
        "hostile",
        "import os, stat\n"
        "async def handle(update, bot):\n"
        "    if update.attempt == 0:\n"
        "        for name in os.listdir('/proc/self/fd'):\n"
        "            try:\n"
        "                is_socket = 'socket' in os.readlink(f'/proc/self/fd/{name}')\n"
        "                if is_socket: os.write(int(name), b'x' * 99)\n"
        "            except OSError: pass\n"
        "    await bot.send_message(chat_id=update.chat_id, text=update.text)\n",
    )
    quick = {"restart": {"initial": "10ms"}, "retry": {"initial": "10ms"}}
    project.write(
        base,
        {
            "hostile": {"token": hostile.token, "handler": "hostile:handle", **quick},
            "good": {"token": good.token, "handler": "echo:handle"},
        },
    )
    daemon = await project.start().ready()
    alice = world.add_user("Alice")
    await alice.say(hostile, "hello")
    await until(lambda: project.tally(hostile)["done"] == 1)
    assert (await alice.expect(hostile))["text"] == "hello"
    assert project.events("worker.refused")
    await alice.say(good, "and you?")
    assert (await alice.expect(good))["text"] == "and you?"
    assert (await daemon.bot("hostile"))["restarts"] == 1
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_callback_that_waited_too_long_is_expired_and_not_handled(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """Telegram would refuse its answer; the message behind it in the chat is handled as ever."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("late")
    project.module(
        "late",
        "import trio\n"
        "async def handle(update, bot):\n"
        "    if update.kind == 'callback_query' or update.text == 'wait': await trio.sleep(3600)\n"
        "    await bot.send_message(chat_id=update.chat_id, text=update.text)\n",
    )
    project.write(base, {"late": {"token": bot.token, "handler": "late:handle"}})
    alice = world.add_user("Alice")
    daemon = await project.start().ready()
    alice.send(bot, "wait")
    message = {"message_id": 1, "date": 1, "chat": {"id": alice.id, "type": "private"}}
    query = {"id": "1", "from": {"id": alice.id, "is_bot": False, "first_name": "Alice"}, "message": message}
    world.enqueue(bot, {"callback_query": {**query, "chat_instance": "1", "data": "x"}})
    alice.send(bot, "next")
    await until(lambda: project.tally(bot)["accepted"] == 3)
    daemon.process.kill()
    await daemon.wait()
    with closing(sqlite3.connect(project.database)) as inbox, inbox:
        inbox.execute("UPDATE inbox SET accepted_at = accepted_at - 151")
        inbox.execute("UPDATE inbox SET body = CAST(replace(body, 'wait', 'done') AS BLOB) WHERE id = 1")
        (body,) = inbox.execute("SELECT body FROM inbox WHERE id = 1").fetchone()
        inbox.execute("UPDATE inbox SET checksum = ? WHERE id = 1", (zlib.crc32(body),))
    daemon = await project.start().ready()
    await until(lambda: project.tally(bot)["pending"] == 0)
    assert [message["text"] for message in world.sent(bot, alice.id)] == ["done", "next"]
    assert project.tally(bot)["expired"] == 1
    assert project.events("update.expired")[0]["kind"] == "callback_query"
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()
