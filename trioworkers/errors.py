"""The base of all errors, what handlers raise to say what becomes of an update, and how errors are shown.

Handlers raise :class:`Retry`, :class:`Dead` and :class:`Drop`; they catch
:class:`~trioworkers.botapi.errors.BotApiError`. Every package has its own errors besides, all of them
:class:`TrioworkersError`. No message of these exceptions contains a token or the text of a message.
"""

from __future__ import annotations

import traceback


class TrioworkersError(Exception):
    """Base of every error that trioworkers raises."""


class Retry(TrioworkersError):
    """Raised by a handler: handle this update again.

    Args:
        after: seconds to wait; None leaves it to the bot's `retry` settings.
    """

    def __init__(self, after: float | None = None) -> None:
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


def leaves(error: BaseException) -> list[BaseException]:
    """The exceptions inside of groups, or the exception itself."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves(inner)]
    return [error]


def describe(error: BaseException) -> str:
    """An exception by its type and the line that raised it, without its message.

    `ValueError at support.py:12 in handle`: a message may quote what a user wrote. Of a group, the first
    one in it, and how many there are besides.
    """
    first, *others = leaves(error)
    more = f", and {len(others)} more" if others else ""
    name = type(first).__name__
    frames = traceback.extract_tb(first.__traceback__) or traceback.extract_tb(error.__traceback__)
    if not frames:
        return name + more
    ours = [frame for frame in frames if "site-packages" not in frame.filename] or frames
    last = ours[-1]
    return f"{name} at {last.filename.rpartition('/')[2]}:{last.lineno} in {last.name}{more}"
