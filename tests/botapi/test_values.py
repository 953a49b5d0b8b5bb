"""What the values of a call's parameters are on the wire: what they mean, or refused by name."""

from __future__ import annotations

import io
import math
import time
from array import array
from collections import UserString, deque
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

import attrs
import msgspec
import pytest

from trioworkers.botapi.client import BotApi
from trioworkers.botapi.files import InputFile
from trioworkers.botapi.parameters import LARGEST_TIME, SPANS, form_fields, split_files, unencodable
from trioworkers.handling.calls import same_key
from trioworkers.testing import Telegram, serve_telegram

NOW, NEXT = 1_700_000_000.25, 1_700_000_001  # Unix seconds


class Mode(Enum):
    HTML = "HTML"
    SOON = timedelta(minutes=1)


class Maybe(Enum):
    NOTHING = None
    ALSO = Mode.HTML


class Style(StrEnum):
    DANGER = "danger"


class Old(str, Enum):  # noqa: UP042 - as it was written before Python 3.11
    HTML = "HTML"


class Chat(IntEnum):
    OPS = -100123


class Text(str):
    __slots__ = ()

    def __str__(self):
        return "something else"


class Number(int):
    pass


class Half(float):
    pass


class Pair(NamedTuple):
    a: int
    b: int


@dataclass
class Button:
    text: str
    url: Any = None


@dataclass(slots=True)
class Row:
    buttons: list[Button]


@attrs.define
class Reaction:
    type: str
    emoji: str | None = None


class Origin(msgspec.Struct, tag="user", tag_field="type", rename={"sender": "from"}):
    sender: int
    at: timedelta | msgspec.UnsetType = msgspec.UNSET
    note: str | None = None


def sent(value, name="value"):
    """What is sent for a value: as JSON, and as the field of a form."""
    plain, files = split_files({name: value}, lambda: NOW)
    assert files == {}
    return msgspec.json.decode(msgspec.json.encode(plain))[name], form_fields(plain)[name]


LOCAL = datetime(2030, 1, 2, 3, 4, 5)


