"""Calls that the daemon makes for a program: marked in a file that outlives it, then recorded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest
import trio

from trioworkers.call_marks import MOST_KEY, CallMarks, read_marks
from trioworkers.nursery.delivery_recorder import DeliveryRecorder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trioworkers.nursery.delivery import Delivery


@dataclass
class Update:
    """As far as a mark names it."""

    id: int = 70


@dataclass
class Delivering:
    """A delivery that notes what it is told."""

    path: str
    update: Update = field(default_factory=Update)
    told: list[Any] = field(default_factory=list)

    def calling(self, key: str) -> None:
        self.told.append((key, key in marked(self.path)))

    def called(self, key: str, answer: bytes | None) -> None:
        self.told.append((key, answer))

    async def wait_recorded(self) -> None:
        await trio.lowlevel.checkpoint()


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
    """Its record may not be durable yet when its answer has come."""
    delivery = Delivering(path)
    recorder = DeliveryRecorder(cast("Delivery", delivery), marks)
    await recorder.begin("a")
    recorder.made("a", msgspec.Raw(b"1"))
    assert delivery.told == [("a", True), ("a", b"1")]
    assert read_marks(path)[0].id == 70
    await recorder.begin("b")
    assert marked(path) == ["a", "b"]
    await recorder.begin("c")
    assert sorted(marked(path)) == ["b", "c"]


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
