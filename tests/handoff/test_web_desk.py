"""The desk over HTTP, and the verbs that use it."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from click.testing import CliRunner
from quart_trio import QuartTrio
from trioworkers_plugins import handoff
from trioworkers_plugins.handoff import commands

from trioworkers.testing import faults


class Client:
    """Asks the routes, with JSON."""

    def __init__(self, desk):
        app = QuartTrio("test")
        handoff.trioworkers_web(app=app, daemon=desk, plugin=desk.plugin)
        self._client = app.test_client()

    async def get(self, path, status=200):
        response = await self._client.get(f"/api/handoffs{path}")
        assert response.status_code == status
        return await response.get_json()

    async def post(self, path, body=None, status=200):
        response = await self._client.post(f"/api/handoffs{path}", json=body or {})
        answer = await response.get_json()
        assert response.status_code == status, answer
        return answer


@pytest.fixture
async def http(make_desk):
    desk = await make_desk(group=None)
    desk.alice.start(desk.support)
    return desk, Client(desk), f"support:{desk.alice.id}"


async def test_a_dialog_over_http_alone(http, autojump_clock):
    """Without a group: asked for, taken, spoken in, noted, given back, with its transcript."""
    desk, client, id_ = http
    await desk.settle()
    row = await client.post("", {"bot": "support", "chat_id": desk.alice.id, "reason": "vip"})
    assert (row["id"], row["state"], row["reason"]) == (id_, "queued", "api")
    await desk.user("hello?")
    assert [one["unanswered"] for one in (await client.get(""))["handoffs"]] == [1]
    row = await client.post(f"/{id_}/take", {"operator": "Olga"})
    assert (row["state"], row["operator"], row["name"]) == ("assigned", "api:Olga", "Olga")
    said = await client.post(f"/{id_}/say", {"operator": "Olga", "text": "good day"})
    assert said == {"delivered": True, "reason": None}
    await client.post(f"/{id_}/note", {"operator": "Olga", "text": "polite"})
    await client.post(f"/{id_}/release")
    await desk.settle()
    await desk.user("bye")
    assert desk.to_alice() == ["bot: /start", "good day", "bot: bye"]
    found = await client.get(f"/{id_}")
    lines = [(line["who"], line.get("text")) for line in found["transcript"] if line["who"] != "desk"]
    assert lines == [("user", "hello?"), ("operator", "good day"), ("note", "polite")]
    assert (await client.get(""))["handoffs"] == []
    assert desk.texts("support", desk.group.id) == []
    assert [action for action, _ in desk.actions_done] == [
        "handoff.start",
        "handoff.take",
        "handoff.say",
        "handoff.note",
        "handoff.release",
    ]
    assert "good day" not in repr(desk.actions_done)


async def test_a_transcript_is_read_page_by_page(http, autojump_clock):
    """`next` is where the next page begins; it is null on the last."""
    desk, client, id_ = http
    await client.post("", {"bot": "support", "chat_id": desk.alice.id})
    for number in range(5):
        await desk.user(f"line {number}")
    texts, after = [], ""
    while after is not None:
        page = await client.get(f"/{id_}?limit=2&after={after}")
        assert len(page["transcript"]) <= 2
        texts += [line["text"] for line in page["transcript"] if line["who"] == "user"]
        after = page["next"]
    assert texts == [f"line {number}" for number in range(5)]


async def test_what_cannot_be_delivered_is_told(http, autojump_clock):
    """Whoever says something learns why the user does not read it."""
    desk, client, id_ = http
    await client.post(f"/{id_}/take")
    desk.alice.block(desk.support)
    await desk.settle()
    said = await client.post(f"/{id_}/say", {"text": "hello"})
    assert said == {"delivered": False, "reason": "the user has blocked the bot"}


async def test_words_that_wait_are_told_of_as_such(http, autojump_clock):
    """After ten seconds; they are sent all the same."""
    desk, client, id_ = http
    await client.post(f"/{id_}/take")
    desk.world.faults.add(respond=faults.server_error(), method="sendMessage", times=6)
    said = await client.post(f"/{id_}/say", {"text": "hello"})
    assert said == {"delivered": None, "reason": None}
    await trio.sleep(30)
    assert desk.to_alice()[-1] == "hello"


async def test_a_ban_over_http(http, autojump_clock):
    """Nobody answers until it is lifted."""
    desk, client, id_ = http
    await desk.settle()
    assert (await client.post(f"/{id_}/ban"))["state"] == "banned"
    await desk.user("hello?")
    assert (await client.post(f"/{id_}/say", {"text": "x"}, 409))["error"].endswith("take it first")
    await client.post(f"/{id_}/take", status=409)
    await client.post("", {"bot": "support", "chat_id": desk.alice.id}, 409)
    await client.post(f"/{id_}/unban")
    await desk.settle()
    await desk.user("thanks")
    assert desk.to_alice() == ["bot: /start", "bot: thanks"]
    await client.post(f"/{id_}/unban", status=409)
    await client.post(f"/{id_}/release", status=409)


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/nobody:5/take", {}, 404, "no bot of that name"),
        ("/support/take", {}, 404, "expected BOT:CHAT_ID"),
        ("/support:-5/take", {}, 404, "expected BOT:CHAT_ID"),
        ("", {"bot": "nobody", "chat_id": 5}, 404, "no bot of that name"),
        ("", {"bot": "support", "chat_id": -5}, 400, "chat_id: expected the id of a private chat"),
        ("", {"bot": "support"}, 400, "chat_id: expected the id of a private chat"),
        ("/support:5/say", {"text": ""}, 400, "text: expected a text of 1 to 4096 characters"),
        ("/support:5/say", {"text": "x", "secret": "y"}, 400, "unknown key"),
        ("/support:5/say", {"text": "x"}, 409, "take it first"),
    ],
)
async def test_what_makes_no_sense_is_refused_in_words(http, autojump_clock, path, body, status, words):
    """What was found is not repeated: it may be what somebody wrote."""
    desk, client, _ = http
    assert words in (await client.post(path, body, status))["error"]
    assert desk.actions_done == []


async def test_a_dialog_that_never_was_is_not_found(http, autojump_clock):
    """Where there is neither a state nor a transcript."""
    _, client, _ = http
    await client.get("/support:5", 404)
    await client.get("/support:5?limit=0", 400)


async def test_without_a_service_there_are_no_handoffs(make_desk, autojump_clock):
    """The table is absent, or the states are not read yet."""
    desk = await make_desk(serve=False)
    assert "handoffs are off" in (await Client(desk).get("", 503))["error"]


@pytest.fixture
def asked(monkeypatch):
    """What verbs ask the daemon, which answers with `answer`."""

    class Asked:
        def __init__(self) -> None:
            self.calls: list[Any] = []
            self.answer: object = None

    found = Asked()

    def ask(config, path, body=None, **options):
        found.calls.append((path, body))
        return found.answer

    monkeypatch.setattr(commands, "ask_or_fail", ask)
    return found


ROW = {
    "id": "support:5", "state": "queued", "operator": None, "name": None, "reason": "command", "since": 0.0,
    "unanswered": 2,
}  # fmt: skip


def run(*words, text=""):
    return CliRunner().invoke(commands.handoff, words, input=text, obj=None)


def test_dialogs_are_listed(asked):
    """As a table, as JSON, and in words where there are none."""
    asked.answer = {"handoffs": [ROW]}
    lines = run("list").output.splitlines()
    assert lines[0].split() == ["id", "state", "operator", "since", "unanswered", "reason"]
    assert lines[1].startswith("support:5  queued  -")
    assert json.loads(run("list", "--json").output) == [ROW]
    asked.answer = {"handoffs": []}
    assert run("list").output == "no handoffs\n"


def test_a_dialog_is_taken_and_released(asked):
    """By a name, which is the user's own unless another is given."""
    asked.answer = ROW
    assert run("take", "support:5", "--as", "Olga").output == "support:5 is yours: the bot is silent in it\n"
    assert run("release", "support:5").output == "support:5 goes back to the bot\n"
    assert asked.calls == [
        ("/api/handoffs/support:5/take", {"operator": "Olga"}),
        ("/api/handoffs/support:5/release", {}),
    ]
    assert json.loads(run("release", "support:5", "--json").output) == ROW


def test_words_come_from_standard_input(asked):
    """Never from the command line; the exit code says whether they were delivered."""
    asked.answer = {"delivered": True, "reason": None}
    assert run("say", "support:5", "--as", "Olga", text="good day\n").output == "delivered\n"
    assert asked.calls == [("/api/handoffs/support:5/say", {"operator": "Olga", "text": "good day"})]
    asked.answer = {"delivered": False, "reason": "the user has blocked the bot"}
    refused = run("say", "support:5", text="x")
    assert (refused.exit_code, "blocked" in refused.output) == (1, True)
    asked.answer = {"delivered": None, "reason": None}
    assert run("say", "support:5", text="x").output == "it waits to be sent\n"
    assert run("say", "support:5", text=" ").exit_code == 2
