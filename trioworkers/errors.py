"""The base of all errors, what handlers raise to say what becomes of an update, and how errors are shown.

Handlers raise :class:`Retry`, :class:`Dead` and :class:`Drop`; they catch
:class:`~trioworkers.botapi.errors.BotApiError`. Every package has its own errors besides, all of them
:class:`TrioworkersError`. No message of these exceptions contains a token or the text of a message.
"""

from __future__ import annotations

import os.path
import re
import traceback
from datetime import timedelta
from types import CodeType
from typing import TypeVar

E = TypeVar("E", bound=BaseException)


class TrioworkersError(Exception):
    """Base of every error that trioworkers raises."""


class Retry(TrioworkersError):
    """Raised by a handler: handle this update again.

    Args:
        after: how long to wait: seconds or a timedelta; None leaves it to the bot's `retry` settings.
    """

    def __init__(self, after: float | timedelta | None = None) -> None:
        if isinstance(after, timedelta):
            after = after.total_seconds()
        super().__init__("retry" if after is None else f"retry after {after:g} s")
        self.after = after


class Dead(TrioworkersError):
    """Raised by a handler: this update can never be handled; keep it among the dead letters."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Drop(TrioworkersError):
    """Raised by a handler, or returned by a judge of the gate: this update needs no handling; forget it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class AskRefusedError(TrioworkersError):
    """The daemon, or the plugin that answers there, refused what a handler asked for (`bot.handoff`).

    Functions that answer raise it, too. Its reason may be logged, and must not quote a message.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Reroute(TrioworkersError):
    """Raised by a function of the daemon that handles an update: somebody else is to handle it, after all.

    The update waits at the head of its chat again, and the route is asked anew. It counts as no attempt. A
    function that the route would name again at once has to wait for something before it raises this.
    """


def leaves(error: BaseException) -> list[BaseException]:
    """The exceptions inside of groups, or the exception itself."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves(inner)]
    return [error]


def describe(error: BaseException) -> str:
    """An exception by its type and the line of the bot's own code that it comes from, without its message.

    `ValueError at support.py:12 in handle`: a message may quote what a user wrote. Words
    that :func:`with_plain_words` gave it are shown. Of a group, the first one in it, and how many there are
    besides.
    """
    first, *others = leaves(error)
    more = f", and {len(others)} more" if others else ""
    words = getattr(first, _PLAIN, "")
    return f"{_type_name(first)}{f': {words}' if words else ''}{place_of(error)}{more}"


def with_plain_words(error: E, words: str) -> E:
    """Give an exception of ours words that quote no value, which logs may show; returns the exception."""
    setattr(error, _PLAIN, words)
    return error


_PLAIN = "_trioworkers_words"


_NAMELESS = ("error", "Error")


def _type_name(error: BaseException) -> str:
    """`re.error` for those that have no name of their own."""
    kind = type(error)
    return f"{kind.__module__.lstrip('_')}.{kind.__name__}" if kind.__name__ in _NAMELESS else kind.__name__


def place_of(error: BaseException) -> str:
    """Where an exception comes from, as ` at support.py:12 in handle`; empty when nobody knows.

    It is the innermost line of the bot's own code: neither Python's nor of a library, nor ours, where a call
    fails. Of a handler that is installed as a package, the innermost line in that package; of what is ours
    alone, our innermost line.
    """
    lines = _lines(error)
    if not lines:
        return ""
    ours = [line for line in lines if line[0].co_filename.startswith(_OURS)]
    return _shown((_own(lines) or _installed(lines) or ours or lines)[-1])


def own_place_of(error: BaseException) -> str:
    """As :func:`place_of`, but empty where no code of the bot is involved (`http_backend`)."""
    lines = _lines(error)
    own = lines and (_own(lines) or _installed(lines))
    return _shown(own[-1]) if own else ""


_Line = tuple[CodeType, int | None]
_OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep
_CALLERS = tuple(
    os.path.join(_OURS, *path)
    for path in (
        ("handling", "handle.py"),
        ("worker", "handler.py"),
        ("worker", "process.py"),
        ("worker", "plugins.py"),
        ("plugins", ""),
    )
)  # what calls the code of others
_PYTHON = os.path.dirname(os.__file__) + os.sep
_INSTALLED = re.compile(r"(.*[/\\](?:site|dist)-packages[/\\])([^/\\]+)")


def _lines(error: BaseException) -> list[_Line]:
    """The lines that an exception passed, outermost first; no source is read for them."""
    first = leaves(error)[0]
    trace = first.__traceback__ or error.__traceback__
    return [(frame.f_code, number) for frame, number in traceback.walk_tb(trace)]


def _shown(line: _Line) -> str:
    return f" at {place_in(*line)}"


def place_in(code: CodeType, number: int | None) -> str:
    """A line of code as `support.py:12 in handle`."""
    folder, _, name = code.co_filename.rpartition(os.sep)
    if name == "__init__.py":
        name = f"{folder.rpartition(os.sep)[2]}/{name}"
    return f"{name}:{number} in {code.co_name}"


def _own(lines: list[_Line]) -> list[_Line]:
    return [line for line in lines if is_own(line[0].co_filename)]


def _installed(lines: list[_Line]) -> list[_Line]:
    """The lines of an installed package that we called, or that a task began in."""
    files = [code.co_filename for code, _ in lines]
    calls = [place for place, file in enumerate(files) if file.startswith(_CALLERS)]
    if not calls and files[0].startswith(_OURS):
        return []
    entry = next((file for file in files[calls[-1] if calls else 0 :] if not file.startswith(_OURS)), "")
    package = _INSTALLED.match(entry)
    return [line for line in lines if package and line[0].co_filename.startswith(package[0])]


_TRIO = ("trio", "outcome")  # and the package that it carries results in


def is_ours(file: str) -> bool:
    """Whether a file of code is of trioworkers, or of Trio, on which it calls the bot's code."""
    installed = _INSTALLED.match(file)
    return file.startswith(_OURS) or (installed is not None and installed[2] in _TRIO)


def is_own(file: str) -> bool:
    """Whether a file of code is the bot's own: neither Python's, nor ours, nor of an installed package."""
    installed = _INSTALLED.match(file)
    if installed is not None:
        return installed[2] == "trioworkers_plugins"
    return not file.startswith((_OURS, _PYTHON, "<"))
