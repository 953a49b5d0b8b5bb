"""What a worker sends of its calls to the daemon, and when."""

from __future__ import annotations

import socket
from contextlib import closing
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import trio

from trioworkers.awake import AwakeClock
from trioworkers.call_marks import MOST_KEY, SLOTS, read_marks
from trioworkers.protocol.channel import Channel
from trioworkers.protocol.frames import (
    MOST_ANSWER,
    Called,
    Calling,
    Deliver,
    FromWorker,
    Outcome,
    Recorded,
    Unreported,
)
from trioworkers.protocol.framing import FrameReader
from trioworkers.worker.held_calls import HeldCalls, hold_calls
from trioworkers.worker.recorder import MOST_MARKS, FrameRecorder

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

FIVE = msgspec.Raw(b"5")
A, B = "a 1 d 1", "b 1 d 1"


class Scene:
    """A worker's end of a channel, whose other end is read here, and its marks."""

    def __init__(self, path: str) -> None:
        near, self._far = socket.socketpair()
        self._far.setblocking(False)
        self.path = path
        self.clock: Any = trio.lowlevel.current_clock()
        self.channel = Channel(near, FromWorker)
        held = hold_calls(path)
        assert held is not None
        self.held: HeldCalls = held
        self._reader = FrameReader(FromWorker)
        self._numbers = 0

    def close(self) -> None:
        self.held.marks.close()
        self.channel.close()
        self._far.close()

    def recorder(self, *, holds: bool = True, tells: bool = True, marks: bool = True) -> FrameRecorder:
        """That of the next delivery, of an update with ten times its number.

        `holds` is False for one that was handled before; `marks` where there is no file.
        """
        self._numbers += 1
        calls = [] if holds else [Recorded("c 1 d 1", True, FIVE)]
        deliver = Deliver(
            self._numbers, 0, False, msgspec.Raw(b"{}"), calls, id=10 * self._numbers, tells_calls=tells
        )
        return FrameRecorder(deliver, self.channel, lambda: True, self.held if marks else None)

    async def sent(self) -> list[Any]:
        """What has left the worker since the last time."""
        await trio.lowlevel.checkpoint()  # the end of the turn
        try:
            return self._reader.feed(self._far.recv(2**20))
        except BlockingIOError:
            return []

    async def next(self) -> list[Any]:
        """What leaves it next."""
        await trio.lowlevel.wait_readable(self._far)
        return await self.sent()

    def marked(self) -> list[tuple[int, int, str]]:
        return [(mark.delivery, mark.reported, mark.key) for mark in read_marks(self.path)]


def run(tmp_path: Path, play: Callable[[Scene], Awaitable[None]]) -> None:
    """Play it on the clock that workers have."""

    async def main() -> None:
        with trio.fail_after(20), closing(Scene(str(tmp_path / "marks"))) as scene:
            await play(scene)

    trio.run(main, clock=AwakeClock(tick=5.0, counts_steps=True))


def test_an_answer_that_the_daemon_does_not_take_is_not_recorded(tmp_path: Path) -> None:
    """The call is made again in a second handling; the worker lives on."""

    async def play(scene: Scene) -> None:
        large = msgspec.Raw(b'"' + b"x" * (MOST_ANSWER - 1) + b'"')
        recorder = scene.recorder(marks=False)
        recorder.made(A, large)
        assert await scene.sent() == [Called(1, A, made=False)]
        recorder = scene.recorder()
        await recorder.begin(A)
        recorder.made(A, large)
        assert (await scene.sent(), scene.marked()) == ([], [])

    run(tmp_path, play)


