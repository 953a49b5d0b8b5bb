"""Dialogs with operators in a cluster: they follow their bots, and operators work on any node."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from cluster_scene import Cluster, cluster_of
from postgres_server import Server, own_server

from trioworkers.testing import faults

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUIET = {"queued_text": "", "assigned_text": "", "released_text": "", "timed_out_text": ""}
HANDLER = """
async def handle(update, bot):
    if update.text:
        await bot.send_message(chat_id=update.chat_id, text=f"{bot.settings['node']}:{update.text}")
"""

server = pytest.fixture(scope="module")(own_server)


class Desk:
    """Operators who work over HTTP, each time on the node that is named.

    Args:
        cluster: the cluster.
        bot: whose dialog it is.
    """

    def __init__(self, cluster: Cluster, bot: str) -> None:
        self.cluster = cluster
        self.bot = bot
        self.id = f"{bot}:{cluster.person(bot).id}"

    def ask(self, node: str, method: str, path: str = "", body: Any = None) -> tuple[int, Any]:
        answer = self.cluster.nodes[node].ask(method, f"/api/handoffs{path}", body)
        return answer.status, answer.json()

    def do(self, node: str, action: str, **body: Any) -> Any:
        """Do something, also while the bot is on its way from one node to another."""
        found: list[Any] = []

        def done() -> bool:
            status, answer = self.ask(node, "POST", f"/{self.id}/{action}", body)
            assert status in (200, 503), answer
            found.append(answer)
            return bool(status == 200)

        self.cluster.until(done, 60.0)
        return found[-1]

    def rows(self, node: str) -> list[dict[str, Any]]:
        status, answer = self.ask(node, "GET")
        assert status == 200, answer
        return [row for row in answer["handoffs"] if row["id"] == self.id]

    def lines(self, node: str) -> list[dict[str, Any]]:
        """The transcript, also while the bot is on its way."""
        found: list[Any] = []

        def read() -> bool:
            status, answer = self.ask(node, "GET", f"/{self.id}?limit=500")
            assert status in (200, 503), answer
            found.append(answer)
            return bool(status == 200)

        self.cluster.until(read, 60.0)
        lines: list[dict[str, Any]] = found[-1]["transcript"]
        return lines

    def said(self, node: str, who: str) -> list[str]:
        return [line["text"] for line in self.lines(node) if line["who"] == who]

    def heard(self) -> list[str]:
        """All that the user has read."""
        cluster = self.cluster
        return [
            message["text"]
            for message in cluster.telegram.sent(cluster.bots[self.bot], cluster.person(self.bot).id)
        ]


@pytest.fixture
def cluster(tmp_path: Path, server: Server) -> Iterator[Cluster]:
    """Four bots, and no daemon yet."""
    with cluster_of(tmp_path, server, 4) as cluster:
        cluster.handler = HANDLER
        cluster.more = {node: {"plugins": {"handoff": QUIET}} for node in "ab"}
        yield cluster


def bot_of(cluster: Cluster, node: str, *among: str) -> str:
    """A bot that runs on this node."""
    return next(name for name, owner in cluster.preferred(*among).items() if owner == node)


def test_an_operator_goes_on_with_a_dialog_whose_node_was_killed(cluster: Cluster) -> None:
    """Nothing that either side has said is lost, repeated or out of order; the bot gets the dialog back."""
    cluster.start("a", "b")
    cluster.settle("a", "b")
    desk = Desk(cluster, bot_of(cluster, "a", "a", "b"))
    bot = desk.bot
    cluster.say(bot, "hi")
    assert cluster.hear(bot) == [("a", "hi")]
    cluster.say(bot, "/operator", "one")
    cluster.until(lambda: [row["unanswered"] for row in desk.rows("b")] == [2])
    assert [(row["state"], row["node"]) for row in desk.rows("a")] == [("queued", "a")]
    taken = desk.do("b", "take", operator="Olga", expected="")
    assert (taken["state"], taken["operator"]) == ("assigned", "api:Olga")
    assert desk.do("a", "say", operator="Olga", text="good day", key="k1")["delivered"]
    assert desk.do("b", "say", operator="Olga", text="good day", key="k1")["repeated"]
    cluster.say(bot, "two")
    cluster.until(lambda: desk.said("b", "user")[-1] == "two")

    cluster.nodes["a"].kill()
    cluster.say(bot, "three")
    cluster.until(lambda: desk.rows("b"))  # from the storage, or from its next node
    cluster.until(lambda: cluster.owners()[bot] == "b")
    assert desk.do("b", "say", operator="Olga", text="still here", key="k2", expected="api:Olga")["delivered"]
    cluster.until(lambda: desk.said("b", "user")[-1] == "three")
    assert desk.do("b", "say", operator="Olga", text="bye", key="k3")["delivered"]
    assert desk.do("b", "release")["state"] in ("closing", "bot")
    cluster.until(lambda: desk.rows("b") == [])
    cluster.say(bot, "thanks")
    cluster.until(lambda: desk.heard()[-1] == "b:thanks")
    assert desk.heard() == ["a:hi", "good day", "still here", "bye", "b:thanks"]
    assert desk.said("b", "user") == ["/operator", "one", "two", "three"]
    assert desk.said("b", "operator") == ["good day", "still here", "bye"]
    kinds = [line["kind"] for line in desk.lines("b") if line["who"] == "desk"]
    assert kinds == ["requested", "assigned", "closing", "returned"]
    cluster.all_done()
    assert cluster.events("plugin.failed", "plugin.disabled") == []


def test_words_that_a_killed_node_may_have_sent_are_sent_again_and_marked(cluster: Cluster) -> None:
    """Telegram has them, and nobody heard of that: the transcript says that the user may read them twice."""
    cluster.start("a", "b")
    cluster.settle("a", "b")
    desk = Desk(cluster, bot_of(cluster, "a", "a", "b"))
    cluster.say(desk.bot, "/operator")
    cluster.until(lambda: len(desk.rows("a")) == 1)
    desk.do("a", "take", operator="Olga")
    sim = cluster.bots[desk.bot]
    cluster.telegram.add_fault(faults.hang(60.0), method="sendMessage", bot=sim, times=1)
    assert desk.do("b", "say", operator="Olga", text="my words", key="k1")["delivered"] is None
    assert desk.heard() == ["my words"]
    cluster.nodes["a"].kill()
    cluster.until(lambda: desk.heard() == ["my words", "my words"])
    cluster.until(lambda: "repeated" in [line["kind"] for line in desk.lines("b")])
    (repeated,) = [line for line in desk.lines("b") if line["kind"] == "repeated"]
    (words,) = [line for line in desk.lines("b") if line["who"] == "operator"]
    assert repeated["source"] == words["source"] == "say.k1"
    assert desk.do("b", "say", operator="Olga", text="my words", key="k1")["repeated"]
    assert desk.heard() == ["my words", "my words"]


def test_dialogs_go_along_with_bots_that_are_moved(cluster: Cluster) -> None:
    """While both sides talk, on both nodes: all is said once, in order, and nothing is in doubt."""
    cluster.start("a", "b")
    cluster.settle("a", "b")
    desk = Desk(cluster, bot_of(cluster, "a", "a", "b"))
    cluster.say(desk.bot, "/operator")
    cluster.until(lambda: len(desk.rows("a")) == 1)
    desk.do("a", "take", operator="Olga")
    words = []
    for number in range(40):
        if number % 10 == 5:
            to = "b" if number % 20 == 5 else "a"
            assert cluster.nodes["a"].ask("POST", f"/api/bots/{desk.bot}/move", {"node": to}).status == 200
        cluster.say(desk.bot, f"u{number}")
        words.append(f"o{number}")
        desk.do("ab"[number % 2], "say", operator="Olga", text=words[-1], key=f"k{number}")
        time.sleep(0.05)
    cluster.until(lambda: len(desk.heard()) == len(words))
    assert desk.heard() == words
    cluster.until(lambda: desk.said("a", "user")[-1] == "u39")
    assert desk.said("b", "user") == ["/operator", *(f"u{number}" for number in range(40))]
    assert desk.said("a", "operator") == words
    kinds = [line["kind"] for line in desk.lines("a") if line["who"] == "desk"]
    assert kinds == ["requested", "assigned"]
    assert len({epoch for epoch in cluster.epochs().values()}) > 1
    assert cluster.events("lease.lost", "update.repeated", "plugin.failed", "plugin.disabled") == []


def test_operators_of_one_group_have_dialogs_of_bots_on_all_nodes(cluster: Cluster) -> None:
    """The group's bot runs on one node, the bot of the dialog on the other, which is then killed."""
    wanted = cluster.preferred("a", "b")
    front = next(name for name, node in wanted.items() if node == "b")
    bot = next(name for name, node in wanted.items() if node == "a")
    telegram, sim = cluster.telegram, cluster.bots
    anna = telegram.add_user("Anna")
    group = telegram.add_group("Operators", [anna], admins=[sim[front]], forum=True)
    settings = {**QUIET, "group": group.id, "desk": front, "bots": [bot]}
    cluster.more = {node: {"plugins": {"handoff": settings}} for node in "ab"}
    cluster.start("a", "b")
    cluster.settle("a", "b")
    desk = Desk(cluster, bot)

    def shown() -> list[str]:
        """What is in the group."""
        return [message.get("text", "") for message in telegram.sent(sim[front], group.id)]

    def answer(text: str) -> None:
        (thread,) = telegram.do(lambda: list(group.chat.topics))
        telegram.do(lambda: anna.send(sim[front], text, group=group, thread_id=thread))

    cluster.say(bot, "/operator", "please")
    cluster.until(lambda: "please" in shown())
    answer("good day")
    cluster.until(lambda: desk.heard() == ["good day"])
    cluster.until(lambda: [row["waiting"] for row in desk.rows("b")] == [0])  # that it was sent is noted
    cluster.nodes["a"].kill()
    answer("still here")
    cluster.say(bot, "thanks")
    cluster.until(lambda: desk.heard() == ["good day", "still here"], 60.0)
    cluster.until(lambda: "thanks" in shown(), 60.0)
    answer("/close")
    cluster.until(lambda: desk.rows("b") == [], 60.0)
    assert desk.said("b", "user") == ["/operator", "please", "thanks"]
    assert desk.said("b", "operator") == ["good day", "still here"]
    assert not any("twice" in text for text in shown())
    cluster.all_done()
