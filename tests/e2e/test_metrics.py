"""A real Prometheus scrapes a real fleet: each panel and each rule has something to show."""

from __future__ import annotations

import json
import math
import re
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import trio
from fleet_project import Project, until
from prometheus import Prometheus, prometheus, promtool, scraped
from trioworkers_plugins.metrics import shipped
from webhook_project import listening_port

from trioworkers.testing import Telegram, faults, serve_telegram

if TYPE_CHECKING:
    from pathlib import Path

WORDS = "my password is swordfish"
HANDLER = """
import os
from trioworkers import Dead, Drop

async def handle(update, bot):
    if update.text == "retry" and update.attempt == 0:
        raise ValueError(update.text)
    if update.text == "dead":
        raise Dead("as asked")
    if update.text == "drop":
        raise Drop("as asked")
    if update.text == "crash" and update.attempt == 0:
        os._exit(3)
    await bot.send_message(chat_id=update.chat_id, text=update.text)
"""
QUICK = {"initial": "10ms", "max": "50ms"}


class Fleet:
    """A fleet with traffic on a simulated Telegram, and a Prometheus that scrapes it."""

    def __init__(self, project: Project, world: Telegram, base: str) -> None:
        self.project, self.world, self.base = project, world, base
        self.port = listening_port()
        self.bots = {name: world.add_bot(name) for name in ("shop", "quiz", "broken")}
        self.people = [world.add_user(f"Person{number}") for number in range(4)]
        self.write()

    def write(self, **api: Any) -> None:
        """Write the fleet file with the bots that there are."""
        tables: dict[str, dict[str, Any]] = {
            name: {
                "token": bot.token,
                "handler": "absent:handle" if name == "broken" else "busy:handle",
                "heartbeat_interval": "1s",
                "retry": {"attempts": 3, **QUICK},
                "restart": QUICK,
            }
            for name, bot in self.bots.items()
        }
        self.project.module("busy", HANDLER)
        self.project.write(self.base, tables, api={"bind": f"127.0.0.1:{self.port}", **api})

    async def talk(self) -> None:
        """Say something to each bot, over and over."""
        while True:
            for person in self.people:
                person.send(self.bots["shop"], WORDS)
                person.send(self.bots["quiz"], WORDS)
                await trio.sleep(0.05)

    async def metrics(self, **headers: str) -> httpx.Response:
        """What `/metrics` answers."""
        async with httpx.AsyncClient() as client:
            return await client.get(f"http://127.0.0.1:{self.port}/metrics", headers=headers)

    async def shows(self, line: str) -> bool:
        """Whether a line of the metrics begins so."""
        text = (await self.metrics()).text
        return any(found.startswith(line) for found in text.splitlines())

    async def counts(self, series: str) -> bool:
        """Whether a counter is above 0."""
        lines = (await self.metrics()).text.splitlines()
        return any(line.startswith(series) and float(line.split()[-1]) > 0 for line in lines)


@pytest.fixture
async def fleet(project: Project, world: Telegram, nursery: trio.Nursery) -> Fleet:
    return Fleet(project, world, await nursery.start(serve_telegram, world))


async def make_trouble(fleet: Fleet) -> None:
    """Let everything happen that is counted: a retry, a dead letter, a 429, a restart, a refused reload."""
    shop, world = fleet.bots["shop"], fleet.world
    fleet.people[0].send(shop, "crash")  # first: what a worker counted dies with it
    await until(lambda: fleet.shows('trioworkers_worker_restarts_total{bot="shop"} 1'))
    for text in ("retry", "dead", "drop"):
        fleet.people[0].send(shop, text)
    world.faults.add(respond=faults.too_many_requests(1), method="sendMessage", bot=shop)
    world.faults.add(respond=faults.server_error(), method="sendMessage", bot=fleet.bots["quiz"])
    world.faults.add(respond=faults.error(409, "Conflict: another getUpdates request"), method="getUpdates")
    for event in ("retried", "dead", "dropped"):
        await until(partial(fleet.counts, f'trioworkers_updates_{event}_total{{bot="shop"}}'))
    for result in ("rate_limited", "server_error"):
        line = f'trioworkers_api_requests_total{{method="sendMessage",result="{result}"}} 1.0'
        await until(partial(fleet.shows, line))
    good = fleet.project.file.read_text()
    fleet.project.file.write_text(good + "\nnonsense = 1\n")
    await until(lambda: fleet.shows('trioworkers_reloads_total{result="refused"} 1.0'))
    fleet.project.file.write_text(good)
    await until(lambda: fleet.shows("trioworkers_reload_last_successful 1.0"))


