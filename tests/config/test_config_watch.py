"""Real files and the system's own hints: what changes is noticed, however it is changed, and nothing else."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import threading
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import ClassVar

import pytest
import trio
import trio.testing
from inotify_simple import INotify

from trioworkers.config import Fleet, FleetFileError, Watched, hints, load_fleet, watch
from trioworkers.config.watch import Pace, serve_watch

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
        self.troubles: list[str] = []

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
async def watching(folder, poll=LONG, troubles=(), glance=LONG):
    daemon = Daemon(folder)
    async with trio.open_nursery() as nursery:
        await nursery.start(
            lambda **started: serve_watch(
                lambda: daemon.watched,
                daemon.changed,
                daemon.troubles.append,
                pace=Pace(0.05, glance, poll),
                **started,
            )
        )
        await daemon.next()  # the first reading
        yield daemon
        nursery.cancel_scope.cancel()
    if troubles is not None:
        assert daemon.troubles == list(troubles)


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


async def test_a_glance_that_takes_longer_than_the_time_until_the_next_look_breaks_nothing(
    folder, monkeypatch
):
    """As on a busy machine, or on a share that is slow."""
    glances, often = [], trio.Event()
    stamps = Watched.stamps

    def slow(what):
        glances.append(what)
        if len(glances) == 6:
            trio.from_thread.run_sync(often.set)
        time.sleep(0.1)
        return stamps(what)

    monkeypatch.setattr(Watched, "stamps", slow)
    async with watching(folder, poll=0.05, glance=0.01) as daemon:
        with trio.fail_after(20):
            await often.wait()
        renamed_over(folder / "fleet.toml", f'[fleet]\nname = "other"\n{BOT}')
        assert (await daemon.next()).name == "other"


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

    def look(self):
        return (), self.fingerprint()


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
        nursery.start_soon(lambda: serve_watch(lambda: writer, changed, pytest.fail, pace=Pace(0.25)))  # type: ignore[arg-type, return-value]
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


class Inotify(INotify):  # type: ignore[misc] # inotify_simple has no annotations
    """The system's inotify, which refuses or stays silent when a test wants it to.

    Attributes:
        refuses: the error number that each method raises.
        silent: gives watches, and no hint of what happens: what a network share does.
    """

    refuses: ClassVar[dict[str, int]] = {}
    silent: ClassVar[bool] = False

    def __init__(self, **options):
        self.may("init")
        super().__init__(**options)

    def add_watch(self, path, mask):
        self.may("add_watch")
        return super().add_watch("/proc/self/task" if self.silent else path, mask)

    def read(self, timeout=None):
        self.may("read")
        return super().read(timeout)

    def may(self, call):
        if call in self.refuses:
            raise OSError(self.refuses[call], os.strerror(self.refuses[call]))


@pytest.fixture
def inotify(monkeypatch):
    monkeypatch.setattr(hints, "INotify", Inotify)
    for module in (hints, watch):
        monkeypatch.setattr(module, "POLL_ALONE", 0.05)
    monkeypatch.setattr(Inotify, "refuses", {})
    return Inotify


NO_INSTANCE = (
    "inotify: Too many open files (raise the sysctl fs.inotify.max_user_instances, or the daemon's limit of "
    "open files); files are looked at every 0.05 s instead"
)
NO_WATCH = (
    "inotify: No space left on device (raise the sysctl fs.inotify.max_user_watches); files are looked at "
    "every 0.05 s instead"
)
REFUSED = [
    ("init", errno.EMFILE, NO_INSTANCE),
    ("init", errno.ENOSYS, "inotify: Function not implemented (this system has no inotify)"),
    ("add_watch", errno.ENOSPC, NO_WATCH),
    ("add_watch", errno.EACCES, "{folder}: Permission denied; files are"),
    ("read", errno.EIO, "inotify: Input/output error; files are"),
]


@pytest.mark.parametrize(("call", "error", "told"), REFUSED)
async def test_where_the_system_gives_no_watches_files_are_looked_at(folder, inotify, call, error, told):
    """It is reported once, with what to do; changes are noticed without hints; nothing ends."""
    inotify.refuses = {call: error}
    async with watching(folder, troubles=None) as daemon:
        for number in range(2, 5):
            (folder / "secrets/token").write_text(f"1:v{number}\n")
            assert (await daemon.next()).bots["echo"].token.reveal() == f"1:v{number}"
    assert len(daemon.troubles) == 1
    assert told.format(folder=folder.resolve()) in daemon.troubles[0]


@pytest.mark.parametrize(("call", "error"), [refused[:2] for refused in REFUSED])
async def test_hints_come_again_as_soon_as_the_system_gives_watches(folder, inotify, call, error):
    """They are asked for at each look; then what changes is hinted at."""
    inotify.refuses = {call: error}
    async with watching(folder, troubles=None) as daemon:
        assert watches() == 0
        inotify.refuses = {}
        await until(watches)
        (folder / "secrets/token").write_text("1:two\n")
        assert (await daemon.next()).bots["echo"].token.reveal() == "1:two"
    assert len(daemon.troubles) == 1


async def test_watches_that_break_are_told_of_and_replaced(folder, inotify):
    """The descriptor cannot be read: another one is opened; when that one breaks, it is reported again."""
    async with watching(folder, troubles=None) as daemon:
        for number in (1, 2):
            inotify.refuses = {"read": errno.EIO}
            (folder / "secrets/token").write_text(f"1:without{number}\n")
            assert (await daemon.next()).bots["echo"].token.reveal() == f"1:without{number}"
            await until(lambda count=number: len(daemon.troubles) == count)
            inotify.refuses = {}
            await until(watches)
    assert len(daemon.troubles) == 2


async def test_a_share_that_hints_at_nothing_is_looked_at(folder, inotify, monkeypatch):
    """Another machine's writes cause no hint; they are noticed by the look after `poll` seconds."""
    monkeypatch.setattr(inotify, "silent", True)
    async with watching(folder, poll=0.05) as daemon:
        (folder / "secrets/token").write_text("1:two\n")
        assert (await daemon.next()).bots["echo"].token.reveal() == "1:two"


