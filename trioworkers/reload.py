"""From a changed file to a changed fleet: first everything is read, checked and planned, then it is done.

Any problem in the first phase, and nothing at all changes: not the bots that are right either, because a file
that is half in force is one that nobody can read.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import trio

from trioworkers.config import FleetFileError, load_fleet, plan_reload, with_given
from trioworkers.config.canonical import canonical
from trioworkers.config.problems import Problem
from trioworkers.config.watch import SETTLE
from trioworkers.figures import ReloadFigures
from trioworkers.folders import DAEMON_LOCK
from trioworkers.reload_history import PastReload, ReloadHistory
from trioworkers.shortage import in_thread, words_of
from trioworkers.status import LastReload
from trioworkers.worker.probe import wait_handler_probed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping
    from contextlib import AbstractContextManager

    from trioworkers.config import Draft, Fleet, FleetInForce, Plan, Watched
    from trioworkers.events import Events
    from trioworkers.sources import Sources

    Probe = Callable[[str, Fleet], Awaitable[str | None]]

PROBES = 2  # handlers that are imported at the same time
SAID = 30.0  # seconds in which a refusal for the same reasons is not emitted again
AGAIN = 2.0  # seconds until files are read again that could not be for want of a thread or process
RESTLESS = 20  # readings of files that change meanwhile, until they are taken as they are


class ShortError(FleetFileError):
    """The files may be good: the system has no thread or process to find that out with."""


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What the first phase ends with: the plan, and the answers of sources and settings of plugins in it."""

    plan: Plan
    given: dict[str, dict[str, Any]]
    settings: dict[str, Any]


