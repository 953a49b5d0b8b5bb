"""When the loop commits itself: only what is quick, alone, and not for ever."""

from __future__ import annotations

from trioworkers.inbox.quickness import ALONE, IN_A_ROW, ON_LOOP, QUICK, SLOW, WARY, Quickness


def after(commits: int, *, seconds: float = QUICK / 2, on_loop: bool = False) -> tuple[Quickness, float]:
    quickness, now = Quickness(), 100.0
    for _ in range(commits):
        quickness.note(now, now + seconds, on_loop=on_loop)
        now += 1.0
    return quickness, now


def test_nothing_is_known_of_a_disk_at_first():
    quickness, now = after(IN_A_ROW - 1)
    assert not quickness.allows(now)
    quickness.note(now, now + QUICK / 2, on_loop=False)
    assert quickness.allows(now + 1)


def test_a_slow_commit_or_a_failure_begins_the_count_anew():
    quickness, now = after(IN_A_ROW)
    quickness.note(now, now + 1.1 * QUICK, on_loop=True)
    assert not quickness.allows(now + 1)
    quickness, now = after(IN_A_ROW)
    quickness.failed()
    assert not quickness.allows(now)


def test_what_comes_soon_after_a_commit_gathers():
    quickness, now = after(IN_A_ROW)
    ended = now - 1 + QUICK / 2
    assert not quickness.allows(ended + ALONE * 0.99)
    assert quickness.allows(ended + ALONE * 1.01)


def test_the_thread_gets_a_commit_now_and_then():
    quickness, now = after(IN_A_ROW)
    for _ in range(ON_LOOP):
        assert quickness.allows(now)
        quickness.note(now, now + QUICK / 2, on_loop=True)
        now += 1
    assert not quickness.allows(now)
    quickness.note(now, now + QUICK / 2, on_loop=False)
    assert quickness.allows(now + 1)


def test_where_a_commit_took_long_the_loop_does_none_for_minutes():
    quickness, now = after(IN_A_ROW)
    quickness.note(now, now + 1.1 * SLOW, on_loop=False)
    for _ in range(IN_A_ROW):
        now += 1
        quickness.note(now, now + QUICK / 2, on_loop=False)
    assert not quickness.allows(now + WARY / 2)
    assert quickness.allows(now + WARY + 1)
