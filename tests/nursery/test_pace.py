"""The fleet's start rate, on Trio's clock."""

from __future__ import annotations

import pytest
import trio

from trioworkers.nursery.fleet import TICK, Pace


@pytest.mark.parametrize("rate", [2, 50, 2000])
async def test_starts_keep_to_their_rate(autojump_clock, rate):
    """The first at once; none before its turn by more than a tick, none after it."""
    pace = Pace(lambda: rate)
    began = trio.current_time()
    for number in range(500):
        await pace.wait()
        early = began + number / rate - trio.current_time()
        assert -1e-6 < early <= TICK + 1e-6


async def test_a_quiet_time_gives_no_credit(autojump_clock):
    """After an hour without starts the rate is the same."""
    pace = Pace(lambda: 10)
    await pace.wait()
    await trio.sleep(3600)
    began = trio.current_time()
    for _ in range(11):
        await pace.wait()
    assert trio.current_time() - began == pytest.approx(1)
