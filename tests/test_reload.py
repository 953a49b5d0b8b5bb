"""A reload is all or nothing: real files, handlers imported in real processes, a fleet that only notes."""

from __future__ import annotations

import errno
import os
import resource
import stat
import subprocess
import threading
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio

from trioworkers import hookimpl, shortage
from trioworkers import reload as reload_module
from trioworkers.config import Fleet, FleetFileError, FleetInForce, Plan, draft_bot, load_fleet
from trioworkers.config.lean import find_runtime_dir
from trioworkers.config.watch import Pace, serve_watch
from trioworkers.events import Event, Events
from trioworkers.plugins import Origin, Plugins
from trioworkers.reload import Reload, ShortError
from trioworkers.shortage import in_thread
from trioworkers.sources import Sources
from trioworkers.starved import NO_THREAD
from trioworkers.worker import probe

HANDLER = "async def handle(update, bot): ...\n"
ECHO = '[bots.echo]\ntoken = "1:zeisig-zeisig"\nhandler = "echo:handle"\n'
ENVIRON = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", "SECRET": "zeisig"}


class Daemon:
    """Holds a fleet in force, and notes what was applied and told."""

    def __init__(self, folder):
        (folder / "echo.py").write_text(HANDLER)
        (folder / "state").mkdir()
        self.folder = folder
        self.plans: list[Plan] = []
        self.events: list[Event] = []
        self.write(ECHO)
        fleet = load_fleet(folder / "fleet.toml", ENVIRON)
        plugins = Plugins()
        plugins.add("x", SimpleNamespace(), Origin("a test"))
        self.sources = Sources(plugins, Events())
        self.reload = Reload(
            FleetInForce(fleet),
            ENVIRON,
            sources=self.sources,
            apply=self.apply,
            events=Events(self.events.append),
        )

    def write(self, text, name="fleet.toml"):
        (self.folder / name).write_text(text)

    async def apply(self, plan):
        self.plans.append(plan)

    def told(self):
        names = [event.event for event in self.events]
        assert "zeisig" not in str(self.events)
        self.events.clear()
        return names


@pytest.fixture
def daemon(tmp_path):
    return Daemon(tmp_path)


async def test_a_changed_file_is_applied_and_told(daemon):
    """The plan is done, its fleet is in force, the event names keys."""
    daemon.write(ECHO + "concurrency = 3\n")
    plan = await daemon.reload.run()
    assert daemon.plans == [plan]
    assert daemon.reload.fleet is plan.fleet
    assert plan.fleet.bots["echo"].concurrency == 3
    assert daemon.events[0].fields == {"plan": plan.document(), "refused": []}
    assert plan.document()["retuned"] == {"echo": ["concurrency"]}
    assert daemon.reload.last.error is None
    assert daemon.told() == ["reload.applied"]


async def test_any_problem_and_nothing_changes(daemon):
    """All problems are told, of the file and later of the handlers; what is right waits, too."""
    before = daemon.reload.fleet
    more = '[bots.more]\ntoken = "2:a"\nhandler = "absent:handle"\n'
    more += '[bots.third]\ntoken = "3:a"\nhandler = "echo:no"\n'
    daemon.write(ECHO + "concurrency = 3\n[fleet]\nname = 5\n[log]\nlevel = 'x'\n" + more)
    with pytest.raises(FleetFileError) as caught:
        await daemon.reload.run()
    assert [problem.path for problem in caught.value.problems] == ["fleet.name", "log.level"]
    daemon.write(ECHO + "concurrency = 3\n" + more)
    with pytest.raises(FleetFileError) as caught:
        await daemon.reload.run()
    assert [problem.path for problem in caught.value.problems] == ["bots.more.handler", "bots.third.handler"]
    assert [problem.line for problem in caught.value.problems] == [7, 10]
    assert daemon.reload.last.error == str(caught.value)
    assert daemon.reload.fleet is before
    assert daemon.plans == []
    assert daemon.told() == ["reload.refused", "reload.refused"]


