"""Which bots take in updates before their first worker is ready."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from trioworkers.inbox.tally import Tally
from trioworkers.nursery.bot_context import BotContext


@pytest.mark.parametrize(
    ("worker", "is_taken_over", "accepted", "expected"),
    [
        ("always", False, 5, False),
        ("always", True, 0, False),
        ("always", True, 5, True),
        ("on_demand", False, 0, True),
    ],
)
def test_a_bot_that_was_at_work_elsewhere_fetches_at_once(
    worker: str, is_taken_over: bool, accepted: int, expected: bool
) -> None:
    """Not one that no worker was ever ready for: its updates stay wherever it ran before."""
    inbox = SimpleNamespace(tally=lambda bot_id: Tally(accepted=accepted if bot_id == 7 else 0))
    rest: dict[str, Any] = dict.fromkeys(
        ("fleet", "makes", "events", "may_start", "slots", "webhooks", "paused", "oom")
    )
    context = BotContext(inbox=cast("Any", inbox), is_taken_over=is_taken_over, **rest)
    settings = cast("Any", SimpleNamespace(worker=worker, bot_id=7))
    assert context.fetches_at_once(settings) is expected
