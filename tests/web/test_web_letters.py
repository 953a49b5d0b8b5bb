"""Dead letters over HTTP: the real application on a real control socket, over a real inbox."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import trio
from admitting import admission_for
from quart import has_request_context

from trioworkers.arrivals import read_update
from trioworkers.breakage import Breakage
from trioworkers.events import Event, Events
from trioworkers.inbox.inbox import open_inbox
from trioworkers.inbox.sqlite.store import open_sqlite
from trioworkers.inbox.store import Purge, Replay, StoreFullError
from trioworkers.nursery.rolling import RollingRestarts
from trioworkers.plugins import Plugins
from trioworkers.records import Attempt, trace_id
from trioworkers.web.app import MARK, AppContext, make_app
from trioworkers.web.serve import Web
from trioworkers.web.sockets import UnixSocket, listen_tcp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from quart_trio import QuartTrio

    from trioworkers.inbox.inbox import Inbox
    from trioworkers.inbox.sqlite.store import SqliteStore

ECHO, GONE = 11, 99
TOKEN = "right"
SECRET = "the words of a user"


def bot(bot_id: int) -> Any:
    return SimpleNamespace(settings=SimpleNamespace(bot_id=bot_id))


@dataclass
class Clock:
    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Served:
    """What a test speaks to: the inbox, a client on each of the two ways in, and what was told."""

    inbox: Inbox
    store: SqliteStore
    control: httpx.AsyncClient
    api: httpx.AsyncClient
    told: list[Event]
    acted: trio.Event
    app: QuartTrio

    async def die(
        self, update_id: int, chat: int | None = 7, bot_id: int = ECHO, calls: tuple[str, ...] = ()
    ) -> int:
        """Let an update arrive, fail twice and die; its id."""
        place = {"chat": {"id": chat}} if chat is not None else {"from": {"id": 5}}
        kind = "message" if chat is not None else "inline_query"
        body = json.dumps({"update_id": update_id, kind: {**place, "text": SECRET}}).encode()
        await self.inbox.accept(bot_id, [read_update(body)])
        backlog = self.inbox.claim(bot_id, Breakage())
        with trio.fail_after(10):
            while (update := backlog.ordinary.take()) is None:
                await backlog.ordinary.wait_change()
            for call in calls:
                backlog.calling(update, call)
                if "lost" not in call:
                    backlog.called(update, call, b"{}")
            failure = Attempt(1_000_000.5, "ValueError in echo.py:3", ("sendMessage 7",) if calls else ())
            backlog.dead_letter(update, "failed 2 times", 2, failure)
            await self.inbox.dead_letters(limit=1)  # which is read after that is written
        return update.id

    async def listed(self, query: str = "") -> list[int]:
        answer = await self.control.get(f"/api/dlq{query}")
        assert answer.status_code == 200, answer.text
        return [letter["id"] for letter in answer.json()["letters"]]

    def actions(self) -> list[dict[str, Any]]:
        return [dict(event.fields) for event in self.told if event.event == "control.action"]


class Copies:
    """A stand-in for an inbox that backs itself up."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    async def backup(self, path: Path) -> None:
        if self.error is not None:
            raise self.error
        path.write_bytes(b"whole")


