"""What a handler asks the daemon for: once for an update, bounded, and with an answer or words."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import trio
import trio.testing
from test_worker_process import Daemon, deliver  # type: ignore[import-not-found] # it lies beside

from trioworkers.errors import AskRefusedError
from trioworkers.protocol.frames import (
    MOST_ASKED,
    MOST_ASKS,
    Answer,
    Ask,
    Called,
    Calling,
    Fence,
    Outcome,
    Recorded,
)


@pytest.fixture
async def daemon(nursery):
    daemon = Daemon(nursery)
    yield daemon
    nursery.cancel_scope.cancel()
    daemon.channel.close()
    daemon.theirs.close()


def asked(daemon: Any) -> list[Any]:
    return [frame for frame in daemon.frames if isinstance(frame, Ask)]


async def test_a_handoff_is_asked_for_and_its_answer_returned(daemon, autojump_clock):
    """As a recorded call, which is made before its answer is known to have been given."""
    answers: list[Any] = []

    async def handle(update, bot):
        answers.append(await bot.handoff(update.chat_id, "angry"))
        answers.append(await bot.handoff(update.chat_id, "angry"))

    daemon.start(handle)
    daemon.channel.send(msgspec.structs.replace(deliver(1), calls=[]))
    await trio.sleep(1)
    (ask,) = asked(daemon)
    assert (ask.name, msgspec.json.decode(ask.params)) == ("handoff", {"chat_id": 1, "reason": "angry"})
    assert [frame.key for frame in daemon.frames if isinstance(frame, Calling)] == ["once handoff 1"]
    daemon.channel.send(Answer(ask.number, msgspec.Raw(b'{"place":2}')))
    await daemon.end()
    assert answers == [{"place": 2}, {"place": 2}], "asked once for an update and a chat"
    assert len(asked(daemon)) == 1
    assert daemon.outcomes()[0].result == "done"


async def test_a_second_handling_does_not_ask_again(daemon, autojump_clock):
    """The record answers it; one that was never answered is asked again."""
    answers: list[Any] = []

    async def handle(update, bot):
        answers.append(await bot.handoff(1))

    daemon.start(handle)
    record = Recorded("once handoff 1", answered=True, answer=msgspec.Raw(b'"queued"'))
    daemon.channel.send(msgspec.structs.replace(deliver(1), calls=[record]))
    await trio.sleep(1)
    assert (asked(daemon), answers) == ([], ["queued"])
    daemon.channel.send(
        msgspec.structs.replace(deliver(2), calls=[Recorded("once handoff 1", answered=False)])
    )
    await trio.sleep(1)
    daemon.channel.send(Answer(asked(daemon)[0].number))
    await daemon.end()
    assert answers == ["queued", None]


async def test_a_refusal_is_an_error_that_a_handler_can_catch(daemon, autojump_clock):
    """With the reason in words, and the call is known not to have been made."""
    caught: list[str] = []

    async def handle(update, bot):
        try:
            await bot.handoff(1)
        except AskRefusedError as error:
            caught.append(error.reason)
            raise

    daemon.start(handle)
    daemon.channel.send(msgspec.structs.replace(deliver(1), calls=[]))
    await trio.sleep(1)
    daemon.channel.send(Answer(asked(daemon)[0].number, error="no plugin answers handoff"))
    await trio.sleep(1)
    assert caught == ["no plugin answers handoff"]
    assert [frame.made for frame in daemon.frames if isinstance(frame, Called)] == [False]
    (outcome,) = await daemon.end()
    assert outcome.result == "retry"


async def test_questions_are_bounded_also_those_whose_askers_are_gone(daemon, autojump_clock):
    """A place is taken until the daemon has answered; what is too long is not sent at all."""
    refused: list[str] = []

    async def handle(update, bot):
        try:
            await bot.handoff(1, "x" * (MOST_ASKED + 1))
        except AskRefusedError as error:
            refused.append(error.reason)
        async with trio.open_nursery() as nursery:
            for chat in range(MOST_ASKS + 3):
                nursery.start_soon(bot.handoff, chat)

    daemon.start(handle, *[deliver(1)])
    await trio.sleep(1)
    assert (len(asked(daemon)), len(refused)) == (MOST_ASKS, 1)
    await trio.sleep(20)  # the handling took too long
    assert daemon.outcomes()[0].result == "retry"
    daemon.channel.send(deliver(2))
    await trio.sleep(1)
    assert len(asked(daemon)) == MOST_ASKS
    for ask in asked(daemon)[:4]:
        daemon.channel.send(Answer(ask.number))
    await trio.sleep(1)
    assert len(asked(daemon)) == MOST_ASKS + 4


async def test_start_cannot_ask(daemon, autojump_clock):
    """The daemon listens once the worker is ready."""
    refused: list[str] = []

    async def start(bot):
        with pytest.raises(AskRefusedError):
            await bot.handoff(1)
        refused.append(bot.name)

    async def handle(update, bot): ...

    daemon.start(handle, start=start)
    await trio.sleep(1)
    assert refused == ["echo"]
    await daemon.end()


async def test_a_handling_that_is_cut_off_waits_for_no_answer(daemon, autojump_clock):
    """The answer may be what waits for the fence."""

    async def handle(update, bot):
        await bot.handoff(1)

    daemon.start(handle)
    daemon.channel.send(msgspec.structs.replace(deliver(1), calls=[]))
    await trio.sleep(1)
    daemon.channel.send(Fence(1, [1]))
    await trio.sleep(0.5)
    assert [frame.result for frame in daemon.frames if isinstance(frame, Outcome)] == ["fenced"]
    daemon.channel.send(Answer(asked(daemon)[0].number))
    await daemon.end()
