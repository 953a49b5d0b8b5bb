"""A running fleet follows its file: what changes touches what it must, and nothing else; nothing is lost."""

from __future__ import annotations

import os
import random
import signal
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import tomli_w
import trio
from fleet_project import PATIENCE, Daemon, Project, until, workers_of, zygote_of

from trioworkers.testing import Telegram, serve_telegram

if TYPE_CHECKING:
    from pathlib import Path

GREETER = """
async def handle(update, bot):
    await bot.send_message(chat_id=update.chat_id, text=f"{bot.settings['greeting']} {update.text}")

async def settings_changed(bot):
    bot.log.info("changed", greeting=bot.settings["greeting"])
"""
OTHER = """
async def handle(update, bot):
    await bot.send_message(chat_id=update.chat_id, text=f"other {update.text}")
"""


class Greeters:
    """Three bots that greet, and the file that they come from."""

    def __init__(self, project: Project, world: Telegram, base: str) -> None:
        self.project, self.base = project, base
        self.bots = {name: world.add_bot(name) for name in ("one", "two", "three")}
        self.alice = world.add_user("Alice")
        project.module("greeter", GREETER)
        project.module("other", OTHER)
        self.tables: dict[str, dict[str, Any]] = {
            name: {"token": bot.token, "handler": "greeter:handle", "settings": {"greeting": "hi"}}
            for name, bot in self.bots.items()
        }
        self.fleet: dict[str, Any] = {}
        self.write()

    def write(self) -> None:
        self.project.write(self.base, self.tables, fleet=dict(self.fleet))

    async def answer(self, name: str, text: str = "there") -> str:
        bot = self.bots[name]
        await self.alice.say(bot, text)
        return str((await self.alice.expect(bot, timeout=PATIENCE))["text"])


@pytest.fixture
async def greeters(project: Project, world: Telegram, nursery: trio.Nursery) -> Greeters:
    return Greeters(project, world, await nursery.start(serve_telegram, world))


async def pids(daemon: Daemon) -> dict[str, int | None]:
    return {row["bot"]: row["pid"] for row in (await daemon.status())["workers"]}


async def applied(project: Project, times: int = 1) -> list[dict[str, Any]]:
    """Wait until so many reloads have changed something; their plans."""
    told = await until(lambda: (found := project.events("reload.applied"))[times - 1 :] and found)
    return [event["plan"] for event in told]


async def request(daemon: Daemon, method: str, path: str, body: Any = None) -> httpx.Response:
    transport = httpx.AsyncHTTPTransport(uds=str(daemon.project.control))
    async with httpx.AsyncClient(transport=transport, timeout=30) as client:
        return await client.request(method, f"http://control{path}", json=body)


async def test_a_new_greeting_is_in_force_and_no_process_changes(
    project: Project, greeters: Greeters, nursery: trio.Nursery
) -> None:
    """The next update sees it, `settings_changed` has run, and nobody was restarted."""
    daemon = await project.start().ready()
    before = await pids(daemon)
    assert await greeters.answer("one") == "hi there"
    greeters.tables["one"]["settings"]["greeting"] = "hello"
    greeters.write()
    assert (await applied(project))[0]["retuned"] == {"one": ["settings.greeting"]}
    assert await greeters.answer("one") == "hello there"
    assert await greeters.answer("two") == "hi there"
    assert await pids(daemon) == before
    log = (project.folder / "state" / "logs" / "worker_one.log").read_text()
    assert '"event":"changed"' in log.replace(" ", "")
    assert "hello" in log
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_without_a_watch_only_a_reload_by_hand_applies_a_change(
    project: Project, greeters: Greeters
) -> None:
    """By HUP here; the file is not followed."""
    greeters.fleet = {"watch": False}
    greeters.write()
    daemon = await project.start().ready()
    for bot in greeters.tables.values():
        bot["settings"] = {"greeting": "hello"}
    greeters.write()
    await trio.sleep(1)  # a watch takes a tenth of that
    assert await greeters.answer("one") == "hi there"
    daemon.process.send_signal(signal.SIGHUP)
    await applied(project)
    assert await greeters.answer("one") == "hello there"
    assert await daemon.stop() == 0


