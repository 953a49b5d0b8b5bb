"""A bot that is a program: its life, what it is given, and what becomes of its updates. Real processes."""

from __future__ import annotations

import json
import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.lowlevel
from fleet_project import PATIENCE, Daemon, Project, alive, children_of, until, workers_of

from trioworkers.testing import Telegram, serve_telegram

if TYPE_CHECKING:
    from trioworkers.testing import SimBot

QUIET = {"watch": False}  # reloads are asked for
PROGRAM = """
import json, os, signal, sys, time, urllib.error, urllib.request

BASE = os.environ["TRIOWORKERS_API_BASE"] + "/bot" + os.environ["TRIOWORKERS_TOKEN"] + "/"


def call(method, **params):
    body = json.dumps(params).encode()
    request = urllib.request.Request(BASE + method, body, {"content-type": "application/json"})
    return json.loads(urllib.request.urlopen(request, timeout=70).read())["result"]


def settings():
    with open(os.environ["TRIOWORKERS_SETTINGS"]) as file:
        return json.load(file)


def serve(handle, offset=0, timeout=20, **more):
    while True:
        for update in call("getUpdates", offset=offset, timeout=timeout, **more):
            offset = update["update_id"] + 1
            message = update["message"]
            chat = message["chat"]["id"]
            handle(message["text"], lambda text: call("sendMessage", chat_id=chat, text=text))
"""
ECHO = """
from program import serve

serve(lambda text, say: say("echo " + text))
"""
SLOW = """
import time
from program import serve

def handle(text, say):
    time.sleep(0.4)
    say("echo " + text)

serve(handle)
"""
DIES = """
import os
from program import serve

def handle(text, say):
    if text == "die":
        os._exit(9)
    say("echo " + text)

serve(handle)
"""
HANGS = """
import time
from program import serve

def handle(text, say):
    if text == "hang" and not __import__("os").path.exists("hung"):
        open("hung", "w").close()
        time.sleep(600)
    say("echo " + text)

serve(handle)
"""
GREETS = """
from program import serve, settings

serve(lambda text, say: say(settings()["greeting"] + " " + text))
"""
FIRST_WORDS = """
import json, os
from program import call, serve

seen = {
    "me": call("getMe")["id"],
    "webhook": call("deleteWebhook", drop_pending_updates=True),
    "info": call("getWebhookInfo"),
    "skipped": call("getUpdates", offset=-1, timeout=0),
    "closed": call("close"),
    "out": call("logOut"),
    "environ": dict(os.environ),
    "cwd": os.getcwd(),
}
with open(os.environ["SEEN"], "w") as file:
    json.dump(seen, file)
serve(lambda text, say: say("echo " + text), allowed_updates=["message", "poll"])
"""
LARGE = """
from program import serve

kept = bytearray(200 << 20)
for at in range(0, len(kept), 4096):
    kept[at] = 1
serve(lambda text, say: say("echo " + text))
"""
PARENT = """
import subprocess, sys
from program import serve

child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
serve(lambda text, say: say(str(child.pid)))
"""


def table(bot: SimBot, name: str = "bot.py", **more: Any) -> dict[str, Any]:
    """A bot's table of the fleet file."""
    return {"token": bot.token, "command": [sys.executable, name], "acknowledge": "poll", **more}


async def begin(project: Project, nursery: trio.Nursery, world: Telegram, source: str, **more: Any) -> Any:
    """Start a fleet with one bot that is this program; return its daemon, the bot and a person."""
    base = await nursery.start(serve_telegram, world)
    bot = world.add_bot("shop")
    project.module("program", PROGRAM)
    project.module("bot", source)
    project.write(base, {"shop": table(bot, **more)}, fleet=QUIET)
    daemon = await project.start().ready()
    return daemon, bot, world.add_user("Alice"), base


def program_of(daemon: Daemon) -> int:
    """The process of the only bot's program."""
    (worker,) = workers_of(daemon.process.pid)
    (program,) = children_of(worker)
    return program


async def text(person: Any, bot: SimBot) -> str:
    """The text of the bot's next message."""
    return str((await person.expect(bot, timeout=PATIENCE))["text"])


