"""A failure as the bot's log shows it: what Telegram said, where, a traceback, and no value."""

from __future__ import annotations

import json
import re
import struct

import pytest

from trioworkers.botapi.errors import BotApiError, TransportError
from trioworkers.botapi.parameters import split_files
from trioworkers.errors import describe
from trioworkers.handling.failure import failure_fields

SECRET = "what Alice wrote"


@pytest.fixture
def fields(tmp_path):
    """Runs a function `run` of a bot's module, from its source, and returns the fields of what it raises."""

    def fields_of(source, **names):
        path = tmp_path / "shop.py"
        path.write_text(source)
        exec(compile(source, str(path), "exec"), names)  # noqa: S102
        with pytest.raises(BaseException) as caught:  # noqa: PT011
            names["run"]()
        trace = caught.value.__traceback__
        assert trace is not None
        found = failure_fields(caught.value.with_traceback(trace.tb_next))  # without this function
        assert SECRET not in "".join(found.values())
        return found

    return fields_of


def test_lines_are_shown_with_their_source_from_the_bots_own_on(fields):
    """Python's own lines follow without source; the exception's message is left out."""
    source = "import json\n\ndef run():\n    return parse(secret)\n\n"
    source += "def parse(text):\n    return json.loads(text)\n"
    found = fields(source, secret=SECRET)
    assert found["error"] == "JSONDecodeError at shop.py:7 in parse"
    first, second, *others = found["traceback"].split("\n")
    assert first == "shop.py:4 in run: return parse(secret)"
    assert second == "shop.py:7 in parse: return json.loads(text)"
    assert others[-1].endswith(" in raw_decode")


def test_what_led_to_it_stands_before_it(fields):
    """Causes and contexts, in Python's order; one that was hidden on purpose is not shown."""
    source = (
        "def run():\n"
        "    try:\n"
        "        int(secret)\n"
        "    except ValueError as error:\n"
        "        raise KeyError(secret) {}\n"
    )
    for way in ("from error", ""):
        lines = fields(source.format(way), secret=SECRET)["traceback"].split("\n")
        assert lines == [
            "shop.py:3 in run: int(secret)",
            "ValueError at shop.py:3 in run",
            "which led to",
            f"shop.py:5 in run: raise KeyError(secret) {way}".rstrip(),
        ]
    assert "led to" not in fields(source.format("from None"), secret=SECRET)["traceback"]


def test_a_long_traceback_loses_its_middle(fields):
    """A recursion without end is a few lines."""
    found = fields("def run(n=0):\n    return run(n + 1)\n")
    assert found["error"] == "RecursionError at shop.py:2 in run"
    lines = found["traceback"].split("\n")
    assert len(lines) == 31
    assert re.fullmatch(r"… \d+ lines", lines[15])


def test_a_refusal_is_told_in_telegrams_words(fields):
    """Without what they quote; a call that failed on the way by what failed."""
    refused = BotApiError(
        "sendMessage", 400, f'Bad Request: unsupported start tag "{SECRET}" at byte offset 3'
    )
    source = "def run():\n    raise error\n"
    assert fields(source, error=refused)["error"] == (
        "sendMessage: 400 Bad Request: unsupported start tag … at byte offset 3 at shop.py:2 in run"
    )
    failed = TransportError("sendMessage", "timed out")
    assert (
        fields(source, error=failed)["error"] == "TransportError sendMessage: timed out at shop.py:2 in run"
    )
    group = ExceptionGroup(SECRET, [refused, failed])
    assert fields(source, error=group)["error"].startswith("sendMessage: 400 ")


def test_a_parameter_that_cannot_be_sent_is_named(fields):
    """Those words are ours, and quote nothing: not even a key of the bot's own."""
    found = fields("def run():\n    split({'text': {secret: b''}})\n", split=split_files, secret=SECRET)
    assert found["error"].startswith("TypeError: text: expected InputFile(content) for a file")
    assert found["error"].endswith(", got bytes at shop.py:2 in run")


def test_an_error_without_a_name_of_its_own_has_its_modules():
    """`error` alone says nothing: `struct.error`, `zlib.error`."""
    with pytest.raises(struct.error) as caught:
        struct.unpack("i", b"")
    assert describe(caught.value).startswith("struct.error at ")
    with pytest.raises(json.JSONDecodeError) as other:
        json.loads("{")
    assert describe(other.value).startswith("JSONDecodeError at ")
