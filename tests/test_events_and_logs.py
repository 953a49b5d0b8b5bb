"""Events are told once to each listener; the log writes them as lines, and no token."""

from __future__ import annotations

import io
import json
import logging
import os
import pty
import re
import subprocess
import sys
import threading

import pytest
import trio
import trio.testing

from trioworkers.config.settings import LogSettings
from trioworkers.events import EVENTS, LEVELS, Event, Events
from trioworkers.logs import open_log, redact
from trioworkers.logs.files import RotatedFile
from trioworkers.logs.lines import WAITING_LINES, Lines, StreamSink
from trioworkers.service.journal import PRIORITY

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


def test_names_are_two_words() -> None:
    """With a dot, as the names that are promised: nobody has to guess where there is an underscore."""
    assert [name for name in EVENTS if not re.fullmatch("[a-z]+[.][a-z]+", name)] == []


@pytest.mark.parametrize("name", EVENTS)
def test_every_event_has_a_level_and_can_be_told(name):
    """The names are those of the table, in two parts, and nothing else is told."""
    told: list[Event] = []
    Events(told.append, least="debug").emit(name, "echo", answer=42)
    (happened,) = told
    assert (happened.event, happened.bot, happened.level) == (name, "echo", EVENTS[name])
    assert happened.fields == {"answer": 42}
    assert re.fullmatch(r"[a-z]+\.[a-z]+(_[a-z]+)?", name)


def test_an_unknown_event_is_a_mistake():
    """It is loud, not logged under any name."""
    with pytest.raises(KeyError):
        Events().emit("worker.raedy")


@pytest.mark.parametrize("least", LEVELS)
def test_quieter_events_are_not_made(least):
    """At, not above, the least level; a level that is given replaces the usual one."""
    told: list[Event] = []
    events = Events(told.append, least=least)
    for level in LEVELS:
        events.emit("worker.exited", level=level)
    assert [events.hears(name) for name in EVENTS] == [
        LEVELS[level] >= LEVELS[least] for level in EVENTS.values()
    ]
    assert [happened.level for happened in told] == [name for name in LEVELS if LEVELS[name] >= LEVELS[least]]


def test_the_least_level_may_change_at_any_time():
    """A reload does it."""
    told: list[Event] = []
    events = Events(told.append, least="warn")
    for least in ("warn", "debug", "error"):
        events.set_least(least)
        events.emit("worker.ready")
    assert [happened.seq for happened in told] == [2]


def test_events_are_numbered_and_every_listener_hears_them():
    """In the order in which they happened, also across those that are left out."""
    one: list[Event] = []
    two: list[Event] = []
    events = Events(one.append, two.append)
    for name in ("worker.starting", "update.accepted", "worker.ready"):
        events.emit(name)
    assert one == two
    assert [happened.seq for happened in one] == [1, 3]


@pytest.fixture
def subscribed():
    """Events that nobody but subscribers hears."""
    return Events()


async def test_a_subscriber_hears_its_levels_from_now_on(subscribed):
    """At any time, beside others, each at its own level; closed, nothing more."""
    subscribed.emit("daemon.ready")
    with subscribed.subscribe("warn") as loud, subscribed.subscribe("debug", capacity=5) as all_of_it:
        subscribed.emit("update.done")
        subscribed.emit("bot.failed", "echo")
        assert [event.event for event in (await all_of_it.receive())[0]] == ["update.done", "bot.failed"]
        heard, missed = await loud.receive()
        assert ([(event.event, event.bot) for event in heard], missed) == ([("bot.failed", "echo")], 0)
        loud.set_least("error")
        subscribed.emit("update.dead")
        subscribed.emit("plugin.failed")
        assert [event.event for event in (await loud.receive())[0]] == ["update.dead"]
    assert not subscribed.hears("bot.failed")


