"""Workers that hang, grow, sleep or die, as real processes: noticed, told, replaced, and nothing is lost."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
import trio
from fleet_project import PATIENCE, Daemon, Project, alive, until, workers_of

from trioworkers.testing import SimBot, Telegram, serve_telegram

ONE_OF_THEM = """
import os, signal, time, trio

KEPT = []

async def handle(update, bot):
    if update.attempt == 0:
        {deed}
    await bot.send_message(chat_id=update.chat_id, text=f"{{update.text}} {{update.attempt}}")
"""
QUICK: dict[str, Any] = {
    "heartbeat_interval": "200ms",
    "hang_timeout": "1s",
    "restart": {"initial": 0, "per_hour": 1000},
    "retry": {"initial": "10ms", "max": "50ms"},
}

pytestmark = pytest.mark.parametrize("worker_start", ["fork", "spawn"], indirect=True)


async def a_fleet(
    project: Project, world: Telegram, nursery: trio.Nursery, deed: str, **settings: Any
) -> tuple[Daemon, SimBot]:
    """A daemon with one bot whose handler does `deed` at the first attempt at an update."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("one")
    project.module("one", ONE_OF_THEM.format(deed=deed))
    project.write(base, {"one": {"token": bot.token, "handler": "one:handle", **QUICK, **settings}})
    return await project.start().ready(), bot


