"""A whole fleet from a dict, for tests of plugins and bots: a real daemon, a simulated Telegram.

    with running(tmp_path, {"plugins": {"audit": {"keep": "1d"}}}) as fleet:
        alice = fleet.user("Alice")
        alice.says("hello")
        assert alice.hears()["text"] == "hello"

Everything here blocks while it waits, and needs no event loop: Telegram lives on a thread of its own, the
daemon and its workers in processes of their own.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from functools import partial
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

from trioworkers.testing.control import Answer, ask
from trioworkers.testing.folder import FleetFolder
from trioworkers.testing.threaded import TelegramThread
from trioworkers.testing.users import NothingSaid

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator, Mapping

    from trioworkers.testing.bots import SimBot
    from trioworkers.testing.chats import Message
    from trioworkers.testing.users import SimUser

T = TypeVar("T")
ECHO = "trioworkers.testing.echo:handle"
START_LIMIT = 60.0  # seconds
STOP_LIMIT = 30.0  # seconds; `fleet.shutdown_timeout` is shorter unless a test sets it
LOOK_EVERY = 0.02  # seconds between two looks at a condition
LAST_LINES = 30  # of the log, in a failure's message
LAST_EVENTS = 3  # of a bot that says nothing, likewise


class FleetFailed(AssertionError):
    """The fleet did not start, did not reload, did not end well, or did not do in time what was expected."""


class Person:
    """Somebody who talks to the bots of a fleet; made by :meth:`RunningFleet.user`.

    `bot` is the name of a bot in the fleet file. It may be left out while the fleet has only one.

    Attributes:
        sim: the simulated user itself.
        id: its user id, which is also the chat id of its dialogs.
    """

    def __init__(self, fleet: RunningFleet, sim: SimUser) -> None:
        self._fleet = fleet
        self.sim = sim
        self.id = sim.id

    def says(self, text: str, bot: str | None = None, **more: Any) -> int:
        """Send a message and return its update id; `more` as for :meth:`SimUser.send`."""
        return self._fleet.telegram.say(self.sim, self._fleet.sim_bot(bot), text, **more)

    def edits(self, text: str, bot: str | None = None) -> int:
        """Edit the last message that was sent there; return the update id."""
        return self._fleet.telegram.do(self.sim.edit, self._fleet.sim_bot(bot), text)

    def presses(self, message: Message, button: str, bot: str | None = None) -> int:
        """Press an inline button by its text or callback data; return the update id."""
        return self._fleet.telegram.press(self.sim, self._fleet.sim_bot(bot), message, button)

    def pays(self, invoice: Message | str, bot: str | None = None, *, tip: int = 0) -> int:
        """Pay an invoice, as :meth:`SimUser.pay`; return the update id of the successful payment.

        Raises:
            PaymentFailed: the bot refused the payment, or did not answer in time.
        """
        pay = partial(self.sim.pay, self._fleet.sim_bot(bot), invoice, tip=tip)
        return self._fleet.telegram.do_async(pay)

    def votes(self, message: Message, *options: int) -> None:
        """Vote in a poll by the numbers of its options."""
        self._fleet.telegram.do(self.sim.vote, message, *options)

    def reacts(self, message: Message, *emoji: str) -> int:
        """React to a message; return the update id, 0 if no bot is told."""
        return self._fleet.telegram.do(self.sim.react, message, *emoji)

    def hears(self, bot: str | None = None, timeout: float = 10.0) -> Message:
        """Return the bot's next message to this person, as Telegram describes it: `["text"]` is its text.

        Raises:
            NothingSaid: none came within `timeout` seconds.
        """
        try:
            return self._fleet.telegram.expect(self.sim, self._fleet.sim_bot(bot), timeout)
        except NothingSaid as error:
            raise NothingSaid(f"{error}{self._fleet._how_it_is(bot)}") from None


class RunningFleet:
    """A fleet whose daemon runs; made by :func:`running` or by the pytest fixture `run_fleet`.

    Attributes:
        telegram: the simulated Telegram: faults, groups, its record of calls.
        folder: the fleet's folder, its file and its log.
        bots: the simulated bots, by their names in the fleet file.
        process: the daemon's process.
    """

    def __init__(self, folder: FleetFolder, telegram: TelegramThread) -> None:
        self.folder = folder
        self.telegram = telegram
        self.bots: dict[str, SimBot] = {}
        self._people: dict[str, Person] = {}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise FleetFailed("the daemon was not started")
        return self._process

    # -- the daemon -----------------------------------------------------------------------------

    def write(self, tables: Mapping[str, Any]) -> None:
        """Write the fleet file: `tables`, over what :func:`running` lists."""
        declared = tables.get("bots") or {"echo": {}}
        default_handler = tables.get("defaults", {}).get("handler", ECHO)
        bots = {
            name: {
                **({} if "command" in table else {"handler": default_handler}),
                "token": self._token(name, table),
                **table,
            }
            for name, table in declared.items()
        }
        fleet = {
            "api_base": self.telegram.base_url,
            "runtime_dir": str(self.folder.runtime_dir),
            "shutdown_timeout": "15s",
            **tables.get("fleet", {}),
        }
        api = {"bind": "127.0.0.1:0", **tables.get("api", {})}
        log = {"level": "debug", "format": "json", "throttle_window": 0, **tables.get("log", {})}
        self.folder.write({**tables, "fleet": fleet, "api": api, "log": log, "bots": bots})

    def start(self) -> None:
        """Start the daemon, and return once every bot had its first verdict.

        Raises:
            FleetFailed: the daemon ended instead, or was not ready in time; with the end of its output.
        """
        self._process = self.folder.start()

        def is_ready() -> bool:
            if self.process.poll() is not None:
                raise FleetFailed(f"the daemon ended with code {self.process.returncode}{self._last_lines()}")
            try:
                return bool(self.status()["fleet"]["state"] == "running")
            except (OSError, HTTPException):
                return False

        self._wait(is_ready, START_LIMIT, "the fleet was not ready")

    def stop(self) -> None:
        """Stop the daemon gracefully.

        Raises:
            FleetFailed: it ended with another code than 0, or not in time.
        """
        self.process.terminate()
        self._wait(lambda: self.process.poll() is not None, STOP_LIMIT, "the daemon did not end")
        if self.process.returncode:
            raise FleetFailed(f"the daemon ended with code {self.process.returncode}{self._last_lines()}")

    def kill(self) -> None:
        """End the daemon as a crash would, by SIGKILL; :meth:`start` starts it again on the same state."""
        self.process.kill()
        self.process.wait()

    def reload(self, tables: Mapping[str, Any]) -> dict[str, Any]:
        """Write the fleet file anew and apply it; return the plan that was carried out.

        Raises:
            FleetFailed: the daemon refused it; with its problems.
        """
        before = len(self.events("reload.applied"))
        self.write(tables)
        answer = self.ask("POST", "/api/reload", {})
        if answer.status != 200:
            raise FleetFailed(f"the reload was refused: {answer.text}")
        plan: dict[str, Any] = answer.json()
        for applied in self.events("reload.applied")[before:]:
            if _changes(applied["plan"]):  # the daemon had seen the new file by itself, before it was asked
                plan = applied["plan"]
        return plan

    def ask(self, method: str, path: str, body: object = None) -> Answer:
        """Make a request to the daemon's HTTP API, over its control socket, and return the answer."""
        return ask(self.folder.control, method, path, body)

    def status(self) -> dict[str, Any]:
        """Return the status document."""
        document: dict[str, Any] = self.ask("GET", "/api/workers/status").json()
        return document

    def bot(self, name: str) -> dict[str, Any]:
        """Return the status of one bot."""
        row: dict[str, Any] = next(row for row in self.status()["workers"] if row["bot"] == name)
        return row

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `trioworkers WORDS` for this fleet to its end; `returncode`, `stdout` and `stderr` are its."""
        return self.folder.command(*words)

    # -- people, events, conditions -------------------------------------------------------------

    def user(self, first_name: str = "Alice") -> Person:
        """Return the person of that name; the same one each time."""
        if first_name not in self._people:
            self._people[first_name] = Person(self, self.telegram.add_user(first_name))
        return self._people[first_name]

    def sim_bot(self, name: str | None = None) -> SimBot:
        """Return the simulated bot of that name; without a name, the only one.

        Raises:
            LookupError: there is no bot of that name, or more than one to choose from.
        """
        if name is None and len(self.bots) == 1:
            return next(iter(self.bots.values()))
        if name not in self.bots:
            raise LookupError(f"expected the name of a bot, one of {', '.join(self.bots)}, got {name!r}")
        return self.bots[name]

    def events(self, *names: str) -> list[dict[str, Any]]:
        """Return the events so far, oldest first: those of these names, or all."""
        return self.folder.events(*names)

    def expect_events(
        self, name: str, count: int = 1, timeout: float = 10.0, **fields: Any
    ) -> list[dict[str, Any]]:
        """Wait until an event has happened `count` times, with these fields; return all of them.

        Raises:
            FleetFailed: it has not, within `timeout` seconds.
        """

        def found() -> list[dict[str, Any]]:
            matching = [
                event
                for event in self.events(name)
                if all(event.get(key) == value for key, value in fields.items())
            ]
            return matching if len(matching) >= count else []

        return self._wait(found, timeout, f"{name} did not happen {count} times")

    def wait_for(self, condition: Callable[[], T], timeout: float = 10.0) -> T:
        """Wait until the condition holds, and return what it returned.

        Raises:
            FleetFailed: it did not hold within `timeout` seconds.
        """
        return self._wait(condition, timeout, "the condition did not hold")

    def settled(self, timeout: float = 30.0) -> None:
        """Wait until no update is left to fetch or to handle; dead letters may be left.

        Raises:
            FleetFailed: there still is one after `timeout` seconds.
        """

        def nothing_is_left() -> bool:
            if any(self.telegram.pending(bot) for bot in self.bots.values()):
                return False
            queues = [row["queue"] for row in self.status()["workers"]]
            return not any(queue[key] for queue in queues for key in ("ready", "in_flight", "retry"))

        self._wait(nothing_is_left, timeout, "updates were left")

    def end(self) -> None:
        """Kill the daemon if it still runs. Idempotent."""
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def _token(self, name: str, table: Mapping[str, Any]) -> Any:
        if "token" in table:
            return table["token"]
        if name not in self.bots:
            username = "".join(letter for letter in name if letter.isalnum() or letter == "_")
            self.bots[name] = self.telegram.add_bot(username)
        return self.bots[name].token

    def _how_it_is(self, bot: str | None) -> str:
        """The state of a bot, and what went wrong with it last, a line each; "" when no daemon knows it."""
        name = bot or next(iter(self.bots))
        try:
            row = self.bot(name)
        except (StopIteration, OSError, HTTPException):
            return ""
        why = f": {row['reason']}" if row["reason"] else ""
        went_wrong = [
            event
            for event in self.folder.events()
            if event.get("bot") == name and event.get("level") in ("warn", "error")
        ]
        lines = (
            " ".join(str(event[key]) for key in ("event", "reason", "error", "detail") if key in event)
            for event in went_wrong[-LAST_EVENTS:]
        )
        return "".join([f"; {name} is {row['state']}{why}", *(f"\n  {line}" for line in lines)])

    def _wait(self, condition: Callable[[], T], seconds: float, failure: str) -> T:
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            if time.monotonic() > deadline:
                raise FleetFailed(f"{failure} within {seconds:g} s{self._last_lines()}")
            time.sleep(LOOK_EVERY)
        return found

    def _last_lines(self) -> str:
        lines = self.folder.log.read_text(errors="replace").splitlines()[-LAST_LINES:]
        return "".join(f"\n  {line}" for line in lines)


def _changes(plan: Mapping[str, Any]) -> bool:
    return any(plan[key] for key in ("added", "removed", "replaced", "retuned", "changed"))


@contextmanager
def running(
    folder: Path,
    tables: Mapping[str, Any],
    *,
    telegram: TelegramThread | None = None,
    modules: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Iterator[RunningFleet]:
    """Run a fleet in `folder`; inside the block its daemon is ready, afterwards it has ended.

    `tables` are those of a fleet file. What they leave out:

    - without `bots` there is one, `echo`;
    - a bot without a token gets a simulated bot and its token; without a handler and a command it repeats
      what it hears;
    - `log.level` is debug, without throttling, so that every event can be waited for.

    Args:
        folder: an empty folder, pytest's `tmp_path`; it is made if it is not there.
        tables: the tables of the fleet file.
        telegram: a simulated Telegram that runs; without it, one is made and ended here.
        modules: source texts of modules, by name, which handlers and plugins are imported from. The daemon
            and its workers can also import what this process can import.
        environ: variables of the daemon's environment, over those of this process.

    Raises:
        FleetFailed: the fleet did not start, or its daemon did not end with exit code 0.
    """
    if telegram is None:
        with (
            TelegramThread() as own,
            running(folder, tables, telegram=own, modules=modules, environ=environ) as fleet,
        ):
            yield fleet
        return
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="tw-", dir="/tmp") as runtime:
        fleet = RunningFleet(FleetFolder(folder.absolute(), Path(runtime)), telegram)
        fleet.folder.environ.update(environ or {})
        for name, source in (modules or {}).items():
            fleet.folder.module(name, source)
        fleet.write(tables)
        try:
            fleet.start()
            yield fleet
            if fleet.process.poll() is None:
                fleet.stop()
        finally:
            fleet.end()
