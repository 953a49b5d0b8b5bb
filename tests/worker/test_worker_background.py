"""Work that `start` begins and that goes on beside the handlings: its waits, its failures, its end."""

from __future__ import annotations

import functools
import json
from typing import Any

import msgspec
import pytest
import trio
import trio.testing
from test_worker_process import Daemon, deliver, tuning  # type: ignore[import-not-found]

from trioworkers.handling.handle import handle as handle_one
from trioworkers.protocol.frames import Answer, Ask, Outcome, Ready, Standing, TaskFailed


@pytest.fixture
async def daemon(nursery):
    daemon = Daemon(nursery)
    yield daemon
    nursery.cancel_scope.cancel()
    daemon.channel.close()
    daemon.theirs.close()


async def nothing(update, bot): ...


@pytest.mark.parametrize("seconds", [1, 65, 4000])
@pytest.mark.parametrize("after", [0, 120])
async def test_a_task_that_start_began_waits_as_long_as_telegram_asks(daemon, autojump_clock, seconds, after):
    """A background task has no time limit: neither that of `start`, while that runs, nor one after it."""
    done: list[float] = []

    async def tick(bot):
        await trio.sleep(after)
        await bot.call("x", seconds=seconds)
        await bot.call("x", seconds=seconds)
        done.append(trio.current_time())

    async def start(bot):
        bot.background(tick)

    daemon.start(nothing, start=start)
    await trio.sleep(after + 2 * seconds + 1)
    assert done == [after + 2 * seconds]
    await daemon.end()
    assert not [frame for frame in daemon.frames if isinstance(frame, TaskFailed)]


async def test_a_system_task_that_start_began_waits_likewise(daemon, autojump_clock):
    """It has the bot of `start`, whose minute is over: it is not bound by it any more, and never was."""
    done: list[float] = []

    async def tick(bot):
        for seconds in (70, 1, 5000):
            await bot.call("x", seconds=seconds)
            done.append(trio.current_time())

    async def start(bot):
        trio.lowlevel.spawn_system_task(tick, bot)
        await bot.call("x", seconds=20)

    daemon.start(nothing, start=start)
    await trio.sleep(6000)
    assert done == [70, 71, 5071]
    await daemon.end()


async def test_a_task_that_outlives_its_handling_waits_likewise(autojump_clock, nursery):
    """The same holds for what a handling left behind."""
    done: list[float] = []

    async def later(handling):
        await trio.sleep(50)
        await handling.wait(100)
        done.append(trio.current_time())

    async def run(handling):
        nursery.start_soon(later, handling)

    assert (await handle_one(run, None, 10)).result == "done"
    await trio.sleep(200)
    assert done == [150]


async def test_a_task_that_fails_is_reported_and_nothing_else_ends(daemon, autojump_clock, capsys):
    """By name, type and place, in the bot's log and to the daemon; handlings and other tasks go on."""
    beats: list[int] = []

    async def fails(bot, word):
        await trio.sleep(1)
        raise ValueError(f"a secret {word}")

    async def groups(bot):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fails, bot, "in a group")
            nursery.start_soon(trio.sleep_forever)

    async def exits(bot):
        raise SystemExit(3)

    async def beat(bot):
        while True:
            await trio.sleep(1)
            beats.append(1)

    async def start(bot):
        for function, args in ((fails, ("word",)), (groups, ()), (exits, ()), (beat, ())):
            bot.background(function, *args)

    daemon.start(nothing, start=start)
    await trio.sleep(5.5)
    daemon.channel.send(deliver(1))
    assert await daemon.end() == [Outcome(1, "done")]
    assert daemon.code == 0
    assert len(beats) >= 5
    failed = [frame for frame in daemon.frames if isinstance(frame, TaskFailed)]
    told = {frame.task.rpartition(".")[2]: frame.error for frame in failed}
    assert sorted(told) == ["exits", "fails", "groups"]
    assert told["fails"].startswith("ValueError at test_worker_background.py:")
    assert "secret" not in str(told)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["event"] for line in lines} == {"background task failed"}


