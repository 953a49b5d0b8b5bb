"""The calls of a handling: what is recorded, what is answered from the record, what is made again."""

from __future__ import annotations

import os
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path
from types import MappingProxyType

import msgspec
import pytest
import trio
import trio.testing

from trioworkers.botapi.errors import BotApiError, TransportError
from trioworkers.botapi.files import InputFile
from trioworkers.handling.bot import Bot, Handling
from trioworkers.handling.calls import Calls
from trioworkers.protocol.frames import KEY_LENGTH, Called, Calling, Recorded


class Mode(Enum):
    HTML = "HTML"


class Chat(IntEnum):
    OPS = -100123


class Text(str):
    __slots__ = ()


GONE = TransportError("sendMessage", "the connection ended")


class Handled:
    """Handlings of one update, one after the other, with a Bot API that counts and a daemon that records."""

    def __init__(self):
        self.count: Counter[str] = Counter()
        self.failures: list[Exception] = []
        self.record: dict[str, bytes | None] = {}
        self.frames: list[Calling | Called] = []
        self.too_early = 0
        self.flushed = 0
        self.number = 0
        self.handle_again()

    def handle_again(self, **bounds):
        """Handle it again."""
        self.number += 1
        recorded = [
            Recorded(key, False) if answer is None else Recorded(key, True, msgspec.Raw(answer))
            for key, answer in self.record.items()
        ]
        self.calls = Calls(recorded, self, **bounds)
        self.bot = Bot("b", 1, {}, None, self, Handling(trio.CancelScope(), self.calls))  # type: ignore[arg-type]

    def send(self, frame):
        assert frame.delivery == self.number
        self.frames.append(frame)
        if isinstance(frame, Calling):
            self.record.setdefault(frame.key, None)
        elif frame.made:
            self.record[frame.key] = bytes(frame.answer)
        else:
            del self.record[frame.key]

    async def begin(self, key):
        self.send(Calling(self.number, key))
        await self.flush()

    def made(self, key, answer):
        self.send(Called(self.number, key, made=True, answer=answer))

    def not_made(self, key):
        self.send(Called(self.number, key, made=False))

    async def flush(self):
        await trio.lowlevel.checkpoint()
        self.flushed = len(self.frames)

    def turn(self, method, params, caller):
        """Nothing is limited."""

    async def call(self, method, params, *, patience, again):
        """The Bot API."""
        shown = f"{method} {params.get('text', '')}".strip()
        self.count[shown] += 1
        heard_of = sum(isinstance(frame, Calling) for frame in self.frames[: self.flushed])
        self.too_early += heard_of < self.count.total()
        await trio.lowlevel.checkpoint()
        if self.failures:
            raise self.failures.pop(0)
        return msgspec.Raw(msgspec.json.encode({"text": params.get("text"), "n": self.count.total()}))


@pytest.fixture
def handled():
    return Handled()


async def test_a_call_that_is_not_awaited_is_named(handled):
    """Python says it: coroutine 'Bot.send_message' was never awaited."""
    with pytest.warns(RuntimeWarning, match=r"coroutine 'Bot\.send_message' was never awaited"):
        handled.bot.send_message(chat_id=1, text="x")


async def test_the_same_call_is_answered_from_the_record(handled):
    """The second handling gets the first one's answer, and nothing is made or told."""
    first = await handled.bot.send_message(chat_id=1, text="hi")
    handled.handle_again()
    told = len(handled.frames)
    assert await handled.bot.call("sendMessage", chat_id=1, text="hi", reply_markup=None) == first
    assert handled.count == {"sendMessage hi": 1}
    assert len(handled.frames) == told