@pytest.mark.parametrize("key", ["handler", "token"])
async def test_one_changed_handler_or_token_replaces_exactly_that_process(
    project: Project, greeters: Greeters, world: Telegram, nursery: trio.Nursery, key: str
) -> None:
    """The others keep theirs; the bot goes on with what is new."""
    daemon = await project.start().ready()
    before = await pids(daemon)
    if key == "handler":
        greeters.tables["two"]["handler"] = "other:handle"
    else:
        greeters.bots["two"] = world.add_bot("two_again")
        greeters.tables["two"]["token"] = greeters.bots["two"].token
    greeters.write()
    assert (await applied(project))[0]["replaced"] == {"two": [key]}
    await until(lambda: len(project.events("worker.ready")) == 4)
    assert await greeters.answer("two") == ("other there" if key == "handler" else "hi there")
    after = await pids(daemon)
    assert {name for name in before if before[name] != after[name]} == {"two"}
    await until(lambda: len(workers_of(daemon.process.pid)) == 3)
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


WAITS = """
import pathlib, trio

async def handle(update, bot):
    pathlib.Path(f"begun {update.text}").touch()
    while update.text == "old" and not pathlib.Path("go").exists():
        await trio.sleep(0.01)
    await bot.send_message(chat_id=update.chat_id, text=f"first {update.text}")
"""
LATE = """
import pathlib, trio

async def start(bot):
    pathlib.Path("next").touch()
    while not pathlib.Path("ready").exists():
        await trio.sleep(0.01)

async def handle(update, bot):
    await bot.send_message(chat_id=update.chat_id, text=f"second {update.text}")
"""


@pytest.mark.parametrize("key", ["handler", "token"])
async def test_the_new_worker_is_ready_before_the_old_one_ends(
    project: Project, greeters: Greeters, world: Telegram, nursery: trio.Nursery, key: str
) -> None:
    """The old one answers until then; what it has in flight it finishes, while the new one has the rest."""
    project.module("mine", WAITS)
    greeters.tables["one"]["handler"] = "mine:handle"
    greeters.write()
    daemon = await project.start().ready()
    bot, folder = greeters.bots["one"], project.folder
    before = await pids(daemon)
    people = [world.add_user(name) for name in ("Bob", "Carol")]
    await people[0].say(bot, "old")
    await until((folder / "begun old").exists)
    project.module("mine", LATE)
    if key == "token":
        greeters.tables["one"]["token"] = world.renew(bot)
    else:
        project.module("late", LATE)
        greeters.tables["one"]["handler"] = "late:handle"
    greeters.write()
    await until((folder / "next").exists)
    assert await pids(daemon) == before
    if key == "handler":  # with a token that is revoked nobody can answer
        assert (await daemon.bot("one"))["state"] == "running"
        await people[1].say(bot, "meanwhile")
        assert (await people[1].expect(bot, timeout=PATIENCE))["text"] == "first meanwhile"
    (folder / "ready").touch()
    await until(lambda: len(project.events("worker.ready")) == 4)
    await people[1].say(bot, "new")
    assert (await people[1].expect(bot, timeout=PATIENCE))["text"] == "second new"
    assert before["one"] in workers_of(daemon.process.pid)
    (folder / "go").touch()
    assert "old" in (await people[0].expect(bot, timeout=PATIENCE))["text"]
    await until(lambda: before["one"] not in workers_of(daemon.process.pid))
    after = await pids(daemon)
    assert {name for name in before if before[name] != after[name]} == {"one"}
    assert not project.events("transport.conflict")
    assert await daemon.stop() == 0
    assert bot.token.partition(":")[2] not in project.log.read_text()
    nursery.cancel_scope.cancel()