@pytest.mark.parametrize("write", [renamed_over, written_in_place, moved_aside])
async def test_what_no_hint_reports_is_seen_by_a_glance(folder, inotify, monkeypatch, write):
    """A file that is mounted alone and written outside, a share: within two seconds, without reading."""
    monkeypatch.setattr(inotify, "silent", True)
    async with watching(folder, glance=0.05) as daemon:
        for number in range(2):
            write(folder / "secrets/token", f"1:changed{number}\n")
            assert (await daemon.next()).bots["echo"].token.reveal() == f"1:changed{number}"
        (folder / "state/fleet.d/two.toml").write_text("[bots.two]\ntoken = '2:two'\nhandler = 'a:b'\n")
        assert "two" in (await daemon.next()).bots


async def test_a_glance_reads_nothing(folder, inotify, monkeypatch):
    """While nothing changes, no file is opened."""
    glances, reads = 0, 0
    stamps, fingerprint = Watched.stamps, Watched.fingerprint

    def glancing(self):
        nonlocal glances
        glances += 1
        return stamps(self)

    def reading(self):
        nonlocal reads
        reads += 1
        return fingerprint(self)

    monkeypatch.setattr(Watched, "stamps", glancing)
    monkeypatch.setattr(Watched, "fingerprint", reading)
    async with watching(folder, glance=0.01):
        await until(lambda: glances > 3)
        before, seen = glances, reads
        await until(lambda: glances > before + 5)
        assert reads == seen


@pytest.fixture
def outside(folder, tmp_path_factory):
    """A file that is mounted alone over the token: `docker run -v token:/…/secrets/token`."""
    outside = tmp_path_factory.mktemp("outside") / "token"
    outside.write_text("1:one\n")
    mounted = str(folder / "secrets/token")
    bind = ["/bin/mount", "--bind", str(outside), mounted]
    if subprocess.run(bind, check=False, capture_output=True).returncode:
        pytest.skip("a file can be mounted by root only")
    yield outside
    subprocess.run(["/bin/umount", "--lazy", mounted], check=True)


async def test_a_file_that_is_mounted_alone_is_noticed(folder, outside):
    """The folder that is watched is not the one in which it is written."""
    async with watching(folder, glance=watch.GLANCE) as daemon:
        outside.write_text("1:two\n")
        assert (await daemon.next()).bots["echo"].token.reveal() == "1:two"


async def test_where_no_thread_can_be_started_it_waits_for_one(folder, inotify, monkeypatch):
    """The limit of processes may be reached: that is reported, and files are looked at once it is not."""
    run_sync = trio.to_thread.run_sync
    refused = iter(range(8))

    async def refusing(*args, **options):
        if next(refused, None) is not None:
            raise RuntimeError("can't start new thread")
        return await run_sync(*args, **options)

    async with watching(folder, troubles=None) as daemon:
        monkeypatch.setattr(trio.to_thread, "run_sync", refusing)
        (folder / "secrets/token").write_text("1:two\n")
        assert (await daemon.next()).bots["echo"].token.reveal() == "1:two"
    assert next(refused, None) is None
    told = "files cannot be looked at: can't start new thread (raise the limit of processes)"
    assert daemon.troubles == [told]


