"""Updates of any shape: they are refused, or go all the way, past plugins with any of their settings.

Seeded and bounded; `ROUNDS=20000 SEED=7 scripts/test tests/plugins/test_updates_fuzz.py` tries more.
"""

from __future__ import annotations

import gzip
import random
import zlib
from collections import Counter
from contextlib import ExitStack
from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
from listening import ListenerThread, Peer, request
from pydantic import ValidationError
from strange import ROUNDS, SEED, damaged, mutated
from trioworkers_plugins import alerts, dedup, handoff
from trioworkers_plugins.alerts.book import AlertBook, BookState
from trioworkers_plugins.alerts.kinds import HEARD

from trioworkers.arrivals import album_of, is_broken, may_be_of_album, read_update, with_own_lane
from trioworkers.events import Events
from trioworkers.handling.update import Update
from trioworkers.inbox.gate import Dropped, Duplicate, Gate, Stored
from trioworkers.inbox.inbox import open_inbox
from trioworkers.inbox.sqlite.store import open_sqlite
from trioworkers.plugins import Origin, Plugins
from trioworkers.plugins.inline import InlineHooks
from trioworkers.plugins.watchdog import Watchdog
from trioworkers.records import Arrival, Waiting
from trioworkers.update_bounds import UpdateBoundsError, check_bounds

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import BaseModel

GROUP = -1001234567890
BOT: Any = SimpleNamespace(name="echo", bot_id=7, settings={})
USER = {"id": 5, "is_bot": False, "first_name": "A"}
CHAT = {"id": 5, "type": "private", "first_name": "A"}
FORUM = {"id": GROUP, "type": "supergroup", "title": "t", "is_forum": True}
MESSAGE = {"message_id": 1, "date": 1, "chat": CHAT, "from": USER, "text": "/operator please"}
PHOTO = [{"file_id": "a", "file_unique_id": "b", "width": 1, "height": 1}]
RICH = {
    "blocks": [
        {"type": "paragraph", "text": ["a", {"type": "bold", "text": [{"type": "url", "text": "b"}]}]},
        {"type": "list", "items": [{"label": "1.", "blocks": [{"type": "paragraph", "text": "c"}]}]},
        {"type": "table", "cells": [[{"text": "d"}, {"text": ["e"]}]], "caption": "f"},
        {"type": "photo", "photo": PHOTO, "caption": {"text": "g", "credit": "h"}},
        {"type": "details", "summary": "i", "blocks": [{"type": "formula", "expression": "j"}]},
    ]
}
CONTENTS: dict[str, Any] = {
    "message": MESSAGE,
    "edited_message": {**MESSAGE, "edit_date": 2},
    "channel_post": {
        "message_id": 2,
        "chat": {"id": -1002, "type": "channel"},
        "caption": "x",
        "photo": PHOTO,
    },
    "business_message": {**MESSAGE, "business_connection_id": "c" * 20, "rich_message": RICH},
    "guest_message": {**MESSAGE, "guest_query_id": "1"},
    "business_connection": {"id": "c" * 20, "user": USER, "user_chat_id": 5, "date": 1},
    "deleted_business_messages": {"business_connection_id": "c", "chat": CHAT, "message_ids": [1, 2]},
    "callback_query": {"id": "1", "from": USER, "message": MESSAGE, "data": "x", "chat_instance": "1"},
    "inline_query": {"id": "1", "from": USER, "query": "x", "offset": ""},
    "shipping_query": {"id": "1", "from": USER, "invoice_payload": "x"},
    "poll": {"id": "9", "question": "x", "options": [{"text": "a", "voter_count": 1}]},
    "poll_answer": {"poll_id": "9", "user": USER, "option_ids": [1]},
    "chat_member": {"chat": FORUM, "from": USER, "date": 1, "old_chat_member": {}, "new_chat_member": {}},
    "chat_join_request": {"chat": FORUM, "from": USER, "user_chat_id": 5, "query_id": "q"},
    "chat_boost": {"chat": FORUM, "boost": {"boost_id": "x", "source": {"source": "premium", "user": USER}}},
    "removed_chat_boost": {"chat": FORUM, "boost_id": "x", "source": {"source": "premium", "user": USER}},
    "message_reaction": {"chat": CHAT, "message_id": 1, "user": USER, "old_reaction": [], "new_reaction": []},
    "something_new": {"chat": {"id": 9}, "user": {"id": 8}},
}
TOPIC = {**MESSAGE, "chat": FORUM, "message_thread_id": 7, "is_topic_message": True, "media_group_id": "m"}
POST = {**MESSAGE, "direct_messages_topic": {"topic_id": 3}, "video": {"file_unique_id": "v"}, "text": None}
EXAMPLES: list[Any] = [
    *({kind: content} for kind, content in CONTENTS.items()),
    *(
        {"message": content}
        for content in (MESSAGE, TOPIC, POST, {**MESSAGE, "rich_message": RICH, "text": 1})
    ),
    {},
    {"message": MESSAGE, "poll": CONTENTS["poll"]},
]
INLINE: dict[str, Any] = {"dedup": dedup, "handoff": handoff}
ODD_SETTINGS: list[Any] = [
    *(
        0,
        1,
        -1,
        3,
        1e-9,
        0.5,
        1e308,
        float("inf"),
        float("nan"),
        2**63 - 1,
        True,
        False,
        None,
        "",
        "x",
        "1ms",
    ),
    *(
        "1s",
        "30d",
        "1e9s",
        "content",
        "message",
        "echo",
        GROUP,
        [],
        [""],
        ["echo"],
        ["/operator"],
        ["ß", "/"],
    ),
    *([5], ["\u0130"], [" "], {}, {"a": 1}, "{operator}", "{", "https://x/", ["inbox"], ["bot_failed"], 7),
]