async def test_a_call_with_other_parameters_is_made(handled):
    """Another text, chat or method is another message; the recorded one is named as not made."""
    await handled.bot.send_message(chat_id=1, text="hi")
    handled.handle_again()
    await handled.bot.send_message(chat_id=1, text="ho")
    await handled.bot.send_message(chat_id=2, text="hi")
    await handled.bot.send_photo(chat_id=1, text="hi")
    assert handled.count == {"sendMessage hi": 2, "sendMessage ho": 1, "sendPhoto hi": 1}
    assert handled.calls.unmade() == ["sendMessage 1"]


async def test_sibling_tasks_may_call_in_any_order(handled):
    """What ran as 0…9 and runs as 9…0 gets each its own answer."""
    answers: list[dict[int, int]] = []

    async def say(bot, number, got):
        got[number] = (await bot.send_message(chat_id=1, text=str(number)))["n"]

    for order in (range(10), reversed(range(10))):
        got: dict[int, int] = {}
        async with trio.open_nursery() as nursery:
            for number in order:
                nursery.start_soon(say, handled.bot, number, got)
        answers.append(got)
        handled.handle_again()
    assert answers[0] == answers[1]
    assert handled.count.total() == 10


async def test_equal_calls_are_counted(handled):
    """A message that is meant twice is sent twice, and a third one in the next handling is new."""
    for _ in range(2):
        await handled.bot.send_message(chat_id=1, text="hi")
    handled.handle_again()
    for _ in range(3):
        await handled.bot.send_message(chat_id=1, text="hi")
    assert handled.count == {"sendMessage hi": 3}


async def test_once_holds_across_parameters(handled):
    """Named once, it is made once, whatever its text is the second time."""
    first = await handled.bot.call("sendMessage", once="answer", chat_id=1, text="hi")
    handled.handle_again()
    assert await handled.bot.call("sendMessage", once="answer", chat_id=1, text="ho") == first
    await handled.bot.call("sendPhoto", once="answer", chat_id=1, text="ho")
    assert handled.count == {"sendMessage hi": 1, "sendPhoto ho": 1}


async def test_long_names_that_begin_alike_are_two_calls(handled):
    """A name is taken as a whole: cut off, the second message would be answered by the first and lost."""
    for name in ("x" * 300 + "a", "x" * 300 + "b", "x" * 200, "x" * 201, "\ud800" * 300):
        await handled.bot.send_message(chat_id=1, text="new", once=name)
        await handled.bot.send_message(chat_id=1, text="again", once=name)
    assert handled.count.total() == 5
    with pytest.raises(TypeError, match="once: expected a text, got int"):
        await handled.bot.send_message(chat_id=1, text="x", once=5)


async def test_once_holds_within_a_handling(handled):
    """Of two tasks that name one call the second waits for the first, and takes over when it fails."""
    handled.failures.append(BotApiError("sendMessage", 400, "no"))
    got: list[object] = []

    async def say(text):
        try:
            got.append(await handled.bot.send_message(once="answer", chat_id=1, text=text))
        except BotApiError as error:
            got.append(error)

    async with trio.open_nursery() as nursery:
        for text in ("a", "b", "c"):
            nursery.start_soon(say, text)
    assert handled.count.total() == 2
    failed, second, third = got
    assert isinstance(failed, BotApiError)
    assert second == third


async def test_asking_is_never_recorded(handled):
    """Methods that begin with get are made each time: what they tell changes."""
    for _ in range(2):
        await handled.bot.get_chat(chat_id=1)
        await handled.bot.call("GETme")
        handled.handle_again()
    assert handled.count == {"getChat": 2, "GETme": 2}
    assert handled.frames == []


async def test_nothing_is_recorded_outside_of_a_handling(handled):
    """`start` has no update whose record it could be."""
    for handling in (None, Handling(trio.CancelScope())):
        bot = Bot("b", 1, {}, None, handled, handling)  # type: ignore[arg-type]
        handled.calls = None
        await bot.send_message(chat_id=1, text="hi")
    assert handled.count == {"sendMessage hi": 2}
    assert handled.frames == []