@asynccontextmanager
async def opened(folder: Path, backs_up: Copies | None = None) -> AsyncIterator[Served]:
    told: list[Event] = []
    acted = trio.Event()

    def note(event: Event) -> None:
        told.append(event)
        acted.set()

    store = open_sqlite(folder / "inbox.db")
    with (
        closing(UnixSocket(folder / "c.sock", key="k")) as control,
        listen_tcp("127.0.0.1", 0, key="k") as tcp,
    ):
        port = tcp.getsockname()[1]
        async with trio.open_nursery() as nursery, open_inbox(store, clock=Clock()) as inbox:
            app = make_app(
                AppContext(
                    admission=admission_for(TOKEN),
                    is_ready=bool,
                    status=dict,
                    inbox=inbox,
                    backs_up=backs_up or Copies(),
                    bots=lambda: {"echo": bot(ECHO), "quiet": bot(12)},
                    restarts=RollingRestarts(Events().emit),
                    backups=folder / "backups",
                    events=Events(note),
                    reloads=None,  # type: ignore[arg-type] # not asked here
                    plugins=Plugins(),
                    live=None,  # type: ignore[arg-type]
                )
            )
            web = Web(app, control=control, api=[tcp])
            await nursery.start(web.serve)
            transport = httpx.AsyncHTTPTransport(uds=str(folder / "c.sock"))
            bearer = {"Authorization": f"Bearer {TOKEN}"}
            async with (
                httpx.AsyncClient(transport=transport, base_url="http://control", timeout=20) as by_socket,
                httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=bearer, timeout=20) as by_tcp,
            ):
                yield Served(inbox, store, by_socket, by_tcp, told, acted, app)
            await web.close(3, trio.Event())


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One with a short path: a socket lies in it."""
    return tmp_path_factory.mktemp("w")


@pytest.fixture
async def served(folder: Path) -> AsyncIterator[Served]:
    async with opened(folder) as served:
        yield served


async def test_a_dead_letter_is_listed_by_what_the_contract_names(served: Served) -> None:
    """Who, where, why, how often and when, and nothing of what was said."""
    id_ = await served.die(500)
    answer = await served.control.get("/api/dlq")
    assert answer.json() == {
        "letters": [
            {
                "id": id_, "bot": "echo", "bot_id": ECHO, "chat_id": 7, "update_id": 500, "kind": "message",
                "trace_id": trace_id(ECHO, 500), "reason": "failed 2 times", "attempts": 2,
                "died_at": 1_000_000.0,
            }
        ],
        "next": None,
    }  # fmt: skip


async def test_a_letter_without_a_chat_has_none(served: Served) -> None:
    """The key that orders it is the user's id, which is no chat."""
    await served.die(1, chat=None)
    (letter,) = (await served.control.get("/api/dlq")).json()["letters"]
    assert letter["chat_id"] is None


async def test_pages_follow_each_other_without_gap_or_repeat(served: Served) -> None:
    """`next` is what the next page comes after, and null on the last."""
    ids = [await served.die(number) for number in range(5)]
    seen, after = [], 0
    while after is not None:
        page = (await served.control.get(f"/api/dlq?limit=2&after={after}")).json()
        assert len(page["letters"]) <= 2
        seen += [letter["id"] for letter in page["letters"]]
        after = page["next"]
    assert seen == ids


async def test_letters_of_a_bot_that_is_gone_are_listed_by_its_id(served: Served) -> None:
    """Their bot is null; by its id they are found and purged, never replayed: nobody would handle them."""
    mine, orphan = await served.die(1), await served.die(2, bot_id=GONE)
    letters = (await served.control.get(f"/api/dlq?bot={GONE}")).json()["letters"]
    assert [(letter["id"], letter["bot"], letter["bot_id"]) for letter in letters] == [(orphan, None, GONE)]
    for body in ({"ids": [mine, orphan]}, {"bot": str(GONE)}):
        answer = await served.control.post("/api/dlq/replay", json=body)
        assert answer.status_code == 409
        assert answer.json()["error"].startswith(f"this daemon does not run the bot with the id {GONE}")
    assert await served.listed() == [mine, orphan]
    assert (await served.control.post("/api/dlq/replay", json={"all": True})).json() == {"replayed": 1}
    assert await served.listed() == [orphan]
    assert (await served.control.post("/api/dlq/purge", json={"bot": str(GONE)})).json() == {"purged": 1}
    assert await served.listed() == []


@pytest.mark.parametrize("way", ["control", "api"])
async def test_what_was_said_is_shown_only_when_asked_for(served: Served, way: str) -> None:
    """On either way in; and nothing of it is told as an event."""
    client = served.control if way == "control" else served.api
    id_ = await served.die(1)
    plain = await client.get(f"/api/dlq/{id_}")
    assert SECRET not in plain.text + (await client.get("/api/dlq")).text
    assert "payload" not in plain.json()
    full = await client.get(f"/api/dlq/{id_}?payload=1")
    assert full.json()["payload"]["message"]["text"] == SECRET
    await client.post("/api/dlq/purge", json={"ids": [id_]})
    assert SECRET not in repr(served.told)


