"""What a worker sends of its calls to the daemon."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from trioworkers.protocol.frames import MOST_ANSWER, Called
from trioworkers.worker.recorder import FrameRecorder


class Sent:
    """A channel that keeps what is sent."""

    def __init__(self) -> None:
        self.frames: list[Any] = []

    def send(self, frame: Any) -> bytes:
        self.frames.append(frame)
        return b""


def test_an_answer_that_the_daemon_does_not_take_is_not_recorded() -> None:
    """The call is made again in a second handling; the worker lives on."""
    sent = Sent()
    recorder = FrameRecorder(7, cast("Any", sent), lambda: True)
    answers = [msgspec.Raw(b'"' + b"x" * (size - 2) + b'"') for size in (MOST_ANSWER, MOST_ANSWER + 1)]
    for answer in answers:
        recorder.made("key", answer)
    assert sent.frames == [
        Called(7, "key", made=True, answer=answers[0]),
        Called(7, "key", made=False),
    ]