class Reload:
    """Reads the fleet anew and applies what changed; one reload at a time, the next waits.

    Args:
        in_force: the fleet in force, which it changes.
        environ: the daemon's environment.
        sources: further bots; the fleet in force was joined with what they say now. Its plugins get their
            new settings with the fleet.
        apply: does what a plan says, whose fleet is in force by then; what it raises goes through, and the
            old fleet is in force again.
        events: told of each reload that changed something, was refused or was asked for.
        probe: says what is wrong with a handler of a fleet, None when nothing is; it imports it where that
            does no harm: by default in a process that is thrown away.

    Attributes:
        announce: is entered around each reload that was asked for or changes something, good or bad.
        last: how the last reload went.
        figures: how reloads went since the start.
        history: the last reloads, but for those of drafts that were refused: their problems are the answer
            to whoever drafted them.
    """

    def __init__(
        self,
        in_force: FleetInForce,
        environ: Mapping[str, str],
        *,
        sources: Sources,
        apply: Callable[[Plan], Awaitable[object]],
        events: Events,
        probe: Probe | None = None,
    ) -> None:
        self._in_force = in_force
        self.last = LastReload(time.time())
        self.figures = ReloadFigures(0, 0, True, self.last.at, 0.0)
        self.history = ReloadHistory()
        self._began = 0.0
        self._by = ""
        self._environ = environ
        self._plugins = sources.plugins
        self._sources = sources
        self._given = dict(sources.tables)
        self._apply = apply
        self._events = events
        self._probe = probe or partial(_probe_apart, environ)
        self._watched = in_force().watched
        self._notes: tuple[tuple[str, ...], list[str]] = ((), _refused(in_force()))
        self._turn = trio.StrictFIFOLock()
        self.announce: Callable[[], AbstractContextManager[None]] = nullcontext
        self._said: tuple[str | None, float] = (None, 0.0)  # the last refusal that was emitted, and when

    @property
    def fleet(self) -> Fleet:
        """The fleet in force."""
        return self._in_force()

    def given(self) -> Mapping[str, Mapping[str, Any]]:
        """The answers of sources that the fleet in force was joined with."""
        return self._given

    def watched(self) -> Watched:
        """What to watch: what the fleet was read from, or what the bad file that is there now would be."""
        return self._watched

    async def run(self, *, drafts: Iterable[Draft] = (), dry: bool = False, by: str = "a request") -> Plan:
        """Reload; return what was done, or with `dry` what would be.

        Sources of bots are asked first, which takes 30 s at most; not for drafts, which are none of theirs.
        Cancelling in the first phase leaves everything as it was.

        Args:
            drafts: files of `fleet.d` that are written when everything is good, before anything is applied.
            dry: stop after the first phase; nothing is told.
            by: who or what causes it, in words, for the history.

        Raises:
            FleetFileError: the new fleet has problems; the old one stays in force.
            ShortError: likewise, since the system has no thread or process to read the new one with.
            OSError: a draft cannot be written; likewise.
        """
        drafts = list(drafts)
        async with self._turn:
            self._began, self._by = trio.current_time(), by
            if dry:
                return (await self._prepare(drafts, ask=not drafts)).plan
            with self.announce():
                try:
                    prepared = await self._prepare(drafts, ask=not drafts)
                except FleetFileError as error:
                    if not drafts:  # what was drafted is wrong, not the files
                        self._refuse(error, is_asked=True)
                    raise
                for draft in drafts:
                    await in_thread(draft.commit)
                await self._do(prepared)
                self._emit(prepared.plan)
                return prepared.plan

    async def changed(self, by: str = "a changed file") -> None:
        """Reload because a file or a source's answer changed, and tell of it if that changed the fleet.

        For :func:`serve_watch` and for `Sources.serve`; the last answers of sources count, unless settings of
        plugins changed. A bad file is told as an event, and is no error here.
        """
        while True:
            try:
                return await self._change(by)
            except ShortError:  # it was refused, and is tried until there is room: no file changes then
                await trio.sleep(AGAIN)

    async def _change(self, by: str) -> None:
        async with self._turn:
            self._began, self._by = trio.current_time(), by
            try:
                prepared = await self._prepare([], ask=False)
            except FleetFileError as error:
                with nullcontext() if self.last.error == str(error) else self.announce():
                    self._refuse(error, is_asked=False)
                if isinstance(error, ShortError):
                    raise
                return
            plan = prepared.plan
            is_new = not plan.is_empty or self._notes != _notes(plan)
            # it is called often when nothing has changed, which is no reload for systemd
            with self.announce() if is_new or self.last.error is not None else nullcontext():
                await self._do(prepared)
                if is_new:
                    self._emit(plan)

    async def _prepare(self, drafts: list[Draft], *, ask: bool) -> _Prepared:
        """The first phase: what a reload would do, with which answers.

        Raises:
            FleetFileError: with all problems; also that the system has no thread or process for it now.
        """
        try:
            return await self._read(drafts, ask=ask)
        except OSError as error:
            problem = Problem(self.fleet.path, 0, 0, "", f"cannot be read now: {words_of(error)}")
            raise ShortError([problem]) from error

    async def _read(self, drafts: list[Draft], *, ask: bool) -> _Prepared:
        place = self.fleet.state_dir
        read = partial(load_fleet, self.fleet.path, self._environ, state_dir=place, drafts=drafts)
        base, seen = await self._at_rest(read)
        settings = await in_thread(self._plugins.validated, base)
        if ask or await in_thread(_has_other_tables, base, self.fleet):
            await self._sources.ask(base.model_copy(update={"state_dir": place}))
        given = dict(self._sources.tables)
        new = await in_thread(with_given, base, given)
        while True:
            # in a thread like the reading: a thousand bots take a third of a second
            plan = await in_thread(plan_reload, self.fleet, new)
            problems = await self._probed(plan)
            if problems.keys() - new.sources.keys():
                raise FleetFileError(problems.values(), new.watched)
            if not problems:
                await in_thread(_check_not_emptied, self.fleet, plan)
                if plan.removed and await in_thread(self._watched.fingerprint) != seen:
                    return await self._read(drafts, ask=False)  # files may have come back meanwhile
                return _Prepared(plan, given, settings)
            new = new.without(problems)  # a row that is wrong in this way is left out alone, too

    async def _at_rest(self, read: Callable[[], Fleet]) -> tuple[Fleet, bytes]:
        """Read while nobody writes: a file that is just being written may look like a smaller fleet.

        Returns also the fingerprint of what was read.

        A share that hangs is left behind when cancelled, and holds up no stop.
        """
        left_behind = partial(in_thread, abandon_on_cancel=True)
        before = await left_behind(self._watched.fingerprint)
        left = RESTLESS
        while True:
            found: Fleet | FleetFileError
            try:
                found = await left_behind(read)
            except FleetFileError as error:
                found = error
            left -= 1
            was, before = before, await left_behind(self._watched.fingerprint)
            if before == was or not left:
                break
            await trio.sleep(SETTLE)
        if isinstance(found, FleetFileError):
            raise found
        return found, before

    async def _probed(self, plan: Plan) -> dict[str, Problem]:
        """Import the handlers of bots whose worker would start; return what is wrong, by bot.

        Raises:
            OSError: the system has no process for it.
        """
        fleet = plan.fleet
        starting = [*plan.added, *plan.replaced]
        starting += [name for name, keys in plan.retuned.items() if "enabled" in keys]
        enabled = [fleet.bots[name] for name in sorted(starting) if fleet.bots[name].enabled]
        bots = {bot.name: bot.handler for bot in enabled if bot.handler is not None}
        limiter = trio.CapacityLimiter(PROBES)
        found: dict[str, str | None] = {}

        async def probe(handler: str) -> None:
            async with limiter:
                try:
                    found[handler] = await self._probe(handler, fleet)
                except OSError as error:
                    short.append(error)

        short: list[OSError] = []
        async with trio.open_nursery() as nursery:
            for handler in dict.fromkeys(bots.values()):
                nursery.start_soon(probe, handler)
        if short:
            raise short[0]
        wrong = {bot.name: ("command", fleet.program_problem(bot, self._environ)) for bot in enabled}
        wrong |= {name: ("handler", found[handler]) for name, handler in bots.items()}
        return {
            name: fleet.problem_at(("bots", name, key), problem)
            for name, (key, problem) in wrong.items()
            if problem is not None
        }

    async def _do(self, prepared: _Prepared) -> None:
        """The second phase."""
        before, plan = self.fleet, prepared.plan
        tuned = {plugin.name: plugin.settings for plugin in self._plugins.found}
        self._in_force.change(plan.fleet)
        self._plugins.retune(plan.fleet, prepared.settings)
        try:
            await self._apply(plan)
        except BaseException as error:
            self._in_force.change(before)
            self._plugins.retune(before, tuned)
            if not isinstance(error, trio.Cancelled):
                self._note("failed", problems=[f"it broke while it was applied: {type(error).__name__}"])
            raise
        self._given = prepared.given
        self._watched = plan.fleet.watched
        self.last = LastReload(time.time(), kept=plan.kept)
        self._said = None, 0.0
        self._count(good=True)

    def _emit(self, plan: Plan) -> None:
        self._notes = _notes(plan)
        self._note("applied", plan=plan.document(), left_out=self._notes[1])
        self._events.emit("reload.applied", plan=plan.document(), refused=self._notes[1])

    def _refuse(self, error: FleetFileError, *, is_asked: bool) -> None:
        """Note a refusal, and emit it once.

        A bad file is often refused twice: when it is saved, and when somebody asks for the reload. What was
        emitted is not emitted again, unless somebody asks when it has long scrolled away.
        """
        self._watched = error.watched or self._watched
        self.last = LastReload(time.time(), str(error), self.last.kept)
        self._count(good=False)
        problems = [str(problem) for problem in error.problems]
        self._note("refused", problems=problems)
        said, at = self._said
        if said == str(error) and (not is_asked or trio.current_time() < at + SAID):
            return
        self._said = str(error), trio.current_time()
        self._events.emit("reload.refused", problems=problems)

    def _note(self, result: Literal["applied", "refused", "failed"], **found: Any) -> None:
        took = trio.current_time() - self._began
        self.history.add(PastReload(time.time(), took, self._by, result, **found))

    def _count(self, *, good: bool) -> None:
        before = self.figures
        self.figures = ReloadFigures(
            applied=before.applied + good,
            refused=before.refused + (not good),
            is_good=good,
            applied_at=self.last.at if good else before.applied_at,
            seconds=trio.current_time() - self._began,
        )