def some_body(dice: random.Random, update_id: int) -> bytes:
    """The JSON of an update, mostly one that is nearly right."""
    example = dice.choice(EXAMPLES)
    content = mutated(dice, example) if dice.random() < 0.7 else example
    whole = {"update_id": update_id, **content} if isinstance(content, dict) else content
    if isinstance(whole, dict) and dice.random() < 0.05:
        whole["update_id"] = dice.choice([-1, 0, 2**31, 2**63, "1", 1.5, None, [], 10**30, True])
    body = msgspec.json.encode(whole)
    return damaged(dice, body) if dice.random() < 0.3 else body


class Way:
    """A gate on a real store, behind plugins whose settings change all the time, and the route after it."""

    def __init__(self, inbox: Any, dice: random.Random) -> None:
        self.dice = dice
        self.seen: Counter[str] = Counter()
        self.told: list[Any] = []
        events = Events(self.told.append, least="info")
        self.plugins = Plugins()
        for name, module in INLINE.items():
            self.plugins.add(name, module, Origin("a test"))
        for plugin in self.plugins.found:
            plugin.connect(events, None)
        hooks = InlineHooks(self.plugins, Watchdog(lambda *call: None))
        self.gate = Gate("echo", 7, inbox, events, hooks.judges(lambda: BOT))
        self.retune()
        self.route: Any = hooks.route(lambda: BOT)

    def retune(self) -> None:
        """Give the plugins other settings, good ones."""
        tables = {name: some_settings(self.dice, module) for name, module in INLINE.items()}
        fleet: Any = SimpleNamespace(plugins={name: table for name, (table, _) in tables.items()})
        for plugin in self.plugins.found:
            plugin.retune(fleet, tables[plugin.name][1])

    async def go(self, bodies: list[bytes]) -> None:
        """Take in what can be taken in, and look at it as those behind the gate do."""
        arrivals = [arrival for body in bodies if (arrival := self._read(body)) is not None]
        arrivals = [with_own_lane(one) if self.dice.random() < 0.2 else one for one in arrivals]
        for admission in await self.gate.offer(arrivals):
            assert isinstance(admission, Stored | Duplicate | Dropped)
            self.seen[type(admission).__name__] += 1
        waiting = [waiting_of(arrival) for arrival in arrivals]
        handled = [one for one in waiting if not is_broken(one)]
        self.seen["broken"] += len(waiting) - len(handled)
        for run in self.route(handled):
            self.seen["taken"] += run is not None
        for one in handled:
            look_at(one)
            assert album_of(one) is None or may_be_of_album(one)

    def _read(self, body: bytes) -> Arrival | None:
        try:
            check_bounds(body)
            return read_update(body)
        except UpdateBoundsError:
            raise AssertionError(body) from None
        except ValueError as error:
            assert len(str(error)) < 100  # noqa: PT017 - either outcome is right
            self.seen["refused"] += 1
            return None


def waiting_of(arrival: Arrival) -> Waiting:
    """As the inbox keeps it."""
    head = None if arrival.update_id % 2 else arrival
    return Waiting(1, 7, arrival.update_id, arrival.key, arrival.body, 0.0, kind=arrival.kind, head=head)


def look_at(waiting: Waiting) -> None:
    """As handlers do."""
    update = Update(waiting.body, bot_id=7, head=waiting.head)
    assert update.text is None or isinstance(update.text, str)
    assert type(update.raw) is dict
    assert update.kind == waiting.kind
    assert {type(update.chat_id), type(update.user_id)} <= {int, type(None)}
    assert len(update.trace_id) == 32
    assert f"7:{update.update_id}" in repr(update)
    assert len(update.key) < 200


