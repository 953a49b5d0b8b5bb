"""The N-th step of a bot's life is its last, or fails, for each N: nothing is lost, nothing is sent twice."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from hashlib import blake2b
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from trioworkers.call_marks import read_marks
from trioworkers.handling.calls import once_key, same_key
from trioworkers.testing.invariants import Handled, broken_order, broken_replies, broken_tally

BOT = 42
UPDATES = {101: 1, 102: 1, 103: 2, 104: 2, 105: 3}  # to their chats
DEAD, DROPPED = 103, 105
DRIVERS = 4  # a life waits more than it works
AT_ONCE = 16  # lives whose steps are tried before the next are chosen
MOST = 1000  # steps of a life
NAMED = {  # each is met at least once
    *("daemon before BEGIN", "daemon before INSERT", "daemon before COMMIT", "daemon has committed"),
    *("daemon sends a frame", "daemon has sent a frame", "daemon has received a frame"),
    *("worker sends a frame", "worker has sent a frame", "worker has received a frame"),
    *("daemon calls getUpdates", "daemon has called getUpdates"),
    *("worker calls sendMessage", "worker has called sendMessage"),
    *("worker calls sendPhoto", "worker has called sendPhoto"),
    *("worker marks a call", "worker has marked a call"),
}


class Driver:
    """A warm process that runs lives, one at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("driver.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def live(self, folder: Path, at: int = 0, how: str = "kill") -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"folder": str(folder), "at": at, "how": how}) + "\n")
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        self._process.communicate(timeout=60)


def notes(folder: Path) -> list[dict[str, Any]]:
    """What bot, daemon and Telegram noted, in order."""
    path = folder / "notes"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def trace(update_id: int) -> str:
    return blake2b(f"{BOT}:{update_id}".encode(), digest_size=16).hexdigest()


def key(note: dict[str, Any]) -> str:
    """The key under which this call is recorded."""
    if note["method"] == "sendPhoto":
        return once_key("sendPhoto", "last")
    return same_key("sendMessage", {"chat_id": note["chat"], "text": note["text"]}) + " 1"


def of(note: dict[str, Any]) -> int:
    """The update that a call was made for."""
    return int(note["text"].split()[0])


def check_death(folder: Path, told: list[dict[str, Any]]) -> set[int]:
    """After the daemon's end: no call was made that nobody knows of. Which updates are over."""
    path = folder / "inbox.db"
    confirmed = folder / "confirmed"
    last = int(confirmed.read_text() or 0) if confirmed.exists() else 0
    if not path.exists():
        assert not last
        return set()
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as inbox:
        if not inbox.execute("SELECT 1 FROM sqlite_master").fetchall():
            return set()
        waits = dict(inbox.execute("SELECT update_id, id FROM inbox"))
        seen = {id_ for (id_,) in inbox.execute("SELECT update_id FROM seen")}
        heard = set(inbox.execute("SELECT id, key FROM calls"))
    assert broken_tally(path, BOT, [id_ for id_ in UPDATES if id_ <= last]) == []
    marks = [mark for file in folder.glob("calls/*") for mark in read_marks(str(file))]
    heard |= {(mark.id, mark.key) for mark in marks}
    unheard = {
        (trace(of(note)), note["method"])
        for note in told
        if note["note"] == "call" and of(note) in waits and (waits[of(note)], key(note)) not in heard
    }
    assert not unheard
    return seen - waits.keys()


def check_end(folder: Path, lives: list[int], over: set[int]) -> None:
    """After a life without faults: everything is where it belongs. `lives`: how many notes each left."""
    path, told = folder / "inbox.db", notes(folder)
    assert broken_tally(path, BOT, UPDATES) == []
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as inbox:
        tally = inbox.execute("SELECT accepted, done, dropped, dead FROM tally").fetchone()
        assert inbox.execute("SELECT update_id FROM dead").fetchall() == [(DEAD,)]
        calls = {id_ for (id_,) in inbox.execute("SELECT DISTINCT id FROM calls")}
        assert calls <= {id_ for (id_,) in inbox.execute("SELECT id FROM dead")}, (
            "records outlive their update"
        )
    assert tally == (len(UPDATES), len(UPDATES) - 2, 1, 1)
    handlings = [note for note in told if note["note"] == "handled"]
    order = [Handled(note["chat"], note["update_id"], note["after_gap"]) for note in handlings]
    assert broken_order(order, gaps={DEAD}) == []
    assert {one.update_id for one in order} == UPDATES.keys()
    done: set[str] = set()
    for number, note in enumerate(told):
        if number == lives[0]:
            done = {trace(id_) for id_ in over}
        if note["note"] == "update.done":
            done.add(note["trace"])
        assert note["note"] != "handled" or trace(note["update_id"]) not in done, "handled after it was done"
    made = [(trace(of(note)), note["method"]) for note in told if note["note"] == "call"]
    assert {(trace(id_), method) for id_ in UPDATES for method in ("sendMessage", "sendPhoto")} == set(made)
    marked = Counter(
        (note["trace"], note["call"].split()[0]) for note in told if note["note"] == "update.repeated"
    )
    assert broken_replies(made, marked=marked) == []


def try_step(driver: Driver, folder: Path, at: int, how: str) -> str | None:
    """A life whose step `at` is its last or fails, and one without faults; the step's name."""
    folder.mkdir()
    first = driver.live(folder, at, how)
    lives = [len(notes(folder))]
    over: set[int] = set()
    try:
        if first["daemon"]:
            killed = how == "kill" and first["daemon"] == -9
            opening = how == "io" and not (folder / "notes").exists()
            assert killed or opening, "the daemon did not survive"
            over = check_death(folder, notes(folder))
            second = driver.live(folder)
            assert second["daemon"] == 0, "the daemon did not come back"
        check_end(folder, lives, over)
    except AssertionError as error:
        error.add_note(f"step {at}, {how}: {first}, in {folder}")
        output = folder / "output"
        error.add_note(output.read_text()[-3000:] if output.exists() else "")
        raise
    step: str | None = first["step"]
    return step


@pytest.mark.parametrize("how", ["kill", "io"])
def test_no_step_can_fail_so_that_something_is_lost_or_repeated(tmp_path: Path, how: str) -> None:
    """SIGKILL of daemon or worker, or an I/O error, at every step from accept to the last commit.

    The steps are: before each statement that changes the database, before and after each commit, each read;
    before and after each write to a channel and each mark of a call, after each read from a channel; before
    each request to the Bot API, and after it took effect. A call is repeated only when it was told as such,
    or when the daemon itself was killed before it had written down what its worker no longer marked.
    """
    drivers: SimpleQueue[Driver] = SimpleQueue()
    everyone = [Driver() for _ in range(DRIVERS)]
    for driver in everyone:
        drivers.put(driver)

    def trial(at: int) -> str | None:
        driver = drivers.get()
        try:
            return try_step(driver, tmp_path / str(at), at, how)
        finally:
            drivers.put(driver)

    met: Counter[str] = Counter()
    try:
        with ThreadPoolExecutor(DRIVERS) as pool:
            for start in count(1, AT_ONCE):
                assert start < MOST, "it has no end"
                steps = list(pool.map(trial, range(start, start + AT_ONCE)))
                met.update(step for step in steps if step)
                if not any(steps):
                    break
            # the N-th step is not the same one in each life, so that one of a few may be left out
            for number in range(MOST):
                if not (missed := sorted(NAMED - met.keys())):
                    break
                plain = tmp_path / f"plain {number}"
                plain.mkdir()
                assert everyone[0].live(plain)["daemon"] == 0
                passed = [step.strip() for step in (plain / "steps").read_text().splitlines()]
                at = passed.index(missed[0]) + 1
                met.update([try_step(everyone[0], tmp_path / f"missed {number}", at, how) or ""])
    finally:
        for driver in everyone:
            driver.close()
    assert met.keys() >= NAMED
