"""What becomes of an update that was handled alone when its worker died."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioworkers.config.settings import RetrySettings
from trioworkers.inbox.policy import MOST_CRASHES, Again, Never, after_crash

NOW = 1_700_000_000.0


@pytest.mark.parametrize("crashes", range(1, MOST_CRASHES))
def test_it_is_handled_again_after_a_pause(crashes):
    """A pause with full jitter, that grows as it does between attempts."""
    limits = RetrySettings(initial=10, factor=2, max=60)
    for seed in range(100):
        verdict = after_crash(crashes, NOW, limits, Random(seed))
        assert isinstance(verdict, Again)
        assert NOW <= verdict.due <= NOW + 10 * 2 ** (crashes - 1)


@given(crashes=st.integers(MOST_CRASHES, 10**6), attempts=st.integers(1, 100))
def test_the_third_death_is_the_last_whatever_the_bot_allows(crashes, attempts):
    """Attempts and deadline are for failures, not for what takes workers with it."""
    verdict = after_crash(crashes, NOW, RetrySettings(attempts=attempts), Random(1))
    assert verdict == Never(f"its worker died {crashes} times")