def some_settings(dice: random.Random, module: Any) -> tuple[dict[str, Any], BaseModel]:
    """A table of odd values that is a good one all the same, and what the plugin makes of it."""
    model: type[BaseModel] = module.Settings
    base = {"url": "https://x/"} if "url" in model.model_fields else {}
    while True:
        keys = dice.sample(sorted(model.model_fields), dice.randrange(1, 5))
        table = {**base, **{key: dice.choice(ODD_SETTINGS) for key in keys}}
        try:
            return table, model.model_validate(table)
        except ValidationError:  # and nothing else
            continue


async def test_an_update_of_any_shape_is_refused_or_goes_all_the_way(tmp_path: Path) -> None:
    """No plugin fails, whatever its settings are; what is taken in is durable, and can be handled."""
    dice = random.Random(SEED)
    numbers = count(1)
    async with open_inbox(open_sqlite(tmp_path / "inbox.db")) as inbox:
        way = Way(inbox, dice)
        for _ in range(max(20, ROUNDS // 3)):
            await way.go([some_body(dice, next(numbers)) for _ in range(dice.choice([1, 20, 50]))])
            if dice.random() < 0.3:
                way.retune()
    for plugin in way.plugins.found:
        assert plugin.account.failures == 0, (plugin.name, [event.fields for event in way.told[-5:]])
        assert plugin.is_active
    assert min(way.seen[kind] for kind in ("refused", "broken", "taken", "Stored", "Dropped")) > 5, way.seen


def test_alerts_with_any_settings_keep_their_book() -> None:
    """Whatever happens at whatever time: what is told is finite, and a next time is a time."""
    dice = random.Random(SEED)
    told = 0
    for _ in range(ROUNDS):
        settings: Any = some_settings(dice, alerts)[1]
        book, state, now = AlertBook(settings.rules()), BookState(), 1000.0
        for _ in range(dice.randrange(12)):
            happened = [some_event(dice) for _ in range(dice.randrange(5))]
            state, notices = book.step(state, happened, now)
            told += len(notices)
            state = msgspec.json.decode(msgspec.json.encode(state), type=BookState)  # as it is stored
            assert book.next_at(state) >= 0
            now += dice.choice([-5.0, 0.0, 1.0, 60.0, 1e5])
    assert told > ROUNDS / 10


def some_event(dice: random.Random) -> Any:
    name = dice.choice(sorted(HEARD))
    fields = {key: dice.choice(ODD_SETTINGS) for key in ("reason", "plugin", "quarantine")}
    fields["problems"] = dice.choice([None, [], ["x" * 3000], ["a", "b"]])
    return SimpleNamespace(event=name, bot=dice.choice([None, "", "a", "b", "ops"]), fields=fields)


def packed(dice: random.Random, body: bytes) -> tuple[bytes, str]:
    """A body as some senders pack it, and the headers that say so."""
    match dice.randrange(8):
        case 0:
            return gzip.compress(body), "Content-Encoding: gzip\r\n"
        case 1:
            return damaged(dice, gzip.compress(body)), "Content-Encoding: gzip\r\n"
        case 2:
            return zlib.compress(b" " * dice.choice([10, 200_000]) + body), "Content-Encoding: deflate\r\n"
        case 3:
            return gzip.compress(b" " * 200_000 + body), "Content-Encoding: gzip\r\n"
        case 4 if body:  # else its end would stand there twice, and be a request of its own
            return b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body), "Transfer-Encoding: chunked\r\n"
        case _:
            return body, ""


def test_a_delivery_of_any_shape_is_answered() -> None:
    """200 when it is an update, 4xx when it is not; exactly what was answered 200 is durable."""
    dice = random.Random(SEED)
    statuses: Counter[int | None] = Counter()
    numbers = count(1)
    with ListenerThread() as server, ExitStack() as closing:
        peer: Peer | None = None
        for _ in range(4 * ROUNDS):
            body, headers = packed(dice, some_body(dice, next(numbers)))
            if peer is None:
                peer = closing.enter_context(server.peer())
            peer.send(request(body, headers=headers, bot="echo" if dice.random() < 0.97 else "other"))
            status = peer.status()
            statuses[status] += 1
            if status not in (200, 400):  # it may have left something of the body unread
                closing.close()
                peer = None
        assert statuses.keys() <= {200, 400, 404, 413, 415}, statuses
        assert statuses[200] == len(server.accepted)
        assert not server.errors
    assert min(statuses[status] for status in (200, 400, 404, 413, 415)) > 0, statuses
