"""inotify itself: what wakes the loop, and that a watch is always on the folder that has the name now."""

from __future__ import annotations

import fcntl
import termios
import time
from array import array
from collections import Counter
from pathlib import Path

import pytest
import trio
import trio.testing
from inotify_simple import INotify

from trioworkers.config import hints as module
from trioworkers.config.hints import Hints, Trouble

AT_MOST = 20.0  # seconds for a hint


@pytest.fixture
def hints():
    with Hints(Trouble(pytest.fail)) as opened:
        yield opened


def place(hints, names):
    """As a look at the files does it; returns what was placed."""
    hints.open()
    placed = hints.place(lambda: names)
    hints.take(placed)
    return placed


async def hinted(hints):
    with trio.fail_after(AT_MOST):
        await hints.wait(3600)


async def unhinted(hints):
    """Nothing that was done so far causes a hint: those stand in the queue already when the wait begins."""
    began = trio.current_time()
    await hints.wait(0.3)
    assert trio.current_time() - began >= 0.3


def write(path):
    path.write_text("x")


@pytest.mark.parametrize(
    "touch",
    [
        write,
        lambda path: path.with_name("other").rename(path),
        lambda path: path.rename(path.with_name("another")),
        lambda path: path.unlink(),
        lambda path: path.chmod(0o600),
    ],
    ids=["written", "moved in", "moved away", "deleted", "permitted"],
)
async def test_a_name_that_matters_is_hinted_at(hints, tmp_path, touch):
    """However it is touched; the same done to another name is not."""
    for name in ("wanted", "other", "unwanted"):
        write(tmp_path / name)
    place(hints, {tmp_path: {"wanted"}})
    write(tmp_path / "unwanted")
    await unhinted(hints)
    touch(tmp_path / "wanted")
    await hinted(hints)


async def test_what_fleet_d_reads_is_hinted_at(hints, tmp_path):
    """`*.toml` stands for all that is read there, and not for an editor's hidden file."""
    place(hints, {tmp_path: {"*.toml"}})
    for name in (".bots.toml", "bots.toml~", "bots"):
        write(tmp_path / name)
    await unhinted(hints)
    write(tmp_path / "bots.toml")
    await hinted(hints)


@pytest.mark.parametrize("end", [Path.rmdir, lambda path: path.rename(path.with_name("elsewhere"))])
async def test_the_end_of_a_folder_is_hinted_at(hints, tmp_path, end):
    """Deleted or moved away: perhaps another one has its name now."""
    (tmp_path / "folder").mkdir()
    place(hints, {tmp_path / "folder": {"wanted"}})
    end(tmp_path / "folder")
    await hinted(hints)


async def test_a_folder_that_moved_with_the_one_above_it_is_replaced_at_the_next_look(hints, tmp_path):
    """No hint reports it, since the folder itself was not moved; a look at the files finds the other one."""
    for above in ("now", "next"):
        (tmp_path / above / "folder").mkdir(parents=True)
    names = {tmp_path / "now/folder": {"wanted"}}
    first = place(hints, names)
    (tmp_path / "now").rename(tmp_path / "before")
    (tmp_path / "next").rename(tmp_path / "now")
    await unhinted(hints)
    assert place(hints, names).names.keys().isdisjoint(first.names)
    write(tmp_path / "before/folder/wanted")
    await unhinted(hints)
    write(tmp_path / "now/folder/wanted")
    await hinted(hints)