async def test_a_slow_subscriber_loses_the_oldest_and_learns_how_many(subscribed):
    """Its queue is bounded; what it lost is counted once."""
    with subscribed.subscribe("debug", capacity=3) as slow:
        for number in range(10):
            subscribed.emit("update.done", number=number)
        heard, missed = await slow.receive()
        assert ([event.fields["number"] for event in heard], missed) == ([7, 8, 9], 7)
        subscribed.emit("update.done", number=10)
        assert (await slow.receive())[1] == 0


async def test_a_subscriber_waits_for_what_comes(subscribed, nursery, autojump_clock):
    """Cancelled, it has taken nothing."""
    with subscribed.subscribe() as subscription:
        with trio.move_on_after(1):
            await subscription.receive()
        got: list[Event] = []

        async def listen():
            got.extend((await subscription.receive())[0])

        nursery.start_soon(listen)
        await trio.testing.wait_all_tasks_blocked()
        assert got == []
        subscribed.emit("daemon.ready")
        await trio.testing.wait_all_tasks_blocked()
        assert [event.event for event in got] == ["daemon.ready"]


def test_an_event_that_nobody_hears_is_not_created(monkeypatch):
    """Whatever its level; a subscriber that leaves takes its level along."""
    made: list[str] = []
    monkeypatch.setattr("trioworkers.events.Event", lambda name, *rest: made.append(name))
    events = Events()
    events.emit("bot.failed")
    assert not events.hears("bot.failed")
    with events.subscribe("warn"):
        events.emit("update.done")
        events.emit("bot.failed")
    events.emit("bot.failed")
    assert made == ["bot.failed"]


# -- formats ------------------------------------------------------------------------------------------


def test_json_is_one_object_a_line(write):
    """With the event's name, level, bot, trace and fields, and when it was written."""
    listen, read = write("json")
    listen(event(pid=7, text="a\nb", odd={1}))
    listen(event("daemon.ready"))
    first, second = (json.loads(line) for line in read().splitlines())
    assert first.pop("at") == "2023-11-14T22:13:20.000Z"
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
    assert re.search(r"\[warn +\] transport\.trouble +bot=echo reason='one\\ntwo'", line)


@pytest.mark.parametrize(
    ("level", "priority"), [("debug", "<7>"), ("info", "<6>"), ("warn", "<4>"), ("error", "<3>")]
)
def test_the_journal_gets_a_priority(write, level, priority):
    """The numbers of sd-daemon(3), before the text."""
    listen, read = write("journal")
    listen(event(level=level))
    assert read().startswith(priority)
    assert "worker.ready" in read()


@pytest.mark.parametrize("format", ["json", "text", "journal"])
@pytest.mark.parametrize("level", LEVELS)
def test_levels_have_the_names_of_the_settings(write, format, level):
    """debug, info, warn, error: what `log.level` chooses is what stands in the line."""
    assert set(LEVELS) == set(PRIORITY) == {"debug", "info", "warn", "error"}
    listen, read = write(format)
    listen(event(level=level))
    assert f'"{level}"' in read() if format == "json" else re.search(rf"\[{level} *\]", read())


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


# -- logs that cannot be written ----------------------------------------------------------------------


class Full(io.StringIO):
    """A stream that takes nothing while it is `full`."""

    full = True

    def write(self, text):
        if self.full:
            raise OSError(28, "No space left on device")
        return super().write(text)


@pytest.mark.parametrize("format", ["json", "text", "journal"])
def test_a_log_that_cannot_be_written_harms_nobody(format):
    """Lines are lost, not raised, and counted in one line as soon as there is room again."""
    stream = Full()
    listen = open_log(format=format, stream=stream, environ={})
    for _ in range(3):
        listen(event())
    stream.full = False
    listen(event("daemon.ready"))
    listen(event("daemon.stopped"))
    lost, *others = stream.getvalue().splitlines()
    assert "log.lost" in lost
    assert '"lines": 3' in lost if format == "json" else "lines=3" in lost
    assert ["log.lost" in line for line in others] == [False, False]


