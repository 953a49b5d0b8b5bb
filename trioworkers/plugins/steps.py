"""Runs a plugin's coroutine step by step, so that each stretch between two waits can be watched.

Only a stretch that does not wait can hold the loop. One call of an async function has many, and other tasks
run between them, so the time of the call as a whole does not say who held the loop.
"""

from __future__ import annotations

import types
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator
    from contextlib import AbstractContextManager

T = TypeVar("T")


@types.coroutine
def in_steps(
    coroutine: Coroutine[Any, Any, T], around: Callable[[], AbstractContextManager[None]]
) -> Generator[Any, Any, T]:
    """Await the coroutine; `around` gives a context manager for each stretch that it runs without waiting."""
    resume: Callable[[], Any] = partial(coroutine.send, None)
    while True:
        with around():
            try:
                waits_for = resume()
            except StopIteration as end:
                answer: T = end.value
                return answer
        try:
            resume = partial(coroutine.send, (yield waits_for))
        except BaseException as error:  # whatever it is, `Cancelled` above all, is the coroutine's to handle
            resume = partial(coroutine.throw, error)
