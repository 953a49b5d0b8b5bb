"""Fixtures of the tests with a whole fleet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fleet_project import ECHO, Project

from trioworkers.testing import Telegram

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def worker_start(request: pytest.FixtureRequest) -> str:
    """How workers start: forked, unless a test is about their lives and runs both ways."""
    return str(getattr(request, "param", "fork"))


@pytest.fixture
def project(tmp_path_factory: pytest.TempPathFactory, worker_start: str) -> Iterator[Project]:
    """A folder for a fleet; whatever daemon is left at the end is killed, and that is an error."""
    project = Project(tmp_path_factory.mktemp("f"), worker_start)
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
