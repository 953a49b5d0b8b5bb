"""What systemd is told, and when it is not: pure."""

from __future__ import annotations

import pytest

from trioworkers.service.messages import LONGEST_STATUS, Lifecycle, Phase, one_line


def told(*messages: bytes | None) -> list[list[str] | None]:
    """The fields of each message."""
    return [None if message is None else message.decode().splitlines() for message in messages]


def test_a_life() -> None:
    """Each step with its status, in one datagram."""
    life = Lifecycle()
    assert told(
        life.status("starting: none"),
        life.ready("1 bot"),
        life.reload_began(12),
        life.reload_ended("2 bots"),
        life.stopping("stopping: 2 bots"),
    ) == [
        ["STATUS=starting: none"],
        ["READY=1", "STATUS=1 bot"],
        ["RELOADING=1", "MONOTONIC_USEC=12", "STATUS=reloading"],
        ["READY=1", "STATUS=2 bots"],
        ["STOPPING=1", "STATUS=stopping: 2 bots"],
    ]


def test_a_reload_during_the_start_is_no_end_of_the_start() -> None:
    """READY=1 would be taken for it."""
    life = Lifecycle()
    assert told(life.reload_began(1), life.reload_ended("")) == [None, None]
    assert life.phase is Phase.STARTING
    assert told(life.ready("")) == [["READY=1", "STATUS="]]


def test_nothing_calls_a_stop_off() -> None:
    """Whatever ends after the stop was requested."""
    life = Lifecycle()
    life.ready("")
    life.reload_began(1)
    assert life.stopping("s") is not None
    assert told(life.reload_ended(""), life.reload_began(2), life.ready(""), life.stopping("")) == [None] * 4


def test_a_status_is_sent_when_it_changed() -> None:
    """And is one line, so that it cannot be another field."""
    life = Lifecycle()
    life.ready("a")
    assert told(life.status("a"), life.status("b\nREADY=1"), life.status("b READY=1")) == [
        None,
        ["STATUS=b READY=1"],
        None,
    ]
    assert len(one_line("x" * 9999)) == LONGEST_STATUS
    life.reload_began(1)
    assert life.status("c") is None


@pytest.mark.parametrize("phase", Phase)
def test_only_a_start_and_a_stop_are_extended(phase: Phase) -> None:
    """A running service has no time-out to extend."""
    life = Lifecycle()
    life.phase = phase
    expected = b"EXTEND_TIMEOUT_USEC=1500000\n" if phase in (Phase.STARTING, Phase.STOPPING) else None
    assert life.extend(1.5) == expected
