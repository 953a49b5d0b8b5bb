"""Ids of a store that leaves some out where a commit failed, as a sequence of PostgreSQL does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from trioworkers.inbox.store import Kept

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trioworkers.inbox.store import Result


def renumbered(first: int, results: Sequence[Result]) -> list[Result]:
    """The results of a commit as if its first id were this one."""
    ids = [one.id for one in results if isinstance(one, Kept)]
    return [replace(one, id=one.id - min(ids) + first) if isinstance(one, Kept) else one for one in results]
