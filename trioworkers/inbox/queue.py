"""Which update of a bot is handled next. Pure: no clock, no disk, no tasks.

Updates of one key form a lane, first-in first-out: while its head is in flight or waits for its next
attempt, the lane waits. Memory holds a window of each bot's updates, the rest stays in the store:

- `behind`: the store holds updates past `cursor` that this queue has not looked at. They are fetched
  in order when the window has room (:meth:`Queue.wanted`).
- `lane.passed`: later updates of this lane, up to that id, were left in the store because the lane is
  long or waits for a retry. They are fetched when the lane runs empty; what is fetched for others leaves
  them out. So 100,000 updates behind one chat that waits delay no other chat, and a million waiting
  chats do not fill the memory.

Every update up to `cursor` is therefore either here, or finished, or passed over by its lane.

A suspect, which was in flight when a worker died, is handed out apart from the others
(:meth:`Queue.take_suspect`); its lane waits for it. A skipped update has left its lane, which does not
wait for it any more, for one of its own. Queries that have to be answered within seconds go first.
A queue that is not `in_order` gives each update a lane of its own.

When updates are to be dropped, or to be ordered otherwise, the queue is held (:meth:`Queue.hold`): nothing
is taken and nothing fetched. :meth:`Queue.release` ends that, and all that waits is read from the store
again.

Answers of the store and offers of new updates have to come in the order of the commits and reads.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING

from msgspec.structs import replace

from trioworkers.inbox.fetch import Fetch
from trioworkers.inbox.policy import is_urgent

if TYPE_CHECKING:
    from trioworkers.inbox.fetch import Page
    from trioworkers.records import Waiting

WINDOW = 512  # updates of a bot that are held in memory
WAITING_WINDOWS = 8  # windows that may be held where the heads of lanes wait for their next attempt
LOOK = 8  # windows that one read looks at past what it leaves out: as long a read as of a window
LANE = 16  # updates of one key that are held in memory
STEP = 1.0  # seconds by which a clock has to go back to count as set back


@dataclass(slots=True, eq=False)
class _Lane:
    key: str
    updates: deque[Waiting] = field(default_factory=deque)
    last_id: int = 0
    passed: int = 0
    after_gap: bool = False

    @property
    def more(self) -> bool:
        return self.passed > self.last_id

    def leave(self, until: int) -> None:
        """Leave the updates up to this id in the store until the lane is empty."""
        self.passed = max(self.passed, until)


class Queue:
    """One bot's waiting updates, in order. Times are Unix seconds, given by the caller."""

    def __init__(
        self, *, behind: bool, window: int = WINDOW, lane: int = LANE, in_order: bool = True
    ) -> None:
        """`behind`: the store may hold updates from before. `in_order`: updates of one key form a lane."""
        self._window, self._lane = window, lane
        self._in_order = in_order
        self._is_held = False  # nothing is handed out or fetched
        self._spared: frozenset[int] = frozenset()  # read again, but here all the while: see `order`
        self._is_stale = False  # the answer that is to come was asked for before `order`
        self._lanes: dict[str, _Lane] = {}
        self._ready: deque[_Lane] = deque()
        # the ready ones whose heads have seconds to be answered: a short list, as an empty deque has 0.6 kB
        self._urgent: list[_Lane] = []
        self._later: list[tuple[float, int, _Lane]] = []
        self._suspects: list[tuple[float, int, _Lane]] = []
        self._empty: list[_Lane] = []
        self._now = -inf  # when something was to be taken last
        self._held = 0
        self._in_flight: dict[int, _Lane] = {}
        self._cursor = 0
        self._behind = behind
        self._fetching = False

    @property
    def cursor(self) -> int | None:
        """The id up to which everything of the store was looked at; None when it is known to hold more."""
        return None if self._behind else self._cursor

    @property
    def in_flight(self) -> int:
        """How many updates were taken and are not finished."""
        return len(self._in_flight)

    @property
    def waiting_for_retry(self) -> int:
        """How many lanes wait for the next attempt at their head."""
        return len(self._later) + len(self._suspects)

    @property
    def _room(self) -> int:
        """How many more updates may be held; one place is kept for each lane that is to be filled again.

        Heads that wait for their next attempt take no place from the others, up to a bound of their own:
        a window full of them would hold up every chat behind it.
        """
        taken = self._held + len(self._empty)
        if taken < self._window and not self._later and not self._suspects:
            return self._window - taken
        places = min(self._window + self.waiting_for_retry, WAITING_WINDOWS * self._window)
        return max(0, places - taken)

    @property
    def in_order(self) -> bool:
        """Whether updates of one key form a lane."""
        return self._in_order

    @property
    def ids_in_flight(self) -> frozenset[int]:
        """The ids of the updates that were taken and are not finished."""
        return frozenset(self._in_flight)

    def hold(self) -> None:
        """Hand nothing out and fetch nothing until :meth:`release`."""
        self._is_held = True

    def release(self) -> None:
        """Hand out again what waits, as the store has it by now."""
        self._is_held = False
        self.order(in_order=self._in_order)

    def order(self, *, in_order: bool) -> None:
        """Order by this from now on: keep what is in flight, and read all else from the store again."""
        self._in_order = in_order
        self._is_stale = self._fetching
        self._spared = self.ids_in_flight
        self._lanes = {lane.key: lane for lane in self._in_flight.values()}
        for lane in self._in_flight.values():
            lane.updates = deque([lane.updates[0]])
            lane.last_id, lane.passed = lane.updates[0].id, 0
        for lanes in (self._ready, self._urgent, self._later, self._suspects, self._empty):
            lanes.clear()
        self._held = len(self._lanes)
        self._cursor, self._behind = 0, True

    def offer(self, update: Waiting) -> None:
        """A new update was committed; ids ascend. Kept here when there is room, else fetched later."""
        if self._behind:
            return
        if not self._room:
            self._behind = True
            return
        self._add(update)

    def more(self) -> None:
        """The store holds updates that were not offered, and have later ids than all before."""
        self._behind = True

    def take(self, now: float) -> Waiting | None:
        """The next update to handle, or None. It is in flight until :meth:`finish` or :meth:`put_back`."""
        self._look_at_clock(now)
        if self._is_held:
            return None
        while self._later and self._later[0][0] <= now:
            self._let_go(heapq.heappop(self._later)[2])
        if self._urgent:
            return self._hand_out(self._urgent.pop(0))
        return self._hand_out(self._ready.popleft()) if self._ready else None

    def take_suspect(self, now: float) -> Waiting | None:
        """The next update to handle alone, or None; as with :meth:`take`."""
        self._look_at_clock(now)
        if self._is_held or not self._suspects or self._suspects[0][0] > now:
            return None
        return self._hand_out(heapq.heappop(self._suspects)[2])

    def _look_at_clock(self, now: float) -> None:
        """Where the clock was set back, wait for each head as long as was left when it was last looked at."""
        if now < self._now - STEP:
            back = self._now - now
            for heap in (self._later, self._suspects):
                heap[:] = [(due - back, id, lane) for due, id, lane in heap]
        self._now = now

    def _hand_out(self, lane: _Lane) -> Waiting:
        update = lane.updates[0]
        if lane.after_gap and not update.after_gap:
            update = lane.updates[0] = replace(update, after_gap=True)
        self._in_flight[update.id] = lane
        return update

    def is_waited_for(self, update_id: int) -> bool:
        """Whether the end of an update in flight is what the next one to be handed out waits for."""
        if self.is_ready():
            return False
        lane = self._in_flight[update_id]
        return self._behind or len(lane.updates) > 1 or lane.more

    def is_ready(self) -> bool:
        """Whether an update waits for nothing but a hand."""
        return bool(self._ready or self._urgent) and not self._is_held

    def next_due(self) -> float | None:
        """When the earliest waiting head may be taken; None when none waits for its time."""
        return self._later[0][0] if self._later and not self._is_held else None

    def next_suspect_due(self) -> float | None:
        """When the next suspect may be taken; None when there is none."""
        return self._suspects[0][0] if self._suspects and not self._is_held else None

    def oldest_at(self) -> float | None:
        """When the oldest update was accepted, those in flight included; None when there is none here.

        What is left in the store was accepted later than the head of its lane, or than all that is here.
        """
        return min(
            (lane.updates[0].accepted_at for lane in self._lanes.values() if lane.updates), default=None
        )

    def finish(self, update_id: int, *, dead: bool = False) -> None:
        """An update in flight left the store; the next of its lane may go. `dead`: it left a gap."""
        self._leave_lane(self._in_flight.pop(update_id), gap=dead)

    def put_back(self, update: Waiting) -> None:
        """An update in flight waits at the head of its lane again, as it is given now."""
        lane = self._in_flight.pop(update.id)
        if lane.key != (own_key := self._lane_key(update)) and update.skipped:
            own = self._lanes[own_key] = _Lane(own_key, deque([update]), update.id)
            self._held += 1  # what left the other lane is counted off there
            self._leave_lane(lane, gap=True)
            self._arm(own)
            return
        lane.updates[0] = update
        if update.due or update.suspect:  # the others of its lane would only fill the window meanwhile
            while len(lane.updates) > 1:
                lane.leave(lane.updates.pop().id)
                self._held -= 1
            lane.last_id = update.id
        self._arm(lane)

    def _leave_lane(self, lane: _Lane, *, gap: bool) -> None:
        lane.updates.popleft()
        self._held -= 1
        lane.after_gap = gap
        if lane.updates:
            self._arm(lane)
        elif lane.more:
            self._empty.append(lane)
        else:
            del self._lanes[lane.key]

    def wanted(self) -> Fetch | None:
        """What to fetch from the store now. Each answer is followed by one call of :meth:`fetched`."""
        if self._fetching or self._is_held:
            return None
        if self._empty and self._held < WAITING_WINDOWS * self._window:  # skipped ones may fill it all
            self._fetching = True
            lane, limit = self._empty[0], min(self._lane, self._room + 1)
            return Fetch(lane.last_id, limit, until=self._cursor, key=lane.key)
        if self._behind and self._room >= max(1, self._window // 2):
            self._fetching = True
            without = [lane.key for lane in self._lanes.values() if lane.more]
            most = LOOK * self._window if without else None
            return Fetch(self._cursor, self._window, without=without, most=most)
        return None

    def fetched(self, fetch: Fetch, page: Page) -> None:
        """The store's answer to what was wanted."""
        self._fetching = False
        if self._is_stale:
            self._is_stale = False
            return
        if fetch.key is not None:
            self._fill_lane(self._empty.pop(0), page)
            return
        for update in page.updates:
            if not self._room:
                break
            self._add(update)
        else:
            self._cursor, self._behind = page.until, page.more
        for key in fetch.without:  # all still there: only a fetch of its own ends a lane that has more
            self._lanes[key].leave(self._cursor)

    def not_fetched(self) -> None:
        """The store could not answer; the same is wanted again."""
        self._fetching = self._is_stale = False

    def _fill_lane(self, lane: _Lane, page: Page) -> None:
        # others may have come since it was asked for; its own place it has in any case
        found = [update for update in page.updates if update.id not in self._spared]
        updates = found[: max(1, self._room)]
        lane.last_id = page.until if len(updates) == len(found) else updates[-1].id
        if updates:
            lane.updates.extend(updates)
            self._held += len(updates)
            self._arm(lane)
        elif lane.more:  # passed over since the store was asked
            self._empty.append(lane)
        else:
            del self._lanes[lane.key]

    def _add(self, update: Waiting) -> None:
        self._cursor = update.id
        if update.id in self._spared:
            return
        key = self._lane_key(update)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane(key)
        elif lane.more or len(lane.updates) >= self._lane or lane.updates[0].due or lane.updates[0].suspect:
            lane.leave(update.id)
            return
        lane.updates.append(update)
        lane.last_id = update.id
        self._held += 1
        if len(lane.updates) == 1:
            self._arm(lane)

    def _arm(self, lane: _Lane) -> None:
        head = lane.updates[0]
        if head.suspect:
            heapq.heappush(self._suspects, (head.due, head.id, lane))
        elif head.due:
            heapq.heappush(self._later, (head.due, head.id, lane))
        else:
            self._let_go(lane)

    def _let_go(self, lane: _Lane) -> None:
        (self._urgent if is_urgent(lane.updates[0].key) else self._ready).append(lane)

    def _lane_key(self, update: Waiting) -> str:
        """Without a key, or skipped, an update is a lane of its own."""
        has_own = update.skipped or not update.key or not self._in_order
        return f"#{update.id}" if has_own else update.key
