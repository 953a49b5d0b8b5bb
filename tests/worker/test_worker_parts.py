"""What a handler is given: the bot, the update, the log."""

from __future__ import annotations

import copy
import json
import pickle
import resource
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

from trioworkers.errors import Retry
from trioworkers.handling.bot import Bot, Handling, WaitsTooLong
from trioworkers.handling.log import BotLog
from trioworkers.handling.update import Update
from trioworkers.records import trace_id
from trioworkers.worker import memory as memory_module

# -- waits --------------------------------------------------------------------------------------------


async def test_waits_do_not_use_up_the_handlers_time(autojump_clock):
    """Ten seconds asked for by Telegram move the deadline by ten."""
    with trio.move_on_after(30) as scope:
        handling = Handling(scope)
        await handling.wait(10)
        await handling.wait(29)
        assert trio.current_time() == 39
        assert scope.deadline == 69
        await trio.sleep(30.5)
    assert scope.cancelled_caught
    assert trio.current_time() == 69


@pytest.mark.parametrize(("asked", "waits"), [(30, True), (30.001, False), (3600, False)])
async def test_a_wait_longer_than_what_is_left_goes_back_to_the_queue(autojump_clock, asked, waits):
    """At once, as a retry after as long, which counts as no attempt."""
    with trio.move_on_after(30) as scope:
        if waits:
            await Handling(scope).wait(asked)
            assert trio.current_time() == asked
        else:
            with pytest.raises(WaitsTooLong) as caught:
                await Handling(scope).wait(asked)
            assert isinstance(caught.value, Retry)
            assert (caught.value.after, trio.current_time(), scope.deadline) == (asked, 0, 30)


async def test_waits_at_the_same_time_count_once(autojump_clock):
    """The deadline moves by what a wait adds to those that were announced already, in whatever order."""
    with trio.CancelScope(deadline=trio.current_time() + 30) as scope:
        handling = Handling(scope)
        async with trio.open_nursery() as nursery:
            for seconds in (10, 20, 20, 5):
                nursery.start_soon(handling.wait, seconds)
        assert (trio.current_time(), scope.deadline) == (20, 50)
        await trio.sleep(7)
        await handling.wait(1)
        assert scope.deadline == 51


async def test_what_is_left_is_counted_without_the_waits(autojump_clock):
    """A wait under way lends its time to no other."""
    with trio.CancelScope(deadline=trio.current_time() + 30) as scope:
        handling = Handling(scope)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(handling.wait, 20)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(WaitsTooLong):
                await handling.wait(31)


async def test_a_server_that_always_asks_to_wait_gets_an_hour(autojump_clock):
    """Then the update goes back to the queue."""
    with trio.CancelScope(deadline=trio.current_time() + 90) as scope:
        handling = Handling(scope)
        for _ in range(60):
            await handling.wait(60)
        with pytest.raises(WaitsTooLong) as caught:
            await handling.wait(60)
    assert (trio.current_time(), scope.deadline, caught.value.after) == (3600, 3690, 60)


# -- the bot ------------------------------------------------------------------------------------------


class Api:
    """A Bot API that answers with what it was asked."""

    def __init__(self):
        self.patience: list[Any] = []

    async def call(self, method, params, *, patience=None, again=None):
        self.patience.append(patience)
        return msgspec.Raw(msgspec.json.encode([method, params]))

    async def download(self, file_path):
        return file_path.encode()


def make_bot(**more):
    api = Api()
    return Bot("echo", 42, {"a": 1}, BotLog(), api, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("attribute", "method"),
    [
        ("get_me", "getMe"),
        ("send_message", "sendMessage"),
        ("answer_callback_query", "answerCallbackQuery"),
        ("set_my_default_administrator_rights", "setMyDefaultAdministratorRights"),
        ("close", "close"),
        ("sendMessage", "sendMessage"),
        ("log_out", "logOut"),
        ("a_method_of_tomorrow", "aMethodOfTomorrow"),
    ],
)
async def test_every_method_has_its_name_in_snake_case(attribute, method):
    """Also those that are not invented yet; parameters pass unchanged, `method` and `self` among them."""
    bot = make_bot()
    function = getattr(bot, attribute)
    assert function.__name__ == attribute
    assert await function(chat_id=1, text="x") == [method, {"chat_id": 1, "text": "x"}]
    assert await bot.call(method, method=2) == [method, {"method": 2}]