async def test_updates_are_handled_once_and_in_order(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """A program is ready with its first poll, and gets the updates of a chat one after the other."""
    daemon, bot, alice, _ = await begin(project, nursery, world, ECHO)
    bob = world.add_user("Bob")
    for number in range(20):
        await alice.say(bot, f"a{number}")
        await bob.say(bot, f"b{number}")
    assert [await text(alice, bot) for _ in range(20)] == [f"echo a{number}" for number in range(20)]
    assert [await text(bob, bot) for _ in range(20)] == [f"echo b{number}" for number in range(20)]
    (ready,) = project.events("worker.ready")
    assert ready["bot"] == "shop"
    row = await daemon.bot("shop")
    assert (row["state"], row["messages"]) == ("running", 40)
    assert await daemon.stop() == 0
    assert project.tally(bot)["done"] == 40
    nursery.cancel_scope.cancel()


async def test_what_concerns_its_updates_is_answered_by_the_daemon(
    project: Project, world: Telegram, nursery: trio.Nursery, tmp_path: Path
) -> None:
    """Nothing that would drop updates, or end the bot's session, reaches Telegram, and that is logged."""
    seen_file = tmp_path / "seen"
    folder = tmp_path / "shop"
    folder.mkdir()
    environ = {
        "SEEN": str(seen_file),
        "MINE": "{token} {api} {files} {other}",
        "PYTHONPATH": str(project.folder),
    }
    base = await nursery.start(serve_telegram, world)
    bot, alice = world.add_bot("shop"), world.add_user("Alice")
    await alice.say(bot, "early")
    project.module("program", PROGRAM)
    (folder / "bot.py").write_text(FIRST_WORDS)
    own = table(bot, cwd=str(folder), environment=environ, poll_timeout="1s")
    project.write(base, {"shop": own})
    daemon = await project.start().ready()
    assert await text(alice, bot) == "echo early"
    seen = json.loads(seen_file.read_text())
    assert seen["me"] == bot.id
    assert (seen["webhook"], seen["skipped"], seen["closed"], seen["out"]) == (True, [], True, True)
    assert seen["info"]["url"] == ""
    assert seen["cwd"] == str(folder)
    variables = seen["environ"]
    token, api = variables["TRIOWORKERS_TOKEN"], variables["TRIOWORKERS_API_BASE"]
    assert token.startswith(f"{bot.id}:")
    assert api.startswith("http://127.0.0.1:")
    assert variables["MINE"] == f"{token} {api} {api}/file {{other}}"
    assert variables["TELOXIDE_API_URL"] == api
    assert bot.token.partition(":")[2] not in json.dumps(seen)
    assert not world.calls_of("logOut")
    assert not world.calls_of("close")
    assert all(call.params.get("offset", 0) >= 0 for call in world.calls_of("getUpdates"))
    # what the program asks for is what the daemon fetches, where the file names nothing; the simulator keeps
    # what a poll asks for when it begins, and its call when it is answered
    await until(lambda: bot.queue.allowed == {"message", "poll"})
    withheld = {"getUpdates", "deletewebhook", "close", "logout"}
    await until(lambda: {event["method"] for event in project.events("gateway.withheld")} == withheld)
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("acknowledge", ["poll", "quiet"])
async def test_an_update_that_ends_the_program_is_found(
    project: Project, world: Telegram, nursery: trio.Nursery, acknowledge: str
) -> None:
    """It is handled alone, and is a dead letter after three ends; all others are answered once."""
    quick = {"initial": "10ms", "max": "50ms", "per_hour": 20}
    daemon, bot, alice, _ = await begin(project, nursery, world, DIES, restart=quick, acknowledge=acknowledge)
    bob = world.add_user("Bob")
    await alice.say(bot, "die")
    for number in range(5):
        await bob.say(bot, f"b{number}")
    await alice.say(bot, "after")
    assert [await text(bob, bot) for _ in range(5)] == [f"echo b{number}" for number in range(5)]
    assert await text(alice, bot) == "echo after"
    await until(lambda: project.tally(bot)["dead"] == 1)
    assert await daemon.stop() == 0
    assert len(world.calls_of("sendMessage")) == 6
    nursery.cancel_scope.cancel()


async def test_a_program_that_does_not_poll_while_work_waits_is_hung(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """It is killed after hang_timeout, and the update is handled by the next process."""
    daemon, bot, alice, _ = await begin(
        project,
        nursery,
        world,
        HANGS,
        heartbeat_interval="200ms",
        hang_timeout="2s",
        restart={"initial": "10ms"},
    )
    await trio.lowlevel.checkpoint()
    await alice.say(bot, "hang")
    assert await text(alice, bot) == "echo hang"
    assert len(project.events("worker.hung")) == 1
    await alice.say(bot, "on")
    assert await text(alice, bot) == "echo on"
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_stop_waits_for_what_is_in_hand(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """What the program has is handled and confirmed; the rest stays, and is handled by the next daemon."""
    daemon, bot, alice, _ = await begin(project, nursery, world, SLOW)
    for number in range(6):
        await alice.say(bot, f"m{number}")
    assert await text(alice, bot) == "echo m0"
    assert await daemon.stop() == 0
    done = len(world.calls_of("sendMessage"))
    assert project.tally(bot)["done"] == done
    daemon = await project.start().ready()
    for number in range(1, 6):
        assert await text(alice, bot) == f"echo m{number}"
    assert await daemon.stop() == 0
    assert len(world.calls_of("sendMessage")) == 6
    nursery.cancel_scope.cancel()


async def test_a_killed_daemon_leaves_no_program_and_loses_nothing(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """The program and its children are gone within seconds; each update is answered."""
    daemon, bot, alice, _ = await begin(project, nursery, world, PARENT)
    await alice.say(bot, "who")
    child = int(await text(alice, bot))
    program = program_of(daemon)
    assert alive(child)
    daemon.process.kill()
    await daemon.wait()
    await until(lambda: not alive(child) and not alive(program))
    await alice.say(bot, "again")
    daemon = await project.start().ready()
    assert await text(alice, bot) != str(child)
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_settings_reach_a_program_that_runs_and_a_command_replaces_it(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """A setting touches no process; another command ends the one, and then starts the other."""
    daemon, bot, alice, base = await begin(project, nursery, world, GREETS, settings={"greeting": "hi"})
    program = program_of(daemon)
    await alice.say(bot, "Bob")
    assert await text(alice, bot) == "hi Bob"
    project.write(base, {"shop": table(bot, settings={"greeting": "hello"})}, fleet=QUIET)
    assert project.run("reload").returncode == 0

    async def greeted() -> bool:
        await alice.say(bot, "Bob")
        return await text(alice, bot) == "hello Bob"

    await until(greeted)
    assert program_of(daemon) == program
    project.module("other", ECHO)
    project.write(base, {"shop": table(bot, "other.py", settings={"greeting": "hello"})}, fleet=QUIET)
    assert "replaced shop: command" in project.run("reload").stdout
    await until(lambda: not alive(program))
    await alice.say(bot, "m")
    assert await text(alice, bot) == "echo m"
    assert [event["event"] for event in project.events("worker.exited")] == ["worker.exited"]
    project.write(base, {"shop": table(bot, command=["no-such-program"])}, fleet=QUIET)
    refused = project.run("reload")
    assert refused.returncode == 78
    assert "bots.shop.command: no program of the name no-such-program was found" in refused.stderr
    await alice.say(bot, "m")
    assert await text(alice, bot) == "echo m"
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_bot_becomes_a_program_and_a_handler_again(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """A bot moves by one line, while its daemon runs, and back."""
    daemon, bot, alice, base = await begin(project, nursery, world, ECHO)
    await alice.say(bot, "1")
    assert await text(alice, bot) == "echo 1"
    project.write(base, {"shop": {"token": bot.token, "handler": "echo:handle"}}, fleet=QUIET)
    assert project.run("reload").returncode == 0

    async def plain() -> bool:
        await alice.say(bot, "2")
        return await text(alice, bot) == "2"

    await until(plain)
    project.write(base, {"shop": table(bot)}, fleet=QUIET)
    assert project.run("reload").returncode == 0

    async def echoed() -> bool:
        await alice.say(bot, "3")
        return await text(alice, bot) == "echo 3"

    await until(echoed)
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_program_that_is_too_large_is_replaced(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """The memory of all its processes counts."""
    daemon, _, _, _ = await begin(
        project, nursery, world, LARGE, memory_limit="100MB", heartbeat_interval="200ms"
    )
    event = (await until(lambda: project.events("worker.recycled")))[0]
    assert event["memory"] > 200 << 20
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_program_that_cannot_be_started_fails_its_bot_alone(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """The status says why."""
    daemon, bot, alice, base = await begin(project, nursery, world, ECHO, command=["./no-such"])
    row = await daemon.bot("shop")
    assert (row["state"], row["reason"]) == ("failed", "command cannot be started")
    checked = project.run("check", "--handlers")
    assert checked.returncode == 78
    assert "bots.shop.command: no program of the name ./no-such was found in" in checked.stderr
    project.write(base, {"shop": table(bot)}, fleet=QUIET)
    assert project.run("reload").returncode == 0
    await alice.say(bot, "m")
    assert await text(alice, bot) == "echo m"
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_program_that_was_left_behind_is_nobody(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """The token of a process ends with it; another start has another one."""
    import httpx

    daemon, bot, _, _ = await begin(project, nursery, world, ECHO)
    environ = Path(f"/proc/{program_of(daemon)}/environ").read_bytes().split(b"\0")
    found = dict(line.decode().split("=", 1) for line in environ if b"=" in line)
    address = f"{found['TRIOWORKERS_API_BASE']}/bot{found['TRIOWORKERS_TOKEN']}/getMe"
    async with httpx.AsyncClient() as client:
        assert (await client.get(address)).json()["result"]["id"] == bot.id
        assert project.run("bots", "restart", "shop").returncode == 0
        assert (await client.get(address)).status_code == 401
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_the_real_token_is_passed_where_the_file_says_so(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """For checks by HMAC; it is blotted out of the bot's log."""
    source = "import os\nprint(os.environ['TRIOWORKERS_TOKEN'], flush=True)\n" + ECHO
    daemon, bot, alice, _ = await begin(project, nursery, world, source, token_passed="real")
    await alice.say(bot, "m")
    assert await text(alice, bot) == "echo m"
    log = project.folder / "state" / "logs" / "worker_shop.log"
    assert (await until(lambda: log.exists() and log.read_text())).startswith("<token>")
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_program_is_left_as_it_is_where_the_file_says_so(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """Without `redirect` nothing is loaded into it, and a change of the key replaces the process."""
    source = """
import os
print(os.environ.get("TRIOWORKERS_REDIRECT"), "preload-files" in os.environ.get("PYTHONPATH", ""), flush=True)
"""
    daemon, bot, alice, base = await begin(project, nursery, world, source + ECHO)
    log = project.folder / "state" / "logs" / "worker_shop.log"
    host = base.removeprefix("http://")
    await until(lambda: log.exists() and log.read_text() == f"{host},api.telegram.org True\n")
    project.write(base, {"shop": table(bot, redirect=False)}, fleet=QUIET)
    assert "replaced shop: redirect" in project.run("reload").stdout
    await until(lambda: log.read_text().endswith("\nNone False\n"))
    await alice.say(bot, "m")
    assert await text(alice, bot) == "echo m"
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_kills_of_the_program_lose_nothing(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """Ten times, amid its work: each update is answered, at least once."""
    daemon, bot, alice, _ = await begin(
        project,
        nursery,
        world,
        SLOW.replace("0.4", "0.05"),
        restart={"initial": "10ms", "max": "50ms", "per_hour": 99},
    )
    for number in range(40):
        await alice.say(bot, f"m{number}")

    def has_said(more_than: int) -> bool:
        return len(world.calls_of("sendMessage")) > more_than

    for _ in range(10):
        await until(partial(has_said, len(world.calls_of("sendMessage"))))
        if project.tally(bot)["done"] < 35:
            worker = (await until(lambda: workers_of(daemon.process.pid)))[0]
            for program in children_of(worker):
                os.kill(program, signal.SIGKILL)
    await until(lambda: project.tally(bot)["done"] == 40)
    said = [call.params["text"] for call in world.calls_of("sendMessage")]
    assert sorted(set(said)) == sorted(f"echo m{number}" for number in range(40))
    first = [one for at, one in enumerate(said) if one not in said[:at]]
    assert first == [f"echo m{number}" for number in range(40)]
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()
