"""The inbox's files are removed or replaced while they are open: nothing that was confirmed is lost."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from contextlib import closing, suppress
from typing import Any

import pytest
import trio
from tended import open_tended  # type: ignore[import-not-found] # it lies beside

from trioworkers.breakage import Breakage
from trioworkers.errors import TrioworkersError
from trioworkers.inbox.sqlite import place
from trioworkers.inbox.sqlite.file import open_file
from trioworkers.inbox.store import DUPLICATE, Accept, Finish, Kept, StoreDisplacedError
from trioworkers.records import Arrival

BOT = 7_000_000_001
BODY = b'{"text":"x"}'


@pytest.fixture
def path(tmp_path):
    (tmp_path / "state").mkdir(mode=0o700)
    return tmp_path / "state" / "inbox.db"


def accept(store, *numbers):
    return store.commit([Accept(BOT, number, str(number % 3), BODY, 1.0) for number in numbers])


def found_after_a_crash(path, tmp_path):
    """The update ids that a daemon finds which starts after this one was killed just now."""
    copied = tmp_path / "crashed"
    shutil.copytree(path.parent, copied)
    with (
        closing(open_file(copied / path.name)) as store,
        closing(sqlite3.connect(copied / path.name)) as connection,
    ):
        return {number for (number,) in connection.execute("SELECT update_id FROM inbox")}, store.tallies()


def of(path, *suffixes):
    return [path.with_name(path.name + suffix) for suffix in suffixes]


def remove_the_folder(path):
    shutil.rmtree(path.parent)


def move_the_folder_away(path):
    path.parent.rename(path.parent.with_name("elsewhere"))


def empty_the_folder(path):
    for file in path.parent.iterdir():
        file.unlink()


def remove_the_database(path):
    path.unlink()


def remove_the_journal(path):
    of(path, "-wal")[0].unlink()


def remove_the_index_of_the_journal(path):
    of(path, "-shm")[0].unlink()


def replace_the_folder(path):
    move_the_folder_away(path)
    path.parent.mkdir(mode=0o700)
    with closing(open_file(path)) as store:
        accept(store, 100)


def replace_the_database(path):
    other = path.with_name("other.db")
    with closing(open_file(other)) as store:
        accept(store, 100)
    other.replace(path)


WAYS = [
    remove_the_folder,
    move_the_folder_away,
    empty_the_folder,
    remove_the_database,
    remove_the_journal,
    remove_the_index_of_the_journal,
    replace_the_folder,
    replace_the_database,
]


@pytest.mark.parametrize("lose", WAYS)
def test_what_was_confirmed_is_in_the_place_again(path, tmp_path, lose):
    """The next batch is refused, so that Telegram keeps it; all that came before is on disk by then."""
    with closing(open_file(path)) as store:
        first = accept(store, 1, 2, 3)
        store.commit([Finish(first[0].id, BOT, "done")])
        lose(path)
        with pytest.raises(StoreDisplacedError, match=r"inbox\.db(-wal|-shm)? was (removed|replaced)"):
            accept(store, 4)
        assert found_after_a_crash(path, tmp_path)[0] == {2, 3}
        shutil.rmtree(tmp_path / "crashed")
        (again, new) = accept(store, 3, 4)
        assert again == DUPLICATE
        assert isinstance(new, Kept)
        assert new.id > first[-1].id
        ids, tallies = found_after_a_crash(path, tmp_path)
    assert ids == {2, 3, 4}
    assert (tallies[BOT].accepted, tallies[BOT].done) == (4, 1)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("lose", WAYS)
def test_a_look_now_and_then_finds_it_out(path, tmp_path, lose):
    """Also without any new update: within a second of upkeep everything is in its place again."""
    with closing(open_file(path)) as store:
        accept(store, 1, 2)
        lose(path)
        with pytest.raises(StoreDisplacedError):
            store.tend()
        store.tend()
        assert found_after_a_crash(path, tmp_path)[0] == {1, 2}


@pytest.mark.parametrize("lose", WAYS)
def test_what_is_removed_while_it_is_committed_is_in_the_place_when_it_is_confirmed(
    path, tmp_path, lose, monkeypatch
):
    """Between the look before a commit and its end: the batch is confirmed, so it has to be on disk."""
    with closing(open_file(path)) as store:
        accept(store, 1)
        recorded = store._calls.record

        def lose_and_record(*args):
            lose(path)
            return recorded(*args)

        monkeypatch.setattr(store._calls, "record", lose_and_record)
        (kept,) = accept(store, 2)
        assert isinstance(kept, Kept)
        assert found_after_a_crash(path, tmp_path)[0] == {1, 2}
        with pytest.raises(StoreDisplacedError):  # told once, though all is well again
            accept(store, 3)
        accept(store, 3)


@pytest.mark.parametrize("replace", [replace_the_folder, replace_the_database])
def test_what_another_put_there_is_put_aside(path, replace):
    """It is somebody's: a backup that was put back while the daemon ran. The error says where it is."""
    with closing(open_file(path)) as store:
        accept(store, 1)
        replace(path)
        with pytest.raises(StoreDisplacedError) as told:
            accept(store, 2)
    (aside,) = [
        file for file in path.parent.glob("inbox.db.displaced-*") if file.suffix not in ("-wal", "-shm")
    ]
    assert str(aside) in str(told.value)
    with closing(sqlite3.connect(aside)) as connection:
        assert connection.execute("SELECT update_id FROM inbox").fetchall() == [(100,)]