async def test_only_handlers_that_would_start_are_imported(daemon):
    """One that broke on disk meanwhile stops no reload that leaves its worker alone."""
    daemon.write("broken(", "echo.py")
    daemon.write(ECHO + "concurrency = 3\n")
    assert (await daemon.reload.run()).retuned == {"echo": ("concurrency",)}
    daemon.write(ECHO + "concurrency = 3\nenabled = false\n")
    assert (await daemon.reload.run()).retuned == {"echo": ("enabled",)}
    daemon.write(ECHO.replace("zeisig-zeisig", "other-zeisig") + "enabled = false\n")
    await daemon.reload.run()
    daemon.write(ECHO.replace("zeisig-zeisig", "other-zeisig"))
    with pytest.raises(FleetFileError, match=r"bots\.echo\.handler: echo:handle: "):
        await daemon.reload.run()


async def test_a_probed_handler_sees_no_secret(daemon):
    """Neither those of variables that the file names now."""
    daemon.write("import os\nassert 'SECRET' not in os.environ\n" + HANDLER, "curious.py")
    daemon.write(ECHO.replace("echo:handle", "curious:handle") + "[plugins.x]\nkey = { env = 'SECRET' }\n")
    assert (await daemon.reload.run()).replaced == {"echo": ("handler",)}


async def test_a_dry_run_changes_and_tells_nothing(daemon):
    """It says what would be done, or what is wrong."""
    before = daemon.reload.fleet
    daemon.write("# none\n")
    assert (await daemon.reload.run(dry=True)).removed == ("echo",)
    daemon.write("x = 1")
    with pytest.raises(FleetFileError):
        await daemon.reload.run(dry=True)
    assert daemon.reload.fleet is before
    assert (daemon.plans, daemon.told(), daemon.reload.last.error) == ([], [], None)


async def test_a_draft_is_written_when_all_is_good(daemon):
    """And not when it is not; what is wrong with it is no fault of the file."""
    state = daemon.reload.fleet.state_dir
    draft = draft_bot(state, "new", {"token": "2:a", "handler": "absent:handle"})
    with pytest.raises(FleetFileError, match=r"new\.toml:\d+:\d+: bots\.new\.handler: absent:handle"):
        await daemon.reload.run(drafts=[draft])
    assert not draft.file.exists()
    assert (daemon.told(), daemon.reload.last.error) == ([], None)
    draft = draft_bot(state, "new", {"token": "2:a", "handler": "echo:handle"})
    assert (await daemon.reload.run(drafts=[draft])).added == ("new",)
    assert stat.S_IMODE(draft.file.stat().st_mode) == 0o600
    await daemon.reload.changed()
    assert daemon.told() == ["reload.applied"]


async def test_a_row_whose_handler_is_broken_is_left_out_alone(daemon):
    """A bot of a source that ran keeps its old settings; the other rows come."""
    rows = {f"r{n}": {"token": f"{n}:a", "handler": "echo:handle"} for n in (2, 3)}
    daemon.sources.tables = {"api": rows}
    assert (await daemon.reload.run()).added == ("r2", "r3")
    broken = {"handler": "absent:handle"}
    four = {"token": "4:a", **broken}
    daemon.sources.tables = {
        "api": {**rows, "r3": {**rows["r3"], **broken}, "r4": four, "r5": {**four, "token": 5}}
    }
    plan = await daemon.reload.run()
    assert (plan.unchanged, plan.is_empty) == (("echo", "r2", "r3"), True)
    assert sorted(plan.fleet.refused) == ["r3", "r4", "r5"]
    assert plan.fleet.bots["r3"].handler == "echo:handle"
    assert daemon.reload.given() == daemon.sources.tables
    assert daemon.told() == ["reload.applied", "reload.applied"]
    await daemon.reload.changed()
    assert daemon.told() == []


async def test_settings_of_a_plugin_are_asked_with_at_once(daemon):
    """Other changes are made with the last answers, so that no network is waited for."""
    asked = []

    async def bots(fleet):
        asked.append(dict(fleet.plugins))
        assert fleet.state_dir == daemon.folder / "state"
        return {}

    plugins = Plugins()
    plugins.add("api", SimpleNamespace(trioworkers_bots=hookimpl(bots)), Origin("a test"))
    daemon.sources = daemon.reload._sources = Sources(plugins, Events())
    daemon.reload._plugins = plugins
    table = '[plugins.api]\nurl = "x"\n[fleet]\nstate_dir = "elsewhere"\n'
    for text in (ECHO + table, ECHO + table + "name = 'x'\n", "# why\n" + ECHO + table):
        daemon.write(text)
        await daemon.reload.changed()
    assert asked == [{"api": {"url": "x"}}]
    await daemon.reload.run(
        drafts=[draft_bot(daemon.reload.fleet.state_dir, "b", {"token": "2:a", "handler": "echo:handle"})]
    )
    assert len(asked) == 1
    await daemon.reload.run()
    assert len(asked) == 2


