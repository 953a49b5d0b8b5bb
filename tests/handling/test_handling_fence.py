"""A handling that is cut off: what is still waited for, what is cancelled, and what is refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import trio
import trio.testing

from trioworkers.botapi import client
from trioworkers.botapi.client import BotApi
from trioworkers.botapi.errors import TransportError
from trioworkers.errors import Retry
from trioworkers.handling.bot import Bot
from trioworkers.handling.calls import Calls
from trioworkers.handling.fence import PATIENCE, FencedError, HandlingFence, close_all
from trioworkers.handling.handle import handle


class SlowApi(BotApi):
    """The Bot API client, with requests that take `takes` seconds and end as `ends` says."""

    def __init__(self, takes: float) -> None:
        self.takes = takes
        self.made: list[str] = []
        self.given_up: list[str] = []
        self.ends: list[Exception | None] = []
        super().__init__("http://x", "7:x")

    async def request(self, method, params, *, silence=None):
        try:
            await trio.sleep(self.takes)
        except trio.Cancelled:
            self.given_up.append(method)
            raise
        self.made.append(method)
        if self.ends and (error := self.ends.pop(0)) is not None:
            raise error
        return msgspec.Raw(b"true")


class Recorded:
    """A recorder that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    async def begin(self, key):
        self.told.append("begun")
        await trio.lowlevel.checkpoint()

    def made(self, key, answer):
        self.told.append("made")

    def not_made(self, key):
        self.told.append("not made")

    async def flush(self):
        await trio.lowlevel.checkpoint()


class Scene:
    """One handling of `handler`, its fence, and when either ended."""

    def __init__(self, nursery: trio.Nursery, handler: Any, takes: float = 0.0, limit: float = 60.0) -> None:
        self.api, self.recorded, self.fence = SlowApi(takes), Recorded(), HandlingFence()
        self.handler, self.limit, self.nursery = handler, limit, nursery
        self.outcome: str | None = None
        self.bot: Bot | None = None
        self.fenced_at: Any = None

    async def handle(self):
        async def run(handling):
            self.bot = Bot("b", 7, {}, None, self.api, handling)  # type: ignore[arg-type]
            await self.handler(self.bot)

        outcome = await handle(run, Calls([], self.recorded), self.limit, 3, self.fence)
        assert outcome.delivery == 3
        self.outcome = outcome.result
        self.fence.ended()

    async def close(self):
        await close_all([self.fence])
        self.fenced_at = trio.current_time()

    async def begin(self, seconds: float = 1.0):
        self.nursery.start_soon(self.handle)
        await trio.sleep(seconds)
        self.nursery.start_soon(self.close)
        await trio.testing.wait_all_tasks_blocked()


def sleeps(seconds: float) -> Any:
    async def handler(bot):
        await trio.sleep(seconds)

    return handler


async def test_a_handling_that_sleeps_is_cut_off_at_once(nursery, autojump_clock):
    """Nothing of it is under way, so there is nothing to wait for."""
    scene = Scene(nursery, sleeps(10))
    await scene.begin()
    assert (scene.outcome, scene.fenced_at) == ("fenced", 1)


async def test_a_request_under_way_gets_its_answer_and_the_rest_is_cut_off(nursery, autojump_clock):
    """The call is recorded as made, so that it is not made a second time."""

    async def talk(bot):
        await bot.send_message(chat_id=1, text="a")
        await trio.sleep(0.001)
        await bot.send_message(chat_id=1, text="b")

    scene = Scene(nursery, talk, takes=2.0)
    await scene.begin()
    assert (scene.outcome, scene.fenced_at) == (None, None)
    await trio.sleep(1.5)
    assert (scene.outcome, scene.fenced_at) == ("fenced", 2)
    assert (scene.api.made, scene.recorded.told) == (["sendMessage"], ["begun", "made"])


async def test_a_handling_whose_last_request_is_answered_in_time_is_done(nursery, autojump_clock):
    """It made all of its calls before the fence was done: to handle it again would be of no use."""
    scene = Scene(nursery, lambda bot: bot.send_message(chat_id=1), takes=2.0)
    await scene.begin()
    await trio.sleep(1.5)
    assert (scene.outcome, scene.fenced_at) == ("done", 2)


async def test_a_request_without_an_answer_is_given_up_and_stays_unknown(nursery, autojump_clock):
    """Its connection is closed by then; the record says begun, and nothing else."""
    scene = Scene(nursery, lambda bot: bot.send_message(chat_id=1), takes=30.0)
    await scene.begin()
    await trio.sleep(PATIENCE + 0.5)
    assert (scene.outcome, scene.fenced_at) == ("fenced", 1 + PATIENCE)
    assert (scene.api.made, scene.api.given_up) == ([], ["sendMessage"])
    assert scene.recorded.told == ["begun"]