async def test_tasks_see_settings_and_begin_tasks(daemon, autojump_clock):
    """The bot of a task has the settings in force, and may begin another task."""
    seen: list[Any] = []

    async def child(bot, word):
        seen.append((word, bot.settings))

    async def tick(bot):
        seen.append(bot.settings)
        await trio.sleep(10)
        seen.append(bot.settings)
        bot.background(functools.partial(child), "child")

    async def start(bot):
        bot.background(tick)

    async def settings_changed(bot):
        bot.background(child, "changed")

    daemon.start(nothing, start=start, settings_changed=settings_changed)
    await trio.sleep(5)
    daemon.channel.send(tuning({"a": 2}))
    await trio.sleep(10)
    await daemon.end()
    assert seen == [{"a": 1}, ("changed", {"a": 2}), {"a": 2}, ("child", {"a": 2})]


async def test_a_task_may_hand_a_dialog_over_once_the_worker_is_ready(daemon, autojump_clock):
    """It waits for that: before, the daemon does not listen to questions."""
    answers: list[Any] = []

    async def tick(bot):
        answers.append(await bot.handoff(5, "asked"))

    async def start(bot):
        bot.background(tick)
        await trio.sleep(10)

    daemon.start(nothing, start=start)
    await trio.sleep(5)
    assert daemon.frames == []
    await trio.sleep(10)
    (asked,) = [frame for frame in daemon.frames if isinstance(frame, Ask)]
    daemon.channel.send(Answer(asked.number, msgspec.Raw(b'"done"')))
    await daemon.end()
    assert answers == ["done"]


async def test_a_start_that_exits_is_reported(daemon, autojump_clock, capsys):
    """`sys.exit()` in `start` or `settings_changed` ends no worker without a word."""

    async def start(bot):
        raise SystemExit(3)

    daemon.start(nothing, start=start)
    await trio.sleep(1)
    assert daemon.code == 1
    (line,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert line["event"] == "start failed"
    assert line["error"].startswith("SystemExit at test_worker_background.py:")


async def test_tasks_end_after_the_last_handling_and_before_stop(daemon, autojump_clock):
    """A handling in flight can rely on them; `stop` finds them ended."""
    order: list[str] = []

    async def tick(bot):
        try:
            await trio.sleep_forever()
        finally:
            order.append("task")

    async def start(bot):
        bot.background(tick)

    async def handle(update, bot):
        await trio.sleep(5)
        order.append("handled")

    async def stop(bot):
        order.append("stop")
        try:
            bot.background(tick)
        except RuntimeError as error:
            order.append(str(error))

    daemon.start(handle, deliver(1), start=start, stop=stop)
    await daemon.end()
    assert order == ["handled", "task", "stop", "background: the worker stops"]


async def test_a_start_that_fails_takes_its_tasks_along(daemon, autojump_clock):
    """The worker ends with 1, as without them."""

    async def tick(bot):
        await trio.sleep_forever()

    async def start(bot):
        bot.background(tick)
        raise ZeroDivisionError

    daemon.start(nothing, start=start)
    await trio.sleep(1)
    assert daemon.code == 1


async def test_an_updates_work_is_not_begun_in_the_background(daemon, autojump_clock):
    """It would be lost with the worker: a handler is told so."""
    told: list[str] = []

    async def tick(bot): ...

    async def handle(update, bot):
        try:
            bot.background(tick)
        except RuntimeError as error:
            told.append(str(error))

    async def start(bot):
        with pytest.raises(TypeError, match="expected an async function, got plain"):
            bot.background(plain)

    daemon.start(handle, deliver(1), start=start)
    await daemon.end()
    assert told == ["background: expected to be called in start, settings_changed or a background task"]


def plain(bot): ...


async def test_the_daemon_is_told_that_start_waits_to_send(daemon, autojump_clock):
    """Its patience for `start` ends no earlier than the worker's: both leave such waits out."""

    async def start(bot):
        await bot.call("x", seconds=50)
        await trio.sleep(5)
        await bot.call("x", seconds=50)

    daemon.start(nothing, start=start)
    await trio.sleep(200)
    told = [frame for frame in daemon.frames if isinstance(frame, Standing | Ready)]
    assert told == [Standing(True), Standing(False), Standing(True), Standing(False), Ready("c0de", True)]
    await daemon.end()
