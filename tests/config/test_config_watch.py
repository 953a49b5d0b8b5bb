"""Real files and the system's own hints: what changes is noticed, however it is changed, and nothing else."""

from __future__ import annotations

import os
import shutil
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio

from trioworkers.config import Fleet, FleetFileError, Watched, load_fleet, watch
from trioworkers.config.watch import serve_watch

BOT = '[bots.echo]\ntoken = { file = "secrets/token" }\nhandler = "a:b"\n'
LONG = 3600  # seconds: what is noticed is noticed by a hint


class Daemon:
    """Reads the fleet as a daemon would; every reading with a new digest, or a new complaint, is told."""

    def __init__(self, folder):
        self.file = folder / "fleet.toml"
        self.tells, self.told = trio.open_memory_channel[object](100)
        self.calls = 0
        self.last: object = None
        self.watched = load_fleet(self.file, {}).watched

    async def changed(self):
        self.calls += 1
        found: Fleet | str
        try:
            found = load_fleet(self.file, {})
            self.watched, digest = found.watched, found.digest
        except FleetFileError as error:
            found = digest = str(error)
            self.watched = error.watched or self.watched
        if digest != self.last:
            self.last = digest
            await self.tells.send(found)

    async def next(self):
        with trio.fail_after(20):
            return await self.told.receive()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/token").write_text("1:one\n")
    (tmp_path / "fleet.toml").write_text(BOT)
    (tmp_path / "state/fleet.d").mkdir(parents=True)
    return tmp_path


@asynccontextmanager
async def watching(folder, poll=LONG):
    daemon = Daemon(folder)
    async with trio.open_nursery() as nursery:
        await nursery.start(
            lambda **started: serve_watch(
                lambda: daemon.watched, daemon.changed, settle=0.05, poll=poll, **started
            )
        )
        await daemon.next()  # the first reading
        yield daemon
        nursery.cancel_scope.cancel()


def renamed_over(path, text):
    fresh = path.with_name("4913~")
    fresh.write_text(text)
    fresh.replace(path)


def written_in_place(path, text):
    path.write_text(text)


def moved_aside(path, text):
    path.rename(path.with_name(f"{path.name}~"))
    path.write_text(text)


@pytest.mark.parametrize("write", [renamed_over, written_in_place, moved_aside])
async def test_a_file_is_noticed_however_it_is_written(folder, write):
    """vim and most editors rename, nano writes in place, emacs moves the old one aside; twice each."""
    async with watching(folder) as daemon:
        for name in ("first", "second"):
            write(folder / "fleet.toml", f'[fleet]\nname = "{name}"\n{BOT}')
            assert (await daemon.next()).name == name


async def test_a_changed_secret_is_noticed(folder):
    """Its file is watched, and so is one that the fleet names only since the last reading."""
    async with watching(folder) as daemon:
        (folder / "secrets/token").write_text("1:two\n")
        assert (await daemon.next()).bots["echo"].token.reveal() == "1:two"
        (folder / "later").mkdir()
        (folder / "fleet.toml").write_text(BOT.replace("secrets/token", "later/token"))
        assert "cannot be read" in await daemon.next()
        (folder / "later/token").write_text("1:three\n")
        assert (await daemon.next()).bots["echo"].token.reveal() == "1:three"


def mount(folder, number, **files):
    """Swaps what is mounted as Kubernetes does (its atomic writer): new folder, new link, rename over."""
    fresh = folder / f"..2026_{number}"
    fresh.mkdir()
    for name, text in files.items():
        (fresh / name.replace("_", ".")).write_text(text)
    (folder / "..data_tmp").symlink_to(fresh.name)
    old = os.readlink(folder / "..data") if (folder / "..data").is_symlink() else None
    (folder / "..data_tmp").rename(folder / "..data")
    if old is not None:
        shutil.rmtree(folder / old)


async def test_kubernetes_swaps_are_noticed(folder):
    """The mounted files are links that never change themselves: the link that they pass through does."""
    (folder / "secrets/token").unlink()
    mount(folder / "secrets", 0, token="1:one")
    (folder / "secrets/token").symlink_to("..data/token")
    config = folder / "config"
    config.mkdir()
    mount(config, 0, fleet_toml=BOT.replace("secrets", "../secrets"))
    (config / "fleet.toml").symlink_to("..data/fleet.toml")
    async with watching(config) as daemon:
        for number in range(1, 4):
            mount(folder / "secrets", number, token=f"1:v{number}")
            assert (await daemon.next()).bots["echo"].token.reveal() == f"1:v{number}"
            mount(
                config,
                number,
                fleet_toml=f'[fleet]\nname = "v{number}"\n{BOT.replace("secrets", "../secrets")}',
            )
            assert (await daemon.next()).name == f"v{number}"


async def test_a_release_that_is_switched_is_noticed(folder):
    """The fleet file's own folder may be a link to the release of the day."""
    for number in range(2):
        release = folder / f"release-{number}"
        release.mkdir()
        (release / "fleet.toml").write_text(f'[fleet]\nname = "r{number}"\n')
    (folder / "current").symlink_to("release-0")
    async with watching(folder / "current") as daemon:
        (folder / "next").symlink_to("release-1")
        (folder / "next").rename(folder / "current")
        assert (await daemon.next()).name == "r1"
        (folder / "release-1/fleet.toml").write_text("")
        assert (await daemon.next()).name == "fleet"


