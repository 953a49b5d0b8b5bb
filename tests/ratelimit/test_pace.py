"""One bucket for all that speaks for a bot: handlings, workers, plugins; and what becomes of their waits."""

from __future__ import annotations

import random
import socket
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

from trioworkers.botapi.client import BotApi
from trioworkers.botapi.errors import BotApiError
from trioworkers.botapi.messages import Message
from trioworkers.config.settings import TELEGRAM_RATE_LIMIT, RateLimit
from trioworkers.handling.bot import Bot
from trioworkers.handling.calls import Calls
from trioworkers.handling.fence import HandlingFence
from trioworkers.handling.handle import handle
from trioworkers.nursery.turns import WorkerTurns
from trioworkers.protocol.channel import Channel
from trioworkers.protocol.frames import AskTurn, FrameError, FromWorker, Go, ToWorker, TurnOver
from trioworkers.ratelimit.limiter import Limiter
from trioworkers.ratelimit.pace import OwnTurns, Paces
from trioworkers.testing.answers import Refused
from trioworkers.testing.limits import SendLimits
from trioworkers.worker.turns import FrameTurns

TELEGRAM = RateLimit(**TELEGRAM_RATE_LIMIT)
BOT = 7


class Server:
    """A Bot API that counts strictly; requests and answers take their time."""

    def __init__(self, delay: float = 0.0) -> None:
        self.limits = SendLimits(messages=True)
        self.rng = random.Random(1)
        self.delay = delay
        self.at: list[float] = []
        self.chats: list[int] = []
        self.refuses: list[float] = []  # with these waits, before it answers anything

    async def take_in(self, params: Any) -> None:
        await trio.sleep(self.rng.uniform(0, self.delay))
        chat_id, now = params["chat_id"], trio.current_time()
        if self.refuses:
            raise BotApiError("sendMessage", 429, "", {"retry_after": self.refuses.pop(0)})
        try:
            self.limits.check_message(BOT, chat_id, now)
        except Refused as refused:
            pytest.fail(f"refused {chat_id} at {now}: {refused}")
        self.at.append(now)
        self.chats.append(chat_id)
        await trio.sleep(self.rng.uniform(0, self.delay))


class Api(BotApi):
    """A client of it."""

    def __init__(self, server: Server, turns: Any) -> None:
        super().__init__("http://x", f"{BOT}:x")
        self.server = server
        self.turns = turns

    async def request(self, method, params, *, silence=None):
        if method == "sendMessage":
            await self.server.take_in(params)
        return msgspec.Raw(b"true")


@pytest.fixture
async def paces(autojump_clock, nursery):
    paces = Paces()
    nursery.start_soon(paces.serve)
    await trio.testing.wait_all_tasks_blocked()
    return paces


@pytest.fixture
def server():
    return Server()


async def say(api, chat_id):
    await api.call("sendMessage", {"chat_id": chat_id, "text": "hi"})


@pytest.mark.parametrize("delay", [0.0, 0.3])
async def test_a_thousand_chats_as_fast_as_allowed(autojump_clock, paces, delay):
    """1,000 chats at 30 a second: none is refused; with an ideal network it takes exactly 33 s."""
    paces.of(BOT).tune(TELEGRAM)
    server = Server(delay)
    api = Api(server, OwnTurns(paces, BOT))
    async with trio.open_nursery() as nursery:
        for chat_id in range(1, 1001):
            nursery.start_soon(say, api, chat_id)
    assert sorted(server.chats) == list(range(1, 1001))
    if not delay:
        assert trio.current_time() - server.at[0] == pytest.approx(33)


async def test_a_group_gets_twenty_a_minute(autojump_clock, paces, server):
    """A group has a limit of its own beside the chat's, also where its id is a text."""
    paces.of(BOT).tune(TELEGRAM)
    api = Api(server, OwnTurns(paces, BOT))
    server.limits = SendLimits()
    for number in range(21):
        await say(api, -100 if number % 2 else "-100")
    assert server.at[19] - server.at[0] == pytest.approx(19)
    assert server.at[20] - server.at[0] == pytest.approx(60)


