"""dedup: what came twice is dropped, what a user says twice is not."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trioworkers_plugins import dedup

from trioworkers.arrivals import read_update
from trioworkers.events import Events
from trioworkers.inbox.gate import Dropped, Gate, Stored
from trioworkers.inbox.inbox import open_inbox
from trioworkers.inbox.memory import MemoryStore
from trioworkers.inbox.sqlite.store import open_sqlite
from trioworkers.plugins import Origin, Plugins
from trioworkers.plugins.inline import InlineHooks
from trioworkers.plugins.watchdog import Watchdog

BOT: Any = SimpleNamespace(name="echo", bot_id=7, settings={})
CHAT, SENDER = {"id": 5, "type": "private"}, {"id": 9, "is_bot": False, "first_name": "A"}


def message(number=1, text="ok", kind="message", **fields):
    return {kind: {"message_id": number, "chat": CHAT, "from": SENDER, "text": text, **fields}}


def pressed(query, data="yes", number=1):
    return {"callback_query": {"id": query, "from": SENDER, "data": data, **message(number)}}


class Deduplicated:
    """A gate behind the plugin."""

    def __init__(self, inbox, **settings):
        self.plugins = Plugins()
        self.plugins.add("dedup", dedup, Origin("a test"))
        (self.plugin,) = self.plugins.found
        self.events: list[Any] = []
        events = Events(self.events.append, least="info")
        self.plugin.connect(events, None)
        self.set(**settings)
        hooks = InlineHooks(self.plugins, Watchdog(print))
        self.gate = Gate("echo", 7, inbox, events, hooks.judges(lambda: BOT))
        self.number = 0

    def set(self, **settings):
        fleet: Any = SimpleNamespace(plugins={"dedup": settings})
        self.plugin.retune(fleet, dedup.Settings.model_validate(settings))

    async def comes(self, content):
        self.number += 1
        body = json.dumps({"update_id": self.number, **content}).encode()
        (answer,) = await self.gate.offer([read_update(body)])
        return answer


@pytest.fixture(params=["memory", "sqlite"])
async def inbox(request, tmp_path):
    clock = SimpleNamespace(now=1000.0)
    store = MemoryStore() if request.param == "memory" else open_sqlite(tmp_path / "inbox.db")
    async with open_inbox(store, clock=lambda: clock.now) as opened:
        opened.test_clock = clock  # type: ignore[attr-defined]
        yield opened


DROPPED = Dropped(dedup.REASON, "warn")


async def test_a_message_that_comes_under_another_update_id_is_dropped(inbox):
    """It is warned of, without its text."""
    gate = Deduplicated(inbox)
    assert await gate.comes(message(1, "my secret")) == Stored()
    assert await gate.comes(message(1, "my secret")) == DROPPED
    (event,) = gate.events
    assert (event.event, event.level, event.fields["reason"]) == ("update.dropped", "warn", dedup.REASON)
    assert "secret" not in str(event)


async def test_what_a_user_says_twice_is_no_duplicate(inbox):
    """A second "ok" is another message; in `content` mode it is a repetition."""
    gate = Deduplicated(inbox)
    assert [await gate.comes(message(number)) for number in (1, 2)] == [Stored(), Stored()]
    gate.set(by="content")
    answers = [await gate.comes(message(number)) for number in (3, 4)]
    assert answers == [Stored(), Dropped(dedup.SAID_REASON, "warn")]
    assert await gate.comes(message(5, "another")) == Stored()


async def test_edits_and_presses_are_told_apart(inbox):
    """A message, its edits and each press of its buttons are different updates."""
    gate = Deduplicated(inbox)
    contents = [
        message(1),
        message(1, kind="edited_message", edit_date=50),
        message(1, kind="edited_message", edit_date=51),
        pressed("a"),
        pressed("b"),
        {"inline_query": {"id": "a", "from": SENDER, "query": "x"}},
        {"my_chat_member": {"chat": CHAT, "from": SENDER, "date": 1}},
        {"my_chat_member": {"chat": CHAT, "from": SENDER, "date": 1}},
    ]
    assert [await gate.comes(content) for content in contents] == [Stored()] * len(contents)
    again = [await gate.comes(content) for content in contents]
    assert again == [DROPPED] * 6 + [Stored(), Stored()]


async def test_the_window_ends_and_a_shorter_one_applies_at_once(inbox):
    """By the inbox's clock."""
    gate = Deduplicated(inbox, window="30s")
    assert await gate.comes(message(1)) == Stored()
    inbox.test_clock.now += 29
    assert await gate.comes(message(1)) == DROPPED
    gate.set(window="10s")
    assert await gate.comes(message(1)) == Stored()
    inbox.test_clock.now += 11
    assert await gate.comes(message(1)) == Stored()


