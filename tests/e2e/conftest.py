"""Fixtures of the tests with a whole fleet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fleet_project import ECHO, Project

from trioworkers.testing import Telegram

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A folder for a fleet; whatever daemon is left at the end is killed, and that is an error."""
    project = Project(tmp_path_factory.mktemp("f"))
    project.module("echo", ECHO)
    yield project
    for daemon in project.daemons:
        if daemon.process.poll() is None:
            daemon.process.kill()
            daemon.process.wait()


@pytest.fixture
def world() -> Telegram:
    """A Telegram for load and crashes, without its guard against quick repeats: a new daemon repeats."""
    return Telegram(seed=1, repeat_guard=False, record=100_000)