async def test_a_handler_that_blocks_its_loop_leaves_its_stacks_and_is_killed(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """Silence for `hang_timeout` is a hang; the update is handled again, alone, and the bot lives on."""
    daemon, bot = await a_fleet(project, world, nursery, "time.sleep(3600)")
    alice = world.add_user("Alice")
    await alice.say(bot, "hello")
    assert (await alice.expect(bot, timeout=PATIENCE))["text"] == "hello 1"
    (hung,) = project.events("worker.hung")
    assert hung["silent"] >= 1
    log = (project.folder / "state" / "logs" / "worker_one.log").read_text()
    assert 'one.py", line 8 in handle' in log
    row = await daemon.bot("one")
    assert row["last_exit"]["signal"] == "SIGKILL"
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_stopped_process_is_a_hang(project: Project, world: Telegram, nursery: trio.Nursery) -> None:
    """SIGSTOP: it is alive, and does not respond; the status says so, and then it is replaced."""
    daemon, bot = await a_fleet(project, world, nursery, "pass", hang_timeout="3s")
    (worker,) = workers_of(daemon.process.pid)
    os.kill(worker, signal.SIGSTOP)

    async def silent() -> bool:
        return not (await daemon.bot("one"))["health"]["responsive"]

    await until(silent)
    await until(lambda: not alive(worker))
    alice = world.add_user("Alice")
    await alice.say(bot, "hello")
    assert (await alice.expect(bot, timeout=PATIENCE))["text"] == "hello 0"
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_worker_that_grows_is_recycled_and_that_is_no_crash(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """It finishes what it has, is replaced, and no attempt is counted."""
    daemon, bot = await a_fleet(
        project,
        world,
        nursery,
        "KEPT.append(b'x' * 90_000_000)",
        memory_limit="80MB",
        memory_check_interval="200ms",
    )
    (first,) = workers_of(daemon.process.pid)
    alice = world.add_user("Alice")
    await alice.say(bot, "hello")
    assert (await alice.expect(bot, timeout=PATIENCE))["text"] == "hello 0"
    recycled = await until(lambda: project.events("worker.recycled"))
    assert recycled[0]["memory"] > recycled[0]["limit"] == 80 * 2**20
    await until(lambda: not alive(first))

    async def replaced() -> bool:
        row = await daemon.bot("one")
        return bool(row["state"] == "running" and row["pid"] != first)

    await until(replaced)
    row = await daemon.bot("one")
    assert (row["restarts"], row["errors"], row["last_exit"]["code"]) == (1, 0, 0)
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_bot_that_needs_more_than_its_limit_is_not_recycled_for_ever(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """The second worker stays, and the bot says what it needs; what grows from there is replaced."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("one")
    project.module(
        "one", "MODEL = b'x' * 90_000_000\n" + ONE_OF_THEM.format(deed="KEPT.append(b'x' * 90_000_000)")
    )
    settings = {**QUICK, "memory_limit": "60MB", "memory_check_interval": "200ms"}
    project.write(base, {"one": {"token": bot.token, "handler": "one:handle", **settings}})
    daemon = await project.start().ready()
    needs = await until(lambda: project.events("memory.needed"))
    assert needs[0]["needs"] > 90_000_000 > needs[0]["limit"] == 60 * 2**20
    assert len(project.events("worker.recycled")) == 1
    row = await daemon.bot("one")
    assert (row["state"], row["restarts"]) == ("running", 1)
    assert row["reason"].endswith(
        " MB from the start, more than memory_limit (60 MB), which counts from there"
    )
    alice = world.add_user("Alice")
    await alice.say(bot, "hello")
    assert (await alice.expect(bot, timeout=PATIENCE))["text"] == "hello 0"
    await until(lambda: len(project.events("worker.recycled")) == 2)
    assert project.events("worker.recycled")[1]["limit"] == needs[0]["needs"] + 60 * 2**20

    async def replaced() -> bool:
        row = await daemon.bot("one")
        return bool(row["state"] == "running" and row["restarts"] == 2)

    await until(replaced)
    assert len(project.events("memory.needed")) == 1
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "deed",
    [
        "os.kill(os.getpid(), signal.SIGSEGV)",
        "os.kill(os.getpid(), signal.SIGKILL)",
        "os._exit(7)",
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31)); KEPT.append(bytes(2**33))",
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); os.closerange(3, 1000)",
        "os.write(int(os.readlink('/proc/self/fd/0') == '/dev/null') + 1, b'x' * 3_000_000)",
        "[os.write(int(fd), b'garbage') for fd in os.listdir('/proc/self/fd') if int(fd) > 2 and"
        " os.readlink(f'/proc/self/fd/{fd}').startswith('socket:')]",
    ],
    ids=["segfault", "kill", "exit", "allocates without end", "closes everything", "floods", "garbage"],
)
async def test_whatever_a_handler_does_its_update_is_handled(
    project: Project, world: Telegram, nursery: trio.Nursery, deed: str
) -> None:
    """It may end its process, exhaust memory, close its channel, flood, talk nonsense: the bot answers."""
    daemon, bot = await a_fleet(project, world, nursery, deed)
    alice = world.add_user("Alice")
    await alice.say(bot, "hello")
    answer = (await alice.expect(bot, timeout=PATIENCE))["text"]
    assert answer in ("hello 0", "hello 1")
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_an_on_demand_bot_wakes_for_an_update_and_sleeps_again(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """No process before, none after; `start` and `stop` run at each wake."""
    around = """
async def start(bot):
    bot.log.info("woken")

async def stop(bot):
    bot.log.info("to sleep")

async def handle(update, bot):
    await bot.send_message(chat_id=update.chat_id, text=update.text)
"""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("one")
    project.module("one", around)
    settings = {"worker": "on_demand", "idle_stop": "300ms"}
    project.write(base, {"one": {"token": bot.token, "handler": "one:handle", **settings}})
    daemon = await project.start().ready()
    alice = world.add_user("Alice")
    for text in ("first", "second"):
        row = await daemon.bot("one")
        assert (row["state"], row["pid"]) == ("sleeping", None)
        assert workers_of(daemon.process.pid) == []
        await alice.say(bot, text)
        assert (await alice.expect(bot, timeout=PATIENCE))["text"] == text
        await until(lambda: workers_of(daemon.process.pid) == [])

        async def asleep() -> bool:
            return bool((await daemon.bot("one"))["state"] == "sleeping")

        await until(asleep)
    assert (await daemon.bot("one"))["restarts"] == 0
    log = (project.folder / "state" / "logs" / "worker_one.log").read_text()
    assert (log.count("woken"), log.count("to sleep")) == (2, 2)
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_over_the_limit_the_longest_idle_sleeps_first(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """Three on-demand bots in two places: the third wakes when the first has gone to sleep."""
    base = await nursery.start(serve_telegram, world)
    bots = [world.add_bot(f"bot{number}") for number in range(3)]
    project.module("echo", ONE_OF_THEM.format(deed="pass"))
    settings = {"worker": "on_demand", "idle_stop": "10m", "handler": "echo:handle"}
    project.write(
        base, {bot.username: {"token": bot.token, **settings} for bot in bots}, limits={"max_workers": 2}
    )
    daemon = await project.start().ready()
    alice = world.add_user("Alice")
    for bot in bots:
        await alice.say(bot, "hello")
        assert (await alice.expect(bot, timeout=PATIENCE))["text"] == "hello 0"
    rows = {row["bot"]: row["state"] for row in (await daemon.status())["workers"]}
    assert rows == {bots[0].username: "sleeping", bots[1].username: "running", bots[2].username: "running"}
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_bots_over_the_limit_wait_and_say_so(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """The daemon is ready all the same; `check` and `status` name the key; one that ends makes room."""
    base = await nursery.start(serve_telegram, world)
    bots = [world.add_bot(f"bot{number}") for number in range(2)]
    project.module("echo", ONE_OF_THEM.format(deed="pass"))
    project.write(
        base,
        {bot.username: {"token": bot.token, "handler": "echo:handle", **QUICK} for bot in bots},
        limits={"max_workers": 1},
    )
    daemon = await project.start().ready()
    rows = (await daemon.status())["workers"]
    assert sorted(row["state"] for row in rows) == ["backoff", "running"]
    (waiting,) = [row for row in rows if row["state"] == "backoff"]
    assert waiting["reason"] == "waits for a place: limits.max_workers = 1 allows 1 worker at the same time"
    says = "1 bot waits for a place: limits.max_workers = 1 allows 1 worker at the same time. Raise it"
    for verb in ("check", "status"):
        shown = await trio.to_thread.run_sync(project.run, verb)
        assert (shown.returncode, says in shown.stdout) == (0, True), shown.stdout
    (worker,) = workers_of(daemon.process.pid)
    os.kill(worker, signal.SIGKILL)

    async def turned() -> bool:
        return bool((await daemon.bot(waiting["bot"]))["state"] == "running")

    await until(turned)
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_spent_restart_budget_fails_the_bot_and_keeps_its_updates(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """It is failed with the reason and the time of the next trial; intake goes on; new settings are tried."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("one")
    project.module(
        "one",
        "import os\nasync def start(bot):\n    if bot.settings['bad']:\n        os._exit(3)\n"
        "async def handle(update, bot):\n    pass\n",
    )

    def write(bad: bool) -> None:
        restart = {"initial": 0, "per_hour": 2}
        table = {"token": bot.token, "handler": "one:handle", "restart": restart, "settings": {"bad": bad}}
        project.write(base, {"one": table})

    write(False)
    daemon = await project.start().ready()
    write(True)
    await until(lambda: project.events("reload.applied"))
    (worker,) = workers_of(daemon.process.pid)
    os.kill(worker, signal.SIGKILL)

    async def failed() -> bool:
        return bool((await daemon.bot("one"))["state"] == "failed")

    await until(failed)
    row = await daemon.bot("one")
    assert row["reason"] == "restart budget spent"
    assert row["next_start_at"] is not None
    assert row["last_exit"]["code"] == 3
    await world.add_user("Alice").say(bot, "hello")

    async def accepted() -> bool:
        return bool((await daemon.bot("one"))["queue"]["ready"] == 1)

    await until(accepted)
    write(False)
    await until(lambda: project.tally(bot)["done"] == 1)
    assert (await daemon.bot("one"))["state"] == "running"
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()