@pytest.mark.parametrize(
    ("value", "json", "field"),
    [
        (datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC), 1893553445, "1893553445"),
        (datetime(2030, 1, 2, 3, 4, 5, 999_999, tzinfo=UTC), 1893553445, "1893553445"),
        (datetime(2030, 1, 2, 5, 4, 5, tzinfo=timezone(timedelta(hours=2))), 1893553445, "1893553445"),
        (LOCAL, int(LOCAL.timestamp()), str(int(LOCAL.timestamp()))),
        (timedelta(hours=1), 1_700_003_601, "1700003601"),
        (timedelta(seconds=0.75), 1_700_000_001, "1700000001"),
        (Mode.HTML, "HTML", "HTML"),
        (Mode.SOON, 1_700_000_061, "1700000061"),
        (Style.DANGER, "danger", "danger"),
        (Old.HTML, "HTML", "HTML"),
        (Chat.OPS, -100123, "-100123"),
        (Decimal("0.1"), 0.1, "0.1"),
        (Decimal("59.33258000000000000001"), 59.33258, "59.33258000000000000001"),
        (Decimal("1E+3"), 1000, "1000"),
        (Decimal("10.00"), 10, "10"),
        (Decimal("1E-7"), 1e-7, "0.0000001"),
        (5.0, 5, "5"),
        (-0.0, 0, "0"),
        (1.5, 1.5, "1.5"),
        (True, True, "true"),
        (2**63 - 1, 2**63 - 1, "9223372036854775807"),
        (Text("x"), "x", "x"),
        (Number(7), 7, "7"),
        (Half(0.5), 0.5, "0.5"),
        (UUID(int=7), "00000000-0000-0000-0000-000000000007", "00000000-0000-0000-0000-000000000007"),
        (Pair(1, 2), [1, 2], "[1,2]"),
        (MappingProxyType({"a": 1}), {"a": 1}, '{"a":1}'),
        ({Style.DANGER: 1, Text("y"): 2}, {"danger": 1, "y": 2}, '{"danger":1,"y":2}'),
        (
            Row([Button("b", "u")]),
            {"buttons": [{"text": "b", "url": "u"}]},
            '{"buttons":[{"text":"b","url":"u"}]}',
        ),
        (Button("a"), {"text": "a"}, '{"text":"a"}'),
        (Reaction("emoji"), {"type": "emoji"}, '{"type":"emoji"}'),
        (
            Origin(5, timedelta()),
            {"type": "user", "from": 5, "at": NEXT},
            f'{{"type":"user","from":5,"at":{NEXT}}}',
        ),
        (Origin(5), {"type": "user", "from": 5}, '{"type":"user","from":5}'),
    ],
)
def test_a_value_is_sent_as_what_it_means(value, json, field):
    """As a parameter of a request with JSON or a form, and at any depth of an object."""
    assert sent(value) == (json, field)
    assert sent({"a": [value, {"b": value}]})[0] == {"a": [json, {"b": json}]}


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        (b"\x89PNG", TypeError, "expected InputFile(content) for a file, or a text, got bytes"),
        (bytearray(b"x"), TypeError, "expected InputFile(content) for a file, or a text, got bytearray"),
        (memoryview(b"x"), TypeError, "expected InputFile(content) for a file, or a text, got memoryview"),
        (Path("secret.jpg"), TypeError, "expected InputFile(path) for a file, or a text, got PosixPath"),
        (io.BytesIO(b"secret"), TypeError, "expected InputFile(content) for a file, got BytesIO"),
        ({1, 2}, TypeError, "expected a list, which has an order, got set"),
        (frozenset([1]), TypeError, "expected a list, which has an order, got frozenset"),
        (math.nan, TypeError, "expected a finite number, got NaN or infinity"),
        (math.inf, TypeError, "expected a finite number, got NaN or infinity"),
        (-math.inf, TypeError, "expected a finite number, got NaN or infinity"),
        (Decimal("NaN"), TypeError, "expected a finite number, got NaN or infinity"),
        (Decimal("-Infinity"), TypeError, "expected a finite number, got NaN or infinity"),
        (
            Decimal("1E+999999"),
            ValueError,
            "expected a Decimal of at most 30 digits on each side of its point",
        ),
        (
            Decimal("1E-999999"),
            ValueError,
            "expected a Decimal of at most 30 digits on each side of its point",
        ),
        (1e300, ValueError, "expected an integer, got a float that is too large to be exact"),
        (2**64, ValueError, "expected an integer of at most 64 bits, got a larger one"),
        (date(2030, 1, 2), TypeError, "expected a datetime, or Unix seconds, got date"),
        (datetime(2030, 1, 2).time(), TypeError, "expected a datetime, or Unix seconds, got time"),
        (time.gmtime(0), TypeError, "expected a datetime, or Unix seconds, got struct_time"),
        (datetime(2038, 1, 20, tzinfo=UTC), ValueError, "expected a time from 1970 to January 2038"),
        (datetime.max, ValueError, "expected a time from 1970 to January 2038"),
        (datetime.min, ValueError, "expected a time from 1970 to January 2038"),
        (timedelta.max, ValueError, "expected a time from 1970 to January 2038"),
        (1 + 2j, TypeError, "expected what JSON can hold, or an InputFile, got complex"),
        (Fraction(1, 3), TypeError, "expected what JSON can hold, or an InputFile, got Fraction"),
        (UserString("secret"), TypeError, "expected what JSON can hold, or an InputFile, got UserString"),
        (deque([1]), TypeError, "expected a list, got deque"),
        (array("b"), TypeError, "expected a list, got array"),
        (range(3), TypeError, "expected a list, got range"),
        ((n for n in [1]), TypeError, "expected a list, got generator"),
        ({"a": 1}.values(), TypeError, "expected a list, got dict_values"),
        (object(), TypeError, "expected what JSON can hold, or an InputFile, got object"),
        (Button, TypeError, "expected what JSON can hold, or an InputFile, got type"),
        ({1: "secret"}, TypeError, "expected texts as the names of an object's fields, got int"),
        ({None: "secret"}, TypeError, "expected texts as the names of an object's fields, got NoneType"),
        ({b"secret": 1}, TypeError, "expected texts as the names of an object's fields, got bytes"),
    ],
)
def test_what_cannot_be_sent_is_refused_by_the_name_of_its_parameter(value, error, words):
    """At any depth, with what to use; the message quotes no value."""
    with pytest.raises(error) as caught:
        split_files({"text": "x", "photo": value}, lambda: NOW)
    assert str(caught.value).startswith(f"photo: {words}")
    with pytest.raises(error) as caught:
        split_files({"reply_markup": {"inline_keyboard": [[], [{"text": "a"}, {"url": value}]]}})
    assert str(caught.value).startswith(f"reply_markup.inline_keyboard[1][1].url: {words}")
    with pytest.raises(error) as caught:
        split_files({"media": [Button("a", value)]})
    assert str(caught.value).startswith(f"media[0].url: {words}")
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__, "a traceback would show the value's path twice"


def test_a_file_is_attached_wherever_it_stands():
    """Also in objects that their classes declare."""
    plain, files = split_files(
        {"media": [Button("a", InputFile(b"1")), MappingProxyType({"b": InputFile(b"2")})]}
    )
    assert plain == {"media": [{"text": "a", "url": "attach://file0"}, {"b": "attach://file1"}]}
    assert [files[name].read() for name in ("file0", "file1")] == [b"1", b"2"]


@pytest.mark.parametrize(
    "name",
    [
        "open_period",
        "live_period",
        "subscription_period",
        "duration",
        "voice_duration",
        "cache_time",
        "timeout",
        "slow_mode_delay",
        "message_auto_delete_time",
        "video_start_timestamp",
    ],
)
def test_a_timedelta_for_a_number_of_seconds_is_that_number(name):
    """A poll that is open for five minutes is not open until 2076."""
    assert sent(timedelta(minutes=5), name) == (300, "300")
    assert sent([{name: timedelta(seconds=0.5)}])[0] == [{name: 1}]