async def test_a_refused_call_is_not_recorded(handled):
    """400 is no answer to keep: the next handling makes the call."""
    handled.failures.append(BotApiError("sendMessage", 400, "no"))
    with pytest.raises(BotApiError):
        await handled.bot.send_message(chat_id=1, text="hi")
    assert handled.frames[-1] == Called(1, handled.frames[0].key, made=False)
    assert handled.record == {}
    handled.handle_again()
    await handled.bot.send_message(chat_id=1, text="hi")
    assert handled.count == {"sendMessage hi": 2}


async def test_a_failure_on_the_way_is_unknown(handled):
    """It may have been made: the record keeps the question, and the next handling makes it again."""
    handled.failures.append(GONE)
    with pytest.raises(TransportError):
        await handled.bot.send_message(chat_id=1, text="hi")
    assert list(handled.record.values()) == [None]
    handled.handle_again()
    await handled.bot.send_message(chat_id=1, text="hi")
    assert handled.count == {"sendMessage hi": 2}


@pytest.mark.parametrize("failure", [GONE, BotApiError("sendMessage", 500, "no")])
async def test_what_a_handler_tries_again_is_the_same_message(handled, failure):
    """Its own second try has the number of the first: the next handling, which needs one, repeats none."""
    handled.failures.append(failure)
    with pytest.raises(type(failure)):
        await handled.bot.send_message(chat_id=1, text="hi")
    await handled.bot.send_message(chat_id=1, text="hi")
    handled.handle_again()
    await handled.bot.send_message(chat_id=1, text="hi")
    assert handled.count == {"sendMessage hi": 2}


@pytest.mark.parametrize(("code", "known"), [(400, True), (499, True), (500, False), (502, False)])
async def test_a_server_that_broke_may_have_made_the_call(handled, code, known):
    """A refusal says that it was not; a 5xx leaves it open, as no answer does."""
    handled.failures.append(BotApiError("sendMessage", code, "no"))
    with pytest.raises(BotApiError):
        await handled.bot.send_message(chat_id=1, text="hi")
    assert list(handled.record.values()) == ([] if known else [None])


async def test_a_call_that_its_handler_gave_up_is_unknown(handled, autojump_clock):
    """Cancelled while it was under way; the handler's second try answers the question."""
    ends = trio.Event()
    call = handled.call

    async def hang(*args, **options):
        await ends.wait()

    handled.call = hang
    with trio.move_on_after(1):
        await handled.bot.send_message(chat_id=1, text="hi")
    assert list(handled.record.values()) == [None]
    handled.call = call
    await handled.bot.send_message(chat_id=1, text="hi")
    assert len(handled.record) == 1
    assert None not in handled.record.values()


async def test_no_call_is_made_before_its_key_has_left_the_process(handled):
    """A worker killed in the middle of a call leaves its key behind, in the channel at least."""
    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(lambda text: handled.bot.send_message(chat_id=1, text=text), str(number))
    assert handled.count.total() == 20
    assert handled.too_early == 0

    class GoneDaemon(Handled):
        async def begin(self, key):
            raise trio.BrokenResourceError

    orphan = GoneDaemon()
    with pytest.raises(trio.BrokenResourceError):
        await orphan.bot.send_message(chat_id=1, text="hi")
    assert orphan.count.total() == 0


async def test_in_a_second_handling_answers_leave_the_process_at_once(handled):
    """A handler that ends its process right after a call repeats it once, not in every handling."""
    await handled.bot.send_message(chat_id=1, text="hi")
    assert handled.flushed == 1, "of a first handling only the key is waited for"
    handled.record = dict.fromkeys(handled.record)  # the answer never left
    handled.handle_again()
    await handled.bot.send_message(chat_id=1, text="hi")
    assert handled.flushed == len(handled.frames) == 4
    assert list(handled.record.values()) != [None]
    handled.handle_again()
    await handled.bot.send_message(chat_id=1, text="hi")
    assert handled.count == {"sendMessage hi": 2}


