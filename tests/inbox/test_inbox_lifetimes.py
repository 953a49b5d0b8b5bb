"""How long an update of each kind is worth handling."""

from __future__ import annotations

import pytest

from trioworkers.config.values import UPDATE_KINDS
from trioworkers.inbox.policy import LIFETIMES, has_expired

JOIN = "chat_join_request/5"


@pytest.mark.parametrize(
    ("kind", "key", "seconds"),
    [
        ("pre_checkout_query", "pre_checkout_query/5", 10),
        ("chat_join_request", JOIN, 10),
        ("inline_query", "inline_query/5", 30),
        ("callback_query", "5", 150),
        ("callback_query", "callback_query/5", 150),
        ("shipping_query", "shipping_query/5", 150),
        ("chosen_inline_result", "chosen_inline_result/5", 600),
    ],
)
def test_an_answer_that_telegram_would_refuse_is_too_late(kind, key, seconds):
    """Not a moment before, and from the next moment on."""
    assert not has_expired(kind, key, 1000.0, 1000.0 + seconds)
    assert has_expired(kind, key, 1000.0, 1000.001 + seconds)


@pytest.mark.parametrize("kind", sorted({*UPDATE_KINDS, "a kind of tomorrow"} - {*LIFETIMES}))
def test_messages_and_the_rest_never_expire(kind):
    """What was accepted is kept until it is handled, however long that takes."""
    assert not has_expired(kind, "-100", 0.0, 10 * 365 * 86400.0)
