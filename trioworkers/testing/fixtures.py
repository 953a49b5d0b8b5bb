"""The pytest plugin: the fixtures `telegram` and `run_fleet`, for tests of any kind.

pytest loads this module in every project where trioworkers is installed, so it imports nothing
before a test asks for a fixture, and needs no other plugin.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from trioworkers.testing.fleet import RunningFleet
    from trioworkers.testing.threaded import TelegramThread


@pytest.fixture
def telegram() -> Iterator[TelegramThread]:
    """A simulated Telegram on a thread and a port of its own, fresh for each test."""
    from trioworkers.testing.threaded import TelegramThread

    with TelegramThread() as thread:
        yield thread


@pytest.fixture
def run_fleet(telegram: TelegramThread, tmp_path: Path) -> Iterator[Callable[..., RunningFleet]]:
    """A function that runs a fleet, from its tables, against `telegram`: `run_fleet({…})`.

    Its arguments are those of :func:`trioworkers.testing.running`, without the folder and `telegram`. The
    fleet is stopped after the test. The test fails if its daemon does not end well.
    """
    from trioworkers.testing.fleet import running

    with ExitStack() as fleets:

        def run(tables: Mapping[str, Any], **options: Any) -> RunningFleet:
            folder = tmp_path / "fleet"
            folder.mkdir()
            return fleets.enter_context(running(folder, tables, telegram=telegram, **options))

        yield run
