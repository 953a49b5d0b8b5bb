"""`run --watch` and `run --debug`, as docs/development.md shows them: real daemons, files, terminals."""

from __future__ import annotations

import os
import pty
import re
import shlex
import sys
import termios
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
import trio
from documents import blocks, file_block, page
from fleet_project import PATIENCE, Daemon, Project, until

from trioworkers.testing import NothingSaid, serve_telegram

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from trioworkers.testing import SimBot, Telegram

PAGE = page("development.md")
HANDLERS = {name: file_block(PAGE, "python", f"{name}.py") for name in ("words", "greet")}
COMMANDS = [shlex.split(block.strip()) for block in blocks(PAGE, "sh")]
(DIALOG,) = blocks(PAGE, "text")
LIMITS = {"heartbeat_interval": "100ms", "hang_timeout": "300ms", "handler_timeout": "300ms"}


class Watching(Daemon):
    """A daemon that was started by one of the page's commands; its output goes to `daemon.log`."""

    def __init__(self, project: Project, words: list[str]) -> None:
        own = project.own
        usual, own._words = own._words, lambda *_: [sys.executable, "-m", "trioworkers.cli", *words[1:]]  # type: ignore[method-assign]
        super().__init__(project)
        own._words = usual  # type: ignore[method-assign]
        project.daemons.append(self)


class Screen:
    """A daemon on a terminal of its own.

    Attributes:
        shown: everything that the terminal has shown.
    """

    def __init__(self, project: Project, words: list[str], **environ: str) -> None:
        self.shown = ""
        self._read_to = 0
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            os.chdir(project.folder)
            environment = {**project.environ, "TERM": "xterm", "NO_COLOR": "1", "COLUMNS": "200", **environ}
            os.execve(sys.executable, [sys.executable, "-m", "trioworkers.cli", *words[1:]], environment)  # noqa: S606
        self.modes = termios.tcgetattr(self._terminal)
        os.set_blocking(self._terminal, False)
        self.code: int | None = None

    def type(self, keys: str) -> None:
        os.write(self._terminal, keys.encode())

    def modes_now(self) -> list[Any]:
        return termios.tcgetattr(self._terminal)

    def look(self) -> str:
        """What has been shown since the last wait was over."""
        with suppress(BlockingIOError, OSError):
            while data := os.read(self._terminal, 65536):
                self.shown += data.decode(errors="replace").replace("\r\n", "\n")
        return self.shown[self._read_to :]

    async def wait_for(self, text: str) -> str:
        """Wait until the terminal shows it; return all that came before it since the last wait."""
        try:
            await until(lambda: text in self.look())
        except trio.TooSlowError:
            pytest.fail(f"expected {text!r}, the terminal shows {self.shown!r}")
        found = self.look().index(text) + len(text)
        seen, self._read_to = self.look()[:found], self._read_to + found
        return seen

    def ended(self) -> bool:
        """Whether it has ended; its exit code is `code` then."""
        self.look()
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code is not None

    def close(self) -> None:
        if not self.ended():
            os.kill(self.pid, 9)
            os.waitpid(self.pid, 0)
        os.close(self._terminal)


@contextmanager
def screen(project: Project, words: list[str], **environ: str) -> Iterator[Screen]:
    """A daemon on a terminal; it is killed in the end if it still runs."""
    shown = Screen(project, words, **environ)
    try:
        yield shown
    finally:
        shown.close()


@pytest.fixture
def make_fleet(project: Project, world: Telegram) -> Callable[..., list[SimBot]]:
    """Writes a fleet of bots with the page's handler into the project's folder."""

    def make(base: str, *names: str, limits: Mapping[str, str] = {}, **tables: Any) -> list[SimBot]:
        for name, source in HANDLERS.items():
            project.module(name, source)
        bots = [world.add_bot(name) for name in names]
        settings = {"handler": "greet:handle", **limits, "retry": {"initial": "10ms", "max": "50ms"}}
        project.write(base, {bot.username: {"token": bot.token, **settings} for bot in bots}, **tables)
        return bots

    return make


def with_breakpoint() -> str:
    """The module with the handler that the page debugs."""
    (debugged,) = [block for block in blocks(PAGE, "python") if "breakpoint()" in block]
    return HANDLERS["greet"].split("async def")[0] + debugged


# -- run --watch -------------------------------------------------------------------------------------