async def test_a_folder_that_another_one_replaces_is_watched(folder):
    """Moved aside with another moved in, or deleted and made anew: what is written later is hinted at."""
    async with watching(folder) as daemon:
        for number in range(3):
            fresh = folder / "fresh"
            fresh.mkdir()
            shutil.copy(folder / "secrets/token", fresh)
            if number == 2:
                shutil.rmtree(folder / "secrets")
            else:
                (folder / "secrets").rename(folder / f"old{number}")
            fresh.rename(folder / "secrets")
            await trio.sleep(0.3)  # it holds the same: nobody is called, and that sets no event
            (folder / "secrets/token").write_text(f"1:v{number}\n")
            while (await daemon.next()).bots["echo"].token.reveal() != f"1:v{number}":
                pass


async def until(holds):
    with trio.fail_after(20):
        while not holds():  # noqa: ASYNC110 - of the system, which sets no event
            await trio.sleep(0.01)


def instances():
    """The watches of each inotify instance that this process holds."""
    found = []
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            if "inotify" in os.readlink(f"/proc/self/fd/{descriptor}"):
                found.append(Path(f"/proc/self/fdinfo/{descriptor}").read_text().count("inotify wd:"))
    return found


def watches():
    return sum(instances())


async def test_it_ends_at_once_and_leaves_nothing_open(folder):
    """Cancelled while it waits: the descriptor is closed when it has ended, not some time later."""
    async with watching(folder):
        assert len(instances()) == 1
    assert instances() == []


@pytest.mark.parametrize("slices", range(12))
async def test_it_leaves_nothing_open_wherever_it_is_cancelled(folder, slices):
    """After each number of turns of the loop: the library is loaded, watches are set, files are looked at."""
    watched = load_fleet(folder / "fleet.toml", {}).watched
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_watch, lambda: watched, trio.lowlevel.checkpoint, pytest.fail)
        for _ in range(slices):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    await until(lambda: instances() == [])  # at most one that loads the library in a thread left behind


@pytest.mark.parametrize("look", ["names", "fingerprint"])
async def test_a_share_that_hangs_holds_up_no_end(look):
    """Its thread is left behind, and nothing of inotify with it."""
    hangs, goes_on = trio.Event(), threading.Event()
    token = trio.lowlevel.current_trio_token()

    class Hanging:
        def names(self):
            return self.hang() if look == "names" else {}

        def look(self):
            return (), self.hang()

        def hang(self):
            token.run_sync_soon(hangs.set)
            goes_on.wait(60)
            return {Path("/"): {"x"}}

    try:
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve_watch, Hanging, trio.lowlevel.checkpoint, pytest.fail)  # type: ignore[arg-type]
                await hangs.wait()
                assert len(instances()) == 1
                nursery.cancel_scope.cancel()
        assert instances() == []
    finally:
        goes_on.set()


class Scheduled(trio.abc.Instrument):
    """Counts how often a task other than the one that made it runs."""

    def __init__(self):
        self.others = 0
        self.mine = trio.lowlevel.current_task()

    def before_task_step(self, task):
        self.others += task is not self.mine


async def test_an_idle_watch_does_nothing(folder):
    """No task of it runs, and no thread: it costs nothing until something happens."""
    async with watching(folder):
        await trio.testing.wait_all_tasks_blocked(0.3)  # the last look after the first reading
        scheduled = Scheduled()
        trio.lowlevel.add_instrument(scheduled)
        began = time.process_time()
        await trio.sleep(1)
        trio.lowlevel.remove_instrument(scheduled)
        assert scheduled.others == 0
        assert time.process_time() - began < 0.05


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


def test_a_link_that_is_swapped_during_the_look_is_watched_by_its_name(folder, monkeypatch):
    """It was a link a moment ago and is gone or a file when it is read; its folder hints at what comes."""
    (folder / "link").symlink_to("secrets")
    for number in (errno.ENOENT, errno.EINVAL):

        def refused(_path, number=number):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "readlink", refused)
        watched = Watched(frozenset({folder / "link/token"}), frozenset())
        assert watched.names() == {folder.resolve(): {"link"}}
