"""The world around the calls: tokens, records, what is kept."""

from __future__ import annotations

import pytest

from trioworkers.testing import Refused, Telegram


def test_a_bots_token_may_be_given(world):
    """The id is the part before the colon; a malformed or taken one is a mistake of the test."""
    assert world.add_bot("x", token="123:abc").id == 123
    for token in ("123:other", "nonsense"):
        with pytest.raises(ValueError, match="bot"):
            world.add_bot("x", token=token)


def test_calls_are_recorded_and_bounded(clock):
    """record=True keeps all, a number the last ones, False none."""
    for record, kept in ((True, 5), (2, 2), (False, 0)):
        telegram = Telegram(clock=clock, record=record)
        bot = telegram.add_bot("b")
        for _ in range(5):
            telegram.call(bot, "getMe")
        assert len(telegram.calls) == kept
    with pytest.raises(Refused):
        telegram.call(bot, "nonsense")


def test_history_bounds_what_a_chat_keeps(clock):
    """Long loads do not fill the memory."""
    telegram = Telegram(clock=clock, history=10)
    bot, user = telegram.add_bot("b"), telegram.add_user("U")
    user.start(bot)
    for i in range(100):
        telegram.call(bot, "sendMessage", chat_id=user.id, text=str(i))
    assert len(telegram.dialog(bot, user.id).messages) == 10
    assert len(telegram.sent(bot, user.id)) <= 20