async def test_watch_runs_changed_code_as_the_page_says(
    project: Project, world: Telegram, nursery: trio.Nursery, make_fleet: Callable[..., list[SimBot]]
) -> None:
    """A helper module is saved, broken, renamed over, deleted, made a package; one is imported late."""
    base = await nursery.start(serve_telegram, world)
    (bot,) = make_fleet(base, "greeter")
    daemon = await Watching(project, COMMANDS[0]).ready()
    alice = world.add_user("Alice")

    async def answers(text: str, says: str = "Ann") -> None:
        async def does() -> bool:
            await alice.say(bot, says)
            return bool((await alice.expect(bot, timeout=PATIENCE))["text"] == text)

        await until(does)

    await answers("hi Ann")
    first = await daemon.bot("greeter")
    project.module("words", HANDLERS["words"].replace("hi", "hello"))
    await answers("hello Ann")
    now = await daemon.bot("greeter")
    assert now["code"] != first["code"]
    assert (now["restarts"], now["errors"]) == (1, 0)

    project.module("words", "WORD = (\n")
    (refused,) = await until(lambda: project.events("code.refused"))
    assert "words.py:1" in refused["detail"]
    await answers("hello Ann")
    aside = project.folder / ".words.swp"
    aside.write_text('WORD = "renamed"\n')
    aside.rename(project.folder / "words.py")
    await answers("renamed Ann")

    (project.folder / "words.py").unlink()
    await until(lambda: len(project.events("code.refused")) == 2)
    await answers("renamed Ann")
    (project.folder / "words").mkdir()
    project.module("words/__init__", "from words.inner import WORD\n")
    project.module("words/inner", 'WORD = "packed"\n')
    await answers("packed Ann")
    project.module("words/inner", 'WORD = "repacked"\n')
    await answers("repacked Ann")

    project.module("late", 'WORD = "late"\n')
    project.module("greet", HANDLERS["greet"].replace("    text =", "    from late import WORD\n    text ="))
    await answers("late Ann")
    project.module("late", 'WORD = "later"\n')
    await answers("later Ann")
    assert (await daemon.bot("greeter"))["errors"] == 0
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_watch_starts_a_bot_whose_code_was_broken(
    project: Project, world: Telegram, nursery: trio.Nursery, make_fleet: Callable[..., list[SimBot]]
) -> None:
    """A module that is missing may come from anywhere on the path; a preloaded one is loaded anew."""
    base = await nursery.start(serve_telegram, world)
    (bot,) = make_fleet(base, "greeter", fleet={"preload": ["words"]})
    project.module("greet", "import missing\n" + HANDLERS["greet"])
    daemon = await Watching(project, COMMANDS[0]).ready()
    assert (await daemon.bot("greeter"))["state"] == "failed"
    project.module("missing", "")

    async def runs() -> bool:
        return bool((await daemon.bot("greeter"))["state"] == "running")

    await until(runs)
    project.module("words", 'WORD = "anew"\n')
    alice = world.add_user("Alice")

    async def is_anew() -> bool:
        await alice.say(bot, "Ann")
        return bool((await alice.expect(bot, timeout=PATIENCE))["text"] == "anew Ann")

    await until(is_anew)
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_each_bot_that_shares_a_module_is_replaced_once(
    project: Project, world: Telegram, nursery: trio.Nursery, make_fleet: Callable[..., list[SimBot]]
) -> None:
    """Each message gets one answer meanwhile, and a bot that does not use the module keeps its worker."""
    base = await nursery.start(serve_telegram, world)
    bots = make_fleet(base, *(f"bot{number}" for number in range(50)))
    other = world.add_bot("other")
    fleet = project.file.read_text()
    project.file.write_text(f'{fleet}\n[bots.other]\ntoken = "{other.token}"\nhandler = "echo:handle"\n')
    daemon = await Watching(project, COMMANDS[0]).ready()
    alice = world.add_user("Alice")

    async def are_replaced() -> bool:
        rows = (await daemon.status())["workers"]
        return all(row["restarts"] == (row["bot"] != "other") and row["state"] == "running" for row in rows)

    aside = project.folder / ".words.swp"
    aside.write_text('WORD = "hello"\n')
    aside.rename(project.folder / "words.py")
    said = 0
    with trio.fail_after(60):
        while said < 3 or not await are_replaced():
            for bot in bots:
                await alice.say(bot, str(said))
            said += 1
            await trio.sleep(0.2)
    for bot in bots:
        await alice.say(bot, "last")
        answers = [(await alice.expect(bot, timeout=PATIENCE))["text"].split() for _ in range(said + 1)]
        assert [text for _, text in answers] == [*map(str, range(said)), "last"]
        words = [word for word, _ in answers]
        assert words == sorted(words, reverse=True), "hi until the worker is replaced, hello from then on"
        assert words[-1] == "hello"
    (changed,) = project.events("code.changed")
    assert (changed["files"], changed["bots"]) == (["words.py"], 50)
    assert len(project.events("worker.ready")) == 51 + 50
    rows = (await daemon.status())["workers"]
    assert {row["bot"]: row["errors"] for row in rows} == dict.fromkeys([row["bot"] for row in rows], 0)
    assert await daemon.stop() == 0
    for bot in bots:
        with pytest.raises(NothingSaid):
            await alice.expect(bot, timeout=0)
    nursery.cancel_scope.cancel()


