"""The watchdog is fed while every part answers, or has not been silent for too long."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from trioworkers.service.watchdog import Part, serve_watchdog, watchdog_period

if TYPE_CHECKING:
    from trio.testing import MockClock


class Scene:
    """A part that answers while it may, and what the watchdog did when."""

    def __init__(self) -> None:
        self.answers = True
        self.fed: list[float] = []
        self.reported: list[tuple[str, float]] = []

    async def answer(self) -> None:
        while not self.answers:  # noqa: ASYNC110 - on a mocked clock
            await trio.sleep(1)

    async def run(self, patience: float, seconds: float) -> None:
        """Let time go by."""
        parts = [Part("inbox", self.answer, patience), Part("other", trio.lowlevel.checkpoint, 0)]

        def report(name: str, silent: float) -> None:
            self.reported.append((name, silent))

        began = trio.current_time()
        with trio.move_on_after(seconds):
            await serve_watchdog(15, parts, lambda: self.fed.append(trio.current_time() - began), report)


async def test_it_is_fed_at_once_and_each_period(autojump_clock: MockClock) -> None:
    """Half of what the unit allows, so that one late message is no end."""
    scene = Scene()
    await scene.run(60, 61)
    assert scene.fed == [0, 15, 30, 45, 60]
    assert scene.reported == []


async def test_a_silence_is_borne_for_a_while(autojump_clock: MockClock) -> None:
    """Then the part is reported once, and nothing is fed until it answers again."""
    scene = Scene()
    scene.answers = False

    async def recover() -> None:
        await trio.sleep(117.5)
        scene.answers = True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(recover)
        await scene.run(60, 151)
    assert scene.fed == [0, 15, 30, 45, 60, 75, 120, 135, 150]
    assert scene.reported == [("inbox", 90)]


@pytest.mark.parametrize(
    ("environ", "period"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "x"}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 15),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),
    ],
)
def test_the_period_is_half_of_what_the_unit_allows(environ: dict[str, str], period: float | None) -> None:
    """If it is this process that is watched."""
    assert watchdog_period(environ, 7) == period