async def test_a_folder_that_is_looked_at_no_more_is_not_watched(hints, tmp_path):
    """Its watch is given back: the system has a limited number of them."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    place(hints, {tmp_path / "one": {"wanted"}})
    place(hints, {tmp_path / "two": {"wanted"}})
    info = Path(f"/proc/self/fdinfo/{hints._inotify.fileno()}").read_text()
    assert Counter(line.split()[0] for line in info.splitlines())["inotify"] == 1
    assert f"ino:{(tmp_path / 'two').stat().st_ino:x} " in info


async def test_names_that_change_while_watches_are_set_are_found_again(hints, tmp_path):
    """The first answer was outdated before it was watched; the last one was watched when it was given."""
    folders = [tmp_path / str(number) for number in range(3)]
    for folder in folders:
        folder.mkdir()
    answers = iter([{folders[0]: {"a"}}, {folders[1]: {"a"}}])
    hints.open()
    placed = hints.place(lambda: next(answers, {folders[2]: {"b"}}))
    assert list(placed.names.values()) == [{"b"}]
    assert placed.complete


async def test_a_folder_that_is_gone_before_it_is_watched_leads_to_another_look(hints, tmp_path, monkeypatch):
    """It comes and goes for ever: nothing is reported, and the next look is soon."""
    monkeypatch.setattr(module, "POLL_ALONE", 0.05)
    placed = place(hints, {tmp_path: {"a"}, tmp_path / "gone": {"b"}})
    assert (placed.complete, placed.reason) == (False, None)
    with trio.fail_after(AT_MOST):
        await hints.wait(3600)


async def test_hints_that_were_lost_count_as_hints(hints, tmp_path):
    """More happened than the system's queue holds: what matters may have been among it."""
    place(hints, {tmp_path: {"wanted"}})
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    for number in range(most // 2 + 1):  # each is created and closed
        (tmp_path / str(number)).touch()
    await hinted(hints)


async def test_hints_from_before_a_look_are_forgotten(hints, tmp_path):
    """The look that follows sees all that they are about."""
    place(hints, {tmp_path: {"wanted"}})
    write(tmp_path / "wanted")
    place(hints, {tmp_path: {"wanted"}})
    await unhinted(hints)


async def test_a_folder_that_others_write_in_wakes_seldom(hints, tmp_path, monkeypatch):
    """An inbox beside the fleet file is written all the time; the pauses between wake-ups become longer."""
    reads = 0
    read = INotify.read

    def counted(self, timeout=None):
        nonlocal reads
        reads += 1
        return read(self, timeout)

    place(hints, {tmp_path: {"wanted"}})
    monkeypatch.setattr(INotify, "read", counted)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hints.wait, 3600)
        began = time.monotonic()
        while time.monotonic() - began < 0.5:
            write(tmp_path / "inbox.db-wal")
            await trio.lowlevel.checkpoint()
        assert 2 <= reads <= 6 + 0.5 / 0.05  # six pauses that double from 1 ms, then 50 ms each
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("quiet", [0, 1])
async def test_an_editor_that_renames_is_not_kept_waiting(hints, tmp_path, mock_clock, quiet):
    """What it writes under another name wakes the loop; the renaming that follows is seen 1 ms later.

    Also after others wrote there all the time, when they have been quiet since.
    """
    place(hints, {tmp_path: {"wanted"}})
    woken = trio.Event()

    async def wait():
        await hints.wait(3600)
        woken.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        for _ in range(20 * quiet):
            write(tmp_path / "other")
            await wait_read(hints)
            mock_clock.jump(0.05)
        await trio.testing.wait_all_tasks_blocked(0.05)
        mock_clock.jump(quiet)
        write(tmp_path / "fresh")
        await wait_read(hints)
        (tmp_path / "fresh").rename(tmp_path / "wanted")
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert not woken.is_set()
        mock_clock.jump(0.001)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert woken.is_set()
        nursery.cancel_scope.cancel()


async def wait_read(hints):
    """Wait until no hint is in the queue, and whoever read it is blocked again. On a clock that stands."""
    unread = array("i", [1])
    while unread[0]:
        await trio.testing.wait_all_tasks_blocked(0.01)
        fcntl.ioctl(hints._inotify, termios.FIONREAD, unread)


def test_a_reason_is_reported_once_while_it_stays_the_same():
    """It is reported again after it was another one, or none."""
    told: list[str] = []
    trouble = Trouble(told.append)
    for reason in (None, "a", "a", "b", "a", "a", None, None, "a"):
        trouble.is_now(reason)
    assert told == ["a", "b", "a", "a"]