# -- run --debug -------------------------------------------------------------------------------------


async def test_debug_stops_in_a_handler_as_the_page_says(
    project: Project, world: Telegram, nursery: trio.Nursery, make_fleet: Callable[..., list[SimBot]]
) -> None:
    """Keys that a reader would type, what they would see; no limit ends it, and keys complete names."""
    base = await nursery.start(serve_telegram, world)
    (bot,) = make_fleet(base, "greeter", limits=LIMITS)
    project.module("greet", with_breakpoint())
    alice = world.add_user("Alice")
    prompt = "(Pdb greeter) "
    with screen(project, COMMANDS[1]) as shown:
        await shown.wait_for("daemon.ready")
        await alice.say(bot, "Ann")
        lines = DIALOG.splitlines()
        for line in lines:
            if line.startswith(prompt):
                await shown.wait_for(prompt)
                await trio.sleep(0.5)  # longer than all limits
                shown.type(line.removeprefix(prompt).replace("p text", "p tex\t") + "\r")
            elif not line.startswith((">", "->")):
                await shown.wait_for(line)
        assert re.search(r"^> .*greet\.py\(\d+\)handle\(\)$", shown.shown, re.MULTILINE)
        assert (await alice.expect(bot, timeout=PATIENCE))["text"] == "hi Bob"
        assert "worker.hung" not in shown.shown
        assert "update.retried" not in shown.shown
        shown.type("\x03")
        await until(shown.ended)
        assert shown.code == 0
    nursery.cancel_scope.cancel()


QUITS = """
async def handle(update, bot):
    try:
        breakpoint()
        text = "went on"
    except Exception as error:
        text = type(error).__name__
    await bot.send_message(chat_id=update.chat_id, text=text)
    await bot.send_message(chat_id=update.chat_id, text=input("not asked "))
"""


async def test_quit_raises_in_the_handler_and_gives_the_terminal_back(
    project: Project, world: Telegram, nursery: trio.Nursery, make_fleet: Callable[..., list[SimBot]]
) -> None:
    """At once, also where the handler catches it and goes on; by then the bot has no terminal to ask on."""
    base = await nursery.start(serve_telegram, world)
    (bot,) = make_fleet(base, "greeter")
    project.module("greet", QUITS)
    alice = world.add_user("Alice")
    with screen(project, COMMANDS[1]) as shown:
        await shown.wait_for("daemon.ready")
        await alice.say(bot, "Ann")
        await shown.wait_for("(Pdb greeter) ")
        shown.type("q\r")
        assert (await alice.expect(bot, timeout=PATIENCE))["text"] == "BdbQuit"
        await shown.wait_for("--- the bot greeter goes on ---")
        await shown.wait_for("EOFError at greet.py:9 in handle")
        shown.type("\x03")  # the update is handled again, and stops there again
        await shown.wait_for("Ctrl-C again stops at once")
        shown.type("\x03")
        await until(shown.ended)
    nursery.cancel_scope.cancel()


