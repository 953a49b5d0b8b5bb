"""Several daemons, one fleet: any of them takes webhooks for all bots, and obeys commands about all bots."""

from __future__ import annotations

import http.client
import json
import time
from statistics import median
from typing import TYPE_CHECKING, Any

import pytest
from cluster_scene import LEASE, Cluster, cluster_of
from postgres_server import Server, own_server
from webhook_project import listening_port

from trioworkers.transport.deliveries import derive_secret

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


KILLS = """
import os
import signal
import trio

def daemon():
    with open(f"/proc/{os.getppid()}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("PPid"))

async def handle(update, bot):
    node = bot.settings["node"]
    if update.text:
        await bot.send_message(chat_id=update.chat_id, text=f"{node}:{update.text}")
    if update.text == f"kill {node}":
        os.kill(daemon(), signal.SIGKILL)  # before anything of the call has left this process
        await trio.sleep_forever()
"""


server = pytest.fixture(scope="module")(own_server)


@pytest.fixture
def cluster(tmp_path: Path, server: Server) -> Iterator[Cluster]:
    """Four bots, and no daemon yet."""
    with cluster_of(tmp_path, server, 4) as cluster:
        yield cluster


def test_commands_on_one_node_act_on_all(cluster: Cluster) -> None:
    """On bots that run elsewhere, and on nodes: paused, moved, drained, and as before when that is undone."""
    cluster.start("a", "b")
    cluster.settle("a", "b")
    here = cluster.nodes["a"]
    wanted = cluster.preferred("a", "b")
    assert set(wanted.values()) == {"a", "b"}
    bot = next(name for name, node in wanted.items() if node == "b")

    def run(*words: str) -> str:
        done = here.command(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    rows = {row["bot"]: row for row in here.status()["workers"]}
    assert {name: row["node"] for name, row in rows.items()} == wanted
    assert [(one["node"], one["answers"]) for one in here.status()["nodes"]] == [("a", True), ("b", True)]
    run("bots", "pause", bot)
    cluster.say(bot, "one")
    cluster.until(lambda: cluster.rows("SELECT count(*) FROM inbox") == [(1,)])
    (told,) = [one for one in cluster.events("control.action", node="b") if one["action"] == "bots.pause"]
    assert told["by"] == "control socket of node a"

    run("bots", "move", bot, "a")
    cluster.until(lambda: cluster.owners()[bot] == "a")
    cluster.until(lambda: here.bot(bot)["node"] == "a")
    assert here.bot(bot)["paused"]  # as it was before
    assert "is running" in run("bots", "resume", bot)
    assert cluster.hear(bot) == [("a", "one")]
    run("bots", "move", bot, "--free")
    cluster.settle("a", "b")

    run("nodes", "drain", "b")
    cluster.until(lambda: set(cluster.owners().values()) == {"a"})
    assert "draining" in run("nodes", "list")
    run("nodes", "drain", "b", "--undo")
    cluster.settle("a", "b")
    refused = here.command("nodes", "evict", "b", "--yes")
    assert (refused.returncode, "renewed its lease" in refused.stderr) == (1, True)
    assert cluster.events("lease.lost", "transport.conflict", "update.repeated") == []


def test_any_node_takes_webhooks(cluster: Cluster) -> None:
    """For bots of another node, too, which hears of it long before it would look; with the right secret."""
    ports = {node: listening_port() for node in "ab"}
    secret = "s" * 20
    for node, port in ports.items():
        webhook = {"bind": f"127.0.0.1:{port}", "public_url": "http://127.0.0.1:9", "secret": secret}
        cluster.more[node] = {"webhook": webhook}
    cluster.defaults = {"transport": "webhook"}
    cluster.start("a", "b")
    cluster.settle("a", "b")
    wanted = cluster.preferred("a", "b")

    def post(node: str, bot: str, key: str, update_id: int) -> int:
        person = cluster.person("bot0" if bot == "unknown" else bot)
        chat = {"id": person.id, "type": "private", "first_name": "friend"}
        message = {"message_id": update_id, "date": 1, "chat": chat, "from": {**chat, "is_bot": False}}
        body = {"update_id": update_id, "message": {**message, "text": str(update_id)}}
        connection = http.client.HTTPConnection("127.0.0.1", ports[node], timeout=20)
        headers = {"X-Telegram-Bot-Api-Secret-Token": key, "Content-Type": "application/json"}
        connection.request("POST", f"/webhook/{bot}", json.dumps(body), headers)
        status = connection.getresponse().status
        connection.close()
        return status

    for bot in wanted:
        cluster.say(bot, "/start")  # nobody can be answered who has never written
    waits = []
    for bot, owner in wanted.items():
        key = derive_secret(secret, cluster.bots[bot].id)
        other = "ab".replace(owner, "")
        assert post(other, bot, derive_secret(secret, 5), 1) == 401
        for number in range(1, 6):
            assert post(other, bot, key, number) == 200
            began = time.monotonic()
            assert cluster.hear(bot) == [(owner, str(number))]
            waits.append(time.monotonic() - began)
        assert post(owner, bot, key, 6) == 200
        assert cluster.hear(bot) == [(owner, "6")]
        assert post(other, bot, key, 6) == 200  # it came before
    assert post("a", "unknown", "x", 1) == 404
    assert median(waits) < 0.4
    cluster.all_done()
    tallies: dict[str, Any] = {row["bot"]: row["queue"] for row in cluster.nodes["a"].status()["workers"]}
    assert all(queue["ready"] == queue["dead"] == 0 for queue in tallies.values())


def test_a_dead_nodes_bots_are_missing_in_words(cluster: Cluster) -> None:
    """The status names a silent node, until it is taken over; then all bots are there again."""
    cluster.start("a", "b")
    cluster.settle("a", "b")
    cluster.nodes["b"].kill()
    here = cluster.nodes["a"]
    cluster.until(lambda: [one["answers"] for one in here.status()["nodes"]] == [True, False], LEASE)
    bots = sum(node == "b" for node in cluster.preferred("a", "b").values())
    document = here.status()
    if len(document["nodes"]) == 2:
        assert len(document["workers"]) == len(cluster.bots) - bots
    cluster.settle("a")
    assert {row["bot"] for row in here.status()["workers"]} == set(cluster.bots)


def test_a_call_that_a_dead_node_told_nobody_of_is_repeated_with_a_mark(cluster: Cluster) -> None:
    """Its machine is gone, and with it the last that is known of the call; later calls have no mark."""
    cluster.handler = KILLS
    cluster.start("a", "b")
    cluster.settle("a", "b")
    bot = next(name for name, node in cluster.preferred("a", "b").items() if node == "b")
    cluster.say(bot, "first", "kill b")
    assert cluster.hear(bot, 2) == [("b", "first"), ("b", "kill b")]
    cluster.nodes["b"].kill()
    cluster.say(bot, "next")
    assert cluster.hear(bot, 2) == [("a", "kill b"), ("a", "next")]
    cluster.all_done()
    (repeated,) = cluster.events("update.repeated", node="a")
    assert (repeated["bot"], repeated["call"].split()[0]) == (bot, "sendMessage")


def test_a_bot_that_is_added_on_one_node_is_on_all(cluster: Cluster) -> None:
    """It runs where the cluster wants it; it is removed on another node, and gone from all."""
    cluster.start("a", "b")
    cluster.settle("a", "b")
    cluster.add_bots("extra")
    extra = cluster.bots["extra"]
    table = {"token": extra.token, "handler": "replies:handle"}
    answer = cluster.nodes["a"].ask("POST", "/api/bots", {"name": "extra", "bot": table})
    assert answer.json()["added"] == ["extra"]
    cluster.settle("a", "b")
    cluster.say("extra", "hello")
    assert cluster.hear("extra") == [(cluster.preferred("a", "b")["extra"], "hello")]
    assert cluster.nodes["b"].ask("DELETE", "/api/bots/extra").json()["removed"] == ["extra"]
    cluster.until(lambda: cluster.rows(f"SELECT owner FROM bot WHERE bot_id = {extra.id}") == [(None,)])
    cluster.until(lambda: all("extra" not in str(cluster.nodes[node].status()) for node in "ab"))
    files = [node.folder.folder.rglob("extra.toml") for node in cluster.nodes.values()]
    assert [path for found in files for path in found] == []