async def test_attempts_and_calls_are_shown(served: Served) -> None:
    """When it failed and with what; which calls are known to have been made, and which are not."""
    calls = ("sendMessage 7 0", "sendChatAction lost 0", "once sendPhoto greeting")
    id_ = await served.die(1, calls=calls)
    letter = (await served.control.get(f"/api/dlq/{id_}")).json()
    assert letter["history"] == [
        {"at": 1_000_000.5, "error": "ValueError in echo.py:3", "unknown": ["sendMessage 7"]}
    ]
    assert sorted((call["method"], call["chat_id"], call["state"]) for call in letter["calls"]) == [
        ("sendChatAction", "lost", "unknown"),
        ("sendMessage", "7", "made"),
        ("sendPhoto", None, "made"),
    ]
    assert letter["damaged"] is False
    assert letter["accepted_at"] == 1_000_000.0


async def test_a_damaged_letter_is_shown_as_such(served: Served, folder: Path) -> None:
    """Its chat is told by its key, and its body as far as it is text."""
    id_ = await served.die(1)
    await served.inbox._writer.read(
        lambda _: served.store._execute("UPDATE dead SET body = x'FF7B22' WHERE id = ?", (id_,))
    )
    letter = (await served.control.get(f"/api/dlq/{id_}?payload=1")).json()
    assert letter["damaged"] is True
    assert letter["chat_id"] == 7
    assert letter["payload"].endswith('{"')