async def test_it_survives_a_restart(tmp_path):
    """The key lies where its update lies."""
    for answer in (Stored(), DROPPED):
        async with open_inbox(open_sqlite(tmp_path / "inbox.db")) as opened:
            gate = Deduplicated(opened)
            gate.number = 0 if answer == Stored() else 100
            assert await gate.comes(message(1)) == answer


async def test_of_more_keys_than_max_entries_the_oldest_do_not_count(inbox, monkeypatch):
    """The window shrinks to what the last keys took."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(dedup, "monotonic", lambda: clock.now)
    gate = Deduplicated(inbox, max_entries=2, window="1h")

    async def comes(number):
        clock.now += 1
        inbox.test_clock.now += 1
        return await gate.comes(message(number))

    assert [await comes(number) for number in (1, 2, 3, 4)] == [Stored()] * 4
    assert await comes(4) == DROPPED
    assert await comes(1) == Stored()


def test_the_window_of_a_key_reaches_back_over_max_entries_keys():
    """Never further than the setting says, and never further than that many keys."""
    settings = dedup.Settings(max_entries=2, window=10)
    recent = dedup._Recent()
    assert [recent.window(settings, at) for at in (0.0, 1.0, 4.0, 5.0)] == [10, 10, 4, 4]
    assert recent.window(settings, 100.0) == 10
    assert len(recent) == 3
    more = dedup.Settings(max_entries=5, window=10)
    assert recent.window(more, 101.0) == 10


def test_cleaning_keeps_what_is_within_the_window():
    """Else more than max_entries keys would count."""
    settings = dedup.Settings(max_entries=5, window=10)
    recent = dedup._Recent()
    for at in (0.0, 5.0, 10.0):
        recent.window(settings, at)
    recent.clean(settings, 12.0)
    assert len(recent) == 2


async def test_the_same_words_of_two_users_are_no_duplicate(inbox):
    """In a group, both are heard; the second "ok" of one of them is not."""
    gate = Deduplicated(inbox, by="content")
    other = {"id": 10, "is_bot": False, "first_name": "B"}
    assert await gate.comes(message(1)) == Stored()
    assert await gate.comes(message(2, **{"from": other})) == Stored()
    assert isinstance(await gate.comes(message(3, **{"from": other})), Dropped)


@pytest.mark.parametrize(
    "kind", ["message", "channel_post", "business_message", "edited_message", "edited_channel_post"]
)
async def test_every_kind_of_message_has_a_key(inbox, kind):
    """Also those of channels and of business accounts."""
    gate = Deduplicated(inbox)
    assert await gate.comes(message(1, kind=kind)) == Stored()
    assert await gate.comes(message(1, kind=kind)) == DROPPED
    assert await gate.comes(message(2, kind=kind)) == Stored()


def test_an_update_that_is_nested_too_deeply_has_no_key():
    """It is let in: what cannot be read is no reason to drop it, and no failure of the plugin."""
    deep = b'{"message": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    assert dedup.message_key("message", deep) is None


async def test_memory_is_cleaned_at_its_interval(autojump_clock, monkeypatch):
    """Of keys that expired nothing stays."""
    monkeypatch.setattr(dedup, "monotonic", trio.current_time)
    settings = dedup.Settings.model_validate({"window": "30s", "clean_interval": "5m"})
    plugin: Any = SimpleNamespace(memory={}, settings=settings, wait_settings_changed=trio.sleep_forever)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(dedup.trioworkers_serve, plugin)
        for number in range(5):
            body = json.dumps({"update_id": number, **message(number)}).encode()
            update: Any = SimpleNamespace(kind="message", body=body)
            dedup.trioworkers_accept(SimpleNamespace(id=7), update, plugin)
        await trio.sleep(299)
        assert len(plugin.memory["7"]) == 5
        await trio.sleep(2)
        assert len(plugin.memory["7"]) == 0
        nursery.cancel_scope.cancel()


@given(st.binary(max_size=60), st.sampled_from(["message", "callback_query", "poll", ""]))
def test_any_body_has_a_key_or_none(body, kind):
    """Nothing of what arrives makes it raise."""
    key = dedup.message_key(kind, body)
    assert key is None or isinstance(key, str)


def test_nothing_of_a_text_is_in_a_key():
    """Keys lie in the database and may be seen; texts must not."""
    update: Any = SimpleNamespace(
        kind="message", key="5", user_id=9, text="my secret", raw=message(1, "my secret")
    )
    key = dedup.content_key(update)
    assert key is not None
    assert "secret" not in key