async def test_bots_come_and_go(project: Project, greeters: Greeters, nursery: trio.Nursery) -> None:
    """Removed, disabled, enabled and added; the others are untouched."""
    third = greeters.tables.pop("three")
    greeters.write()
    daemon = await project.start().ready()
    before = await pids(daemon)
    greeters.tables["three"] = third
    greeters.tables["two"]["enabled"] = False
    greeters.write()
    await applied(project)
    assert await greeters.answer("three") == "hi there"

    async def as_said() -> bool:
        rows = {row["bot"]: row["state"] for row in (await daemon.status())["workers"]}
        return rows == {"one": "running", "two": "stopped", "three": "running"}

    await until(as_said)
    del greeters.tables["three"]
    greeters.tables["two"]["enabled"] = True
    greeters.write()
    await applied(project, 2)
    assert await greeters.answer("two") == "hi there"
    await until(lambda: len(workers_of(daemon.process.pid)) == 2)
    after = await pids(daemon)
    assert set(after) == {"one", "two"}
    told = [event["bot"] for name in ("bot.added", "bot.removed") for event in project.events(name)]
    assert told == ["three", "three"]
    assert after["one"] == before["one"]
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_bad_file_changes_nothing_and_is_told(
    project: Project, greeters: Greeters, nursery: trio.Nursery
) -> None:
    """All problems in the event and the status, no secret in either; the next good file is applied."""
    daemon = await project.start().ready()
    before = await pids(daemon)
    greeters.tables["one"] |= {"concurrency": -1, "settings": {"greeting": "never"}}
    greeters.tables["two"]["handler"] = "nowhere:handle"
    greeters.write()
    (refused,) = await until(lambda: project.events("reload.refused"))
    assert any("concurrency" in problem for problem in refused["problems"])
    config = (await daemon.status())["fleet"]["config"]
    assert config["last_reload_ok"] is False
    assert "concurrency" in config["error"]
    greeters.tables["one"]["concurrency"] = 4
    greeters.write()
    refused = await until(lambda: (told := project.events("reload.refused"))[1:] and told[-1])
    assert "nowhere" in refused["problems"][0]
    assert await greeters.answer("one") == "hi there"
    assert await pids(daemon) == before
    greeters.tables["two"]["handler"] = "greeter:handle"
    greeters.write()
    await applied(project)
    assert await greeters.answer("one") == "never there"
    assert (await daemon.status())["fleet"]["config"]["last_reload_ok"] is True
    said = project.log.read_text() + str(await daemon.status())
    assert not any(bot.token.partition(":")[2] in said for bot in greeters.bots.values())
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_deleted_file_is_told_and_the_old_settings_stay(
    project: Project, greeters: Greeters, nursery: trio.Nursery
) -> None:
    """Also after HUP; it may come back."""
    daemon = await project.start().ready()
    project.file.unlink()
    await until(lambda: project.events("reload.refused"))
    refused_at = (await daemon.status())["fleet"]["config"]["last_reload_at"]
    daemon.process.send_signal(signal.SIGHUP)

    async def refused_again() -> bool:
        config: dict[str, Any] = (await daemon.status())["fleet"]["config"]
        return not config["last_reload_ok"] and config["last_reload_at"] > refused_at

    await until(refused_again)
    assert len(project.events("reload.refused")) == 1  # it was logged already
    assert await greeters.answer("one") == "hi there"
    greeters.tables["one"]["settings"]["greeting"] = "back"
    greeters.write()
    await applied(project)
    assert await greeters.answer("one") == "back there"
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_reloads_by_request(project: Project, greeters: Greeters, nursery: trio.Nursery) -> None:
    """A dry run says what would be done and does nothing; a bad file is refused with its problems."""
    daemon = await project.start().ready()
    answer = await request(daemon, "POST", "/api/reload", {"dry_run": True})
    assert (answer.status_code, answer.json()["unchanged"]) == (200, 3)
    draft = project.folder / "fleet.d" / "four.toml"
    draft.parent.mkdir()
    draft.write_text("[bots.four]\ntoken = 5\n")
    answer = await request(daemon, "POST", "/api/reload")
    assert answer.status_code == 422
    assert "bots.four.token" in answer.json()["error"]
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_bots_are_added_by_request_and_outlive_the_daemon(
    project: Project, greeters: Greeters, nursery: trio.Nursery
) -> None:
    """Written to `fleet.d` of the state directory, for its owner alone; a new token; removed again."""
    table = greeters.tables.pop("three")
    greeters.write()
    daemon = await project.start().ready()
    assert (await request(daemon, "POST", "/api/bots", {"name": "../x", "bot": table})).status_code == 422
    assert (await request(daemon, "POST", "/api/bots", {"name": "one", "bot": table})).status_code == 409
    answer = await request(daemon, "POST", "/api/bots", {"name": "three", "bot": table})
    assert (answer.status_code, answer.json()["added"]) == (200, ["three"])
    assert await greeters.answer("three") == "hi there"
    file: Path = project.folder / "state" / "fleet.d" / "three.toml"
    assert file.stat().st_mode & 0o777 == 0o600
    assert await daemon.stop() == 0
    daemon = await project.start().ready()
    assert await greeters.answer("three") == "hi there"
    assert (await request(daemon, "DELETE", "/api/bots/one")).status_code == 409
    bad = await request(daemon, "PUT", "/api/bots/three", {"token": "none"})
    assert bad.status_code == 422
    answer = await request(daemon, "DELETE", "/api/bots/three")
    assert (answer.status_code, answer.json()["removed"]) == (200, ["three"])
    assert not file.exists()
    await until(lambda: len(workers_of(daemon.process.pid)) == 2)
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_random_edits_under_load_lose_nothing_and_end_in_agreement(
    project: Project, greeters: Greeters, world: Telegram, nursery: trio.Nursery
) -> None:
    """Valid, invalid and half-written files in any order, while people write; `EDITS=1000` for a long run."""
    rng = random.Random(20)
    edits = int(os.environ.get("EDITS", "60"))
    daemon = await project.start().ready()
    said = 0
    for number in range(edits):
        tables = greeters.tables
        name = rng.choice(list(tables))
        deed = rng.randrange(6)
        if deed == 0:
            tables[name]["settings"] = {"greeting": f"g{number}"}
        elif deed == 1:
            tables[name]["concurrency"] = rng.randrange(1, 30)
        elif deed == 2:
            tables[name]["handler"] = rng.choice(["greeter:handle", "other:handle"])
        elif deed == 3:
            tables[name]["enabled"] = not tables[name].get("enabled", True)
        if deed == 4:
            project.file.write_text(project.file.read_text()[: rng.randrange(200)])
        elif deed == 5:
            project.file.write_text("[bots.one]\nconcurrency = 0\n")
        else:
            greeters.write()
        for bot in greeters.bots.values():
            greeters.alice.send(bot, str(number))
            said += 1
        await trio.sleep(rng.choice([0, 0.02, 0.15]))
    for table in greeters.tables.values():
        table["enabled"] = True
    greeters.write()

    def answered() -> bool:
        texts = [call.params["text"].split()[-1] for call in world.calls_of("sendMessage")]
        return len(texts) >= said

    await until(answered, 60 + edits)
    await trio.sleep(0.3)
    assert len(world.calls_of("sendMessage")) == said
    for bot in greeters.bots.values():
        tally = project.tally(bot)
        assert (tally["accepted"], tally["done"], tally["pending"]) == (edits, edits, 0)
    plan = (await request(daemon, "POST", "/api/reload", {"dry_run": True})).json()
    assert (plan["unchanged"], plan["retuned"], plan["replaced"]) == (3, {}, {})
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_an_edit_during_a_start_is_in_force_at_its_end(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """Of bots that run already and of those whose turn to start has not come; the start ends all the same."""
    base, alice = await nursery.start(serve_telegram, world), world.add_user("Alice")
    project.module("greeter", GREETER)
    project.module("late", LATE)
    bots = {f"bot{number:02}": world.add_bot(f"bot{number:02}") for number in range(30)}
    tables: dict[str, dict[str, Any]] = {
        name: {"token": bot.token, "handler": "greeter:handle", "settings": {"greeting": "hi"}}
        for name, bot in bots.items()
    }
    tables["bot15"]["handler"] = "late:handle"  # the start lasts until it is ready
    added = tables.pop("bot14")
    limits = {"start_rate": 20, "max_workers_per_core": 100}
    project.write(base, tables, limits=limits)
    for name in tables:
        alice.send(bots[name], "before")
    daemon = project.start()
    await until(lambda: len(project.events("worker.ready")) >= 3)
    del tables["bot16"], tables["bot29"]
    for name in ("bot00", "bot28"):
        tables[name]["settings"]["greeting"] = "hello"
    tables["bot27"]["handler"] = "other:handle"
    project.module("other", OTHER)
    tables["bot14"] = added
    project.write(base, tables, limits=limits)
    await applied(project)
    assert (await daemon.status())["fleet"]["state"] == "starting"
    (project.folder / "ready").touch()
    await daemon.ready()

    async def as_said() -> bool:
        rows = {row["bot"]: row for row in (await daemon.status())["workers"]}
        if {name: row["state"] for name, row in rows.items()} != dict.fromkeys(tables, "running"):
            return False
        # if bot27 had started before the edit, its first worker answers until the new one is ready
        return bool(rows["bot27"]["code"] != rows["bot00"]["code"])

    await until(as_said)
    for name in tables:
        alice.send(bots[name], "after")
    greetings = {"bot00": "hello", "bot28": "hello", "bot27": "other", "bot15": "second"}
    said = {name: 1 if name == "bot14" else 2 for name in tables}

    def all_done() -> bool:
        return all(project.tally(bots[name])["done"] >= count for name, count in said.items())

    await until(all_done)
    for name, count in said.items():
        tally = project.tally(bots[name])
        assert (tally["accepted"], tally["done"], tally["pending"]) == (count, count, 0)
        answers = [sent["text"] for sent in world.sent(bots[name], alice.id)]
        assert (len(answers), answers[-1]) == (count, f"{greetings.get(name, 'hi')} after")
    await until(lambda: len(workers_of(daemon.process.pid)) == len(tables))
    plan = (await request(daemon, "POST", "/api/reload", {"dry_run": True})).json()
    assert (plan["unchanged"], plan["added"], plan["removed"]) == (len(tables), [], [])
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_reload_during_a_stop_or_another_reload_harms_nobody(
    project: Project, greeters: Greeters, nursery: trio.Nursery
) -> None:
    """HUPs in numbers, edits and then TERM: the daemon ends in time with 0."""
    daemon = await project.start().ready()
    for number in range(5):
        greeters.tables["one"]["settings"]["greeting"] = f"g{number}"
        greeters.write()
        os.kill(daemon.process.pid, signal.SIGHUP)
        os.kill(daemon.process.pid, signal.SIGHUP)
    project.file.write_text(tomli_w.dumps({}))
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


SLOW = """
import pathlib, trio

async def handle(update, bot):
    pathlib.Path("begun").touch()
    while not pathlib.Path("go").exists():
        await trio.sleep(0.01)
    await bot.send_message(chat_id=update.chat_id, text=f"slow {update.text}")
"""


async def test_a_bot_that_comes_again_waits_for_the_end_of_the_one_before(
    project: Project, greeters: Greeters, nursery: trio.Nursery
) -> None:
    """Removed by one reload and added by the next, while the first still finishes an update: never two."""
    project.module("slow", SLOW)
    greeters.tables["one"]["handler"] = "slow:handle"
    greeters.write()
    daemon = await project.start().ready()
    await greeters.alice.say(greeters.bots["one"], "first")
    await until((project.folder / "begun").exists)
    one = greeters.tables.pop("one")
    greeters.write()
    await applied(project)
    greeters.tables["one"] = one
    greeters.write()
    await applied(project, 2)

    async def rows() -> dict[str, int | None]:
        workers = (await daemon.status())["workers"]
        return {row["state"]: row["pid"] for row in workers if row["bot"] == "one"}

    assert (await rows()).keys() == {"draining", "starting"}
    assert await greeters.answer("two") == "hi there"  # time for a worker to start
    found = await rows()
    assert found["starting"] is None
    assert found["draining"] in workers_of(daemon.process.pid)
    (project.folder / "go").touch()
    assert str((await greeters.alice.expect(greeters.bots["one"], timeout=PATIENCE))["text"]) == "slow first"
    assert await greeters.answer("one", "second") == "slow second"
    assert not project.events("transport.conflict")
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


ENVIRONMENT = """
import os

async def handle(update, bot):
    await bot.send_message(chat_id=update.chat_id, text=str("LATE_TOKEN" in os.environ))
"""


async def test_a_variable_that_becomes_a_secret_is_kept_from_new_workers(
    project: Project, greeters: Greeters, nursery: trio.Nursery
) -> None:
    """The zygote had it from its start: another one takes its place, and running workers go on."""
    project.module("environment", ENVIRONMENT)
    project.environ["LATE_TOKEN"] = greeters.bots["two"].token
    two = greeters.tables.pop("two")
    greeters.write()
    daemon = await project.start().ready()
    before = await pids(daemon)
    greeters.tables["two"] = {**two, "token": {"env": "LATE_TOKEN"}, "handler": "environment:handle"}
    greeters.write()
    await applied(project)
    assert await greeters.answer("two") == "False"
    after = await pids(daemon)
    assert {name: after[name] for name in before} == before
    for pid in (zygote_of(daemon.process.pid), after["two"]):
        assert b"LATE_TOKEN" not in await trio.Path(f"/proc/{pid}/environ").read_bytes()
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


CHATTY = """
async def handle(update, bot):
    bot.log.debug("chatty")
    await bot.send_message(chat_id=update.chat_id, text=update.text)
"""


async def test_a_new_log_level_reaches_running_workers(
    project: Project, greeters: Greeters, nursery: trio.Nursery
) -> None:
    """What they log is written by it, with the process that they had."""
    project.module("chatty", CHATTY)
    greeters.tables["one"]["handler"] = "chatty:handle"
    greeters.write()
    daemon = await project.start().ready()
    before = await pids(daemon)
    project.write(greeters.base, greeters.tables, log={"level": "debug"})
    assert (await applied(project))[0]["changed"] == ["log.level"]
    await greeters.answer("one")
    assert await pids(daemon) == before
    assert await daemon.stop() == 0
    assert "chatty" in (project.folder / "state" / "logs" / "worker_one.log").read_text()
    nursery.cancel_scope.cancel()


async def test_of_many_who_add_one_bot_one_does(
    project: Project, greeters: Greeters, world: Telegram, nursery: trio.Nursery
) -> None:
    """The others are told that it is there; nor is a file written over that holds another bot."""
    daemon = await project.start().ready()
    codes: list[int] = []

    async def add(token: str) -> None:
        bot = {"token": token, "handler": "greeter:handle", "settings": {"greeting": "hi"}}
        codes.append((await request(daemon, "POST", "/api/bots", {"name": "new", "bot": bot})).status_code)

    async with trio.open_nursery() as adding:
        for number in range(6):
            adding.start_soon(add, world.add_bot(f"new{number}").token)
    assert sorted(codes) == [200, 409, 409, 409, 409, 409]
    file = project.folder / "state" / "fleet.d" / "held.toml"
    text = f'[bots.other]\ntoken = "{world.add_bot("other").token}"\nhandler = "greeter:handle"\n'
    file.write_text(text)
    file.chmod(0o600)
    await until(lambda: any("other" in event["plan"]["added"] for event in project.events("reload.applied")))
    bot = {"token": world.add_bot("held").token, "handler": "greeter:handle"}
    refused = await request(daemon, "POST", "/api/bots", {"name": "held", "bot": bot})
    assert (refused.status_code, file.read_text()) == (409, text)
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_refused_token_stays_refused_when_the_handler_changes(
    project: Project, greeters: Greeters, nursery: trio.Nursery
) -> None:
    """Telegram is asked anew: the bot is not shown as running while nothing comes in."""
    token = greeters.tables["one"]["token"]
    greeters.tables["one"]["token"] = token[:-3] + "zzz"
    greeters.write()
    daemon = await project.start().ready()
    await until(lambda: project.events("bot.failed"))
    greeters.tables["one"]["handler"] = "other:handle"
    greeters.write()
    await until(lambda: len(project.events("bot.failed")) == 2)

    async def failed() -> bool:
        row = await daemon.bot("one")
        return (row["state"], row["reason"]) == ("failed", "token refused")

    await until(failed)
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


PLUGIN = """
import pathlib, trio
from trioworkers import hookimpl

@hookimpl
async def trioworkers_bots(fleet):
    folder = pathlib.Path(fleet.path).parent
    with open(folder / "asked", "a") as asked:
        asked.write("x")
    while (folder / "hold").exists():
        await trio.sleep(0.01)
    return {}
"""


async def test_many_hups_during_a_reload_are_one_more_reload(
    project: Project, greeters: Greeters, nursery: trio.Nursery
) -> None:
    """However many: who sends them all day does not make the daemon reload all night."""
    (project.folder / "plugins").mkdir()
    (project.folder / "plugins" / "slow.py").write_text(PLUGIN)
    daemon = await project.start().ready()
    asked, hold = project.folder / "asked", project.folder / "hold"
    hold.touch()
    daemon.process.send_signal(signal.SIGHUP)
    await until(lambda: asked.read_text() == "xx")
    for _ in range(10):
        daemon.process.send_signal(signal.SIGHUP)
        await daemon.status()  # it was heard
    hold.unlink()
    await until(lambda: len(project.events("reload.applied")) == 2)
    assert (await request(daemon, "POST", "/api/reload", {})).status_code == 200
    assert asked.read_text() == "xxxx"
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


NO_WATCHES = """
import errno, os
from inotify_simple import INotify

def refuse(inotify, path, mask):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

INotify.add_watch = refuse
"""


async def test_without_watches_it_is_told_once_and_edits_are_in_force_all_the_same(
    project: Project, greeters: Greeters, nursery: trio.Nursery
) -> None:
    """The system's limit of watches is reached: the event says which; the files are looked at instead."""
    project.module("sitecustomize", NO_WATCHES)
    project.environ["PYTHONPATH"] = str(project.folder)
    daemon = await project.start().ready()
    for number in (1, 2):
        greeters.tables["one"]["settings"]["greeting"] = f"hello {number}"
        greeters.write()
        await applied(project, number)
        assert await greeters.answer("one") == f"hello {number} there"
    assert await daemon.stop() == 0
    (told,) = project.events("reload.unwatched")
    assert told["level"] == "warn"
    assert "fs.inotify.max_user_watches" in told["reason"]
    nursery.cancel_scope.cancel()
