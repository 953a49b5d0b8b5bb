"""Commands and signals that act on a running fleet, with real processes."""

from __future__ import annotations

import json
import os
import signal
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
from fleet_project import PATIENCE, Project, alive, until, workers_of

from trioworkers.testing import Telegram, serve_telegram

if TYPE_CHECKING:
    import subprocess

    from fleet_project import Daemon

VERSIONED = """
VERSION = {version}
async def handle(update, bot):
    await bot.send_message(chat_id=update.chat_id, text=f"{{VERSION}} {{update.text}}")
"""


async def run(project: Project, *words: str) -> subprocess.CompletedProcess[str]:
    return await trio.to_thread.run_sync(partial(project.run, *words))


async def pids(daemon: Daemon) -> dict[str, int]:
    return {row["bot"]: row["pid"] for row in (await daemon.status())["workers"]}


async def test_bots_are_listed_shown_and_restarted_with_new_code(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """`bots restart` returns when the new worker is ready, and says why it is not."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("one")
    project.module("one", VERSIONED.format(version=1))
    project.write(base, {"one": {"token": bot.token, "handler": "one:handle"}})
    daemon = await project.start().ready()
    (listed,) = json.loads((await run(project, "bots", "list", "--json")).stdout)
    assert (listed["bot"], listed["state"], listed["handler"]) == ("one", "running", "one:handle")
    assert "running" in (await run(project, "bots", "list")).stdout
    shown = await run(project, "bots", "show", "one")
    assert shown.returncode == 0
    assert bot.token not in shown.stdout
    project.module("one", VERSIONED.format(version=22))
    done = await run(project, "bots", "restart", "one")
    assert done.returncode == 0, done.stderr
    row = await daemon.bot("one")
    assert row["pid"] != listed["pid"]
    assert row["code"] != listed["code"]
    alice = world.add_user("Alice")
    await alice.say(bot, "hello")
    assert (await alice.expect(bot, timeout=PATIENCE))["text"] == "22 hello"
    project.module("one", "nonsense(")
    broken = await run(project, "bots", "restart", "one")
    assert broken.returncode == 1
    assert "handler cannot be imported" in broken.stderr
    unknown = await run(project, "bots", "restart", "on")
    assert unknown.returncode == 2
    assert "did you mean one" in unknown.stderr
    actions = [(line["action"], line["level"]) for line in project.events("control.action")]
    assert actions == [("bots.restart", "info"), ("bots.restart", "error")]
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_pause_outlives_the_daemon_and_loses_nothing(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """Updates are accepted before and after a restart under another name, and handled when it is resumed."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("one")
    project.write(base, {"one": {"token": bot.token, "handler": "echo:handle"}})
    daemon = await project.start().ready()
    assert (await run(project, "bots", "pause", "one")).returncode == 0
    assert (await daemon.bot("one"))["state"] == "paused"
    alice = world.add_user("Alice")
    alice.send(bot, "first")

    async def accepted(name: str, count: int) -> bool:
        return bool((await daemon.bot(name))["queue"]["ready"] == count)

    await until(partial(accepted, "one", 1))
    assert await daemon.stop() == 0
    project.write(base, {"other": {"token": bot.token, "handler": "echo:handle"}})
    daemon = await project.start().ready()
    row = await daemon.bot("other")
    assert (row["state"], row["paused"]) == ("paused", True)
    alice.send(bot, "second")
    await until(partial(accepted, "other", 2))
    assert world.calls_of("sendMessage") == []
    resumed = await run(project, "bots", "resume", "other")
    assert "other is running" in resumed.stdout, resumed.stderr
    assert (await alice.expect(bot, timeout=PATIENCE))["text"] == "first"
    assert (await alice.expect(bot, timeout=PATIENCE))["text"] == "second"
    assert [len(project.events(name)) for name in ("bot.paused", "bot.resumed")] == [1, 1]
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_the_daemon_is_restarted_by_one_command(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """Keys that wait for it are in force then. A bad file, or systemd, keeps the daemon that runs."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("one")
    table = {"one": {"token": bot.token, "handler": "echo:handle"}}
    project.write(base, table)
    absent = await run(project, "restart", "--daemon")
    assert absent.returncode == 3
    assert (await run(project, "start")).returncode == 0
    try:
        before = json.loads((await run(project, "status", "--json")).stdout)["fleet"]
        project.write(
            base, table, fleet={"name": "other"}, log={"format": "json"}, store={"durability": "normal"}
        )
        await run(project, "reload")
        waiting = (await run(project, "status")).stdout
        assert "kept until `trioworkers restart --daemon`: store.durability" in waiting
        good = project.file.read_text()
        project.file.write_text("[fleet\n")
        assert (await run(project, "restart", "--daemon")).returncode == 78
        project.file.write_text(good)
        done = await run(project, "restart", "--daemon")
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[0] == "stopped"
        after = json.loads((await run(project, "status", "--json")).stdout)["fleet"]
        assert after["pid"] != before["pid"]
        assert (before["config"]["kept"], after["config"]["kept"]) == ([], [])
    finally:
        await run(project, "stop")
    project.environ["NOTIFY_SOCKET"] = str(project.folder / "absent.sock")
    daemon = await project.start().ready()
    refused = await run(project, "restart", "--daemon")
    assert refused.returncode == 1
    assert "systemctl restart trioworkers." in refused.stderr
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_dry_run_shows_what_the_watch_did(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """The daemon is quicker than whoever types; without the watch it shows what a reload would do."""
    base = await nursery.start(serve_telegram, world)
    bots = {name: world.add_bot(name) for name in ("one", "two")}
    tables = {name: {"token": bot.token, "handler": "echo:handle"} for name, bot in bots.items()}
    project.write(base, {"one": tables["one"]})
    daemon = await project.start().ready()
    assert (await run(project, "reload", "--dry-run")).stdout == (
        "nothing to do: what the files say is in force\n"
    )
    project.write(base, tables)
    await until(lambda: project.events("reload.applied"))
    shown = (await run(project, "reload", "--dry-run")).stdout
    assert shown.startswith(
        "nothing to do: what the files say is in force\nthe last reload was applied at 20"
    )
    assert ", caused by a changed file:\n  added two\n  unchanged 1 bot\n" in shown
    assert await daemon.stop() == 0
    project.write(base, tables, fleet={"watch": False})
    daemon = await project.start().ready()
    project.write(base, {"one": tables["one"]}, fleet={"watch": False})
    shown = (await run(project, "reload", "--dry-run")).stdout
    assert shown == "a reload would do this:\n  removed two\n  unchanged 1 bot\n"
    assert len((await daemon.status())["workers"]) == 2
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_restart_tries_a_refused_token_again(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """Updates are fetched again, not only handled."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("one")
    project.write(base, {"one": {"token": bot.token, "handler": "echo:handle", "poll_timeout": 1}})
    daemon = await project.start().ready()
    world.revoke(bot)

    async def failed() -> bool:
        row = await daemon.bot("one")
        return row["state"] == "failed" and row["pid"] is None

    await until(failed)
    bot.revoked = False
    assert (await run(project, "bots", "restart", "one")).returncode == 0
    alice = world.add_user("Alice")
    await alice.say(bot, "hello")
    assert (await alice.expect(bot, timeout=PATIENCE))["text"] == "hello"
    assert len(project.events("transport.refused")) == 1
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("worker_start", ["fork", "spawn"], indirect=True)
async def test_fifty_restarts_never_give_two_live_processes(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """Over the control socket, at once and one after another; each worker says when it lived."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("one")
    project.module(
        "one",
        "import os\n"
        "async def start(bot):\n"
        "    os.close(os.open('alive', os.O_CREAT | os.O_EXCL))\n"
        "async def stop(bot): os.unlink('alive')\n"
        "async def handle(update, bot): ...\n",
    )
    project.write(base, {"one": {"token": bot.token, "handler": "one:handle"}})
    daemon = await project.start().ready()
    codes: list[int] = []

    async def restart(number: int) -> None:
        import httpx

        await trio.sleep(number * 0.01)
        transport = httpx.AsyncHTTPTransport(uds=str(project.control))
        async with httpx.AsyncClient(transport=transport, timeout=60) as client:
            answer = await client.post("http://control/api/bots/one/restart")
            codes.append(answer.status_code)

    async with trio.open_nursery() as askers:
        for number in range(50):
            askers.start_soon(restart, number)
    assert codes == [200] * 50
    assert len(workers_of(daemon.process.pid)) == 1
    row = await daemon.bot("one")
    assert (row["state"], row["last_exit"]["code"]) == ("running", 0)
    assert not project.events("bot.failed")
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("way", ["command", "signal"])
async def test_a_rolling_restart_replaces_every_worker(
    project: Project, world: Telegram, nursery: trio.Nursery, way: str
) -> None:
    """With new code, one canary for each handler, and a bot that had failed works again."""
    base = await nursery.start(serve_telegram, world)
    project.module("one", VERSIONED.format(version=1))
    project.module("bad", "nonsense(")
    bots = {name: world.add_bot(name) for name in ("a", "b", "c", "bad")}
    tables = {
        name: {"token": bot.token, "handler": "bad:handle" if name == "bad" else "one:handle"}
        for name, bot in bots.items()
    }
    project.write(base, tables)
    daemon = await project.start().ready()
    before = await daemon.status()
    assert [row["state"] for row in before["workers"]].count("failed") == 1
    old = await pids(daemon)
    for name in ("one", "bad"):
        project.module(name, VERSIONED.format(version=2))
    if way == "command":
        done = await run(project, "restart")
        assert (done.returncode, done.stdout) == (0, "replaced 4 workers\n"), done.stderr
    else:
        daemon.process.send_signal(signal.SIGUSR2)
        await until(lambda: project.events("restart.done"))
    rows = (await daemon.status())["workers"]
    assert {row["state"] for row in rows} == {"running"}
    assert len({row["code"] for row in rows}) == 1
    assert not set(old.values()) & set((await pids(daemon)).values())
    assert len(workers_of(daemon.process.pid)) == 4
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_canary_that_is_not_ready_leaves_all_as_it_was(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """Exit 1 and the reason; not one process is replaced, not even of the handler that is good."""
    base = await nursery.start(serve_telegram, world)
    bots = {name: world.add_bot(name) for name in ("good", "soon")}
    project.module("soon", VERSIONED.format(version=1))
    project.write(
        base,
        {
            "good": {"token": bots["good"].token, "handler": "echo:handle"},
            "soon": {"token": bots["soon"].token, "handler": "soon:handle"},
        },
    )
    daemon = await project.start().ready()
    old = await pids(daemon)
    project.module("soon", "import nowhere_to_be_found")
    done = await run(project, "restart")
    assert done.returncode == 1
    assert "soon: handler cannot be imported" in done.stderr
    assert "nowhere_to_be_found" in done.stderr
    assert "nothing was replaced" in done.stderr
    assert await pids(daemon) == old
    (told,) = project.events("restart.refused")
    assert (told["bot"], told["handler"]) == ("soon", "soon:handle")
    assert sorted(workers_of(daemon.process.pid)) == sorted(old.values())
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_start_and_stop(project: Project, world: Telegram, nursery: trio.Nursery) -> None:
    """`start` returns when the fleet is ready, `stop` when it has ended; exit codes say what was."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("one")
    project.write(base, {"one": {"token": bot.token, "handler": "echo:handle"}})
    none = await run(project, "stop")
    assert none.returncode == 3
    assert (await run(project, "status")).returncode == 3
    started = await run(project, "start")
    assert started.returncode == 0, started.stderr
    pid = json.loads((await run(project, "status", "--json")).stdout)["fleet"]["pid"]
    try:
        assert started.stdout.startswith(f"runs with pid {pid}, 1 bot: 1 running")
        assert os.getsid(pid) == pid
        alice = world.add_user("Alice")
        await alice.say(bot, "hello")
        assert (await alice.expect(bot, timeout=PATIENCE))["text"] == "hello"
        again = await run(project, "start")
        assert again.returncode == 75
        assert f"(pid {pid})" in again.stderr
        stopped = await run(project, "stop")
        assert (stopped.returncode, stopped.stdout) == (0, "stopped\n")
        assert not alive(pid)
    finally:
        if alive(pid):
            os.kill(pid, signal.SIGKILL)
    logs = project.folder / "state" / "logs"
    assert (logs / "daemon.err").read_text() == ""  # what is logged is in master.log only
    assert '"daemon.stopped"' in (logs / "master.log").read_text()
    project.write(base, {}, store={"url": "mysql://nobody@127.0.0.1/none"})
    refused = await run(project, "start")
    assert refused.returncode == 78
    assert "store.url" in refused.stderr
    project.file.write_text("[fleet]\nnonsense = 1\n")
    assert (await run(project, "start")).returncode == 78
    nursery.cancel_scope.cancel()


HELD = """
import trio
async def wait_for_a_secret(word): await trio.sleep(3600)
async def handle(update, bot): await wait_for_a_secret(update.text)
"""


async def test_quit_tells_where_tasks_stand_without_values(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """At once, with exit code 0; every task's places, alike ones counted, and the threads'."""
    base = await nursery.start(serve_telegram, world)
    bots = [world.add_bot(f"bot{number}") for number in range(3)]
    project.module("held", HELD)
    project.write(
        base,
        {bot.username: {"token": bot.token, "handler": "held:handle"} for bot in bots},
        fleet={"shutdown_timeout": "60s"},
    )
    daemon = await project.start().ready()
    alice = world.add_user("Alice")
    alice.send(bots[0], "the-secret-word")

    async def held() -> bool:
        return any(row["queue"]["in_flight"] for row in (await daemon.status())["workers"])

    await until(held)
    assert await daemon.stop(signal.SIGQUIT, 20) == 0
    told = project.events("daemon.stack")
    assert all(line["stack"] and line["count"] for line in told)
    assert any("nursery/supervisor.py" in line["stack"] for line in told)
    assert sum(line["count"] for line in told if "Fetching.serve" in line["task"]) == 3
    master = (project.folder / "state/logs/master.log").read_text()
    assert master.count('"daemon.stack"') == len(told)
    everything = project.log.read_text() + master
    assert "Current thread" in everything
    assert "the-secret-word" not in everything
    assert all(bot.token not in everything for bot in bots)
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("worker_start", ["fork", "spawn"], indirect=True)
async def test_term_ends_a_start_of_many_in_time(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """While most of them are not there yet: exit code 0, within the time, and no process is left."""
    base = await nursery.start(serve_telegram, world)
    bots = [world.add_bot(f"bot{number}") for number in range(60)]
    project.write(
        base,
        {bot.username: {"token": bot.token, "handler": "echo:handle"} for bot in bots},
        fleet={"shutdown_timeout": "20s"},
        limits={"max_workers_per_core": 1000, "start_rate": 10},
    )
    daemon = project.start()
    await until(lambda: len(project.events("worker.starting")) >= 10)
    started = workers_of(daemon.process.pid)
    assert await daemon.stop(signal.SIGTERM, 21.5) == 0
    assert not any(alive(pid) for pid in started)
    assert len(project.events("worker.starting")) < 60
    nursery.cancel_scope.cancel()