async def test_what_the_watch_finds_is_told_when_it_means_something(daemon):
    """A comment is silent, a key that waits is told once, a bad file is told and mends itself."""
    daemon.write("# why\n" + ECHO)
    await daemon.reload.changed()
    assert daemon.told() == []
    for _ in range(2):
        daemon.write(ECHO + '[api]\nbind = "127.0.0.1:5"\n')
        await daemon.reload.changed()
    assert daemon.told() == ["reload.applied"]
    assert str(daemon.reload.fleet.api.bind) == "127.0.0.1:3001"
    daemon.write("x = 1")
    await daemon.reload.changed()
    assert daemon.reload.last.error
    daemon.write(ECHO)
    await daemon.reload.changed()
    assert daemon.reload.last.error is None
    assert daemon.told() == ["reload.refused", "reload.applied"]


async def test_reloads_come_one_after_the_other(daemon):
    """A plan is made from the fleet that the one before left."""
    done = trio.Event()

    async def slow(plan):
        daemon.plans.append(plan)
        await done.wait()

    daemon.apply = slow
    daemon.reload._apply = slow
    daemon.write(ECHO + "concurrency = 3\n")
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(daemon.reload.run)
            while not daemon.plans:  # noqa: ASYNC110 - files are read in threads, which set no event
                await trio.sleep(0.01)
            assert len(daemon.plans) == 1
            done.set()
    assert [plan.is_empty for plan in daemon.plans] == [False, True, True, True, True]


async def test_watched_and_reloaded(daemon):
    """The whole way: what is written is in force; a secret that is missing is waited for."""
    applied, wait_applied = trio.open_memory_channel[Plan](100)
    daemon.reload._apply = applied.send
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            await nursery.start(
                partial(
                    serve_watch,
                    daemon.reload.watched,
                    daemon.reload.changed,
                    pytest.fail,
                    pace=Pace(0.01, 3600, 3600),
                )
            )
            daemon.write(ECHO.replace('"1:zeisig-zeisig"', '{ file = "token" }') + "concurrency = 7\n")
            while daemon.reload.last.error is None:  # noqa: ASYNC110 - see above
                await trio.sleep(0.01)
            daemon.write("1:zeisig-zeisig", "token")
            while (await wait_applied.receive()).fleet.bots["echo"].concurrency != 7:
                pass
            nursery.cancel_scope.cancel()
    assert set(daemon.told()) == {"reload.refused", "reload.applied"}


async def test_cancelling_ends_the_import(daemon):
    """A handler that hangs on import holds up nobody who stops; its process is gone."""
    daemon.write("import os, time\nopen('pid', 'w').write(str(os.getpid()))\ntime.sleep(3600)\n", "hangs.py")
    daemon.write(ECHO.replace("echo:handle", "hangs:handle"))
    file = daemon.folder / "pid"
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(daemon.reload.run)
            while not (file.exists() and file.read_text()):  # noqa: ASYNC110 - another process writes it
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
    assert not os.path.exists(f"/proc/{file.read_text()}")
    assert daemon.plans == []


async def test_a_handler_that_hangs_on_import_is_a_problem(daemon, monkeypatch):
    """After the probe's time limit."""
    monkeypatch.setattr(probe, "TIME_LIMIT", 0.5)
    daemon.write("import time\ntime.sleep(3600)\n", "hangs.py")
    daemon.write(ECHO.replace("echo:handle", "hangs:handle"))
    with pytest.raises(FleetFileError, match=r"hangs:handle: importing it took longer than 0\.5 s"):
        await daemon.reload.run()