async def test_a_call_is_made_with_the_handlings_patience():
    """429 is waited out on the handling's account."""
    with trio.CancelScope() as scope:
        handling = Handling(scope)
        bot = make_bot(handling=handling)
        await bot.get_me()
        await bot.call("getMe")
        assert bot._api.patience == [handling, handling]
        assert await bot.download("a/b") == b"a/b"


def test_what_is_private_is_no_method():
    """So copying, pickling and asking for protocols fail as they should, instead of making calls."""
    bot = make_bot()
    assert repr(bot) == "<Bot echo 42>"
    assert (bot.name, bot.id, bot.settings) == ("echo", 42, {"a": 1})
    for name in ("_private", "__len__", "__fspath__"):
        with pytest.raises(AttributeError, match=name):
            getattr(bot, name)
    assert copy.copy(bot).id == 42
    with pytest.raises((AttributeError, TypeError, pickle.PicklingError)):
        pickle.loads(pickle.dumps(bot.get_me))  # noqa: S301 - our own bytes


# -- the update ---------------------------------------------------------------------------------------


def update(content, **more):
    body = json.dumps({"update_id": 77} | content).encode()
    given: dict[str, Any] = {"attempt": 1, "after_gap": True} | more
    return Update(body, bot_id=42, **given)


CHAT, ALICE = {"id": -100, "type": "supergroup"}, {"id": 5, "first_name": "Alice"}


@pytest.mark.parametrize(
    ("content", "kind", "chat_id", "user_id", "text"),
    [
        ({"message": {"chat": CHAT, "from": ALICE, "text": "hi"}}, "message", -100, 5, "hi"),
        ({"edited_message": {"chat": CHAT, "from": ALICE, "text": "ho"}}, "edited_message", -100, 5, "ho"),
        ({"channel_post": {"chat": CHAT, "caption": "look"}}, "channel_post", -100, None, "look"),
        ({"message": {"chat": CHAT, "from": ALICE, "photo": []}}, "message", -100, 5, None),
        (
            {"callback_query": {"from": ALICE, "message": {"chat": CHAT, "text": "menu"}, "data": "y"}},
            "callback_query",
            -100,
            5,
            None,
        ),
        ({"callback_query": {"from": ALICE, "inline_message_id": "x"}}, "callback_query", None, 5, None),
        ({"inline_query": {"from": ALICE, "query": "q"}}, "inline_query", None, 5, None),
        ({"poll": {"id": "1"}}, "poll", None, None, None),
        ({"poll_answer": {"user": ALICE}}, "poll_answer", None, 5, None),
        ({"message_reaction": {"chat": CHAT, "user": ALICE}}, "message_reaction", -100, 5, None),
        ({"my_chat_member": {"chat": CHAT, "from": ALICE}}, "my_chat_member", -100, 5, None),
        ({"mind_reading": {"text": 5}}, "mind_reading", None, None, None),
        ({}, "unknown", None, None, None),
    ],
)
def test_an_update_tells_what_it_is(content, kind, chat_id, user_id, text):
    """Kind, chat, user and text, for kinds with and without them."""
    told = update(content)
    assert (told.kind, told.chat_id, told.user_id, told.text) == (kind, chat_id, user_id, text)
    assert told.raw == {"update_id": 77} | content


def test_an_update_is_the_same_at_each_attempt():
    """Its key and trace do not change; its repr holds nothing of its content."""
    first, again = (update({"message": {"chat": CHAT, "text": "secret"}}, attempt=n) for n in (0, 3))
    assert first.idempotency_key == again.idempotency_key == "42:77"
    assert first.trace_id == again.trace_id == trace_id(42, 77)
    assert (again.attempt, again.after_gap) == (3, True)
    assert repr(again) == "<Update 42:77 message attempt=3>"


# -- the log ------------------------------------------------------------------------------------------


@pytest.fixture
def lines(capsys):
    """All that was written to standard output so far, decoded."""
    written: list[Any] = []

    def read():
        written.extend(json.loads(line) for line in capsys.readouterr().out.splitlines())
        return written

    return read