async def test_what_outlives_the_outcome_is_not_recorded(handled):
    """A task in the background may go on calling; the update is done by then."""
    await handled.bot.send_message(chat_id=1, text="hi")
    handled.calls.close()
    told = len(handled.frames)
    await handled.bot.send_message(chat_id=1, text="late")
    assert len(handled.frames) == told
    assert handled.count["sendMessage late"] == 1


async def test_recorded_calls_that_are_not_made_are_named(handled):
    """By method and chat, never by what they said."""
    await handled.bot.send_message(chat_id=1, text="secret")
    await handled.bot.call("sendMessage", once="secret", chat_id=2, text="x")
    handled.handle_again()
    assert handled.calls.unmade() == ["sendMessage 1", "sendMessage"]
    await handled.bot.send_message(chat_id=1, text="secret")
    assert handled.calls.unmade() == ["sendMessage"]


async def test_what_is_kept_of_an_update_is_bounded(handled):
    """Past the bound calls are made and not recorded, so each handling makes them; those before are not."""
    for _ in range(2):
        handled.handle_again(most=300)
        for number in range(10):
            await handled.bot.send_message(chat_id=1, text=str(number))
    kept = sum(len(key) + len(answer or b"") for key, answer in handled.record.items())
    assert 300 < kept < 500
    assert handled.count["sendMessage 0"] == 1
    assert handled.count["sendMessage 9"] == 2


async def test_an_upload_is_known_by_its_content(handled, tmp_path):
    """The same bytes or file are the same upload, others are not; one that cannot be read is refused."""
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"one")

    async def send():
        handled.handle_again()
        await handled.bot.send_photo(chat_id=1, photo=InputFile(b"one"))
        await handled.bot.send_media_group(chat_id=1, media=[{"media": InputFile(path)}])

    await send()
    await send()
    assert handled.count.total() == 2
    path.write_bytes(b"two!")
    os.utime(path, ns=(1, 1))
    await send()
    assert handled.count == {"sendPhoto": 1, "sendMediaGroup": 2}
    path.unlink()
    with pytest.raises(FileNotFoundError):
        await send()


@pytest.mark.parametrize(
    "value",
    [
        timedelta(hours=1),
        datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC),
        Decimal("0.5"),
        Mode.HTML,
        Text("x"),
        MappingProxyType({"a": timedelta(hours=1)}),
        {"type": "x", "until": [timedelta(hours=1), None]},
        MappingProxyType({"media": InputFile(b"x")}),
    ],
)
async def test_a_value_that_is_converted_is_the_same_call_in_each_handling(handled, autojump_clock, value):
    """A timedelta stands for another moment each time, and the member is restricted once all the same."""
    for _ in range(3):
        await handled.bot.restrict_chat_member(chat_id=1, text="x", value=value)
        await trio.sleep(100)
        handled.handle_again()
    await handled.bot.restrict_chat_member(chat_id=1, text="x", value="another")
    assert handled.count == {"restrictChatMember x": 2}


async def test_a_chat_that_an_enum_names_is_recorded_by_its_id(handled):
    """Keys are shown to people."""
    await handled.bot.send_message(chat_id=Chat.OPS, text="x")
    assert handled.frames[0].key.startswith("sendMessage -100123 ")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (object(), "text.a: expected what JSON can hold, or an InputFile, got object"),
        (Path("x"), r"text.a: expected InputFile\(path\) for a file, or a text, got PosixPath"),
        (
            MappingProxyType({"b": object()}),
            "text.a.b: expected what JSON can hold, or an InputFile, got object",
        ),
    ],
)
async def test_what_cannot_be_sent_is_refused(handled, value, words):
    """What nobody can express is the handler's mistake, named by parameter and type; nothing is recorded."""
    with pytest.raises(TypeError, match=words):
        await handled.bot.send_message(chat_id=1, text={"a": value})
    assert handled.count.total() == 0
    assert handled.frames == []


