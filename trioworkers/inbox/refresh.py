"""Reads anew what changed without the inbox: by other daemons, or by a commit of unknown outcome.

Answers of the store come in the order of the commits: what is read replaces what was counted before it, and
what is committed later is counted on top.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

from trioworkers.inbox.store import StoreError
from trioworkers.inbox.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from trioworkers.inbox.backlog import Backlog
    from trioworkers.inbox.store import Store
    from trioworkers.inbox.writer import Writer


class Refresh:
    """Keeps an inbox's counts and backlogs true to its store.

    Args:
        writer: what reads.
        counts: gives the counts of a bot, to be changed.
        backlogs: those that are claimed now, by bot id.
    """

    def __init__(
        self, writer: Writer, counts: Callable[[int], dict[str, int]], backlogs: Mapping[int, Backlog]
    ) -> None:
        self._writer = writer
        self._counts = counts
        self._backlogs = backlogs
        self._uncertain = False  # whether all of it is still to be read
        self._uncounted: set[int] = set()  # bots of which updates of other daemons came, beside ours

    def wake(self, bot_ids: Iterable[int]) -> None:
        """These bots have updates that were not offered here; those without a backlog are left out."""
        chosen = [bot_id for bot_id in bot_ids if bot_id in self._backlogs]
        if not chosen:
            return

        def heard(answer: Mapping[int, Tally] | StoreError) -> None:
            if isinstance(answer, StoreError):
                self._uncounted.update(chosen)
            else:
                self.counted(answer, chosen)

        for bot_id in chosen:
            self._backlogs[bot_id].more()
        # after that: what is read as waiting is counted, and what comes later is news again
        self._writer.fetch(partial(_tallies, chosen), heard, self._writer.fault)

    def more(self, bot_id: int) -> None:
        """Updates of other daemons came before one that was accepted here: they are news to nobody."""
        self._backlogs[bot_id].more()
        self._uncounted.add(bot_id)

    def all(self) -> None:
        """It is not known what a commit did: read the tallies and what waits, as soon as they can be read."""
        self._uncertain = True

        def heard(answer: Mapping[int, Tally] | StoreError) -> None:
            if not isinstance(answer, StoreError):
                self._uncertain = False
                self.counted(answer, answer)

        self._writer.fetch(partial(_tallies, None), heard, self._writer.fault)
        for backlog in self._backlogs.values():
            backlog.more()

    def look(self, *, news: bool) -> None:
        """Read what could not be read before; called about each second.

        `news`: also ask for updates that other daemons accepted for the bots with a backlog.
        """
        if self._uncertain:
            self.all()
        if not news:
            return
        uncounted, self._uncounted = self._uncounted, set()
        self.wake(uncounted)  # those that could not be counted then, too
        known = {bot_id: backlog.cursor for bot_id, backlog in self._backlogs.items()}
        after = {bot_id: cursor for bot_id, cursor in known.items() if cursor is not None}
        if after:
            self._writer.fetch(lambda store: store.news(after), self._woken, self._writer.fault)

    def counted(self, tallies: Mapping[int, Tally], bot_ids: Iterable[int]) -> None:
        """What the store counts of these bots replaces what was counted here; on the loop."""
        for bot_id in bot_ids:
            self._counts(bot_id).update(asdict(tallies.get(bot_id, Tally())))
            if (backlog := self._backlogs.get(bot_id)) is not None:
                backlog.touch()

    def _woken(self, answer: Collection[int] | StoreError) -> None:
        if not isinstance(answer, StoreError):
            self.wake(answer)


def _tallies(bot_ids: Sequence[int] | None, store: Store) -> Mapping[int, Tally]:
    return store.tallies(bot_ids)
