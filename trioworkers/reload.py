"""From a changed file to a changed fleet: first everything is read, checked and planned, then it is done.

Any problem in the first phase, and nothing at all changes: not the bots that are right either, because a file
that is half in force is one that nobody can read.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from trioworkers.config import FleetFileError, load_fleet, plan_reload, with_given
from trioworkers.config.canonical import canonical
from trioworkers.config.problems import Problem
from trioworkers.config.watch import SETTLE
from trioworkers.status import LastReload
from trioworkers.worker.probe import wait_handler_probed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from trioworkers.config import Draft, Fleet, FleetInForce, Plan, Watched
    from trioworkers.events import Events
    from trioworkers.sources import Sources

    _Given = dict[str, dict[str, Any]]
    Probe = Callable[[str, Fleet], Awaitable[str | None]]

PROBES = 2  # handlers that are imported at the same time
RESTLESS = 20  # readings of files that change meanwhile, until they are taken as they are


class Reload:
    """Reads the fleet anew and applies what changed; one reload at a time, the next waits.

    Args:
        in_force: the fleet in force, which it changes. environ: the daemon's environment. sources: further
        bots; the fleet in force was joined with what they say now. apply: does what a plan says, whose
        fleet is in force by then; what it raises goes through, and the old
            fleet is in force again.
        events: told of each reload that changed something, was refused or was asked for.
        probe: says what is wrong with a handler of a fleet, None when nothing is; it imports it where that
            does no harm: by default in a process that is thrown away.

    Attributes:
        last: how the last reload went.
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
        self._environ = environ
        self._sources = sources
        self._given = dict(sources.tables)
        self._apply = apply
        self._events = events
        self._probe = probe or partial(_probe_apart, environ)
        self._watched = in_force().watched
        self._notes: tuple[tuple[str, ...], list[str]] = ((), _refused(in_force()))
        self._turn = trio.StrictFIFOLock()

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

    async def run(self, *, drafts: Iterable[Draft] = (), dry: bool = False) -> Plan:
        """Reload; return what was done, or with `dry` what would be.

        Sources of bots are asked first, which takes 30 s at most; not for drafts, which are none of theirs.
        Cancelling in the first phase leaves everything as it was.

        Args:
            drafts: files of `fleet.d` that are written when everything is good, before anything is applied.
            dry: stop after the first phase; nothing is told.

        Raises:
            FleetFileError: the new fleet has problems; the old one stays in force.
            OSError: a draft cannot be written; likewise.
        """
        drafts = list(drafts)
        async with self._turn:
            if dry:
                return (await self._prepare(drafts, ask=not drafts))[0]
            try:
                plan, given = await self._prepare(drafts, ask=not drafts)
            except FleetFileError as error:
                if not drafts:  # what was drafted is wrong, not the files
                    self._refuse(error)
                raise
            for draft in drafts:
                await trio.to_thread.run_sync(draft.commit)
            await self._do(plan, given)
            self._emit(plan)
            return plan

    async def changed(self) -> None:
        """Reload because a file or a source's answer changed, and tell of it if that changed the fleet.

        For :func:`serve_watch` and for `Sources.serve`; the last answers of sources count, unless settings of
        plugins changed. A bad file is told as an event, and is no error here.
        """
        async with self._turn:
            try:
                plan, given = await self._prepare([], ask=False)
            except FleetFileError as error:
                self._refuse(error)
                return
            await self._do(plan, given)
            if not plan.is_empty or self._notes != _notes(plan):
                self._emit(plan)

    async def _prepare(self, drafts: list[Draft], *, ask: bool) -> tuple[Plan, _Given]:
        """The first phase: what a reload would do, with which answers; FleetFileError with all problems."""
        place = self.fleet.state_dir
        read = partial(load_fleet, self.fleet.path, self._environ, state_dir=place, drafts=drafts)
        base = await self._at_rest(read)
        if ask or canonical(base.plugins) != canonical(self.fleet.plugins):
            await self._sources.ask(base.model_copy(update={"state_dir": place}))
        given = dict(self._sources.tables)
        new = await trio.to_thread.run_sync(with_given, base, given)
        while True:
            # in a thread like the reading: a thousand bots take a third of a second
            plan = await trio.to_thread.run_sync(plan_reload, self.fleet, new)
            problems = await self._probed(plan)
            if problems.keys() - new.sources.keys():
                raise FleetFileError(problems.values(), new.watched)
            if not problems:
                await trio.to_thread.run_sync(_check_not_emptied, self.fleet, plan)
                return plan, given
            new = new.without(problems)  # a row that is wrong in this way is left out alone, too

    async def _at_rest(self, read: Callable[[], Fleet]) -> Fleet:
        """Read while nobody writes: a file that is just being written may look like a smaller fleet.

        A share that hangs is left behind when cancelled, and holds up no stop.
        """
        in_thread = partial(trio.to_thread.run_sync, abandon_on_cancel=True)
        before = await in_thread(self._watched.fingerprint)
        left = RESTLESS
        while True:
            found: Fleet | FleetFileError
            try:
                found = await in_thread(read)
            except FleetFileError as error:
                found = error
            left -= 1
            was, before = before, await in_thread(self._watched.fingerprint)
            if before == was or not left:
                break
            await trio.sleep(SETTLE)
        if isinstance(found, FleetFileError):
            raise found
        return found

    async def _probed(self, plan: Plan) -> dict[str, Problem]:
        """Import the handlers of bots whose worker would start; return what is wrong, by bot."""
        fleet = plan.fleet
        starting = [*plan.added, *plan.replaced]
        starting += [name for name, keys in plan.retuned.items() if "enabled" in keys]
        bots = {name: fleet.bots[name].handler for name in sorted(starting) if fleet.bots[name].enabled}
        limiter = trio.CapacityLimiter(PROBES)
        found: dict[str, str | None] = {}

        async def probe(handler: str) -> None:
            async with limiter:
                found[handler] = await self._probe(handler, fleet)

        async with trio.open_nursery() as nursery:
            for handler in dict.fromkeys(bots.values()):
                nursery.start_soon(probe, handler)
        return {
            name: fleet.problem_at(("bots", name, "handler"), problem)
            for name, handler in bots.items()
            if (problem := found[handler]) is not None
        }

    async def _do(self, plan: Plan, given: _Given) -> None:
        """The second phase."""
        before = self.fleet
        self._in_force.change(plan.fleet)
        try:
            await self._apply(plan)
        except BaseException:
            self._in_force.change(before)
            raise
        self._given = given
        self._watched = plan.fleet.watched
        self.last = LastReload(time.time())

    def _emit(self, plan: Plan) -> None:
        self._notes = _notes(plan)
        self._events.emit("reload.applied", plan=plan.document(), refused=self._notes[1])

    def _refuse(self, error: FleetFileError) -> None:
        self._watched = error.watched or self._watched
        self.last = LastReload(time.time(), str(error))
        self._events.emit("reload.refused", problems=[str(problem) for problem in error.problems])


def _notes(plan: Plan) -> tuple[tuple[str, ...], list[str]]:
    """What stays to be told of a fleet in which nothing changes: keys that wait, bots left out."""
    return plan.kept, _refused(plan.fleet)


def _check_not_emptied(old: Fleet, plan: Plan) -> None:
    """Refuse to end bots because their file is empty: that is a full disk's or an editor's accident.

    Raises:
        FleetFileError: it is.
    """
    of_file = any(old.origin(name) == str(old.path) for name in plan.removed)
    if of_file and old.path.is_file() and old.path.stat().st_size == 0:
        message = "is empty, expected the tables of a fleet"
        raise FleetFileError([Problem(old.path, 0, 0, "", message)], plan.fleet.watched)


def _refused(fleet: Fleet) -> list[str]:
    return [str(problem) for problems in fleet.refused.values() for problem in problems]


async def _probe_apart(environ: Mapping[str, str], handler: str, fleet: Fleet) -> str | None:
    seen = {name: value for name, value in environ.items() if name not in fleet.secret_env_names}
    return await wait_handler_probed(handler, list(map(str, fleet.python_path)), fleet.folder, seen)