def queries() -> list[tuple[str, str]]:
    """Each query of the dashboard with its panel's title, its variables filled in."""
    return [
        (panel["title"], re.sub(r"\$(instance|bot)", ".*", target["expr"]).replace("$__rate_interval", "20s"))
        for panel in json.loads(shipped("dashboard"))["panels"]
        for target in panel.get("targets", ())
    ]


def rules() -> list[tuple[str, str]]:
    """Each rule's name, and its expression up to the comparison that every rule ends with."""
    found = re.findall(r"- alert: (\w+)\n +expr: (.*) (?:==|>|>=) [\d.]+\n", shipped("rules"))
    assert len(found) == shipped("rules").count("- alert:")
    return found


async def missing(server: Prometheus, expressions: list[tuple[str, str]]) -> list[str]:
    """Those that give no number now."""
    empty = []
    for name, expression in expressions:
        values = [value for _, value in await server.value(expression)]
        if not any(math.isfinite(value) for value in values):
            empty.append(f"{name}: {expression} gives {values}")
    return empty


async def test_each_panel_and_each_rule_has_a_value(
    fleet: Fleet, tmp_path: Path, nursery: trio.Nursery
) -> None:
    """Every query of the dashboard, and what every rule compares, gives a number from a run with traffic."""
    daemon = await fleet.project.start().ready()
    nursery.start_soon(fleet.talk)
    await until(lambda: fleet.shows('trioworkers_updates_handled_total{bot="shop"}'))
    with prometheus(tmp_path / "prometheus", f"127.0.0.1:{fleet.port}", listening_port()) as server:
        await scraped(server, 2)
        await make_trouble(fleet)
        empty: list[str] = ["nothing was asked"]

        async def all_there() -> bool:
            of_one = [asked for asked in queries() + rules() if "trioworkers_cluster_" not in asked[1]]
            empty[:] = await missing(server, of_one)  # this daemon is in no cluster
            return not empty

        try:
            await until(all_there)
        except trio.TooSlowError:
            assert empty == []
        series = await server.value('count by (bot) ({bot=~".+",job="trioworkers"})')
        assert {labels["bot"]: value for labels, value in series}.keys() == fleet.bots.keys()
        assert (
            max(value for _, value in series) <= 15 + 3
        )  # a state that it left is a series for five minutes
        assert await server.value("up") != []
    text = (await fleet.metrics()).text
    assert promtool("check", "metrics", text=text) == ""
    for bot in fleet.bots.values():
        assert bot.token.partition(":")[2] not in text
    assert not [word for word in ("swordfish", "Person") if word in text]
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_bot_that_is_removed_leaves_no_series(fleet: Fleet, nursery: trio.Nursery) -> None:
    """Neither by its name nor by its id; the counters of the others go on."""
    daemon = await fleet.project.start().ready()
    fleet.people[0].send(fleet.bots["shop"], "hello")
    await until(lambda: fleet.shows('trioworkers_updates_handled_total{bot="shop"} 1'))
    gone = fleet.bots.pop("quiz")
    fleet.write()

    async def left() -> bool:
        text = (await fleet.metrics()).text
        return "quiz" not in text and str(gone.id) not in text

    await until(left)
    assert await fleet.shows('trioworkers_updates_handled_total{bot="shop"} 1')
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_metrics_need_the_token_when_the_fleet_says_so(fleet: Fleet, nursery: trio.Nursery) -> None:
    """Open on loopback; with `metrics_public = false`, which needs no restart, only with the token."""
    daemon = await fleet.project.start().ready()
    assert (await fleet.metrics()).status_code == 200
    assert (await fleet.metrics(Host="evil.example")).status_code == 421
    assert (await fleet.metrics(Origin="http://evil.example")).status_code == 403
    packed = await fleet.metrics(**{"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    fleet.write(metrics_public=False)

    async def closed() -> bool:
        return (await fleet.metrics()).status_code == 401

    await until(closed)
    token = (fleet.project.folder / "state/run/api-token").read_text().strip()
    assert (await fleet.metrics(Authorization=f"Bearer {token}")).status_code == 200
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_nothing_is_counted_for_a_disabled_plugin(fleet: Fleet, nursery: trio.Nursery) -> None:
    """There is no such address then; the fleet works as ever."""
    fleet.write()
    text = fleet.project.file.read_text()
    fleet.project.file.write_text(text.replace("[fleet]\n", '[fleet]\ndisabled_plugins = ["metrics"]\n'))
    daemon = await fleet.project.start().ready()
    assert (await fleet.metrics()).status_code in (401, 404)
    fleet.people[0].send(fleet.bots["shop"], "hello")
    await until(lambda: fleet.world.calls_of("sendMessage", fleet.bots["shop"]))
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()