def test_the_call_that_a_handling_ends_with_is_marked_and_never_reported(tmp_path: Path) -> None:
    """The daemon hears of it with the outcome; its slot is another's once that has left."""

    async def play(scene: Scene) -> None:
        recorder = scene.recorder()
        await recorder.begin(A)
        assert (await scene.sent(), scene.marked()) == ([], [(1, 0, A)])
        recorder.made(A, FIVE)
        assert scene.clock.tick < 1
        call = recorder.take_back()
        assert call is not None
        assert scene.clock.tick == 5.0, "at once, so that the loop does not turn once more for it"
        assert (call.key, call.took is not None and 0 <= call.took < 20) == (A, True)
        scene.channel.send(Outcome(1, "done", call=call))
        recorder.close()
        assert await scene.sent() == [Outcome(1, "done", call=call)]
        for _ in range(SLOTS):
            later = scene.recorder()
            await later.begin(B)
        assert (1, 0, A) not in scene.marked()

    run(tmp_path, play)


def test_a_call_whose_failure_was_swallowed_is_named_without_a_time(tmp_path: Path) -> None:
    """It may have been made, and nobody saw an answer."""

    async def play(scene: Scene) -> None:
        recorder = scene.recorder()
        await recorder.begin(A)
        assert recorder.take_back() == Unreported(A, None)
        unheard = scene.recorder(tells=False)
        await unheard.begin(A)
        unheard.made(A, FIVE)
        assert unheard.take_back() is None, "nobody listens"

    run(tmp_path, play)


def test_an_answer_is_reported_when_the_handling_goes_on(tmp_path: Path) -> None:
    """With the turn of the loop in which it came; its mark stays, as the report may not be durable yet."""

    async def play(scene: Scene) -> None:
        recorder = scene.recorder()
        await recorder.begin(A)
        recorder.made(A, FIVE)
        assert await scene.sent() == [Calling(1, A), Called(1, A, made=True, answer=FIVE)]
        await recorder.begin(B)
        assert (await scene.sent(), scene.marked()) == ([], [(1, 0, A), (1, 1, B)])

    run(tmp_path, play)


def test_a_second_call_of_the_same_turn_waits_for_nothing(tmp_path: Path) -> None:
    """Killed at once, both are known: each has its mark."""

    async def play(scene: Scene) -> None:
        recorder = scene.recorder()
        await recorder.begin(A)
        recorder.made(A, FIVE)
        await recorder.begin(B)
        assert scene.channel.left == 0 < scene.channel.sent
        assert scene.marked() == [(1, 0, A), (1, 1, B)]
        assert await scene.sent() == [Calling(1, A), Called(1, A, made=True, answer=FIVE)]

    run(tmp_path, play)


def test_a_handling_with_many_calls_leaves_places_for_others(tmp_path: Path) -> None:
    """Its first call loses its mark once the daemon has heard of it; until then, calls are reported first."""

    async def play(scene: Scene) -> None:
        recorder = scene.recorder()
        keys = [f"call {number}" for number in range(MOST_MARKS + 3)]
        for key in keys:
            await recorder.begin(key)
            recorder.made(key, FIVE)
            await scene.sent()
        assert [key for _, _, key in scene.marked()] == keys[-MOST_MARKS:]
        other = scene.recorder()
        side_by_side = [f"side {number}" for number in range(MOST_MARKS + 1)]
        for key in side_by_side:
            await other.begin(key)
        frames = await scene.sent()
        assert [frame.key for frame in frames] == side_by_side, (
            "and the last one, too, as its mark has no place"
        )
        marked = [key for delivery, _, key in scene.marked() if delivery == 2]
        assert marked == side_by_side[:-1]
        recorder.close()
        other.close()
        for _ in range(SLOTS):
            await scene.recorder().begin(B)
        assert {key for _, _, key in scene.marked()} == {B}

    run(tmp_path, play)


def test_of_calls_side_by_side_one_is_held(tmp_path: Path) -> None:
    """The one that begins last; the others are reported, and so are their answers."""

    async def play(scene: Scene) -> None:
        recorder = scene.recorder()
        await recorder.begin(A)
        await recorder.begin(B)
        assert await scene.sent() == [Calling(1, A)]
        recorder.made(A, FIVE)
        recorder.made(B, FIVE)
        assert await scene.sent() == [
            Called(1, A, made=True, answer=FIVE),
            Calling(1, B),
            Called(1, B, made=True, answer=FIVE),
        ]

    run(tmp_path, play)


