"""The pytest plugin: the fixture `telegram`, for tests of any kind.

pytest loads this module in every project where trioworkers is installed, so it imports nothing
before a test asks for the fixture, and needs no other plugin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trioworkers.testing.threaded import TelegramThread


@pytest.fixture
def telegram() -> Iterator[TelegramThread]:
    """A simulated Telegram on a thread and a port of its own, fresh for each test."""
    from trioworkers.testing.threaded import TelegramThread

    with TelegramThread() as thread:
        yield thread