def short_of(monkeypatch, what, at):
    """Let the n-th thing of a kind not be had; returns how many were asked for."""
    asked = 0

    def refuse(function, error):
        def asks(*args, **options):
            nonlocal asked
            asked += 1
            if asked == at:
                raise error
            return function(*args, **options)

        return asks

    target, name, error = {
        "thread": (trio.to_thread, "run_sync", RuntimeError(NO_THREAD)),
        "process": (subprocess, "Popen", BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))),
        "memory": (subprocess, "Popen", OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))),
        "pipe": (os, "pipe", OSError(errno.EMFILE, os.strerror(errno.EMFILE))),
        "pidfd": (os, "pidfd_open", OSError(errno.EMFILE, os.strerror(errno.EMFILE))),
    }[what]
    monkeypatch.setattr(target, name, refuse(getattr(target, name), error))
    return lambda: asked


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("thread", "no thread can be started: "),
        ("process", "no process can be started: "),
        ("memory", "raise MemoryMax="),
        ("pipe", "raise LimitNOFILE="),
        ("pidfd", "raise LimitNOFILE="),
    ],
)
async def test_a_reload_that_the_system_has_no_room_for_is_refused(tmp_path, monkeypatch, what, words):
    """At each place that asks for something, in turn: the limit is named, nothing changes, and it goes on."""
    children = Path(f"/proc/self/task/{threading.main_thread().native_id}/children")
    others = children.read_text().split()  # servers of other tests
    daemon = Daemon(tmp_path)
    daemon.write(ECHO.replace("zeisig-zeisig", "other-zeisig"))
    for at in range(1, 50):
        with monkeypatch.context() as patched:
            asked = short_of(patched, what, at)
            before, refused = daemon.reload.fleet, None
            try:
                await daemon.reload.run()
            except ShortError as error:
                refused = str(error)
            if refused is None:
                assert asked() < at
                break
            assert words in refused
            assert daemon.reload.fleet is before
            assert daemon.reload.last.error == refused
    else:
        pytest.fail("it asks for ever")
    assert at > 1
    assert daemon.told()[-1] == "reload.applied"
    assert len(daemon.plans) == 1
    assert children.read_text().split() == others  # what was started was ended


async def test_what_the_watch_finds_waits_for_room(daemon, monkeypatch):
    """No file changes when there is room again: it is tried until then, and refused once meanwhile."""
    monkeypatch.setattr(reload_module, "AGAIN", 0.01)
    daemon.write(ECHO + "concurrency = 3\n")
    run_sync = trio.to_thread.run_sync
    refused = iter(range(5))

    async def refusing(*args, **options):
        if next(refused, None) is not None:
            raise RuntimeError(NO_THREAD)
        return await run_sync(*args, **options)

    monkeypatch.setattr(trio.to_thread, "run_sync", refusing)
    with trio.fail_after(20):
        await daemon.reload.changed()
    assert daemon.told() == ["reload.refused", "reload.applied"]
    assert daemon.reload.last.error is None


async def test_a_thread_that_cannot_be_had_is_no_other_error(monkeypatch):
    """What the work itself raises goes through as it is."""

    def breaks():
        raise RuntimeError("of the work")

    with pytest.raises(RuntimeError, match="of the work"):
        await in_thread(breaks)