def test_nothing_is_written_where_another_daemon_is(path, tmp_path, monkeypatch):
    """Accepting stays stopped, with the reason, until that one has gone; what was accepted goes on."""
    monkeypatch.setattr(place, "FIRST_PAUSE", 0.0)
    taken: TrioworkersError | None = TrioworkersError("another daemon runs on it (pid 1)")

    def reclaim():
        if taken is not None:
            raise taken

    with closing(open_file(path, reclaim=reclaim)) as store:
        first, _ = accept(store, 1, 2)
        replace_the_folder(path)
        before = path.read_bytes()
        for _ in range(2):
            with pytest.raises(StoreDisplacedError, match="another daemon runs on it"):
                accept(store, 3)
            with pytest.raises(StoreDisplacedError, match="another daemon runs on it"):
                store.tend()
        store.commit([Finish(first.id, BOT, "done")])
        assert path.read_bytes() == before
        taken = None
        with pytest.raises(StoreDisplacedError, match="copied"):
            store.tend()
        assert found_after_a_crash(path, tmp_path)[0] == {2}


def test_a_close_puts_it_back(path, tmp_path):
    """A stop that comes before the next look loses nothing either."""
    store = open_file(path)
    accept(store, 1, 2)
    remove_the_folder(path)
    store.close()
    assert found_after_a_crash(path, tmp_path)[0] == {1, 2}


def test_no_copy_is_made_of_what_is_not_the_inbox(path, tmp_path):
    """`backup` reads the file by its name: with another one there, or without its journal, it refuses."""
    with closing(open_file(path)) as store:
        accept(store, 1)
        remove_the_journal(path)
        with pytest.raises(StoreDisplacedError):
            store.backup(tmp_path / "copy.db")
        assert not (tmp_path / "copy.db").exists()
        with pytest.raises(StoreDisplacedError):
            store.tend()
        store.backup(tmp_path / "copy.db")


def test_no_descriptor_of_the_lost_files_is_kept(path):
    """However often it happens: the room of the removed files comes back."""

    def deleted():
        links = []
        for name in os.listdir("/proc/self/fd"):
            with suppress(OSError):
                links.append(os.readlink(f"/proc/self/fd/{name}"))
        return [link for link in links if str(path.parent) in link and link.endswith(" (deleted)")]

    with closing(open_file(path)) as store:
        for number in range(3):
            with suppress(StoreDisplacedError):
                accept(store, number)
            remove_the_folder(path)
            with pytest.raises(StoreDisplacedError):
                store.tend()
            assert deleted() == []


async def test_it_is_told_and_it_is_over(path):
    """Trouble and recovery, and what waits is handled: the same backlog goes on over the new file."""
    heard: list[Any] = []
    async with open_tended(open_file(path), trouble=heard.append) as inbox:
        await inbox.accept(BOT, [Arrival(1, "message", "1", None, None, BODY)])
        backlog = inbox.claim(BOT, Breakage())
        shutil.rmtree(path.parent)
        with trio.fail_after(20):
            while len(heard) < 2:  # noqa: ASYNC110 - the other side is a thread
                await trio.sleep(0.005)
            while not (update := backlog.ordinary.take()):  # noqa: ASYNC110
                await trio.sleep(0.005)
        assert update.update_id == 1
        await inbox.accept(BOT, [Arrival(2, "message", "1", None, None, BODY)])
        inbox.release(backlog)
    assert isinstance(heard[0], StoreDisplacedError)
    assert heard[1] is None


def test_a_replaced_file_is_seen_whatever_times_its_folder_is_given(path, tmp_path):
    """A restore puts another file there, and then gives the folder the time that it had."""
    with closing(open_file(path)) as store:
        time.sleep(place.SETTLED / 1e9 + 0.1)  # from now on one look at the folder is enough
        for number in range(3):
            accept(store, number)
        was = path.parent.stat()
        shutil.copy2(path, tmp_path / "restored")
        (tmp_path / "restored").rename(path)
        os.utime(path.parent, ns=(was.st_atime_ns, was.st_mtime_ns))
        with pytest.raises(StoreDisplacedError, match="was replaced while the daemon ran"):
            accept(store, 7)
        accept(store, 8)
        assert found_after_a_crash(path, tmp_path)[0] == {0, 1, 2, 8}
