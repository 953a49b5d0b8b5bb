"""Questions of workers, from the daemon's side: answered, refused in words, bounded."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import trio
import trio.testing
from desk import update  # type: ignore[import-not-found] # it lies beside
from test_worker_executor import Scene  # type: ignore[import-not-found]

from trioworkers.botapi.errors import BotApiError
from trioworkers.errors import AskRefusedError, Dead, TrioworkersError
from trioworkers.nursery.asks import TIME_LIMIT, BotAsks
from trioworkers.protocol.frames import MOST_ASKED, MOST_ASKS, Answer, Ask, Outcome


async def put(scene: Any, nursery: Any, answers: Any) -> Any:
    """A worker whose questions `answers` answers."""
    asks = BotAsks("b", answers)
    nursery.start_soon(asks.run)
    await trio.testing.wait_all_tasks_blocked()
    hands = await scene.begin()
    hands.written = trio.Event()
    hands.written.set()

    async def wait_sent():
        await hands.written.wait()

    hands.wait_sent = wait_sent
    scene.executor._asks = asks
    return hands


def said(hands: Any) -> list[Any]:
    return [frame for frame in hands.sent if isinstance(frame, Answer)]


async def test_a_question_is_answered_while_the_worker_goes_on(nursery, autojump_clock):
    """Whoever answers learns the bot, the name and the parameters."""
    heard: list[Any] = []

    async def answers(bot, name, params):
        heard.append((bot, name, params))
        await trio.sleep(5)
        return {"place": 2}

    scene = Scene(nursery, update(1))
    hands = await put(scene, nursery, answers)
    await hands.say(Ask(1, "handoff", msgspec.Raw(b'{"chat_id":5}')), Outcome(1, "done"))
    assert scene.desk.ends == [(1, "done")]
    await trio.sleep(6)
    assert heard == [("b", "handoff", {"chat_id": 5})]
    assert said(hands) == [Answer(1, msgspec.Raw(b'{"place":2}'))]


SECRET = "what a user wrote"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (AskRefusedError("all operators are away"), "all operators are away"),
        (TrioworkersError("no plugin answers handoff now"), "no plugin answers handoff now"),
        (Dead(SECRET), "handoff could not be answered: Dead at "),
        (ValueError(SECRET), "handoff could not be answered: ValueError at "),
        (
            BotApiError("sendMessage", 400, f"Bad Request: {SECRET}"),
            "handoff could not be answered: Telegram refused sendMessage with 400",
        ),
        (None, f"handoff was not answered within {TIME_LIMIT:g} s"),
    ],
)
async def test_what_goes_wrong_is_said_in_words_that_quote_nobody(nursery, autojump_clock, error, reason):
    """A refusal's own, ours, or an exception by its type and place."""

    async def answers(bot, name, params):
        if error is None:
            await trio.sleep_forever()
        raise error

    hands = await put(Scene(nursery), nursery, answers)
    await hands.say(Ask(1, "handoff", msgspec.Raw(b"{}")))
    await trio.sleep(TIME_LIMIT + 1)
    (answer,) = said(hands)
    assert reason in answer.error
    assert SECRET not in answer.error


@pytest.mark.parametrize("params", [b"[]", b"5"])
async def test_what_is_no_question_is_refused_in_words(nursery, autojump_clock, params):
    """So is an answer that cannot be sent, and any question where nobody answers."""

    async def answers(bot, name, params):
        return object()

    hands = await put(Scene(nursery), nursery, answers)
    await hands.say(Ask(1, "x", msgspec.Raw(params)), Ask(2, "x", msgspec.Raw(b"{}")))
    with pytest.raises(AskRefusedError, match="no plugin answers x"):
        await BotAsks("b", None).ask("x", b"{}")
    assert sorted(answer.number for answer in said(hands) if answer.error) == [1, 2]


async def test_a_question_goes_on_when_its_worker_has_died(nursery, autojump_clock):
    """What it does is not left half done."""
    done: list[str] = []

    async def answers(bot, name, params):
        await trio.sleep(5)
        done.append(name)

    scene = Scene(nursery)
    hands = await put(scene, nursery, answers)
    await hands.say(Ask(1, "handoff", msgspec.Raw(b"{}")))
    await hands.die()
    assert scene.ended.is_set()
    await trio.sleep(6)
    assert done == ["handoff"]


@pytest.mark.parametrize("how", ["not answered", "answers not read", "too long"])
async def test_a_worker_that_floods_questions_is_refused(nursery, autojump_clock, how):
    """However fast they are answered: answers that it does not read count, too."""

    async def answers(bot, name, params):
        if how == "not answered":
            await trio.sleep(20)

    scene = Scene(nursery)
    hands = await put(scene, nursery, answers)
    if how == "answers not read":
        hands.written = trio.Event()
    if how == "too long":
        await hands.say(Ask(1, "x", msgspec.Raw(b'"' + b"x" * MOST_ASKED + b'"')))
    else:
        for number in range(2 * MOST_ASKS):
            await hands.say(Ask(number, "x", msgspec.Raw(b"{}")))
        assert not scene.ended.is_set()
        await hands.say(Ask(99, "x", msgspec.Raw(b"{}")))
    assert scene.ended.is_set()
    assert "questions at a time" in scene.told("worker.refused")[0]["reason"]
