"""A bot's handler: found by name, and what its exceptions mean for the update."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trioworkers.errors import BotApiError, Dead, Drop, Retry, TransportError, TrioworkersError
from trioworkers.nursery.frames import Outcome
from trioworkers.worker.bot import WaitsTooLong
from trioworkers.worker.log import describe

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from types import ModuleType

    from trioworkers.worker.bot import Bot
    from trioworkers.worker.update import Update


class HandlerError(TrioworkersError):
    """The handler cannot be imported, or is none. The message names no values."""


@dataclass(frozen=True, slots=True)
class Handler:
    """A handler module's functions: the one for updates, and the ones around a worker's life."""

    handle: Callable[[Update, Bot], Awaitable[None]]
    start: Callable[[Bot], Awaitable[None]] | None
    stop: Callable[[Bot], Awaitable[None]] | None
    settings_changed: Callable[[Bot], Awaitable[None]] | None
    code: str


def import_handler(name: str, python_path: Sequence[str]) -> Handler:
    """Import `module:function` from `python_path`, which comes first in the search from now on.

    Raises:
        HandlerError: there is no such module or function, importing it raised, or it is not async.
    """
    sys.path[:0] = [entry for entry in python_path if entry not in sys.path]
    importlib.invalidate_caches()
    module_name, _, function = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        itself = f"{module_name}.".startswith(f"{error.name}.")  # or a package that it is in
        what = "it" if itself else f"module {error.name!r}, which it imports,"
        message = f"{name}: {what} was not found in {', '.join(python_path)}"
        raise HandlerError(message) from None
    except SyntaxError as error:
        message = f"{name}: syntax error at {error.filename}:{error.lineno}"
        raise HandlerError(message) from None
    except BaseException as error:  # user code: SystemExit and the like are no reason to die silently
        message = f"{name}: importing it raised {describe(error)}"
        raise HandlerError(message) from None
    handle = getattr(module, function, None)
    if handle is None:
        message = f"{name}: the module has no {function!r}"
        raise HandlerError(message)
    if not inspect.iscoroutinefunction(handle) and not inspect.iscoroutinefunction(
        getattr(handle, "__call__", None)  # noqa: B004 - an object whose call is async will do
    ):
        message = f"{name}: expected an async function, got {type(handle).__name__}"
        raise HandlerError(message)
    around = {
        hook: found
        for hook in ("start", "stop", "settings_changed")
        if inspect.iscoroutinefunction(found := getattr(module, hook, None))
    }
    return Handler(
        handle,
        around.get("start"),
        around.get("stop"),
        around.get("settings_changed"),
        _fingerprint(module),
    )


def outcome_of(delivery: int, error: BaseException) -> Outcome:
    """What an exception of a handler means for its update.

    Exceptions in groups, as nurseries raise them, count by the gravest: `Dead`, then `Retry`, then
    `Drop`; anything else asks for a retry. 403 is final: who blocked the bot does not hear it later.
    """
    causes = list(_leaves(error))
    for cause in causes:
        if isinstance(cause, Dead):
            return Outcome(delivery, "dead", error="the handler said so", words=_plain(cause.reason))
        if isinstance(cause, BotApiError) and cause.error_code == 403:
            return Outcome(delivery, "dead", error=f"{cause.method}: 403 {cause.description}")
    for cause in causes:
        if isinstance(cause, Retry):
            after = None if cause.after is None else float(cause.after)
            counted = not isinstance(cause, WaitsTooLong)
            return Outcome(delivery, "retry", after=after, counted=counted, error="the handler said so")
    if all(isinstance(cause, Drop) for cause in causes):
        return Outcome(delivery, "drop", error="the handler said so", words=_plain(causes[0]))
    return Outcome(delivery, "retry", error=_in_words(causes[0]))


def _plain(words: object) -> str:
    """What a handler gave as its words, which may be anything (`raise Dead(error)`), as text for a frame."""
    try:
        return str(words).encode(errors="replace").decode()
    except Exception:
        return type(words).__name__


def _in_words(error: BaseException) -> str:
    if isinstance(error, BotApiError):
        return f"BotApiError {error.method} {error.error_code}"
    if isinstance(error, TransportError):
        return f"TransportError {error.method}: {error.what}"
    return describe(error)


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]


def _fingerprint(module: ModuleType) -> str:
    """The first digits of the hash of the module's source; empty where it has none."""
    loader: Any = getattr(module, "__loader__", None)
    try:
        source: str | None = loader.get_source(module.__name__)
    except (AttributeError, ImportError, OSError):
        source = None
    return "" if source is None else hashlib.sha256(source.encode()).hexdigest()[:12]
