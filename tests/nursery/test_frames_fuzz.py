"""Frames that nobody should send, both ways: they end the worker that sent or got them, and nothing else.

Seeded and bounded; `ROUNDS=20000 SEED=7 scripts/test tests/nursery/test_frames_fuzz.py` tries more.
"""

from __future__ import annotations

import os
import random
import socket
from collections import Counter
from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import test_zygote  # type: ignore[import-not-found] # it lies beside
import trio
from desk import Desk, clock, update  # type: ignore[import-not-found] # it lies beside
from played_workers import CONFIGURE, Makes  # type: ignore[import-not-found] # as above
from strange import damaged

from trioworkers.breakage import Breakage
from trioworkers.config.settings import LogSettings, RetrySettings
from trioworkers.events import Events
from trioworkers.logs.files import RotatedFile
from trioworkers.nursery.delivery import Activity, Settling
from trioworkers.nursery.oom import OomKills
from trioworkers.nursery.output import Output
from trioworkers.nursery.scheduler import Scheduler
from trioworkers.nursery.session import ORDINARY, SessionContext, WorkerSession
from trioworkers.nursery.worker_executor import WorkerExecutor
from trioworkers.protocol.frames import (
    Answer,
    Ask,
    AskTurn,
    CallCount,
    Called,
    Calling,
    CodeFile,
    CodeLoaded,
    Deliver,
    Drain,
    Fence,
    Fenced,
    FrameError,
    FromWorker,
    Go,
    Head,
    Heartbeat,
    HookCount,
    Outcome,
    Ping,
    Ready,
    Recorded,
    Retune,
    Standing,
    TaskFailed,
    ToWorker,
    TurnOver,
    Unfit,
)
from trioworkers.protocol.framing import FrameReader, packed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ROUNDS = int(os.environ.get("ROUNDS", "300"))
SEED = int(os.environ.get("SEED", "15"))
RAW = msgspec.Raw
TUNING = Retune({"a": 1}, 10.0, 60.0, 60.0, "error")
FROM_WORKER: list[Any] = [
    *(Ready("c"), Unfit("r", "d"), Calling(1, "k"), Called(1, "k", True, RAW(b"{}")), Called(2, "k", False)),
    *(Ask(1, "handoff", RAW(b"{}")), AskTurn(1, 1, "5", 1, False), TurnOver(1, 0.5), Standing(True)),
    *(
        TaskFailed("t", "e"),
        CodeLoaded([CodeFile("/a.py", "f"), CodeFile("/b.py", "", True)]),
        Fenced(1),
        Outcome(1, "done"),
        Outcome(2, "retry", after=1.0),
        Outcome(3, "dead"),
    ),
    *(Outcome(3, "dead"), Outcome(1, "fenced"), Outcome(4, "drop")),
    Heartbeat(1, 0.1, [CallCount("m", "ok", 1)], 0.0),
    *(Heartbeat(5, 0.0, [], 0.0, [HookCount("p", 1, 0, 0.1, 0.1)]), Drain(), Ping()),
]
TO_WORKER: list[Any] = [
    *(TUNING, Deliver(1, 0, False, RAW(b'{"update_id":1,"message":{"chat":{"id":5},"text":"x"}}'))),
    *(Deliver(2, 1, True, RAW(b'{"update_id":2}'), [Recorded("k", True), Recorded("l", False)]),),
    *(
        Deliver(3, 0, False, RAW(b'{"update_id":3}'), [], Head(3, "message", "5", 5, 5)),
        Answer(1),
        Go(1),
        Go(2, 1.0),
    ),
    *(Answer(2, RAW(b"[1]")), Answer(3, error="no"), Fence(1, [1, 2, 9]), Ping(), Ready("c"), CONFIGURE),
]
ODD: list[Any] = [
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        2,
        2**31,
        2**63 - 1,
        -(2**63),
        1.5,
        1e300,
        -0.0,
        "",
        "x",
        "done",
        "5" * 70,
    ),
    *("x" * 5000, [], {}, [[]], [None] * 600, {"a": [1]}, "\ud7ff", "fenced", "retry", ["Drain"]),
]
BROKEN = [
    b"NaN",
    b"1e999",
    b"9" * 400,
    b'"\\ud800"',
    b'"\xff"',
    b"[" * 3000,
    b"{",
    b"",
    b"\0",
    b'{"a":1,"a":2}',
]


def some_frame(dice: random.Random, examples: Sequence[Any]) -> bytes:
    """A frame of an example, as it is or with odd values, damaged bytes, or a wrong length."""
    example = dice.choice(examples)
    if dice.random() < 0.3:
        return bytes(packed(example))
    values: list[Any] = msgspec.json.decode(msgspec.json.encode(example))
    for _ in range(dice.choice([0, 1, 1, 2])):
        at = dice.randrange(len(values))
        match dice.randrange(5):
            case 0:
                del values[at]
                values = values or [None]
            case 1:
                values.append(dice.choice(ODD))
            case _:
                values[at] = dice.choice(ODD)
    body = damaged(dice, msgspec.json.encode(values), BROKEN)
    length = (
        len(body)
        if dice.random() < 0.95
        else dice.choice([0, 1, len(body) - 1, len(body) + 3, 2**20, 2**32 - 1])
    )
    return max(0, length).to_bytes(4, "little") + body


