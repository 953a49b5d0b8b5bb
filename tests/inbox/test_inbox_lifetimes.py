"""How long an update of each kind is worth handling."""

from __future__ import annotations

import pytest

from trioworkers.inbox.policy import LIFETIMES, has_expired


@pytest.mark.parametrize(("kind", "seconds"), LIFETIMES.items())
def test_an_answer_that_telegram_would_refuse_is_too_late(kind, seconds):
    """Not a moment before, and from the next moment on."""
    assert not has_expired(kind, 1000.0, 1000.0 + seconds)
    assert has_expired(kind, 1000.0, 1000.001 + seconds)


@pytest.mark.parametrize("kind", ["message", "edited_message", "chat_member", "poll", "a kind of tomorrow"])
def test_messages_and_the_rest_never_expire(kind):
    """What was accepted is kept until it is handled, however long that takes."""
    assert not has_expired(kind, 0.0, 10 * 365 * 86400.0)
