"""Calls that the daemon makes for a program: marked in a file that outlives it, then recorded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest
import trio

from trioworkers.call_marks import MOST_KEY, CallMarks, read_marks
from trioworkers.nursery.delivery_recorder import DeliveryRecorder
from trioworkers.protocol.held_back import HOLD, HeldBack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from trioworkers.awake import AwakeClock
    from trioworkers.nursery.delivery import Delivery


@dataclass
class Update:
    """As far as a mark names it."""

    id: int = 70


@dataclass
class Backlog:
    """How much was given to be written, and how much of it is."""

    records: int = 0
    records_written: int = 0


@dataclass
class Delivering:
    """A delivery that notes what it is told."""

    path: str
    backlog: Backlog = field(default_factory=Backlog)
    update: Update = field(default_factory=Update)
    told: list[Any] = field(default_factory=list)
    calls: tuple[()] | list[str] = ()
    tells_calls: bool = False

    def calling(self, key: str) -> None:
        self.backlog.records += 1
        self.told.append((key, key in marked(self.path)))

    def called(self, key: str, answer: bytes | None) -> None:
        self.backlog.records += 1
        self.told.append((key, answer))

    async def wait_recorded(self) -> None:
        await trio.lowlevel.checkpoint()


@dataclass
class Clock:
    """As far as what is held back has it turned faster."""

    tick: float = 1.0


def marked(path: str) -> list[str]:
    """The keys that are marked."""
    return [mark.key for mark in read_marks(path)]


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "marks")


@pytest.fixture
def marks(path: str) -> Iterator[CallMarks]:
    made = CallMarks(path, 2)
    yield made
    made.close()


async def test_a_call_is_marked_before_it_is_recorded_and_until_others_need_the_place(
    path: str, marks: CallMarks
) -> None:
    """Its record may not be durable yet when its answer has come: until then nobody has the place."""
    delivery = Delivering(path)
    recorder = DeliveryRecorder(cast("Delivery", delivery), marks)
    await recorder.begin("a")
    recorder.made("a", msgspec.Raw(b"1"))
    assert delivery.told == [("a", True), ("a", b"1")]
    assert read_marks(path)[0].id == 70
    await recorder.begin("b")
    assert marked(path) == ["a", "b"]
    delivery.backlog.records_written = 1
    await recorder.begin("c")
    assert sorted(marked(path)) == ["a", "b"], "the answer of a is not durable"
    delivery.backlog.records_written = 2
    await recorder.begin("d")
    assert sorted(marked(path)) == ["b", "d"]


async def test_what_was_not_made_is_marked_no_more(path: str, marks: CallMarks) -> None:
    """Else it would be made again, as if it might have been."""
    recorder = DeliveryRecorder(cast("Delivery", Delivering(path)), marks)
    await recorder.begin("a")
    recorder.not_made("a")
    assert marked(path) == []


async def test_calls_beyond_the_places_are_recorded_without_a_mark(path: str, marks: CallMarks) -> None:
    """And so is a key that is too long; places that an ended update had are free again."""
    delivery = Delivering(path)
    recorder = DeliveryRecorder(cast("Delivery", delivery), marks)
    for key in ("long" * MOST_KEY, "a", "b", "c"):
        await recorder.begin(key)
    assert [is_marked for _, is_marked in delivery.told] == [False, True, True, False]
    await recorder.begin("a")  # a second try of the same call
    assert marked(path) == ["a", "b"]
    recorder.close()
    other = DeliveryRecorder(cast("Delivery", delivery), marks)
    delivery.backlog.records_written = delivery.backlog.records
    await other.begin("d")
    assert sorted(marked(path)) == ["a", "b"], "the end of the update is not durable"
    delivery.backlog.records_written += 1
    await other.begin("d")
    await other.begin("e")
    assert sorted(marked(path)) == ["d", "e"]


async def test_without_a_file_calls_are_recorded_all_the_same(path: str) -> None:
    """A disk may be full."""
    delivery = Delivering(path)
    recorder = DeliveryRecorder(cast("Delivery", delivery))
    await recorder.begin("a")
    recorder.not_made("a")
    recorder.close()
    assert delivery.told == [("a", False), ("a", None)]


@dataclass
class Holding:
    """One handling whose calls are held back, and all that are held back in this process."""

    delivery: Delivering
    recorder: DeliveryRecorder
    clock: Clock
    faults: list[Exception] = field(default_factory=list)


@pytest.fixture
def make_holding(path: str, marks: CallMarks) -> Callable[..., Holding]:
    def make(**given: Any) -> Holding:
        clock, delivery = Clock(), Delivering(path, **given)
        held: HeldBack[DeliveryRecorder] = HeldBack(cast("AwakeClock", clock))
        faults: list[Exception] = []
        recorder = DeliveryRecorder(cast("Delivery", delivery), marks, held, faults.append)
        return Holding(delivery, recorder, clock, faults)

    return make


async def test_calls_of_an_update_that_is_done_are_never_recorded(
    path: str, make_holding: Callable[..., Holding]
) -> None:
    """They are marked, as long as the end is not durable."""
    holding = make_holding()
    await holding.recorder.begin("a")
    holding.recorder.made("a", msgspec.Raw(b"1"))
    await holding.recorder.begin("b")
    assert marked(path) == ["a", "b"]
    holding.recorder.close(done=True)
    await trio.sleep(2 * HOLD)
    assert holding.delivery.told == []
    assert holding.clock.tick == 1.0
    assert marked(path) == ["a", "b"]
    await holding.recorder.begin("c")
    assert holding.delivery.told == [("c", False)], "the end of the update is not durable"


async def test_calls_of_an_update_that_ends_otherwise_are_recorded(
    make_holding: Callable[..., Holding],
) -> None:
    """Those without an answer as begun; those that were not made are not."""
    holding = make_holding()
    await holding.recorder.begin("a")
    holding.recorder.not_made("a")
    await holding.recorder.begin("b")
    holding.recorder.made("b", msgspec.Raw(b"1"))
    await holding.recorder.begin("c")
    holding.recorder.close()
    assert holding.delivery.told == [("b", True), ("b", b"1"), ("c", True)]


async def test_a_call_is_held_back_for_a_moment_only(make_holding: Callable[..., Holding]) -> None:
    """A mark does not survive a loss of power, and says nothing of the answer."""
    holding = make_holding()
    await holding.recorder.begin("a")
    await trio.lowlevel.checkpoint()
    assert holding.clock.tick == HOLD
    assert holding.delivery.told == []
    await trio.sleep(HOLD)
    await trio.lowlevel.checkpoint()
    assert holding.delivery.told == [("a", True)]
    holding.recorder.made("a", msgspec.Raw(b"1"))
    assert holding.delivery.told[1:] == [("a", b"1")]
    await trio.lowlevel.checkpoint()
    assert holding.clock.tick == 1.0


async def test_a_call_that_is_made_again_is_recorded_twice(make_holding: Callable[..., Holding]) -> None:
    """Nobody knows whether the first try was made: the second one is reported as a repetition."""
    holding = make_holding()
    await holding.recorder.begin("a")
    await holding.recorder.begin("a")
    assert holding.delivery.told == [("a", True), ("a", True)]
    holding.recorder.made("a", msgspec.Raw(b"1"))
    assert holding.delivery.told[2:] == [("a", b"1")]


@pytest.mark.parametrize("given", [{"calls": ["a"]}, {"tells_calls": True}])
async def test_where_somebody_wants_to_hear_of_calls_they_are_recorded_at_once(
    make_holding: Callable[..., Holding], given: dict[str, Any]
) -> None:
    """So is each call of an update that is handled again."""
    holding = make_holding(**given)
    await holding.recorder.begin("a")
    assert holding.delivery.told == [("a", True)]


async def test_what_breaks_while_a_call_is_recorded_later_is_a_fault(
    make_holding: Callable[..., Holding], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is there who could be told by an exception."""
    holding = make_holding()
    broken = ValueError("too much")

    def calling(_: str) -> None:
        raise broken

    monkeypatch.setattr(holding.delivery, "calling", calling)
    await holding.recorder.begin("a")
    await trio.sleep(HOLD)
    await trio.lowlevel.checkpoint()
    assert holding.faults == [broken]