@pytest.mark.parametrize("incoming", [FromWorker, ToWorker], ids=["from a worker", "to a worker"])
def test_bytes_are_frames_or_refused(incoming: Any) -> None:
    """However they arrive; what is taken is of the kinds that may come, and can be said again."""
    dice = random.Random(SEED)
    taken: Counter[str] = Counter()
    said: list[str] = []
    for _ in range(10 * ROUNDS):
        data = b"".join(some_frame(dice, FROM_WORKER + TO_WORKER) for _ in range(dice.choice([1, 1, 2, 4])))
        reader = FrameReader(incoming)
        size = dice.choice([len(data), len(data), 1 + len(data) // 3, 1])
        try:
            for at in range(0, len(data), size):
                for frame in reader.feed(data[at : at + size]):
                    assert isinstance(frame, incoming)
                    assert FrameReader(incoming).feed(bytes(packed(frame))) == [frame]
                    taken[type(frame).__name__] += 1
        except FrameError as error:
            taken["refused"] += 1
            said.append(str(error))
    assert max(map(len, said)) < 200
    kinds = {kind.__name__ for kind in incoming.__args__}
    assert taken.keys() == kinds | {"refused"}, "the examples are not what this is about any more"


class Scene:
    """A bot with some updates, whose workers are played."""

    def __init__(self, nursery: trio.Nursery, folder: Path) -> None:
        log = LogSettings()
        self.settings: Any = SimpleNamespace(
            handler_timeout=10.0,
            heartbeat_interval=1e6,
            hang_timeout=1e6,
            memory_limit=2**60,
            worker="always",
            concurrency=16,
            retry=RetrySettings(initial=1, max=1),
            on_failure="block",
            replay_safe=True,
            name="b",
        )
        self.nursery = nursery
        self.desk = Desk(*map(update, range(1, 7)))
        events = Events(lambda event: None, least="debug")
        self.settling = Settling(
            "b", self.desk, lambda: self.settings, events, random.Random(1), clock, Activity()
        )
        breakage = Breakage()
        nursery.start_soon(breakage.wait_raise)
        self.scheduler = Scheduler(self.settling, breakage, lambda: False)
        nursery.start_soon(self.scheduler.run)
        self.output = Output(RotatedFile(folder / "worker_b.log", lambda: log), "7:x")
        self.events = events

    async def session(self, life: Any, *, alone: bool = False) -> None:
        """Run a session of a worker that is played by `life`, to its end."""
        context = SessionContext(
            makes=Makes(self.nursery, life),
            settings=lambda: self.settings,
            configure=lambda: CONFIGURE,
            output=self.output,
            make_executor=lambda worker: WorkerExecutor(worker, self.scheduler, self.settling, alone=alone),
            emit=lambda event, **fields: self.events.emit(event, "b", **fields),
            oom=OomKills(None),
        )
        await WorkerSession(context, ORDINARY).run()

    def ended(self) -> Counter[int]:
        """How often each update has ended for good."""
        final = [end[0] for end in self.desk.ends if isinstance(end[0], int) and "put back" not in end]
        return Counter(final)


async def honest(process: Any) -> None:
    """A worker that handles what it is given, until nothing comes any more."""
    process.channel.send(Ready("c"))
    with trio.move_on_after(500):
        while frames := await process.channel.receive():
            for frame in frames:
                if isinstance(frame, Deliver):
                    process.channel.send(Outcome(frame.delivery, "done"))
                if isinstance(frame, Drain):
                    await process.channel.flush()
                    return
            await process.channel.flush()


async def test_a_worker_that_says_anything_loses_no_update(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Nothing of ours raises, its session ends, and each update ends once, by it or by those after it."""
    dice = random.Random(SEED)

    async def hostile(process: Any) -> None:
        await process.channel.receive()
        if dice.random() < 0.9:
            process.channel.send(Ready("c"))
            await process.channel.flush()
        for _ in range(dice.randrange(1, 20)):
            try:
                process.channel._end.send(some_frame(dice, FROM_WORKER))
            except OSError:
                return
            with trio.move_on_after(dice.choice([0, 0, 1, 20])):
                await process.channel.receive()

    for _ in range(max(1, ROUNDS // 3)):
        async with trio.open_nursery() as nursery:
            scene = Scene(nursery, tmp_path)
            with trio.fail_after(10_000):
                await scene.session(hostile)
                for _ in range(4):
                    await scene.session(honest, alone=True)
                    await scene.session(honest)
            assert scene.ended() == dict.fromkeys(range(1, 7), 1)
            nursery.cancel_scope.cancel()


async def test_a_worker_that_is_told_anything_ends_or_works_on(tmp_path: Path) -> None:
    """It does not spin, and a traceback of ours is none of its last words."""
    dice = random.Random(SEED)
    bench = test_zygote.Bench(tmp_path)
    bench.module("quiet", test_zygote.QUIET)
    async with bench.zygote("fork") as zygote:
        for _ in range(max(1, ROUNDS // 10)):
            async with bench.worker(zygote, "quiet") as worker:
                await worker.ready()
                for _ in range(dice.randrange(1, 12)):
                    try:
                        worker.channel._end.send(some_frame(dice, TO_WORKER))
                    except OSError:  # it has ended
                        break
                worker.channel.send(Drain())
                await trio.lowlevel.checkpoint()
                with suppress(OSError):  # what was said may end within a frame
                    worker.channel._end.shutdown(socket.SHUT_WR)
                with trio.fail_after(30):
                    while await worker.channel.receive():
                        pass
                    ended = await worker.process.wait()
                    said = await worker._output.receive_some()
                assert str(ended) in ("exit code 0", "SIGKILL")
                assert b"Traceback" not in said, said