async def test_bots_that_break_at_the_same_time_do_not_mix(
    project: Project, world: Telegram, nursery: trio.Nursery, make_fleet: Callable[..., list[SimBot]]
) -> None:
    """One has the terminal until it goes on; what is logged meanwhile is shown after that."""
    base = await nursery.start(serve_telegram, world)
    bots = make_fleet(base, "one", "two", "three", limits=LIMITS)
    project.module("greet", with_breakpoint())
    alice = world.add_user("Alice")
    with screen(project, [*COMMANDS[1], "--watch"]) as shown:
        await shown.wait_for("daemon.ready")
        await trio.sleep(0.2)
        for bot in bots:
            await alice.say(bot, f"for {bot.username}")
        left = {"one", "two", "three"}
        while left:
            began = await shown.wait_for("'s until you continue ---")
            name = re.findall(r"the terminal is the bot (\w+)'s", began)[-1]
            left.remove(name)
            await shown.wait_for(f"(Pdb {name}) ")
            if len(left) == 2:
                project.module("words", 'WORD = "hello"\n')  # logs that the code has changed
                await until(lambda: "code.changed" in (project.folder / "state/logs/master.log").read_text())
            shown.type("p text, update.attempt\r")
            seen = await shown.wait_for(f"('for {name}', 0)\n(Pdb {name}) ")
            assert "Pdb" not in seen.removesuffix(f"(Pdb {name}) ")
            if sys.version_info >= (3, 13):  # it stops at `breakpoint()` itself, not at the line after it
                shown.type("n\r")
                await shown.wait_for(f"(Pdb {name}) ")
            shown.type("n\r")
            seen = await shown.wait_for("---")
            assert "code.changed" not in seen
            await shown.wait_for(f" the bot {name} goes on ---")
        for bot in bots:
            assert (await alice.expect(bot, timeout=PATIENCE))["text"] == f"hi for {bot.username}"
        await shown.wait_for("code.changed")
        shown.type("\x03")
        await until(shown.ended)
        assert shown.code == 0
    nursery.cancel_scope.cancel()


async def test_ctrl_c_waits_for_a_breakpoint_and_a_second_one_does_not(
    project: Project, world: Telegram, nursery: trio.Nursery, make_fleet: Callable[..., list[SimBot]]
) -> None:
    """However short `shutdown_timeout` is; afterwards the terminal is as it was."""
    base = await nursery.start(serve_telegram, world)
    (bot,) = make_fleet(base, "greeter", limits=LIMITS, fleet={"shutdown_timeout": "500ms"})
    project.module("greet", with_breakpoint())
    alice = world.add_user("Alice")
    with screen(project, COMMANDS[1]) as shown:
        await shown.wait_for("daemon.ready")
        await alice.say(bot, "Ann")
        await shown.wait_for("(Pdb greeter) ")
        shown.type("\x03")
        await shown.wait_for("Ctrl-C again stops at once")
        await trio.sleep(1.0)  # longer than the limit
        assert not shown.ended()
        shown.type("p text\r")
        await shown.wait_for("'Ann'")
        shown.type("\x03")
        await until(shown.ended)
        assert shown.modes_now() == shown.modes
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("way", ["no terminal", "0", "another"])
async def test_breakpoints_may_be_ignored_or_another_debuggers(
    project: Project,
    world: Telegram,
    nursery: trio.Nursery,
    make_fleet: Callable[..., list[SimBot]],
    way: str,
) -> None:
    """As the environment says, or where there is nobody to ask."""
    base = await nursery.start(serve_telegram, world)
    (bot,) = make_fleet(base, "greeter", limits=LIMITS)
    project.module("greet", with_breakpoint())
    project.module("mine", "def stop():\n    print('stopped:', input('mine> '))\n")
    alice = world.add_user("Alice")
    if way == "no terminal":
        daemon = await Watching(project, COMMANDS[1]).ready()
        await alice.say(bot, "Ann")
        assert (await alice.expect(bot, timeout=PATIENCE))["text"] == "hi Ann"
        assert await daemon.stop() == 0
        log = (project.folder / "state/logs/worker_greeter.log").read_text()
        assert "breakpoint ignored: the daemon has no terminal" in log
        assert "greet.py:" in log
    else:
        debugger = "mine.stop" if way == "another" else way
        with screen(project, COMMANDS[1], PYTHONBREAKPOINT=debugger) as shown:
            await shown.wait_for("daemon.ready")
            await alice.say(bot, "Ann")
            if way == "another":
                await shown.wait_for("mine> ")
                shown.type("yes\r")
                await shown.wait_for("stopped: yes")
                await shown.wait_for("--- the bot greeter goes on ---")
            assert (await alice.expect(bot, timeout=PATIENCE))["text"] == "hi Ann"
            shown.type("\x03")
            await until(shown.ended)
            assert shown.code == 0
    nursery.cancel_scope.cancel()