@pytest.mark.parametrize(
    "name", ["until_date", "close_date", "expire_date", "send_date", "unix_time", "date"]
)
def test_a_timedelta_for_a_moment_is_added_to_now(name):
    """Dates of Telegram are moments."""
    assert not name.endswith(SPANS)
    assert sent(timedelta(minutes=5), name)[0] == 1_700_000_301


def test_none_is_left_out_at_every_depth():
    """A server refuses null; false, zero and what is empty are values. An Enum's value may be None, too."""
    given: dict[str, Any] = {
        "chat_id": None,
        "parse_mode": Maybe.NOTHING,
        "reply_markup": {
            "inline_keyboard": [
                [{"text": "a", "url": None, "web_app": {"url": "u", "x": None}}, None],
                None,
                Maybe.NOTHING,
                (
                    Button("b"),
                    {"text": "", "pay": False, "n": 0, "deep": [[[{"x": None, "y": Maybe.NOTHING}]]]},
                ),
            ]
        },
    }
    plain, _ = split_files(given)
    keyboard = [
        [{"text": "a", "web_app": {"url": "u"}}],
        [{"text": "b"}, {"text": "", "pay": False, "n": 0, "deep": [[[{}]]]}],
    ]
    assert plain == {"reply_markup": {"inline_keyboard": keyboard}}
    assert given["reply_markup"]["inline_keyboard"][1] is None, "the caller's objects are left alone"
    _, media = sent([{"media": "x", "caption": None}])
    assert media == '[{"media":"x"}]'


@pytest.mark.parametrize("with_file", [False, True])
async def test_both_kinds_of_requests_carry_the_meaning(nursery, with_file):
    """JSON, and the form of an upload, as a server reads them."""
    world = Telegram(seed=1)
    bot, alice = world.add_bot("echo"), world.add_user("Alice")
    world.dialog(bot, alice.id).started = True
    url = await nursery.start(serve_telegram, world)
    params: dict[str, Any] = {
        "chat_id": alice.id,
        "parse_mode": Mode.HTML,
        "caption": "x",
        "until_date": datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC),
        "send_date": timedelta(hours=1),
        "reply_markup": {"inline_keyboard": [[{"text": "a", "callback_data": "b", "url": None}]]},
        "document": InputFile(b"x") if with_file else "file",
    }
    async with BotApi(url, bot.token) as api:
        before = time.time()
        try:
            await api.call("sendDocument", params)
        except Exception:
            assert not with_file, "the simulator knows no file of that id"
    after = time.time()
    got = dict(world.calls_of("sendDocument")[0].params)
    assert (got["parse_mode"], int(got["until_date"])) == ("HTML", 1893553445)
    assert before + 3600 <= int(got["send_date"]) <= after + 3601
    markup = msgspec.json.decode(got["reply_markup"]) if with_file else got["reply_markup"]
    assert markup == {"inline_keyboard": [[{"text": "a", "callback_data": "b"}]]}


def test_the_last_moment_is_what_32_bits_hold():
    """A later one would come to Telegram as one in the past."""
    last = datetime.fromtimestamp(LARGEST_TIME, UTC)
    assert sent(last)[0] == LARGEST_TIME
    with pytest.raises(ValueError, match="until_date: expected a time from 1970 to January 2038"):
        split_files({"until_date": last + timedelta(seconds=1)})


def test_half_of_a_surrogate_pair_is_refused_by_the_name_of_its_parameter():
    """A text that was cut in the midst of an emoji cannot be expressed in UTF-8."""
    with pytest.raises(ValueError, match=r"^caption: expected text, got half of a surrogate pair") as caught:
        raise unencodable({"chat_id": 5, "caption": "secret \ud83d"})
    assert "secret" not in str(caught.value)
    with pytest.raises(ValueError, match=r"^reply_markup: expected text, got half of a surrogate pair"):
        raise unencodable({"chat_id": 5, "reply_markup": [{"text": "\ud83d"}]})


@pytest.mark.parametrize("made", [lambda params: same_key("sendMessage", params), split_files])
def test_an_object_that_contains_itself_is_refused_by_the_name_of_its_parameter(made):
    """As a value that cannot be sent, also in the keys of recorded calls."""
    endless: dict[str, Any] = {}
    endless["x"] = [endless]
    with pytest.raises(ValueError, match=r"^reply_markup: expected a value that does not contain itself"):
        made({"chat_id": 5, "reply_markup": endless})


@pytest.mark.parametrize("document", ["file", InputFile(b"x")])
@pytest.mark.parametrize("recorded", [False, True])
async def test_a_call_with_half_of_a_surrogate_pair_is_not_made(nursery, document, recorded):
    """In a request of either kind, and where the call would be recorded first."""
    world = Telegram(seed=1)
    bot, alice = world.add_bot("echo"), world.add_user("Alice")
    url = await nursery.start(serve_telegram, world)
    params = {"chat_id": alice.id, "document": document, "caption": "\ud83d"}
    async with BotApi(url, bot.token) as api:
        with pytest.raises(ValueError, match=r"^caption: "):
            await (_recorded(params) if recorded else api.call("sendDocument", params))
    assert not world.calls_of("sendDocument")


async def _recorded(params: dict[str, Any]) -> None:
    same_key("sendDocument", params)
