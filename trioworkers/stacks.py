"""Where every task stands: its stack as places in the code, without the values of variables."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from trio.lowlevel import Task

INNERMOST = 20  # frames that are shown of a stack
MACHINERY = "/trio/_core/"  # where every task that waits stands, and trio's own tasks alone


def task_stacks() -> list[tuple[str, tuple[str, ...], int]]:
    """The stacks of all tasks but trio's own: name, places (innermost first), how many are alike.

    A place is `folder/file.py:12 function`. The most frequent come first.
    """
    root = trio.lowlevel.current_root_task()
    alike = Counter((_name(task), _places(task)) for task in _below(root))
    return [(name, places, count) for (name, places), count in alike.most_common() if places]


def _below(task: Task | None) -> Iterator[Task]:
    waiting = [] if task is None else [task]
    while waiting:
        task = waiting.pop()
        children = [child for nursery in task.child_nurseries for child in nursery.child_tasks]
        yield task
        waiting.extend(children)


def _name(task: Task) -> str:
    return task.name.removeprefix("trioworkers.")


def _places(task: Task) -> tuple[str, ...]:
    frames = [at for at in task.iter_await_frames() if MACHINERY not in at[0].f_code.co_filename]
    innermost = frames[: -INNERMOST - 1 : -1]
    return tuple(f"{_file(frame)}:{line} {frame.f_code.co_qualname}" for frame, line in innermost)


def _file(frame: FrameType) -> str:
    return "/".join(frame.f_code.co_filename.split("/")[-2:])