def test_nothing_is_made_for_the_null_device(tmp_path):
    """Neither a line nor the thread that would hand it over; the file has it."""
    threads = set(threading.enumerate())
    file = RotatedFile(tmp_path / "master.log", LogSettings)
    with open(os.devnull, "w") as stream:
        log = open_log(format="json", stream=stream, file=file)
        log(event(pid=42))
    assert set(threading.enumerate()) == threads
    (line,) = (tmp_path / "master.log").read_text().splitlines()
    assert json.loads(line)["pid"] == 42


def test_a_file_is_no_null_device_where_that_is_a_file(tmp_path, monkeypatch):
    """As something that replaced it may have left it."""
    monkeypatch.setattr(os, "devnull", str(tmp_path / "null"))
    (tmp_path / "null").touch()
    with (tmp_path / "log").open("w") as stream:
        open_log(format="json", stream=stream)(event(pid=42))
    assert "42" in (tmp_path / "log").read_text()


def test_a_stream_and_a_file_of_one_format_get_the_same_line(tmp_path):
    """Values are looked at once for both."""
    stream, file = io.StringIO(), RotatedFile(tmp_path / "master.log", LogSettings)
    log = open_log(format="json", stream=stream, file=file)
    shown: list[object] = []

    class Odd:
        def __repr__(self):
            shown.append(self)
            return "odd"

    log(event(answer=Odd()))
    assert stream.getvalue() == (tmp_path / "master.log").read_text()
    assert len(shown) == 1


def test_a_log_that_was_closed_harms_nobody(tmp_path):
    """Whoever closed it."""
    with (tmp_path / "log").open("w") as file:
        listen = open_log(stream=file, environ={})
    listen(event())


def test_a_pipe_that_nobody_reads_holds_up_nobody():
    """It keeps what there is room for and counts the rest; a reader that comes gets those and the count."""
    reads, writes = os.pipe()
    with open(reads) as reader:
        with open(writes, "w") as pipe:
            lines = Lines(StreamSink(pipe), lambda lost: f"lost {lost}\n")
            told = 3 * WAITING_LINES
            for number in range(told):
                lines.write(f"line {number} {'x' * 50}\n")
            got: list[list[str]] = []
            thread = threading.Thread(target=lambda: got.extend(line.split() for line in reader))
            thread.start()
            lines._flush()
            assert not lines._waiting
        thread.join(10)
    lost = sum(int(words[1]) for words in got if words[0] == "lost")
    numbers = [int(words[1]) for words in got if words[0] == "line"]
    assert lost > 0
    assert len(numbers) + lost == told
    assert numbers == sorted(numbers)


SCRIPT = """
from trioworkers.events import Events
from trioworkers.logs import open_log
events = Events(open_log())
for _ in range(%d):
    events.emit("daemon.ready")
print("alive")
"""


@pytest.mark.parametrize("kind", ["full", "closed", "unread", "reader gone"])
def test_a_process_with_a_bad_standard_error_goes_on_and_ends(kind):
    """It works, and ends with 0 in time."""
    reads, writes = os.pipe()
    if kind == "reader gone":
        os.close(reads)
    close = ["/bin/sh", "-c", 'exec "$@" 2>&-', "sh"] if kind == "closed" else []
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [*close, sys.executable, "-c", SCRIPT % 2000],
            stdout=subprocess.PIPE,
            stderr=full if kind == "full" else writes,
            text=True,
            timeout=30,
        )
    os.close(writes)
    if kind != "reader gone":
        os.close(reads)
    assert (ended.stdout, ended.returncode) == ("alive\n", 0)


@pytest.mark.parametrize("lines", [1, 100])
def test_what_was_logged_last_is_written_before_the_process_ends(lines):
    """Also where a thread writes it."""
    script = [sys.executable, "-c", SCRIPT % lines]
    ended = subprocess.run(script, capture_output=True, text=True, timeout=30, check=True)
    assert ended.stderr.count("daemon.ready") == lines


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