def _has_other_tables(fleet: Fleet, other: Fleet) -> bool:
    """Whether the tables of plugins differ; for a thread, since they may be large."""
    return canonical(fleet.plugins) != canonical(other.plugins)


def _notes(plan: Plan) -> tuple[tuple[str, ...], list[str]]:
    """What stays to be told of a fleet in which nothing changes: keys that wait, bots left out."""
    return plan.kept, _refused(plan.fleet)


def _check_not_emptied(old: Fleet, plan: Plan) -> None:
    """Refuse to end bots because their file is empty: that is a full disk's or an editor's accident.

    Nor because the state folder was removed with the files of bots that were added by command: they are put
    back together with it (:mod:`trioworkers.holdings`).

    Raises:
        FleetFileError: it is.
    """
    added = old.state_dir / "fleet.d"
    by_command = any(old.origin(name).startswith(f"{added}/") for name in plan.removed)
    if by_command and not (added.is_dir() and (old.state_dir / DAEMON_LOCK).exists()):
        message = "was removed while the daemon runs, expected the files of bots that were added by command"
        raise FleetFileError([Problem(added, 0, 0, "", message)], plan.fleet.watched)
    of_file = any(old.origin(name) == str(old.path) for name in plan.removed)
    if of_file and old.path.is_file() and old.path.stat().st_size == 0:
        message = "is empty, expected the tables of a fleet"
        raise FleetFileError([Problem(old.path, 0, 0, "", message)], plan.fleet.watched)


def _refused(fleet: Fleet) -> list[str]:
    return [str(problem) for problems in fleet.refused.values() for problem in problems]


async def _probe_apart(environ: Mapping[str, str], handler: str, fleet: Fleet) -> str | None:
    seen = {name: value for name, value in environ.items() if name not in fleet.secret_env_names}
    return await wait_handler_probed(handler, list(map(str, fleet.python_path)), fleet.folder, seen)
