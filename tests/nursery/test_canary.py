"""A canary says whether a worker can be ready, and leaves nothing behind."""

from __future__ import annotations

import math
import os
from types import SimpleNamespace

import pytest
import trio
from played_workers import CONFIGURE, Makes  # type: ignore[import-not-found] # it lies beside

from trioworkers.config.settings import LogSettings
from trioworkers.logs.files import RotatedFile
from trioworkers.nursery.canary import LEAVES, try_worker
from trioworkers.nursery.oom import OomKills
from trioworkers.nursery.output import Output
from trioworkers.nursery.session import SessionContext
from trioworkers.nursery.worker import START_TIMEOUT, TERM_GRACE
from trioworkers.protocol.frames import Drain, Heartbeat, Ready, Unfit
from trioworkers.shortage import words_of

SETTINGS = SimpleNamespace(
    worker="on_demand",
    idle_stop=1.0,
    handler_timeout=5.0,
    heartbeat_interval=1.0,
    hang_timeout=3.0,
    memory_limit=1,
)


async def good(process):
    """One that is ready, and takes its time to stop."""
    process.channel.send(Ready("c0de"))
    await process.channel.flush()
    assert isinstance((await process.channel.receive())[0], type(CONFIGURE))
    assert (await process.channel.receive()) == [Drain()]
    for _ in range(4):
        await trio.sleep(1)
        process.channel.send(Heartbeat(memory=2, lag=0.0))
        await process.channel.flush()


async def stays(process):
    """One whose `stop` never ends."""
    process.channel.send(Ready("c0de"))
    await process.channel.flush()
    await trio.sleep_forever()


async def unfit(process):
    process.channel.send(Unfit("handler cannot be imported", "h:h: it was not found"))
    await process.channel.flush()


async def unfit_without_a_word_more(process):
    process.channel.send(Unfit("bad token", ""))
    await process.channel.flush()


async def ends(process):
    """One that exits during its start."""


async def hangs(process):
    await trio.sleep_forever()


async def talks_nonsense(process):
    os.write(process.channel._end.fileno(), b"\x02\x00\x00\x00{]")
    await trio.sleep_forever()


async def talks_nonsense_at_last(process):
    process.channel.send(Ready("c0de"))
    await process.channel.flush()
    await talks_nonsense(process)


@pytest.fixture
def context(nursery, tmp_path):
    def make(life):
        return SessionContext(
            makes=Makes(nursery, life),
            settings=lambda: SETTINGS,  # type: ignore[arg-type, return-value] # as far as they matter
            configure=lambda: CONFIGURE,
            output=Output(RotatedFile(tmp_path / "log", LogSettings), "7:x"),
            make_executor=lambda worker: pytest.fail("a canary is given no updates"),
            emit=lambda event, **fields: pytest.fail("its caller reports what became of it"),
            oom=OomKills(None),
        )

    return make


@pytest.mark.parametrize(
    ("life", "problem", "takes"),
    [
        (good, None, 4),
        (stays, None, LEAVES + TERM_GRACE),
        (unfit, "handler cannot be imported: h:h: it was not found", 0),
        (unfit_without_a_word_more, "bad token", 0),
        (ends, "it ended before it was ready: exit code 0", 0),
        (hangs, f"not ready within {START_TIMEOUT:g} s", START_TIMEOUT),
        (None, f"it could not be started: {words_of(OSError(11, os.strerror(11)))}", 0),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
async def test_it_says_why_it_is_not_ready(context, autojump_clock, life, problem, takes):
    """Or that it is; and it is over soon, whatever the handler does."""
    began = trio.current_time()
    assert await try_worker(context(life)) == problem
    assert math.isclose(trio.current_time() - began, takes, abs_tol=0.01)


@pytest.mark.parametrize("life", [talks_nonsense, talks_nonsense_at_last])
async def test_one_that_sends_no_valid_frames_is_refused(context, autojump_clock, life):
    """Before it is ready, and also while it leaves: its updates would go to such a worker."""
    problem = await try_worker(context(life))
    assert problem is not None
    assert "frame" in problem


async def test_a_cancelled_canary_leaves_no_process(context, autojump_clock):
    """Its group is ended before the cancellation is over."""
    made = context(hangs)
    with trio.move_on_after(1) as scope:
        await try_worker(made)
    assert scope.cancelled_caught
    assert made.makes.processes[-1].ended.is_set()