async def test_a_replay_keeps_the_order_of_the_chat_and_bypasses_the_seen_keys(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In whatever order ids are given; the updates were accepted before, and are handled all the same."""
    ids = [await served.die(number) for number in (30, 31, 32)]
    monkeypatch.setattr("trioworkers.inbox.sweep.LETTERS_AT_ONCE", 2)  # the order holds from slice to slice
    answer = await served.control.post("/api/dlq/replay", json={"ids": [ids[2], ids[0], ids[1], ids[0]]})
    assert answer.json() == {"replayed": 3}
    backlog = served.inbox.claim(ECHO, Breakage())
    handled: list[tuple[int, int]] = []
    with trio.fail_after(10):
        while len(handled) < 3:
            update = backlog.ordinary.take()
            if update is None:
                await backlog.ordinary.wait_change()
                continue
            handled.append((update.update_id, update.attempt))
            backlog.finish(update, "done")
    assert handled == [(30, 0), (31, 0), (32, 0)]
    assert served.actions() == [
        {"action": "dlq.replay", "by": "control socket", "source": "local", "count": 3}
    ]


async def test_a_purge_by_age_takes_only_what_is_older(served: Served) -> None:
    """Of all bots or of one; the units of the fleet file are understood."""
    old = await served.die(1)  # the inbox's clock stands in 1970
    young = await served.die(2)
    await served.inbox._writer.read(
        lambda _: served.store._execute("UPDATE dead SET died_at = 9e9 WHERE id = ?", (young,))
    )
    for body, purged in (
        ({"bot": "quiet", "older_than": "1d"}, 0),
        ({"older_than": "30000d"}, 0),
        ({"older_than": "30d"}, 1),
        ({"older_than": 0, "all": True}, 0),
    ):
        assert (await served.control.post("/api/dlq/purge", json=body)).json() == {"purged": purged}
    assert old not in await served.listed()
    assert await served.listed() == [young]


async def test_who_asks_for_one_that_is_missing_gets_nothing_done(served: Served) -> None:
    """All or nothing: the answer names which are not there."""
    id_ = await served.die(1)
    for verb in ("replay", "purge"):
        answer = await served.control.post(f"/api/dlq/{verb}", json={"ids": [id_, *range(1000, 1007)]})
        assert answer.status_code == 404
        assert answer.json() == {"error": "no dead letter 1000, 1001, 1002, 1003, 1004 and 2 more"}
    for absent in (0, 1000, 2**63, 10**300):
        assert (await served.control.get(f"/api/dlq/{absent}")).status_code == 404
    assert await served.listed() == [id_]
    assert served.actions() == []


@pytest.mark.parametrize(
    ("method", "path", "body", "error"),
    [
        ("GET", "?limit=x", None, "limit: expected a number from 1 to 500"),
        ("GET", "?limit=501&after=-1", None, "limit: expected a number from 1 to 500; after: expected"),
        ("GET", "?nonsense=1", None, "unknown key, expected only bot, limit, after"),
        ("GET", "/1?payload=2", None, "payload: expected 0 or 1"),
        ("POST", "/replay", "", "expected exactly one of ids, bot and all"),
        ("POST", "/replay", "[]", "expected a JSON object"),
        ("POST", "/replay", "{", "expected a JSON object"),
        ("POST", "/replay", '{"ids": []}', "ids: expected 1 to 10,000 ids of dead letters"),
        ("POST", "/replay", '{"ids": ["1", "2"]}', "ids: expected 1 to 10,000 ids of dead letters"),
        ("POST", "/replay", '{"ids": [0]}', "ids: expected numbers from 1 to"),
        ("POST", "/replay", '{"ids": [9223372036854775808]}', "ids: expected numbers from 1 to"),
        ("POST", "/replay", '{"ids": [1], "all": true}', "expected exactly one of ids, bot and all"),
        ("POST", "/replay", '{"all": false}', "all: expected true, or absent"),
        ("POST", "/replay", '{"all": true, "older_than": 1}', "unknown key, expected only ids, bot, all"),
        ("POST", "/purge", "{}", "expected exactly one of ids, bot and all, or older_than"),
        ("POST", "/purge", '{"older_than": "soon"}', 'older_than: expected seconds, or a string such'),
        ("POST", "/purge", '{"older_than": -1}', "older_than: expected seconds"),
    ],
)  # fmt: skip
async def test_a_request_that_is_wrong_is_told_what_was_expected(
    served: Served, method: str, path: str, body: str | None, error: str
) -> None:
    """400 and one line of JSON, without what was found; nothing is done."""
    id_ = await served.die(1)
    answer = await served.control.request(method, f"/api/dlq{path}", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(error)
    assert await served.listed() == [id_]


async def test_an_unknown_bot_is_answered_with_the_nearest_name(served: Served) -> None:
    """404, on every route that takes a name; a number that no id can be is a name."""
    near = {"error": "this daemon runs no bot of that name, did you mean echo"}
    answer = await served.control.get("/api/dlq?bot=ecko")
    assert (answer.status_code, answer.json()) == (404, near)
    for verb in ("replay", "purge"):
        answer = await served.control.post(f"/api/dlq/{verb}", json={"bot": "ecko"})
        assert (answer.status_code, answer.json()) == (404, near)
    for number in ("9" * 19, "0" * 5000):
        answer = await served.control.get(f"/api/dlq?bot={number}")
        assert answer.json() == {"error": "this daemon runs no bot of that name"}


async def test_over_tcp_all_of_it_wants_the_token(served: Served) -> None:
    """And is told as done by the API."""
    id_ = await served.die(1)
    bare = {"Authorization": ""}
    for method, path in [("GET", ""), ("GET", f"/{id_}"), ("POST", "/replay"), ("POST", "/purge")]:
        answer = await served.api.request(method, f"/api/dlq{path}", headers=bare, json={"all": True})
        assert answer.status_code == 401
    assert (await served.api.post("/api/dlq/purge", json={"all": True})).json() == {"purged": 1}
    assert served.actions() == [
        {"action": "dlq.purge", "by": "API token from 127.0.0.1", "source": "127.0.0.1", "count": 1}
    ]


@pytest.mark.parametrize("verb", ["replay", "purge"])
async def test_a_store_that_is_full_says_so_at_once(
    served: Served, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """503 with the reason, told as an error, and the letter stays; nobody waits until there is room."""
    id_ = await served.die(1)
    commit = served.store.commit

    def full(operations: Any) -> Any:
        if any(isinstance(operation, Replay | Purge) for operation in operations):
            raise StoreFullError("no room")
        return commit(operations)

    monkeypatch.setattr(served.store, "commit", full)
    answer = await served.control.post(f"/api/dlq/{verb}", json={"all": True})
    assert (answer.status_code, answer.json()) == (503, {"error": "no room"})
    assert served.actions() == [
        {"action": f"dlq.{verb}", "by": "control socket", "source": "local", "reason": "no room"}
    ]
    assert await served.listed() == [id_]


async def test_a_body_that_is_too_large_is_not_read(served: Served) -> None:
    """It is refused by what its head says."""
    client = served.app.test_client()  # over a socket, a reset may come before the answer
    answer = await client.post("/api/dlq/purge", data=b" " * (2**20 + 1), scope_base={MARK: True})
    assert answer.status_code == 413
    assert await answer.get_json() == {"error": "expected a body of at most 1048576 bytes"}


async def test_who_leaves_in_the_midst_of_it_is_told(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some letters may have been moved by then, and somebody may want to know why."""
    begun = trio.Event()

    async def endless(**_: Any) -> int:
        if has_request_context():  # else it is the inbox's own upkeep
            begun.set()
        await trio.sleep_forever()
        raise AssertionError

    monkeypatch.setattr(served.inbox, "purge", endless)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(served.control.post, "/api/dlq/purge", json={"all": True}))
            await begun.wait()
            nursery.cancel_scope.cancel()
        await served.acted.wait()
    (told,) = served.actions()
    assert told["reason"] == "cut off: who asked has left, or the daemon stops"


