"""Clocks that are set back, and clocks of other machines: no update waits for an hour that was only shown."""

from __future__ import annotations

from trioworkers.inbox.fetch import Page, by_this_clock
from trioworkers.inbox.queue import Queue
from trioworkers.records import Waiting

NOW, HOUR = 1_700_000_000.0, 3600.0


def waiting(id: int, **more: float) -> Waiting:
    return Waiting(id, 7, 100 + id, f"chat{id}", b"{}", NOW, attempt=1, **more)  # type: ignore[arg-type]


def queue_of(*updates: Waiting) -> Queue:
    queue = Queue(behind=False)
    for update in updates:
        queue.offer(update)
    return queue


def test_a_clock_that_is_set_back_prolongs_no_wait() -> None:
    """What was left of each wait when the clock was last looked at counts from then on, in the same order."""
    queue = queue_of(waiting(1, due=NOW + 1), waiting(2, due=NOW + 2))
    assert queue.take(NOW + 0.5) is None
    now = NOW + 0.5 - HOUR
    assert queue.take(now) is None
    assert queue.next_due() == now + 0.5
    assert [one and one.id for one in (queue.take(now + 0.5), queue.take(now + 0.5))] == [1, None]
    assert [one and one.id for one in (queue.take(now + 1.5), queue.take(now + 1.5))] == [2, None]


def test_a_suspect_waits_no_longer_either() -> None:
    """Also when only suspects are asked for."""
    queue = queue_of(waiting(1, due=NOW + 1, suspect=True))
    assert queue.take_suspect(NOW) is None
    assert queue.take_suspect(NOW - HOUR) is None
    assert queue.next_suspect_due() == NOW - HOUR + 1
    assert queue.take_suspect(NOW - HOUR + 1) is not None


def test_a_clock_that_goes_on_changes_nothing() -> None:
    """Also forward by an hour, and back by less than a second: what is due is due."""
    queue = queue_of(waiting(1, due=NOW + HOUR))
    assert queue.take(NOW + 5) is None
    assert queue.take(NOW + 4.5) is None
    assert queue.next_due() == NOW + HOUR
    assert queue.take(NOW + HOUR) is not None


def test_an_update_that_was_tried_by_a_later_clock_waits_as_long_as_it_was_to() -> None:
    """By another node's clock, or by this one before it was set back and the daemon started again."""
    others = [waiting(1), waiting(2, due=NOW + 9, started_at=NOW - 5), waiting(3, due=NOW + HOUR)]
    ahead = waiting(4, due=NOW + HOUR + 8, started_at=NOW + HOUR)
    page = by_this_clock(Page([*others, ahead], 4, more=False), NOW)
    assert [update.due for update in page.updates] == [0, NOW + 9, NOW + HOUR, NOW + 8]
    assert (page.until, page.more) == (4, False)
    unchanged = Page(others, 3, more=True)
    assert by_this_clock(unchanged, NOW) is unchanged