@pytest.mark.parametrize(
    ("group", "most", "words"),
    [
        ("100", resource.RLIM_INFINITY, "the control group may have 100"),
        ("max", 30, "the user may have 30"),
        ("200", 30, "the user may have 30"),
        ("max", resource.RLIM_INFINITY, "the system has no more"),
    ],
)
@pytest.mark.parametrize("version", [1, 2])
def test_the_limit_that_is_reached_is_named(tmp_path, monkeypatch, group, most, words, version):
    """Of the control group or one above it, of the user, or of the system."""
    above = tmp_path / ("pids" if version == 1 else "")
    (above / "a" / "b").mkdir(parents=True)
    (above / "a" / "pids.max").write_text(f"{group}\n")
    (above / "a" / "pids.current").write_text("100\n")
    (tmp_path / "own").write_text(f"{'8:pids' if version == 1 else '0:'}:/a/b\n1:cpu:/\n")
    monkeypatch.setattr(shortage, "GROUPS", tmp_path)
    monkeypatch.setattr(shortage, "OWN_GROUP", tmp_path / "own")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (most, most))
    assert words in str(shortage.no_thread())
    assert words in shortage.words_of(BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"))


async def test_an_emptied_file_ends_no_bots(daemon):
    """What a full disk leaves of a file is refused; a file that says as much is believed."""
    daemon.write("")
    with pytest.raises(FleetFileError, match="is empty"):
        await daemon.reload.run()
    assert daemon.told() == ["reload.refused"]
    daemon.write("# no bots today\n")
    assert (await daemon.reload.run()).removed == ("echo",)


async def test_a_fifo_in_the_place_of_the_file_holds_up_nothing(daemon):
    """It is told like a file that cannot be read, by a reload that ends."""
    (daemon.folder / "fleet.toml").unlink()
    os.mkfifo(daemon.folder / "fleet.toml")
    with trio.fail_after(30), pytest.raises(FleetFileError, match="not a regular file"):
        await daemon.reload.run()
    with pytest.raises(FleetFileError, match="not a regular file"):
        find_runtime_dir(daemon.folder / "fleet.toml", ENVIRON)


async def test_what_is_read_while_somebody_writes_is_read_again(daemon, monkeypatch):
    """One reading sees half a file; the fleet that is applied is the whole one."""
    whole = ECHO + ECHO.replace("echo]", "two]").replace("1:", "2:")
    daemon.write(whole)
    seen: list[Fleet] = []

    def load_late(*args, **options):
        if not seen:
            daemon.write("# half\n")
        seen.append(load_fleet(*args, **options))
        if len(seen) == 1:
            daemon.write(whole + "# and more\n")
        return seen[-1]

    monkeypatch.setattr(reload_module, "load_fleet", load_late)
    assert (await daemon.reload.run()).added == ("two",)
    assert not seen[0].bots


async def test_a_plan_that_cannot_be_applied_is_not_in_force(daemon):
    """What applying it raises goes through, and the old fleet is in force again."""
    old = daemon.reload.fleet

    async def breaks(plan):
        assert daemon.reload.fleet is plan.fleet
        assert daemon.sources.plugins.found[0].settings == {"word": 5}
        raise ZeroDivisionError

    daemon.reload._apply = breaks
    daemon.write(ECHO + "concurrency = 3\n[plugins.x]\nword = 5\n")
    with pytest.raises(ZeroDivisionError):
        await daemon.reload.run()
    assert daemon.reload.fleet is old
    (plugin,) = daemon.sources.plugins.found
    assert plugin.settings == {}


async def test_reloads_are_counted_with_their_time(daemon):
    """One that is applied, one that is refused: metrics show when the fleet in force was read."""
    began = daemon.reload.figures
    assert (began.applied, began.refused, began.is_good) == (0, 0, True)
    daemon.write(ECHO + "concurrency = 3\n")
    await daemon.reload.run()
    applied = daemon.reload.figures
    assert (applied.applied, applied.refused, applied.is_good) == (1, 0, True)
    assert applied.applied_at == daemon.reload.last.at > began.applied_at
    assert applied.seconds > 0
    daemon.write(ECHO + "concurrency = 'x'\n")
    with pytest.raises(FleetFileError):
        await daemon.reload.run()
    refused = daemon.reload.figures
    assert (refused.applied, refused.refused, refused.is_good) == (1, 1, False)
    assert refused.applied_at == applied.applied_at


async def test_the_history_says_what_changed_and_who_caused_it(daemon):
    """Applied and refused ones; nothing of looks that changed nothing, nor of refused drafts."""
    daemon.write(ECHO + "concurrency = 3\n")
    plan = await daemon.reload.run(by="signal HUP")
    await daemon.reload.changed()
    daemon.write("nonsense")
    await daemon.reload.changed()
    daemon.write(ECHO + "concurrency = 3\n")
    draft = draft_bot(daemon.folder / "state", "new", {"token": "2:a", "handler": "absent:handle"})
    with pytest.raises(FleetFileError):
        await daemon.reload.run(drafts=[draft], by="api")
    refused, applied = daemon.reload.history.documents(50)[0]
    assert (applied["result"], applied["by"], applied["plan"]) == ("applied", "signal HUP", plan.document())
    assert (refused["result"], refused["by"], refused["plan"]) == ("refused", "a changed file", None)
    assert len(refused["problems"]) == 1
    assert refused["problems"][0].startswith(str(daemon.folder / "fleet.toml"))


async def test_the_history_tells_of_a_plan_that_broke(daemon, monkeypatch):
    """The old fleet is in force again, and the failure is named by its type alone."""

    async def breaks(plan):
        raise RuntimeError("zeisig")

    monkeypatch.setattr(daemon.reload, "_apply", breaks)
    daemon.write(ECHO + "concurrency = 3\n")
    with pytest.raises(RuntimeError):
        await daemon.reload.run()
    ((failed,), _) = daemon.reload.history.documents(50)
    assert (failed["result"], failed["problems"]) == (
        "failed",
        ["it broke while it was applied: RuntimeError"],
    )