async def test_a_backup_goes_where_it_is_told(served: Served, folder: Path) -> None:
    """Into the folder of the state, into a folder, or to a path; and never over what is there."""
    made = (await served.control.post("/api/backup", json={})).json()
    assert made["bytes"] == 5
    assert made["path"].startswith(f"{folder}/backups/inbox-")
    assert (folder / "backups").stat().st_mode & 0o777 == 0o700
    path = folder / "copy.db"
    made = (await served.control.post("/api/backup", json={"path": str(path)})).json()
    assert made == {"path": str(path), "bytes": 5}
    again = await served.control.post("/api/backup", json={"path": str(path)})
    assert again.status_code == 409
    (folder / "other").mkdir()
    made = (await served.control.post("/api/backup", json={"path": str(folder / "other")})).json()
    assert made["path"].startswith(f"{folder}/other/inbox-")
    told = served.actions()
    assert told[1] == {
        "action": "backup",
        "by": "control socket",
        "source": "local",
        "path": str(path),
        "bytes": 5,
    }


@pytest.mark.parametrize("path", ["copy.db", "", "/x\0y"])
async def test_a_backup_wants_an_absolute_path(served: Served, path: str) -> None:
    """The daemon's own folder is nobody's guess."""
    answer = await served.control.post("/api/backup", json={"path": path})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("path: expected the absolute path of a new file")


async def test_a_backup_is_not_made_for_the_token(served: Served, folder: Path) -> None:
    """Who holds it may not write where the daemon may."""
    answer = await served.api.post("/api/backup", json={})
    assert answer.status_code == 403
    assert not (folder / "backups").exists()


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (PermissionError(13, "Permission denied", "/x"), 403, "/x: permission denied"),
        (OSError(28, "No space left on device"), 500, "no space left on device"),
        (StoreFullError("no room"), 500, "no room"),
    ],
    ids=["not permitted", "no room", "the store's error"],
)
async def test_a_backup_that_fails_says_why(folder: Path, error: Exception, status: int, words: str) -> None:
    """To who asked, and as an event."""
    async with opened(folder, Copies(error)) as served:
        answer = await served.control.post("/api/backup", json={})
        assert (answer.status_code, answer.json()) == (status, {"error": words})
        assert served.actions() == [
            {"action": "backup", "by": "control socket", "source": "local", "reason": words}
        ]
