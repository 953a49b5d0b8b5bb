"""What happens to a bot, from a warning up, is in the bot's own log, too."""

from __future__ import annotations

import json

import pytest
import trio

from trioworkers.config.settings import LogSettings
from trioworkers.events import Events
from trioworkers.logs.bots import BotEvents
from trioworkers.logs.files import RotatedFile


@pytest.fixture
def events():
    """Events that nobody else hears."""
    return Events()


@pytest.fixture
def lines(tmp_path):
    """Reads what stands in the log of a bot."""

    def read(bot):
        path = tmp_path / f"worker_{bot}.log"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    return read


@pytest.fixture
async def served(nursery, events, tmp_path):
    """Bots a and b have logs; repeats within 30 s are held back. Cancelled by the scope it returns."""
    files = {bot: RotatedFile(tmp_path / f"worker_{bot}.log", LogSettings) for bot in ("a", "b")}
    scope = trio.CancelScope()

    async def serve(task_status):
        with scope:
            await BotEvents(events, files.get, lambda: 30.0, trio.current_time).serve(task_status=task_status)

    await nursery.start(serve)
    return scope, files


async def test_warnings_and_errors_are_written_to_the_log_of_their_bot(served, events, lines):
    """Nothing quieter, nothing of other bots, nothing without a bot."""
    events.emit("worker.exited", "a", level="warn", how="signal 9")
    events.emit("worker.ready", "a", pid=1, code="c")
    events.emit("bot.failed", "b", reason="token refused")
    events.emit("inbox.full", reason="disk")
    events.emit("bot.failed", "gone", reason="token refused")
    await trio.testing.wait_all_tasks_blocked()
    (line,) = lines("a")
    assert (line["event"], line["level"], line["bot"], line["how"]) == (
        "worker.exited",
        "warn",
        "a",
        "signal 9",
    )
    assert [line["reason"] for line in lines("b")] == ["token refused"]


async def test_repeats_are_held_back_and_counted(autojump_clock, served, events, lines):
    """As in the daemon's log; what is held at the end is written then."""
    for _ in range(5):
        events.emit("update.retried", "a", error="ValueError at shop.py:3 in handle")
    await trio.sleep(40)
    assert [line.get("repeats") for line in lines("a")] == [None, 4]
    events.emit("update.retried", "a", error="ValueError at shop.py:3 in handle")
    await trio.testing.wait_all_tasks_blocked()
    served[0].cancel()
    await trio.testing.wait_all_tasks_blocked()
    assert [line.get("repeats") for line in lines("a")] == [None, 4, 1]


async def test_a_line_of_the_bot_without_an_end_gets_one(served, events, tmp_path):
    """A worker that was killed amid a line spoils no event."""
    _, files = served
    files["a"].append(b"half a li")
    events.emit("worker.hung", "a", silent=300)
    await trio.testing.wait_all_tasks_blocked()
    first, second = (tmp_path / "worker_a.log").read_text().splitlines()
    assert first == "half a li"
    assert json.loads(second)["event"] == "worker.hung"
