"""Events are told once to each listener; the log writes them as lines, and no token."""

from __future__ import annotations

import io
import json
import logging
import os
import pty
import re

import pytest

from trioworkers.events import EVENTS, LEVELS, Event, Events
from trioworkers.logs import LEVEL_NAMES, open_log, redact

TOKEN = "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"


@pytest.fixture(autouse=True)
def root():
    """The root logger as it was, afterwards."""
    logger = logging.getLogger()
    handlers, level = logger.handlers, logger.level
    yield logger
    logger.handlers = handlers
    logger.setLevel(level)


@pytest.fixture
def write():
    """A log to a string: `write(format)` gives a listener and a function that reads."""

    def opened(format, environ=None):
        stream = io.StringIO()
        return open_log(format=format, stream=stream, environ=environ or {}), stream.getvalue

    return opened


def event(name="worker.ready", level=None, **fields):
    return Event(name, 1_700_000_000.0, 1, level or EVENTS[name], "echo", "ab" * 16, fields)


# -- events -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVENTS)
def test_every_event_has_a_level_and_can_be_told(name):
    """The names are those of the table, in two parts, and nothing else is told."""
    told: list[Event] = []
    Events(told.append, least="debug").tell(name, "echo", answer=42)
    (happened,) = told
    assert (happened.event, happened.bot, happened.level) == (name, "echo", EVENTS[name])
    assert happened.fields == {"answer": 42}
    assert re.fullmatch(r"[a-z]+\.[a-z]+", name)


def test_an_unknown_event_is_a_mistake():
    """It is loud, not logged under any name."""
    with pytest.raises(KeyError):
        Events().tell("worker.raedy")


@pytest.mark.parametrize("least", LEVELS)
def test_quieter_events_are_not_made(least):
    """At, not above, the least level; a level that is given replaces the usual one."""
    told: list[Event] = []
    events = Events(told.append, least=least)
    for level in LEVELS:
        events.tell("worker.exited", level=level)
    assert [happened.level for happened in told] == [name for name in LEVELS if LEVELS[name] >= LEVELS[least]]


def test_events_are_numbered_and_every_listener_hears_them():
    """In the order in which they happened, also across those that are left out."""
    one: list[Event] = []
    two: list[Event] = []
    events = Events(one.append, two.append)
    for name in ("worker.starting", "update.accepted", "worker.ready"):
        events.tell(name)
    assert one == two
    assert [happened.seq for happened in one] == [1, 3]


# -- formats ------------------------------------------------------------------------------------------


def test_json_is_one_object_a_line(write):
    """With the event's name, level, bot, trace and fields, and when it was written."""
    listen, read = write("json")
    listen(event(pid=7, text="a\nb", odd={1}))
    listen(event("daemon.ready"))
    first, second = (json.loads(line) for line in read().splitlines())
    assert first.pop("timestamp").endswith("Z")
    odd = first.pop("odd")
    assert "1" in odd
    assert first == {
        "event": "worker.ready",
        "level": "info",
        "bot": "echo",
        "trace_id": "ab" * 16,
        "pid": 7,
        "text": "a\nb",
    }
    assert second["event"] == "daemon.ready"


def test_text_is_one_line_for_people(write):
    """Without colours where nobody sees them; line breaks in values do not break it."""
    listen, read = write("text")
    listen(event("transport.trouble", reason="one\ntwo"))
    (line,) = read().splitlines()
    assert "\x1b" not in line
    assert re.search(r"\[warning +\] transport\.trouble +bot=echo reason='one\\ntwo'", line)


@pytest.mark.parametrize(
    ("level", "priority"), [("debug", "<7>"), ("info", "<6>"), ("warn", "<4>"), ("error", "<3>")]
)
def test_the_journal_gets_a_priority(write, level, priority):
    """The numbers of sd-daemon(3), before the text."""
    listen, read = write("journal")
    listen(event(level=level))
    assert read().startswith(priority)
    assert "worker.ready" in read()


def test_every_level_has_a_name_in_the_log():
    """No event is lost to a missing entry."""
    assert set(LEVEL_NAMES) == set(LEVELS) == {"debug", "info", "warn", "error"}


@pytest.mark.parametrize(("named", "is_journal"), [(True, True), (False, False)])
def test_auto_is_the_journal_where_systemd_reads_along(tmp_path, named, is_journal):
    """Only if $JOURNAL_STREAM names this very stream; else JSON."""
    with (tmp_path / "log").open("w+") as stream:
        status = os.fstat(stream.fileno())
        device = f"{status.st_dev}:{status.st_ino}" if named else "8:1"
        open_log(stream=stream, environ={"JOURNAL_STREAM": device})(event())
        stream.seek(0)
        assert stream.read(1) == ("<" if is_journal else "{")


@pytest.mark.parametrize("colours", [True, False])
def test_auto_is_text_on_a_terminal(colours):
    """In colours, unless NO_COLOR is set."""
    ours, theirs = pty.openpty()
    with open(theirs, "w") as stream:
        open_log(stream=stream, environ={} if colours else {"NO_COLOR": "1"})(event())
        line = os.read(ours, 4096).decode()
    os.close(ours)
    assert "worker.ready" in line
    assert ("\x1b[" in line) is colours


# -- libraries ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["json", "text", "journal"])
def test_libraries_are_heard_from_a_warning_up_and_without_tracebacks(write, format):
    """Their message and the exception's type; what it says may be what a user wrote."""
    _, read = write(format)
    library = logging.getLogger("some.library")
    library.debug("quiet")
    library.info("quiet")
    library.warning("loud %s", 1)
    try:
        raise ValueError("what the user wrote")
    except ValueError:
        library.exception("it broke\nbadly")
    said = read()
    assert "quiet" not in said
    assert "user wrote" not in said
    assert "Traceback" not in said
    one, two = said.splitlines()
    assert "loud 1" in one
    assert "some.library" in one
    assert "ValueError" in two
    assert "error" in two


# -- the last net -------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["json", "text", "journal"])
def test_what_looks_like_a_token_is_blotted_out(write, format):
    """In fields, however deep, and in what libraries say."""
    listen, read = write(format)
    listen(event(reason=TOKEN, deep={"list": [f"token {TOKEN}!"]}))
    logging.getLogger("httpx").warning("GET %s", TOKEN)
    assert TOKEN.partition(":")[2] not in read()
    assert read().count("<token>") == 3


@pytest.mark.parametrize(
    "line",
    [
        f"{TOKEN}",
        f'"{TOKEN}"',
        f"({TOKEN}, x)",
        f"token={TOKEN}&x=1",
        f"bot={TOKEN.replace(':', '%3A')}",
        f"https://api.telegram.org/bot{TOKEN}/getMe",
        f"/file/bot{TOKEN}/photos/x.jpg",
    ],
)
def test_a_token_is_found_wherever_it_stands(line):
    """Addresses, quotes, parameters."""
    assert TOKEN.partition(":")[2] not in redact(line)


@pytest.mark.parametrize(
    "line", ["12:34:56.789012345", "2024-01-01T00:00:00+00:00", "fleet.toml:12:9: bots.echo", "port 127:8080"]
)
def test_times_and_places_are_left_alone(line):
    """What a log is read for."""
    assert redact(line) == line
