"""Awaits a plugin's async function in a task of its own, so that what it leaves running ends with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from trioworkers.plugins.errors import RAISED, LeakError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


async def call_apart(function: Callable[..., Any], arguments: Mapping[str, Any], seconds: float) -> Any:
    """Await the function and return what it returns.

    In the caller's task, a nursery that the function opened and did not close would stay around the caller.

    Raises:
        trio.TooSlowError: it took longer than `seconds`.
        LeakError: it left a nursery open; the tasks in it were cancelled.
        Exception, SystemExit: what it raised.
    """
    answer: Any = None
    error: BaseException | None = None
    leaks = False

    async def run() -> None:
        nonlocal answer, error
        try:
            answer = await function(**arguments)
        except RAISED as raised:
            error = raised

    with trio.fail_after(seconds):
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run)
        except* RuntimeError:  # Trio's, as what the function raises does not come here
            leaks = True
    if error is not None:
        raise error
    if leaks:
        raise LeakError
    return answer