@pytest.mark.parametrize("place", ["fleet.d", "state/fleet.d"])
async def test_a_folder_that_comes_and_goes_and_comes_again(folder, place):
    """fleet.d may be made later, deleted and made anew, at once or not: what is in it counts each time."""
    shutil.rmtree(folder / "state")
    added = '[bots.more]\ntoken = "2:a"\nhandler = "a:b"\n'
    async with watching(folder) as daemon:
        for _ in range(2):
            (folder / place).mkdir(parents=True)
            (folder / place / "more.toml").write_text(added)
            assert "more" in (await daemon.next()).bots
            (folder / place / "more.toml").write_text(added.replace("2:a", "3:a"))
            assert (await daemon.next()).bots["more"].bot_id == 3
            shutil.rmtree(folder / place)
            assert "more" not in (await daemon.next()).bots
        (folder / place).mkdir()
        (folder / place / "more.toml").write_text(added)
        await daemon.next()
        shutil.rmtree(folder / place)
        (folder / place).mkdir()
        (folder / place / "other.toml").write_text(added.replace("more", "other"))
        while "other" not in (found := await daemon.next()).bots:
            pass
        (folder / place / "other.toml").write_text(added.replace("more", "again"))
        while "again" not in found.bots:
            found = await daemon.next()


async def test_a_half_written_file_is_waited_for(folder):
    """What is read is what was there for a while, so half a fleet is never taken for a whole one."""
    bots = "".join(f'[bots.b{n}]\ntoken = "{n}:a"\nhandler = "a:b"\n' for n in range(2, 200))
    async with watching(folder) as daemon:
        with (folder / "fleet.toml").open("w") as file:
            for line in (BOT + bots).splitlines(keepends=True):
                file.write(line)
                file.flush()
        assert len((await daemon.next()).bots) == 199


class Writer:
    """Stands for what is being written: each look at it finds the next state, the last one for ever."""

    def __init__(self, *states):
        self.states = states
        self.looks = 0

    def names(self):
        return {}

    def fingerprint(self):
        self.looks += 1
        return self.states[min(self.looks, len(self.states)) - 1]


@pytest.mark.parametrize(("states", "looks"), [("a", 2), ("abc", 4), ("abcdefghijklmnopqrstuvwxyz", 21)])
async def test_contents_have_to_stay_for_a_while(autojump_clock, states, looks):
    """Told after the first `settle` without a change; what never rests is taken as it is after 20 of them."""
    writer = Writer(*states)
    at = trio.Event()

    async def changed():
        at.set()
        assert trio.current_time() == (looks - 1) * 0.25
        assert writer.looks == looks

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: serve_watch(lambda: writer, changed, settle=0.25))  # type: ignore[arg-type, return-value]
        await at.wait()
        nursery.cancel_scope.cancel()


async def test_a_deleted_file_is_told_and_its_return_too(folder):
    """The fleet is not emptied by it: reading it is an error, and the end of that is noticed."""
    async with watching(folder) as daemon:
        (folder / "fleet.toml").unlink()
        assert "no such file" in await daemon.next()
        (folder / "fleet.toml").write_text(BOT)
        assert (await daemon.next()).bots.keys() == {"echo"}


async def test_what_does_not_matter_wakes_nobody(folder):
    """An inbox that is written beside the file, an editor's backup, a touch: the fleet is not read again."""
    (folder / "fleet.toml").write_text(BOT.replace("secrets/token", "token") + '[fleet]\nstate_dir = "."\n')
    (folder / "token").write_text("1:one")
    async with watching(folder) as daemon:
        before = daemon.calls
        for number in range(50):
            (folder / "inbox.db-wal").write_text(str(number))
        (folder / "fleet.toml~").write_text("x")
        (folder / "other.toml").write_text("x")
        (folder / "fleet.toml").touch()
        (folder / "token").write_text("1:two")
        assert (await daemon.next()).bots["echo"].token.reveal() == "1:two"
        assert daemon.calls == before + 1


async def test_where_the_system_gives_no_watches_files_are_looked_at(folder, monkeypatch):
    """inotify may be used up by others, or not work on a share: then the same is noticed by looking."""

    def used_up(*_):
        raise OSError("OS file watch limit reached")

    monkeypatch.setattr(watch, "RustNotify", used_up)
    async with watching(folder, poll=0.01) as daemon:
        (folder / "secrets/token").write_text("1:two\n")
        assert (await daemon.next()).bots["echo"].token.reveal() == "1:two"


def open_watches():
    """How many inotify instances this process holds."""
    count = 0
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            count += "inotify" in os.readlink(f"/proc/self/fd/{descriptor}")
    return count


async def test_it_ends_at_once_and_leaves_nothing_open(folder):
    """Cancelled while it waits; the system's watches are given back, as soon as its thread has noticed."""
    async with watching(folder):
        assert open_watches() >= 1
    with trio.fail_after(20):
        while open_watches():  # noqa: ASYNC110 - of the system, which sets no event
            await trio.sleep(0.01)


def test_a_path_is_watched_where_its_names_can_change(folder):
    """Each link on the way with its folder, and the last name; an absent one by its nearest ancestor."""
    (folder / "a").symlink_to("secrets")
    (folder / "secrets/link").symlink_to("../state/deep/token")
    watched = Watched(
        frozenset({folder / "a/link"}), frozenset({folder / "fleet.d", folder / "state/fleet.d"})
    )
    real = Path(os.path.realpath(folder))
    assert watched.names() == {
        real: {"a", "fleet.d"},
        real / "secrets": {"link"},
        real / "state": {"deep"},
        real / "state/fleet.d": {"*.toml"},
    }
    (folder / "loop").symlink_to("loop")
    assert Watched(frozenset({folder / "loop"}), frozenset()).names() == {real: {"loop"}}