async def test_the_next_call_is_refused_also_while_another_is_under_way(nursery, autojump_clock):
    """It is known not to have been made; the other one is waited for all the same."""
    refused: list[type] = []

    async def second(bot):
        await trio.sleep(2)
        try:
            await bot.send_photo(chat_id=1)
        except FencedError as error:
            refused.append(type(error))
        await trio.sleep(0.001)
        refused.append(int)  # it is not cancelled before the other one has its answer

    async def talk(bot):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(second, bot)
            await bot.send_message(chat_id=1)

    scene = Scene(nursery, talk, takes=2.5)
    await scene.begin()
    await trio.sleep(5)
    assert refused == [FencedError, int]
    assert scene.api.made == ["sendMessage"]
    assert scene.recorded.told == ["begun", "begun", "not made", "made"]
    assert (scene.outcome, scene.fenced_at) == ("fenced", 2.5)


async def test_a_call_is_not_tried_again(nursery, autojump_clock, monkeypatch):
    """A request that fails after the fence was closed is the last of its call, and may have been made."""
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.0)
    scene = Scene(nursery, lambda bot: bot.send_message(chat_id=1), takes=2.0)
    scene.api.ends = [TransportError("sendMessage", "the connection ended")]
    await scene.begin()
    await trio.sleep(5)
    assert (scene.outcome, scene.fenced_at) == ("fenced", 2)
    assert scene.api.made == ["sendMessage"]
    assert "made" not in scene.recorded.told


async def test_a_wait_that_telegram_asked_for_is_cut_off(nursery, autojump_clock):
    """It is no request: nothing is on its way."""

    async def patient(bot):
        await bot._handling.wait(30)

    scene = Scene(nursery, patient)
    await scene.begin()
    assert (scene.outcome, scene.fenced_at) == ("fenced", 1)


async def test_what_has_not_begun_does_not_begin(nursery, autojump_clock):
    """The fence may overtake the handling within one turn of the loop."""
    begun: list[Bot] = []

    async def note(bot):
        begun.append(bot)

    scene = Scene(nursery, note)
    scene.fence.close()
    await scene.handle()
    assert (scene.outcome, begun) == ("fenced", [])


@pytest.mark.parametrize("end", ["returns", "raises"])
async def test_a_handler_that_takes_no_notice_is_fenced_all_the_same(nursery, autojump_clock, end):
    """However it ends: its calls were refused, so what it says of the update does not count."""

    async def stubborn(bot):
        with trio.CancelScope(shield=True):
            await trio.sleep(10)
            with pytest.raises(FencedError):
                await bot.send_message(chat_id=1)
        if end == "raises":
            raise Retry

    scene = Scene(nursery, stubborn)
    await scene.begin()
    await trio.sleep(5)
    assert not scene.fenced_at
    await trio.sleep(5.5)
    assert (scene.outcome, scene.fenced_at, scene.api.made) == ("fenced", 10, [])


async def test_what_ended_before_needs_no_fence_and_can_call_nothing_more_after_it(nursery, autojump_clock):
    """A bot that a handler kept is refused, too, once the fence of its handling was closed."""
    scene = Scene(nursery, sleeps(0.5))
    await scene.begin()
    assert (scene.outcome, scene.fenced_at) == ("done", 1)
    assert scene.bot is not None
    with pytest.raises(FencedError):
        await scene.bot.send_message(chat_id=1, text="late")
    assert scene.api.made == []


async def test_the_end_of_its_time_is_no_fence(nursery, autojump_clock):
    """A handling that took too long is tried again, as ever."""
    scene = Scene(nursery, sleeps(10), limit=0.5)
    await scene.begin()
    assert scene.outcome == "retry"


async def test_what_was_refused_while_a_request_is_under_way_is_cut():
    """The outcome is `fenced` even if the handler ignores that and returns before the request has ended."""
    fence = HandlingFence()
    fence.begin_request()
    fence.close()
    assert not fence.is_cut
    with pytest.raises(FencedError):
        fence.check()
    assert fence.is_cut


async def test_a_handling_that_has_ended_is_not_cut_any_more():
    """Its outcome stays what it was."""
    fence = HandlingFence()
    fence.ended()
    await fence.wait_ended()
    assert not fence.is_cut