async def test_two_workers_and_the_daemon_share_one_bucket(autojump_clock, paces, server, nursery):
    """A worker, its replacement and a plugin send at once: together they keep the limit."""
    pace = paces.of(BOT)
    pace.tune(TELEGRAM)
    wires = [Wire(nursery, pace) for _ in range(2)]
    apis = [*(Api(server, wire.turns) for wire in wires), Api(server, OwnTurns(paces, BOT))]
    async with trio.open_nursery() as senders:
        for number in range(120):
            senders.start_soon(say, apis[number % 3], 1 + number // 3)
    nursery.cancel_scope.cancel()
    for wire in wires:
        wire.close()
    assert len(server.chats) == 120
    assert paces.of(BOT).figures().waiting == 0
    assert paces.of(BOT).figures().delayed >= 90


class Wire:
    """A worker's end of a channel, and the daemon's end of it, which asks the bucket."""

    def __init__(self, nursery, pace):
        ours, theirs = socket.socketpair()
        self.daemon, self.worker = Channel(ours, FromWorker), Channel(theirs, ToWorker)
        self.turns = FrameTurns(self.worker, is_on=True)
        self.asked = WorkerTurns(pace, self.daemon.send)
        nursery.start_soon(self.daemon.serve_writes)
        nursery.start_soon(self.worker.serve_writes)
        nursery.start_soon(self.listen, self.daemon, self.asked)
        nursery.start_soon(self.listen, self.worker, self.turns)

    def close(self):
        self.daemon.close()
        self.worker.close()

    async def listen(self, channel, to):
        while frames := await channel.receive():
            for frame in frames:
                to.take_in(frame)


class Recorder:
    """Notes which calls are on record as begun."""

    def __init__(self):
        self.begun: list[str] = []

    async def begin(self, key):
        self.begun.append(key)
        await trio.lowlevel.checkpoint()

    def made(self, key, answer):
        self.begun.remove(key)

    def not_made(self, key):
        self.begun.remove(key)

    async def flush(self):
        await trio.lowlevel.checkpoint()


class Handled:
    """Handlings whose bot has a rate limit."""

    def __init__(self, paces, server, **limits):
        paces.of(BOT).tune(RateLimit(**limits))
        self.pace = paces.of(BOT)
        self.api = Api(server, OwnTurns(paces, BOT))
        self.recorder = Recorder()

    async def handle(self, run, time_limit, fence=None):
        calls = Calls([], self.recorder)

        async def handler(handling):
            await run(Bot("b", BOT, {}, None, self.api, handling))  # type: ignore[arg-type]

        return await handle(handler, calls, time_limit, 1, fence)


async def test_waits_for_turns_take_no_time(autojump_clock, paces, server):
    """A handling that may take a second sends ten messages at one a second, and has its second still."""
    handled = Handled(paces, server, per_second=1)

    async def run(bot):
        for chat_id in range(1, 11):
            await bot.send_message(chat_id=chat_id)
        await trio.sleep(0.9)

    outcome = await handled.handle(run, 1)
    assert outcome.result == "done"
    assert server.at[-1] - server.at[0] == pytest.approx(9)

    async def too_long(bot):
        await bot.send_message(chat_id=100)
        await trio.sleep(1.1)

    outcome = await handled.handle(too_long, 1)
    assert (outcome.result, outcome.error[:20]) == ("retry", "took longer than 1 s")


async def test_a_handling_that_fails_says_how_long_it_waited(autojump_clock, paces, server):
    """So that its waits do not use up the time in which it may be tried again."""
    handled = Handled(paces, server, per_second=1)

    async def run(bot):
        async with trio.open_nursery() as nursery:
            for chat_id in range(1, 11):
                nursery.start_soon(lambda id_: bot.send_message(chat_id=id_), chat_id)
        raise ValueError

    outcome = await handled.handle(run, 1)
    assert outcome.result == "retry"
    assert outcome.stood == pytest.approx(9)


async def test_a_call_that_waits_is_not_on_record_as_begun(autojump_clock, paces, server):
    """What waits for its turn is known not to have been made: a worker that dies leaves nothing unknown."""
    handled = Handled(paces, server, per_second=1)
    fence = HandlingFence()

    async def run(bot):
        async with trio.open_nursery() as nursery:
            for chat_id in range(1, 11):
                nursery.start_soon(lambda id_: bot.send_message(chat_id=id_), chat_id)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(handled.handle, run, 1, fence)
        await trio.sleep(2.5)
        assert len(server.chats) == 3
        assert handled.recorder.begun == []
        assert handled.pace.figures().waiting == 7
        fence.close()
        await trio.testing.wait_all_tasks_blocked()
        assert handled.pace.figures().waiting == 0
    assert len(server.chats) == 3


async def test_a_chat_that_telegram_refused_is_not_asked_about_again(autojump_clock, paces, server):
    """One call gets the 429; what else goes to the chat waits without a request, the other chats go on."""
    paces.of(BOT).tune(TELEGRAM)
    server.refuses = [30]
    api = Api(server, OwnTurns(paces, BOT))
    async with trio.open_nursery() as nursery:
        for chat_id in (1, 1, 2):
            nursery.start_soon(say, api, chat_id)
            await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(1)
        assert server.chats == [2]
    assert server.chats == [2, 1, 1]
    assert server.at[1] - server.at[0] == pytest.approx(30)


async def test_what_is_no_message_does_not_wait(autojump_clock, paces, server):
    """Queries are answered and files fetched whatever waits."""
    paces.of(BOT).tune(RateLimit(per_second=0.01))
    server.limits = SendLimits()
    api = Api(server, OwnTurns(paces, BOT))
    began = trio.current_time()
    for method in ("sendMessage", "answerCallbackQuery", "sendChatAction", "getChat", "deleteMessage"):
        await api.call(method, {"chat_id": 1})
    assert trio.current_time() == began


async def test_a_limit_that_is_switched_off_lets_all_go(autojump_clock, paces, server):
    """And one that is switched on again holds the next ones."""
    paces.of(BOT).tune(RateLimit(per_second=0.01))
    api = Api(server, OwnTurns(paces, BOT))
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for chat_id in range(1, 5):
            nursery.start_soon(say, api, chat_id)
        await trio.sleep(3)
        paces.of(BOT).tune(None)
    assert trio.current_time() == began + 3
    assert paces.of(BOT).figures().delayed == 0
    paces.of(BOT).tune(RateLimit(per_second=1))
    await trio.sleep(10)
    for chat_id in range(1, 4):
        await say(api, chat_id)
    assert trio.current_time() == began + 15


async def test_a_worker_that_is_gone_gives_its_turns_up(autojump_clock, paces, server, nursery):
    """What it waits for is forgotten; what it had under way counts from then on."""
    pace = paces.of(BOT)
    pace.tune(RateLimit(per_second=1))
    sent: list[Go] = []
    worker = WorkerTurns(pace, sent.append)
    for number in range(1, 4):
        worker.take_in(AskTurn(number, 0, str(number), 1, False))
    assert sent == [Go(1)]
    await trio.sleep(0.5)
    worker.close()
    worker.close()
    assert pace.figures().waiting == 0
    began = trio.current_time()
    await say(Api(server, OwnTurns(paces, BOT)), 9)
    assert trio.current_time() - began == pytest.approx(1)


async def test_a_worker_asks_honestly_or_is_refused(autojump_clock, paces):
    """One number twice is no honest worker's; a turn that it never asked for changes nothing."""
    pace = paces.of(BOT)
    pace.tune(RateLimit(per_second=1))
    worker = WorkerTurns(pace, lambda frame: None)
    worker.take_in(TurnOver(5))
    worker.take_in(AskTurn(1, 0, "1", 1, False))
    with pytest.raises(FrameError, match="asked for twice"):
        worker.take_in(AskTurn(1, 0, "1", 1, False))


async def test_a_worker_whose_caller_gives_up_tells_the_daemon(autojump_clock, paces, server, nursery):
    """A cancelled call leaves no ticket behind, neither while it waits nor when it may go."""
    pace = paces.of(BOT)
    pace.tune(RateLimit(per_second=0.1))
    wire = Wire(nursery, pace)
    api = Api(server, wire.turns)
    await say(api, 1)
    with trio.move_on_after(1):
        await say(api, 2)
    await trio.testing.wait_all_tasks_blocked()
    assert pace.figures().waiting == 0
    assert not wire.asked._tickets
    assert not wire.turns._waiting
    nursery.cancel_scope.cancel()
    wire.close()


async def test_what_breaks_in_a_bucket_is_its_bots_matter(autojump_clock, paces, server, monkeypatch):
    """After a bug nobody waits for ever: who waits goes, the bot is told, and the next ones are limited."""
    pace = paces.of(BOT)
    pace.tune(RateLimit(per_second=1))
    told: list[Exception] = []
    pace.fault = told.append
    api = Api(server, OwnTurns(paces, BOT))
    await say(api, 1)
    take = Limiter.take
    with monkeypatch.context() as patched:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(say, api, 2)
            await trio.testing.wait_all_tasks_blocked()

            def broken(self, now):
                patched.undo()
                raise ZeroDivisionError

            patched.setattr(Limiter, "take", broken)
    assert [type(error) for error in told] == [ZeroDivisionError]
    assert Limiter.take is take
    began = trio.current_time()
    await say(api, 3)
    await say(api, 4)
    assert trio.current_time() == began + 2  # the one that went counts


async def test_when_nobody_keeps_time_nobody_waits(autojump_clock, server):
    """A daemon that ends lets go what waits."""
    paces = Paces()
    paces.of(BOT).tune(RateLimit(per_second=0.001))
    api = Api(server, OwnTurns(paces, BOT))
    assert not OwnTurns(paces, BOT).is_on
    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        async def serve():
            with scope:
                await paces.serve()

        nursery.start_soon(serve)
        await trio.testing.wait_all_tasks_blocked()
        for chat_id in range(1, 4):
            nursery.start_soon(say, api, chat_id)
        await trio.sleep(1)
        assert len(server.chats) == 1
        scope.cancel()
    assert len(server.chats) == 3


async def test_a_bot_that_comes_again_is_limited_again(autojump_clock, paces, server):
    """Whoever kept a connection of it in the daemon keeps the new limit, too."""
    paces.of(BOT).tune(RateLimit(per_second=1))
    api = Api(server, OwnTurns(paces, BOT))
    await say(api, 1)
    paces.forget(BOT)
    assert not OwnTurns(paces, BOT).is_on
    paces.of(BOT).tune(RateLimit(per_second=0.1))
    await trio.sleep(1)
    await say(api, 2)
    await say(api, 3)
    assert server.at[2] - server.at[1] == pytest.approx(10)


async def test_a_bot_that_is_gone_is_forgotten(autojump_clock, paces):
    """A fleet whose bots come and go keeps nothing of them."""
    for bot_id in range(100):
        paces.of(bot_id).tune(TELEGRAM)
        paces.forget(bot_id)
    paces.forget(5)
    assert not paces._paces
    assert paces.figures().waiting == 0


async def test_messages_are_asked_about_as_they_are(autojump_clock, paces, nursery):
    """Two names for one chat are one chat; an album is as many messages as it has."""
    asked: list[Message] = []

    class Noted(OwnTurns):
        async def take(self, message, caller):
            asked.append(message)
            return await super().take(message, caller)

    paces.of(BOT).tune(RateLimit(per_second=1000, per_chat=1000))
    server = Server()
    server.limits = SendLimits()
    api = Api(server, Noted(paces, BOT))
    for method, params in (
        ("sendMediaGroup", {"chat_id": "@News", "media": [1, 2, 3]}),
        ("SENDMESSAGE", {"chat_id": " -1005 ", "allow_paid_broadcast": True}),
        ("copyMessages", {"chat_id": 5, "message_ids": list(range(1000))}),
        ("editMessageText", {"chat_id": 5, "message_id": 7}),
        ("editMessageText", {"inline_message_id": "x"}),
        ("sendPhoto", {"chat_id": None}),
        ("sendPhoto", {"chat_id": True}),
        ("sendPhoto", {"chat_id": "x" * 65}),
        ("sendPhoto", {"chat_id": ""}),
    ):
        await api.call(method, params)
    assert asked == [
        Message("@news", 3, False),
        Message("-1005", 1, True),
        Message("5", 100, False),
        Message("5", 1, False),
    ]