async def test_keys_fit_into_their_frame(handled):
    """However long method, chat and name are."""
    long = "ä" * 3000
    await handled.bot.call(long, chat_id=long, text="x")
    await handled.bot.call(long, once=long, chat_id=1, text="x")
    await handled.bot.call("sendMessage", chat_id="@a b", text="x")
    assert all(0 < len(frame.key) <= KEY_LENGTH for frame in handled.frames)


# -- values that are remembered ----------------------------------------------------------------------


class Makes:
    """A service that answers something else each time; None where it fails."""

    def __init__(self, *values):
        self.values, self.count = list(values), 0

    async def __call__(self):
        self.count += 1
        await trio.lowlevel.checkpoint()
        value = self.values.pop(0)
        if isinstance(value, Exception):
            raise value
        return value


@pytest.mark.parametrize("value", [{"a": [1, None]}, None, [], "text"])
async def test_a_remembered_value_is_made_once(handled, value):
    """The next handling gets what the first one got, None included."""
    make = Makes(value, "another")
    assert await handled.bot.remember("answer", make) == value
    handled.handle_again()
    assert await handled.bot.remember("answer", make) == value
    assert make.count == 1
    assert handled.calls.unmade() == []


@pytest.mark.parametrize(
    ("value", "odd"),
    [
        (float("nan"), "NaN or infinity"),
        ({"a": [1.5, {"b": float("-inf")}]}, "NaN or infinity"),
        (b"secret", "bytes"),
        ([{"image": bytearray(b"secret")}], "bytearray"),
    ],
)
async def test_a_value_that_would_come_back_as_another_is_refused(handled, value, odd):
    """NaN as None, bytes as base64: it is named, and nothing is recorded."""
    with pytest.raises(
        TypeError, match=f"remember 'answer': expected a value that JSON can express, got {odd}"
    ):
        await handled.bot.remember("answer", Makes(value))
    assert handled.record == {}


async def test_a_value_that_could_not_be_made_is_made_in_the_next_handling(handled):
    """What failed on the way may have reached the other side: it is on record as begun."""
    make = Makes(GONE, 7)
    with pytest.raises(TransportError):
        await handled.bot.remember("answer", make)
    assert [*handled.record.values()] == [None]
    handled.handle_again()
    assert await handled.bot.remember("answer", make) == 7


async def test_a_value_is_on_record_before_the_calls_that_follow_from_it(handled):
    """Else an end in between could leave calls of an answer that nobody knows any more."""
    await handled.bot.remember("answer", Makes("hi"))
    await handled.bot.send_message(chat_id=1, text="hi")
    kinds = [type(frame).__name__ for frame in handled.frames]
    assert kinds == ["Calling", "Called", "Calling", "Called"]
    assert "remember" in handled.frames[1].key


async def test_a_forgotten_value_is_made_anew(handled):
    """In this handling and in later ones; one that is never asked for again counts as no call unmade."""
    make = Makes(1, 2, 3)
    handled.bot.forget("answer")
    assert handled.frames == []
    assert await handled.bot.remember("answer", make) == 1
    handled.bot.forget("answer")
    assert await handled.bot.remember("answer", make) == 2
    handled.bot.forget("answer")
    handled.handle_again()
    assert handled.calls.unmade() == []
    assert await handled.bot.remember("answer", make) == 3
    handled.handle_again()
    assert await handled.bot.remember("answer", make) == 3


async def test_what_is_not_recorded_is_made_each_time():
    """With `replay_safe = false`, and outside of a handling."""
    make = Makes(1, 2, 3)
    for handling in (None, Handling(trio.CancelScope())):
        bot = Bot("b", 1, {}, None, None, handling)  # type: ignore[arg-type]
        await bot.remember("answer", make)
        bot.forget("answer")
    assert make.count == 2