def test_a_call_that_takes_long_is_reported_meanwhile(tmp_path: Path) -> None:
    """Without anybody's doing: the loop looks again soon while something is held, and seldom otherwise."""

    async def play(scene: Scene) -> None:
        assert scene.clock.tick == 5.0
        recorder = scene.recorder()
        await recorder.begin(A)
        assert scene.clock.tick < 1
        assert await scene.next() == [Calling(1, A)]
        assert scene.clock.tick == 5.0
        recorder.made(A, FIVE)
        assert await scene.sent() == [Called(1, A, made=True, answer=FIVE)]

    run(tmp_path, play)


def test_a_call_that_was_not_made_leaves_nothing(tmp_path: Path) -> None:
    """Neither a mark nor a frame; made again, it is marked again."""

    async def play(scene: Scene) -> None:
        recorder = scene.recorder()
        await recorder.begin(A)
        recorder.not_made(A)
        assert (await scene.sent(), scene.marked()) == ([], [])
        await recorder.begin(A)
        assert scene.marked() == [(1, 0, A)]

    run(tmp_path, play)


def test_a_second_try_is_reported_before_it_is_made(tmp_path: Path) -> None:
    """The first may have succeeded, so that the daemon has to see both."""

    async def play(scene: Scene) -> None:
        recorder = scene.recorder()
        await recorder.begin(A)
        await recorder.begin(A)
        assert await scene.sent() == [Calling(1, A), Calling(1, A)]
        recorder.not_made(A)
        await recorder.begin(A)
        assert (await scene.sent(), scene.marked()) == ([Called(1, A, made=False)], [(1, 2, A)])

    run(tmp_path, play)


def test_what_is_held_is_reported_before_an_outcome_that_is_not_done(tmp_path: Path) -> None:
    """A retry has to know of it."""

    async def play(scene: Scene) -> None:
        recorder = scene.recorder()
        await recorder.begin(A)
        recorder.report()
        scene.channel.send(Outcome(1, "retry"))
        assert await scene.sent() == [Calling(1, A), Outcome(1, "retry")]

    run(tmp_path, play)


@pytest.mark.parametrize("why", ["no slot", "a long key", "a key that is no text"])
def test_a_call_that_cannot_be_marked_is_reported_before_it_is_made(tmp_path: Path, why: str) -> None:
    """It has left the process by then."""

    async def play(scene: Scene) -> None:
        if why == "no slot":
            for _ in range(SLOTS):
                await scene.recorder().begin(A)
        recorder = scene.recorder()
        if why == "a key that is no text":
            with pytest.raises(UnicodeEncodeError):
                await recorder.begin("\ud800")
            return
        key = "ü" * MOST_KEY if why == "a long key" else B
        before = scene.channel.sent
        await recorder.begin(key)
        assert scene.channel.left == scene.channel.sent > before
        assert await scene.sent()

    run(tmp_path, play)


def test_repetitions_are_reported_before_they_are_made(tmp_path: Path) -> None:
    """Of an update that was handled before, as the daemon has to see them; a mark is there for its death."""

    async def play(scene: Scene) -> None:
        recorder = scene.recorder(holds=False)
        await recorder.begin(A)
        assert scene.channel.left == scene.channel.sent
        assert (await scene.sent(), scene.marked()) == ([Calling(1, A)], [(1, 0, A)])
        recorder.not_made(A)
        assert (await scene.sent(), scene.marked()) == ([Called(1, A, made=False)], [])

    run(tmp_path, play)


async def test_on_another_clock_nothing_is_held(autojump_clock: trio.abc.Clock, tmp_path: Path) -> None:
    """Nobody would report what takes long; nor without a place for the file."""
    assert hold_calls(str(tmp_path / "marks")) is None


def test_without_a_place_nothing_is_held(tmp_path: Path) -> None:
    """The folder may be gone: each call is reported before it is made then."""

    async def main() -> None:
        assert hold_calls(str(tmp_path / "gone" / "marks")) is None
        assert hold_calls("") is None

    trio.run(main, clock=AwakeClock(tick=5.0, counts_steps=True))