@pytest.mark.parametrize(
    ("level", "written"),
    [
        ("debug", ["debug", "info", "warn", "error", "error"]),
        ("info", ["info", "warn", "error", "error"]),
        ("warn", ["warn", "error", "error"]),
        ("warning", ["warn", "error", "error"]),
        ("error", ["error", "error"]),
    ],
)
def test_quieter_events_are_left_out(lines, level, written):
    """Also by logs that were bound to more fields."""
    for log in (BotLog(level), BotLog(level).bind(x=1)):
        before = len(lines())
        log.debug("e")
        log.info("e")
        log.warning("e")
        log.error("e")
        log.exception("e")
        assert [line["level"] for line in lines()[before:]] == written


def test_a_line_is_json_with_the_logs_fields(lines):
    """Time first, then level, event, and fields; line breaks stay inside of one line."""
    BotLog(bot="echo").bind(trace_id="ab").info("order\nplaced", order=7, who={"é": [1]})
    (line,) = lines()
    at = line.pop("at")
    assert at.endswith("Z")
    assert line == {
        "level": "info",
        "event": "order\nplaced",
        "bot": "echo",
        "trace_id": "ab",
        "order": 7,
        "who": {"é": [1]},
    }


def test_a_line_about_an_update_has_its_trace_id(lines):
    """It is worked out for lines that are written, and stays on what is bound to more fields."""
    asked = []

    class Traced:
        @property
        def trace_id(self):
            asked.append(1)
            return "ab" * 16

    log = BotLog("info", bot="echo").about(Traced())
    log.debug("quiet")
    assert not asked
    log.bind(order=7).info("placed")
    (line,) = lines()
    assert (line["bot"], line["trace_id"], line["order"]) == ("echo", "ab" * 16, 7)


def test_fields_may_have_any_name_and_replace_each_other(lines):
    """Those that the log itself has or uses are no exception."""
    log = BotLog(bot="echo").bind(bot="other", level="x", self=1)
    log.info("e", order=1, event="f")
    (line,) = lines()
    assert (line["bot"], line["self"], line["order"]) == ("other", 1, 1)


def test_an_exception_is_logged_without_what_it_says(lines):
    """Type, place and traceback; and without one there is no error field."""
    words = "what the user wrote"
    try:
        raise ValueError(words)
    except ValueError:
        BotLog().exception("failed", order=1)
    BotLog().exception("no exception")
    failed, none = lines()
    assert failed["error"].startswith("ValueError at test_worker_parts.py:")
    assert failed["traceback"].endswith(": raise ValueError(words)")
    assert "error" not in none
    assert "user wrote" not in json.dumps([failed, none])


class Unspeakable:
    def __str__(self):
        raise RuntimeError


@pytest.mark.parametrize(
    "value",
    [object(), {1, 2}, b"x", float("nan"), 2**100, {(1, 2): 3}, "\ud800", Unspeakable(), ValueError("x")],
)
def test_whatever_is_logged_the_handler_goes_on(lines, value):
    """A line about it is written; nothing is raised."""
    BotLog().info("e", value=value)
    assert lines()[0]["event"] == "e"


# -- memory -------------------------------------------------------------------------------------------


async def test_memory_is_measured_again_only_when_the_process_may_have_grown(autojump_clock, monkeypatch):
    """Without page faults the kernel is not asked to add up pages; with many it is, at the interval."""
    faults, measured = [100], iter([50, 60])
    monkeypatch.setattr(memory_module, "_proportional_share", lambda: next(measured))
    monkeypatch.setattr(resource, "getrusage", lambda _: SimpleNamespace(ru_minflt=faults[0]))
    page, memory = resource.getpagesize(), memory_module.Memory()
    assert memory.share(5) == 100 * page
    faults[0] += memory_module.SLACK // page
    assert memory.share(5) == 100 * page
    await trio.sleep(5)
    assert memory.share(5) == 50
    await trio.sleep(5)
    assert memory.share(5) == 50
    faults[0] += memory_module.SLACK // page + 1
    await trio.sleep(5)
    assert memory.share(5) == 60
