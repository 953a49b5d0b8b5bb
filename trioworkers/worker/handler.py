"""A bot's handler, found by its name."""

from __future__ import annotations

import inspect
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trioworkers.errors import TrioworkersError, describe
from trioworkers.starved import is_starved
from trioworkers.user_modules import (
    Loaded,
    fingerprint_of,
    forget_listings,
    hidden_by,
    may_be_at,
    missed_by,
    search_in,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from types import ModuleType

    from trioworkers.handling.bot import Bot
    from trioworkers.handling.update import Update


class HandlerError(TrioworkersError):
    """The handler cannot be imported, or is none. The message names no values.

    Attributes:
        starved: only now, as the system has no room.
        loaded: the files of the bot that were loaded all the same.
        missing: the files that an import looked for and did not find.
    """

    def __init__(self, message: str, *, starved: bool = False) -> None:
        super().__init__(message)
        self.starved = starved
        self.loaded = Loaded()
        self.missing: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Handler:
    """A handler module's functions: the one for updates, and the ones around a worker's life.

    Attributes:
        own_code: a short hash of the handler's own source.
        loaded: the files of the bot's modules, those that are imported later included.
    """

    handle: Callable[[Update, Bot], Awaitable[None]]
    start: Callable[[Bot], Awaitable[None]] | None
    stop: Callable[[Bot], Awaitable[None]] | None
    settings_changed: Callable[[Bot], Awaitable[None]] | None
    own_code: str
    loaded: Loaded = field(default_factory=Loaded)

    @property
    def code(self) -> str:
        """A short hash of all sources that were loaded by now: the handler's, and those that it imports."""
        files = sorted(self.loaded.files.values())
        if [fingerprint for _, fingerprint in files] in ([], [self.own_code]):
            return self.own_code
        lines = "".join(f"{name} {fingerprint}\n" for name, fingerprint in files)
        return fingerprint_of(f"{self.own_code}\n{lines}".encode())


def import_handler(name: str, python_path: Sequence[str]) -> Handler:
    """Import `module:function` from `python_path`, where modules are found from now on.

    Python's own modules come before those of `python_path`, and installed packages after them.

    Raises:
        HandlerError: there is no such module or function, importing it raised, it is not async, takes other
            arguments, or another module has its name.
    """
    loaded = search_in(python_path)
    try:
        return _import(name, python_path, loaded)
    except HandlerError as error:
        error.loaded = loaded
        raise


def _import(name: str, python_path: Sequence[str], loaded: Loaded) -> Handler:
    forget_listings()
    module_name, _, function = name.partition(":")
    if hidden := hidden_by(module_name, python_path):
        raise HandlerError(f"{name}: {hidden}")
    try:
        __import__(module_name)  # `importlib.import_module` costs a worker eight pages more
        module = sys.modules[module_name]
    except ModuleNotFoundError as error:
        itself = f"{module_name}.".startswith(f"{error.name}.")  # or a package that it is in
        what = "it" if itself else f"module {error.name!r}, which it imports,"
        message = f"{name}: {what} was not found in {', '.join(python_path)}"
        raise _missing(HandlerError(message), error, python_path) from None
    except SyntaxError as error:
        message = f"{name}: syntax error at {error.filename}:{error.lineno}:{error.offset}: {error.msg}"
        raise HandlerError(message) from None
    except BaseException as error:  # user code: SystemExit and the like are no reason to die silently
        hidden = _hidden_need(error, python_path)
        message = f"{name}: importing it raised {describe(error)}" + (f"; {hidden}" if hidden else "")
        raise _missing(HandlerError(message, starved=is_starved(error)), error, python_path) from None
    handle = getattr(module, function, None)
    if handle is None:
        message = f"{name}: the module has no {function!r}"
        raise HandlerError(message)
    if not inspect.iscoroutinefunction(handle) and not inspect.iscoroutinefunction(
        getattr(handle, "__call__", None)  # noqa: B004 - an object whose call is async will do
    ):
        message = f"{name}: expected an async function, got {type(handle).__name__}"
        raise HandlerError(message)
    _check_parameters(name, handle, "update", "bot")
    around = {
        hook: found
        for hook in ("start", "stop", "settings_changed")
        if (found := _async_or_none(module, hook)) is not None
    }
    return Handler(
        handle,
        around.get("start"),
        around.get("stop"),
        around.get("settings_changed"),
        _fingerprint(module),
        loaded,
    )


def _missing(error: HandlerError, cause: BaseException, python_path: Sequence[str]) -> HandlerError:
    """The error, with the files where what is missing would be."""
    name = missed_by(cause)
    error.missing = may_be_at(name, python_path) if name else ()
    return error


def _async_or_none(module: ModuleType, hook: str) -> Callable[[Bot], Awaitable[None]] | None:
    """The module's function of that name. One that is not async would silently never run."""
    found: Callable[[Bot], Awaitable[None]] | None = vars(module).get(hook)
    if (
        inspect.isfunction(found)
        and not inspect.iscoroutinefunction(found)
        and found.__module__ == module.__name__
    ):
        message = f"{module.__name__}:{hook}: expected an async function, got a plain one"
        raise HandlerError(message)
    if not inspect.iscoroutinefunction(found):
        return None
    if found.__module__ == module.__name__:
        _check_parameters(f"{module.__name__}:{hook}", found, "bot")
    return found


def _check_parameters(name: str, function: Callable[..., object], *given: str) -> None:
    """Refuse a function that cannot be called with what it is given: each call would fail, in our code."""
    if inspect.isfunction(function):
        code = function.__code__
        takes_others = code.co_kwonlyargcount or code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS)
        if code.co_argcount == len(given) and not takes_others and not function.__dict__:
            return  # the usual case; a signature costs a worker 3 % of its start
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # of a function that is not Python's
        return
    try:
        signature.bind(*given)
    except TypeError:
        expected, got = ", ".join(given), ", ".join(signature.parameters)
        message = f"{name}: expected a function of ({expected}), got one of ({got})"
        raise HandlerError(message) from None


def _hidden_need(error: BaseException, python_path: Sequence[str]) -> str | None:
    """The module of the bot that its code missed something of, since another module has that one's name."""
    name = error.name if isinstance(error, ImportError) else None
    if isinstance(error, AttributeError) and inspect.ismodule(error.obj):
        name = error.obj.__name__
    return hidden_by(name, python_path) if name else None


def _fingerprint(module: ModuleType) -> str:
    """A short hash of the module's source as it was loaded; empty where it has none."""
    loader: Any = getattr(module, "__loader__", None)
    loaded: str = getattr(loader, "fingerprint", "")
    if loaded:
        return loaded
    try:
        content: bytes = loader.get_data(loader.get_filename(module.__name__))
    except (AttributeError, ImportError, OSError):
        return ""
    return fingerprint_of(content)
