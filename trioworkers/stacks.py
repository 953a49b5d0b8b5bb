"""Where every task stands: its stack as places in the code, without the values of variables."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from trio.lowlevel import Task

INNERMOST = 12  # frames that are shown of a stack


def task_stacks() -> list[tuple[str, tuple[str, ...], int]]:
    """The stacks of all tasks of this run, of trio's own not: name, places (innermost first), how many alike.

    A place is `file.py:12 function`. The most frequent come first.
    """
    root = trio.lowlevel.current_root_task()
    alike = Counter((_name(task), _places(task)) for task in _below(root))
    return [(name, places, count) for (name, places), count in alike.most_common()]


def _below(task: Task | None) -> Iterator[Task]:
    """Tasks may be more deeply nested than Python recurses."""
    waiting = [] if task is None else [task]
    while waiting:
        task = waiting.pop()
        children = [child for nursery in task.child_nurseries for child in nursery.child_tasks]
        if task.parent_nursery is not None and not task.name.startswith("trio."):
            yield task
        waiting.extend(children)


def _name(task: Task) -> str:
    return task.name.removeprefix("trioworkers.")


def _places(task: Task) -> tuple[str, ...]:
    frames: list[tuple[FrameType, int]] = list(task.iter_await_frames())
    places = [f"{_file(frame)}:{line} {frame.f_code.co_qualname}" for frame, line in reversed(frames)]
    return tuple(places[:INNERMOST])


def _file(frame: FrameType) -> str:
    return "/".join(frame.f_code.co_filename.split("/")[-2:])
