"""What `bots show` says is promised for the updates of a program."""

from __future__ import annotations

import typing

import pytest

from trioworkers.cli.promised import promise_of
from trioworkers.config.settings import BotSettings

VALUES = {key: typing.get_args(BotSettings.model_fields[key].annotation) for key in ("acknowledge", "order")}


@pytest.mark.parametrize("acknowledge", VALUES["acknowledge"])
@pytest.mark.parametrize("order", VALUES["order"])
def test_each_setting_of_a_program_has_its_promise(acknowledge: str, order: str) -> None:
    """No order is promised where a program is given several updates of a chat, whatever else it says."""
    said = promise_of({"command": ["x"], "acknowledge": acknowledge, "order": order})
    assert said is not None
    assert ("in no order" in said) == (order == "none")
    assert ("at least once" in said) == (acknowledge not in ("auto", "receipt"))


def test_a_handler_promises_what_all_handlers_do() -> None:
    """Which the guarantees say."""
    assert promise_of({"command": None, "acknowledge": "auto", "order": "none"}) is None
