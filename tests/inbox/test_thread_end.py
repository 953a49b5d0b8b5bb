"""The end of the writer's thread is noticed, reported or not."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from trioworkers.inbox.thread_end import ThreadEnd


async def test_an_end_that_is_never_reported_is_noticed(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    """Whoever waits for it goes on, cancelled or not."""

    async def never_reports(work: Any, **options: Any) -> None:
        work()
        await trio.sleep_forever()

    monkeypatch.setattr(trio.to_thread, "run_sync", never_reports)
    end = ThreadEnd()

    def work() -> None:
        end.is_over = True

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(end.run, work)
            nursery.start_soon(end.see_through)
            nursery.cancel_scope.cancel()


async def test_what_the_thread_raises_is_raised() -> None:
    """And nobody is waited for then."""
    end = ThreadEnd()

    def work() -> None:
        raise ValueError("of the work")

    with pytest.raises(ValueError, match="of the work"):
        await end.run(work)
    await end.see_through()


async def test_work_that_is_not_done_is_waited_for() -> None:
    """Cancellation does not reach it."""
    end, done = ThreadEnd(), trio.Event()
    token = trio.lowlevel.current_trio_token()
    release: list[bool] = []

    def work() -> None:
        while not release:
            pass
        trio.from_thread.run_sync(done.set, trio_token=token)
        end.is_over = True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(end.run, work)
        nursery.start_soon(end.see_through)
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await trio.sleep(0.3)
            assert not done.is_set()
            release.append(True)
    assert done.is_set()
