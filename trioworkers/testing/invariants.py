"""What holds for every inbox and every bot, whatever was killed: checked from outside.

Each check returns what is broken, in words without content; nothing is good news. They look at what a
test can see: the inbox's file, the handlings that a bot noted, the calls that reached Telegram.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterable, Mapping
    from pathlib import Path

LEFT = ("done", "dropped", "expired", "dead", "purged")


class Handled(NamedTuple):
    """One handling, as the handler sees it when it begins."""

    chat: Hashable
    update_id: int
    after_gap: bool = False


def broken_tally(path: Path, bot_id: int, arrived: Collection[int]) -> list[str]:
    """Whether every update that arrived was accepted or filtered once, and is somewhere: done, dead, …

    Args:
        path: the inbox's database; a daemon may have it open.
        bot_id: whose updates.
        arrived: the ids of all updates that were confirmed to Telegram.
    """
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as inbox:
        inbox.execute("BEGIN")  # all of one moment
        seen = {id_ for (id_,) in inbox.execute("SELECT update_id FROM seen WHERE bot_id = ?", (bot_id,))}
        row = inbox.execute(
            f"SELECT accepted, filtered, {', '.join(LEFT)} FROM tally WHERE bot_id = ?",  # noqa: S608 - our own words
            (bot_id,),
        ).fetchone()
        (pending,) = inbox.execute("SELECT count(*) FROM inbox WHERE bot_id = ?", (bot_id,)).fetchone()
        (dead,) = inbox.execute("SELECT count(*) FROM dead WHERE bot_id = ?", (bot_id,)).fetchone()
    accepted, filtered, *left = row or [0] * (2 + len(LEFT))
    broken = []
    if lost := set(arrived) - seen:
        broken.append(f"confirmed to Telegram, but neither accepted nor filtered: {sorted(lost)[:10]}")
    if accepted != sum(left) + pending:
        parts = dict(zip(LEFT, left, strict=True))
        broken.append(f"accepted {accepted}, but {parts} and {pending} pending")
    if accepted + filtered != len(seen):
        broken.append(f"accepted {accepted} and filtered {filtered}, but {len(seen)} ids are known")
    if dead != left[LEFT.index("dead")]:
        broken.append(f"{left[LEFT.index('dead')]} dead letters are counted, {dead} are there")
    return broken


def broken_order(handled: Iterable[Handled], *, gaps: Collection[int] = ()) -> list[str]:
    """Whether each chat's updates were handled in order, and whether they were told of each gap.

    Args:
        handled: all handlings, in the order in which they began; of a bot that blocks.
        gaps: the ids of updates that were given up: the next one of their chat follows a gap.
    """
    broken = []
    last: dict[Hashable, Handled] = {}
    for one in handled:
        before = last.get(one.chat)
        last[one.chat] = one
        if before is None or one.update_id == before.update_id:
            continue
        if one.update_id < before.update_id:
            broken.append(f"{one.update_id} was handled after {before.update_id}")
        elif one.after_gap != (before.update_id in gaps):
            told = "is" if one.after_gap else "is not"
            broken.append(f"{one.update_id}, which follows {before.update_id}, {told} told of a gap")
    return broken


def broken_replies(made: Iterable[Hashable], *, marked: Mapping[Any, int]) -> list[str]:
    """Whether a call was repeated that nobody marked as repeated.

    Args:
        made: the calls that took effect, as the test tells them apart.
        marked: how often each of them was told as repeated (`update.repeated`).
    """
    return [
        f"{call} was made {times} times, of which {marked.get(call, 0)} are marked"
        for call, times in Counter(made).items()
        if times > 1 + marked.get(call, 0)
    ]
