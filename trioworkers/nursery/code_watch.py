"""Replaces the workers of bots whose code changes, for `run --watch`.

A worker reports which files its bot's code comes from, and what was in them when they were loaded. A bot is
stale when its files have other contents now. So it does not matter how a file was changed, or how often, and
a change while a worker starts is found by comparing with what that worker reports.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import trio

from trioworkers.config.watched import Watched
from trioworkers.shortage import in_thread
from trioworkers.stop import Ask
from trioworkers.user_modules import fingerprint_of, may_be_at

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from trioworkers.config import BotSettings
    from trioworkers.protocol.frames import CodeLoaded

AGAIN = 2.0  # seconds
MOST_NAMED = 5  # files of an event


class RunsCode(Protocol):
    """A bot, as far as the watch knows it."""

    @property
    def settings(self) -> BotSettings: ...
    def try_code(self) -> None: ...


@dataclass(slots=True)
class _Code:
    """What is known of a bot's code; contents are fingerprints by path, empty where there is no file.

    Attributes:
        loaded: what the newest worker has loaded, or, before there was one, what its handler may come from.
        since: when that worker was started, trio time.
        asked: what was there when a worker for it was asked for.
        preloaded: the files that were loaded before the worker was forked.
    """

    loaded: dict[str, str]
    since: float
    asked: dict[str, str] | None = None
    preloaded: frozenset[str] = field(default_factory=frozenset)


class CodeWatch:
    """Knows the code of all bots; :func:`~trioworkers.config.watch.serve_watch` looks at its files.

    Args:
        bots: returns the present bots, by name.
        python_path: returns the folders of their modules.
        renew_libraries: makes later workers start from fresh libraries. It raises OSError when it cannot.
        emit: emits an event.

    Attributes:
        asked: somebody reported something that is to be looked at.
    """

    def __init__(
        self,
        bots: Callable[[], Mapping[str, RunsCode]],
        python_path: Callable[[], Sequence[Path]],
        renew_libraries: Callable[[], Awaitable[None]],
        emit: Callable[..., None],
    ) -> None:
        self.asked = Ask()
        self._bots = bots
        self._python_path = python_path
        self._renew_libraries = renew_libraries
        self._emit = emit
        self._codes: dict[str, _Code] = {}

    def report(self, bot: str, since: float, loaded: CodeLoaded) -> None:
        """Take in what a worker reports that was started at `since`; what an older one says is ignored."""
        before = self._codes.get(bot)
        if before is None or before.since <= since:
            files = {file.path: file.fingerprint for file in loaded.files}
            preloaded = frozenset(file.path for file in loaded.files if file.is_preloaded)
            self._codes[bot] = _Code(files, since, preloaded=preloaded)
            self.asked.ask()

    def watched(self) -> Watched:
        """The files of all bots."""
        self._look_at_bots()
        files = {Path(path) for code in self._codes.values() for path in code.loaded}
        return Watched(frozenset(files), frozenset())

    async def changed(self) -> None:
        """Replace the workers of the bots whose files are not what they have loaded."""
        self._look_at_bots()
        codes = dict(self._codes)
        try:
            there = await in_thread(_fingerprints, {path for code in codes.values() for path in code.loaded})
        except OSError:  # there is no thread for it now
            await trio.sleep(AGAIN)
            self.asked.ask()
            return
        stale: dict[str, _Code] = {}
        paths: set[str] = set()
        for bot, code in codes.items():
            if self._codes.get(bot) is not code:
                continue  # its worker has reported meanwhile, which is looked at next
            now = {path: there[path] for path in code.loaded}
            if code.asked is None and not code.since:  # nothing was loaded: this is where it begins
                code.asked = now
            elif now == code.loaded:
                code.asked = None
            elif now != code.asked:
                before = code.loaded if code.asked is None else code.asked
                paths.update(path for path in now if now[path] != before[path])
                code.asked, stale[bot] = now, code
        if stale:
            await self._replace(stale, paths)

    async def _replace(self, stale: Mapping[str, _Code], paths: set[str]) -> None:
        only = next(iter(stale)) if len(stale) == 1 else None
        names = sorted(self._named(path) for path in paths)
        more = [f"and {len(names) - MOST_NAMED} more"] if len(names) > MOST_NAMED else []
        self._emit("code.changed", only, files=names[:MOST_NAMED] + more, bots=len(stale))
        preloaded = paths & {path for code in stale.values() for path in code.preloaded}
        if preloaded:
            problem = await in_thread(_syntax_error, preloaded)
            if problem is None:
                try:
                    await self._renew_libraries()
                except OSError as error:
                    problem = str(error)
            if problem is not None:
                self._emit("code.refused", only, reason=problem)
                return
        bots = self._bots()
        for bot in stale:
            if bot in bots:
                bots[bot].try_code()

    def _look_at_bots(self) -> None:
        """Forget bots that are gone, and begin with those whose workers have reported nothing yet."""
        handlers = {name: bot.settings.handler for name, bot in self._bots().items()}
        bots = {name: handler for name, handler in handlers.items() if handler is not None}  # no program
        for gone in self._codes.keys() - bots.keys():
            del self._codes[gone]
        for bot in bots.keys() - self._codes.keys():
            files = may_be_at(bots[bot].partition(":")[0], map(str, self._python_path()))
            self._codes[bot] = _Code(dict.fromkeys(files, ""), 0.0)

    def _named(self, path: str) -> str:
        """A file as people name it: from its folder of `python_path` on."""
        for folder in self._python_path():
            if Path(path).is_relative_to(folder):
                return str(Path(path).relative_to(folder))
        return path


def _fingerprints(paths: Iterable[str]) -> dict[str, str]:
    found = {}
    for path in paths:
        try:
            found[path] = fingerprint_of(Path(path).read_bytes())
        except OSError:
            found[path] = ""
    return found


def _syntax_error(paths: Iterable[str]) -> str | None:
    """Why one of these cannot be loaded at all."""
    for path in sorted(paths):
        try:
            compile(Path(path).read_bytes(), path, "exec", dont_inherit=True)
        except SyntaxError as error:
            return f"syntax error at {path}:{error.lineno}"
        except (OSError, ValueError) as error:
            return f"{path}: {error}"
    return None
