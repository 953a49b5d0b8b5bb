"""One worker's life, as far as it needs no process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import trio
import trio.testing

from trioworkers.config.settings import LogSettings
from trioworkers.logs.files import RotatedFile
from trioworkers.nursery.dispatch import Activity
from trioworkers.nursery.life import Ended, Life, Means
from trioworkers.nursery.oom import OomKills
from trioworkers.nursery.output import Output

if TYPE_CHECKING:
    from pathlib import Path


class Busy:
    """Makes workers, but for now it is others' turn."""

    async def start(self, channel: int, output: int) -> Any:
        await trio.sleep_forever()


async def test_a_process_whose_turn_has_not_come_is_not_waited_for(
    tmp_path: Path, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """A stop amid a fleet's start ends at once what was not begun: it starts nothing only to end it."""
    told: list[tuple[str, dict[str, Any]]] = []
    log = LogSettings()
    means = Means(
        makes=Busy(),
        settings=lambda: cast("Any", None),
        configure=lambda: cast("Any", None),
        output=Output(RotatedFile(tmp_path / "worker_b.log", lambda: log), "7:x"),
        make_dispatch=lambda *_: cast("Any", None),
        tell=lambda event, **fields: told.append((event, fields)),
        is_paused=lambda: False,
        oom=OomKills(None),
    )
    ends: list[Ended] = []

    async def live(life: Life) -> None:
        ends.append(await life.run())

    life = Life(means, Activity(), lambda: None)
    nursery.start_soon(live, life)
    await trio.testing.wait_all_tasks_blocked()
    life.end("leaving")
    await trio.testing.wait_all_tasks_blocked()
    assert ends == [Ended(None, 0.0, "leaving")]
    assert [event for event, _ in told] == ["worker.starting", "worker.exited"]
