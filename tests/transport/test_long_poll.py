"""Long polling against the simulator, over real sockets: what is confirmed, and what it survives."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import httpx
import msgspec
import pytest
import trio
import trio.testing

from trioworkers.botapi import client as api_module
from trioworkers.botapi.answers import read_answer
from trioworkers.botapi.client import BotApi
from trioworkers.botapi.errors import BotApiError, TransportError, UndecodableError
from trioworkers.http.response import Response
from trioworkers.inbox.gate import Admission, Dropped, Duplicate, Stored
from trioworkers.inbox.store import StoreError
from trioworkers.starved import NO_THREAD
from trioworkers.testing import Fault, Telegram, faults, serve_telegram
from trioworkers.transport import poll
from trioworkers.transport.poll import LongPoll, TokenRefusedError

CLOSED = "the server closed early"
NOTHING_NEW = Fault(body=b'{"ok":true,"result":[]}')


@dataclass
class Settings:
    poll_timeout: float = 1.0
    allowed_updates: list[str] = field(default_factory=list)


@dataclass
class Scene:
    """A served Telegram, a poll of its bot, and what it accepted, told and confirmed."""

    world: Telegram
    bot: Any
    alice: Any
    url: str = ""
    settings: Settings = field(default_factory=Settings)
    accepted: list[int] = field(default_factory=list)
    told: list[tuple[str, str]] = field(default_factory=list)
    confirmed_too_early: list[int] = field(default_factory=list)
    refusals: int = 0
    entered: trio.Event = field(default_factory=trio.Event)
    opens: trio.Event = field(default_factory=trio.Event)

    async def offer(self, arrivals):
        """The gate of the bot."""
        self.entered.set()
        await self.opens.wait()
        if self.refusals:
            self.refusals -= 1
            raise StoreError("disk full")
        self.accepted += [arrival.update_id for arrival in arrivals]
        return [Stored() for _ in arrivals]

    def confirm(self, _, update_ids):
        self.confirmed_too_early += [id_ for id_ in update_ids if id_ not in self.accepted]

    def conflict(self, reason, pause):
        self.told.append(("conflict", reason))

    def trouble(self, reason, pause):
        self.told.append(("trouble", reason))

    def recovered(self):
        self.told.append(("recovered", ""))

    def webhook_removed(self):
        self.told.append(("webhook removed", ""))

    def unreadable(self, reason):
        self.told.append(("unreadable", reason))

    async def poll(self):
        async with BotApi(self.url, self.bot.token) as api:
            await LongPoll(api, self, lambda: self.settings, self).serve()

    def fault(self, fault, times=1):
        return self.world.faults.add(method="getUpdates", respond=fault, times=times)

    def polls(self):
        return [dict(call.params) for call in self.world.calls_of("getUpdates")]

    async def until(self, condition):
        with trio.fail_after(10):
            while not condition():  # noqa: ASYNC110 - there is no event for "the server saw it"
                await trio.sleep(0.001)


@pytest.fixture
async def scene(nursery, monkeypatch):
    monkeypatch.setattr(poll, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(poll, "LONGEST_PAUSE", 0.002)
    world = Telegram(seed=1, repeat_guard=False)
    scene = Scene(world, world.add_bot("echo"), world.add_user("Alice"))
    scene.world.on_confirm = scene.confirm
    scene.url = await nursery.start(serve_telegram, world)
    scene.opens.set()
    yield scene
    assert scene.confirmed_too_early == []
    nursery.cancel_scope.cancel()


def say(scene, count):
    return [scene.alice.send(scene.bot, "x") for _ in range(count)]


# -- what is confirmed ----------------------------------------------------------------------------


async def test_everything_is_accepted_once_and_in_order(scene, nursery):
    """More than two batches, and what comes meanwhile; nothing is confirmed before it is durable."""
    sent = say(scene, 250)
    nursery.start_soon(scene.poll)
    await scene.until(lambda: len(scene.accepted) == 250)
    sent += say(scene, 3)
    await scene.until(lambda: len(scene.accepted) == 253)
    assert scene.accepted == sent
    await scene.until(lambda: scene.world.pending(scene.bot) == 0)
    assert scene.told == []


async def test_while_the_inbox_is_at_work_nothing_is_confirmed(scene, nursery):
    """No further poll goes out before accept has returned."""
    scene.opens = trio.Event()
    sent = say(scene, 2)
    nursery.start_soon(scene.poll)
    await scene.entered.wait()
    await trio.testing.wait_all_tasks_blocked(0.02)
    assert scene.world.confirmed(scene.bot) == []
    assert len(scene.polls()) == 1
    scene.opens.set()
    await scene.until(lambda: scene.world.confirmed(scene.bot) == sent)


async def test_what_the_inbox_refuses_stays_at_telegram(scene, nursery):
    """It is told, offered again, and confirmed only then."""
    scene.refusals = 3
    sent = say(scene, 2)
    nursery.start_soon(scene.poll)
    await scene.until(lambda: scene.accepted)
    assert scene.accepted == sent
    assert scene.told[:3] == [("trouble", "the inbox does not accept")] * 3
    assert all("offset" not in params for params in scene.polls()[:4])
    await scene.until(lambda: ("recovered", "") in scene.told)


async def test_a_poll_that_is_cancelled_leaves_the_rest_at_telegram(scene, nursery):
    """What was fetched but not accepted comes to the next poller."""
    scene.opens = trio.Event()
    sent = say(scene, 2)
    async with trio.open_nursery() as inner:
        inner.start_soon(scene.poll)
        await scene.entered.wait()
        inner.cancel_scope.cancel()
    assert scene.accepted == []
    scene.opens.set()
    nursery.start_soon(scene.poll)
    await scene.until(lambda: scene.accepted)
    assert scene.accepted == sent


async def test_an_offset_is_used_once_and_not_after_an_empty_answer(scene, nursery):
    """The first poll has none; the one after a batch confirms it; the one after nothing has none again."""
    (first,) = say(scene, 1)
    nursery.start_soon(scene.poll)
    await scene.until(lambda: scene.bot.poll is not None)
    scene.fault(NOTHING_NEW)
    (second,) = say(scene, 1)
    await scene.until(lambda: len(scene.polls()) >= 4)
    offsets = [params.get("offset") for params in scene.polls()]
    assert offsets[:4] == [None, first + 1, second + 1, None]


async def test_an_old_offset_never_confirms_ids_of_another_life(scene, nursery):
    """After an empty answer ids may start anywhere, lower too; all of them arrive."""
    scene.world.enqueue(scene.bot, {"poll": {"id": "1"}})
    nursery.start_soon(scene.poll)
    await scene.until(lambda: scene.bot.poll is not None)
    rule = scene.fault(NOTHING_NEW, times=None)
    scene.world.enqueue(scene.bot, {"poll": {"id": "2"}})  # ends the waiting poll
    await scene.until(lambda: rule.hits > 2)
    scene.bot.queue._next_id = 77
    lower = scene.world.enqueue(scene.bot, {"poll": {"id": "3"}})
    scene.world.faults.clear()
    await scene.until(lambda: lower in scene.accepted)
    assert lower == 77


@pytest.mark.parametrize("update_id", [-5, -1, -(2**31)])
async def test_a_negative_id_is_never_made_an_offset(scene, nursery, update_id):
    """A negative offset would count from the end and forget what nobody has seen."""
    body = b'{"ok":true,"result":[{"update_id":%d,"poll":{}}]}' % update_id
    scene.fault(Fault(body=body))
    nursery.start_soon(scene.poll)
    await scene.until(lambda: scene.accepted)
    sent = say(scene, 3)
    await scene.until(lambda: len(scene.accepted) == 4)
    assert scene.accepted == [update_id, *sent]
    assert all(params.get("offset", 0) >= 0 for params in scene.polls())


async def test_settings_are_read_anew_for_each_poll(scene, nursery):
    """Changed kinds and timeouts apply to the next one."""
    scene.settings = Settings(7.4, ["message"])
    say(scene, 1)
    nursery.start_soon(scene.poll)
    await scene.until(lambda: len(scene.accepted) == 1)
    scene.settings = Settings(0.2, ["message", "poll"])
    say(scene, 1)
    await scene.until(lambda: len(scene.accepted) == 2)
    say(scene, 1)
    await scene.until(lambda: len(scene.accepted) == 3)
    asked = [(params["timeout"], params["allowed_updates"]) for params in scene.polls()]
    assert asked[0] == (7, ["message"])
    assert asked[-1] == (1, ["message", "poll"])
    assert scene.polls()[0]["limit"] == 100


# -- conflicts, limits, tokens ----------------------------------------------------------------------


async def test_a_webhook_is_removed_without_dropping_what_is_pending(scene, nursery):
    """Polling and webhook share one queue: switching loses nothing."""
    scene.world.call(scene.bot, "setWebhook", url="http://127.0.0.1:9/nobody")
    sent = say(scene, 2)
    nursery.start_soon(scene.poll)
    await scene.until(lambda: scene.accepted)
    assert scene.accepted == sent
    (call,) = scene.world.calls_of("deleteWebhook")
    assert dict(call.params) == {}
    assert scene.told == [
        ("trouble", "a webhook is set, it is removed"),
        ("webhook removed", ""),
        ("recovered", ""),
    ]
    assert scene.bot.webhook is None


async def test_another_poller_is_told_and_polling_goes_on(scene, nursery):
    """The older poll is thrown out by the newcomer; it comes back."""
    nursery.start_soon(scene.poll)
    await scene.until(lambda: scene.bot.poll is not None)
    async with httpx.AsyncClient() as other:
        answer = await other.post(f"{scene.url}/bot{scene.bot.token}/getUpdates", json={"timeout": 1})
    assert answer.status_code == 409  # thrown out in its turn
    await scene.until(lambda: scene.told)
    kind, reason = scene.told[0]
    assert (kind, reason) == ("conflict", "another poller uses this token")
    sent = say(scene, 1)
    await scene.until(lambda: scene.accepted == sent)


async def test_a_429_is_obeyed(scene, nursery, monkeypatch):
    """The next poll comes after as long as was asked, and not before; the end of it is told."""
    monkeypatch.setattr(api_module, "SHORTEST_RETRY_AFTER", 0.01)
    scene.fault(faults.error(429, "Too Many Requests: retry after 0.1", {"retry_after": 0.1}))
    sent = say(scene, 1)
    began = trio.current_time()
    nursery.start_soon(scene.poll)
    await scene.until(lambda: scene.accepted)
    assert trio.current_time() - began >= 0.1
    assert scene.accepted == sent
    assert scene.told == [("trouble", "429 Too Many Requests"), ("recovered", "")]


@pytest.mark.parametrize("code", [401, 404])
async def test_a_refused_token_ends_the_poll(scene, code):
    """Nothing will work until it is changed; the error holds nothing of it."""
    scene.fault(faults.error(code, "Unauthorized"))
    with pytest.raises(TokenRefusedError) as caught:
        await scene.poll()
    assert str(caught.value) == ""
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("code", "description", "words"),
    [
        (400, "Logged out", "400: the bot is logged out of this Bot API server"),
        (400, "Bad Request: Logged out", "400: the bot is logged out of this Bot API server"),
        (401, "Unauthorized: invalid api-id/api-hash", "401: the api-id or api-hash of the Bot API server"),
        (421, "Misdirected Request", "421: this Bot API server serves other bots"),
        (500, "Internal Server Error: restart", "500: the Bot API server restarts"),
        (400, "Bad Request: nobody knows", "HTTP 400"),
    ],
)
async def test_a_refusal_that_is_not_the_tokens_is_reported_in_words_and_polling_goes_on(
    scene, nursery, code, description, words
):
    """An operator reads what to do; the bot is not failed, and what waits is fetched when that is over."""
    scene.fault(faults.error(code, description))
    sent = say(scene, 1)
    nursery.start_soon(scene.poll)
    await scene.until(lambda: scene.accepted == sent)
    kind, reason = scene.told[0]
    assert kind == "trouble"
    assert reason.startswith(words)


async def test_a_token_that_is_revoked_while_a_poll_waits_ends_it(scene, nursery):
    """At once, not at the end of the poll."""
    with trio.fail_after(10), pytest.RaisesGroup(TokenRefusedError):
        async with trio.open_nursery() as inner:
            inner.start_soon(scene.poll)
            await scene.until(lambda: scene.bot.poll is not None)
            scene.world.revoke(scene.bot)


# -- what an answer may bring ----------------------------------------------------------------------


async def test_an_update_that_is_too_large_does_not_block_its_bot(scene, nursery):
    """It is reported and confirmed, and what comes behind it arrives."""
    many = b'{"update_id":6,"message":{%s}}' % b",".join(b'"k%d":1' % n for n in range(100_000))
    scene.fault(Fault(body=b'{"ok":true,"result":[%s]}' % many))
    nursery.start_soon(scene.poll)
    await scene.until(lambda: len(scene.polls()) >= 2)
    assert scene.polls()[1]["offset"] == 7
    assert scene.told == [("unreadable", "an update of more than 50000 values")]
    sent = say(scene, 1)
    await scene.until(lambda: scene.accepted == sent)


async def test_of_an_answer_that_is_too_long_no_more_is_taken_than_was_asked_for(scene, nursery):
    """A server that knows no limit cannot fill the inbox at once; nothing behind the first is confirmed."""
    long = b",".join(b'{"update_id":%d,"poll":{}}' % n for n in range(1, 30_001))
    scene.fault(Fault(body=b'{"ok":true,"result":[%s]}' % long))
    nursery.start_soon(scene.poll)
    await scene.until(lambda: len(scene.polls()) >= 2)
    assert scene.accepted == list(range(1, 101))
    assert scene.polls()[1]["offset"] == 101
    assert scene.told == []


# -- what it survives -------------------------------------------------------------------------------

DEEP = b'{"ok":true,"result":' + b"[" * 100_000
TROUBLES = {
    "500": (faults.server_error(), "HTTP 500"),
    "502 page": (faults.proxy_page(), "HTTP 502 with a body that is no answer"),
    "404 page": (faults.proxy_page(404), "HTTP 404 with a body that is no answer"),
    "200 page": (faults.proxy_page(200), "HTTP 200 with a body that is no answer"),
    "broken": (faults.broken_body(), "HTTP 200 with a body that is no answer"),
    "truncated": (faults.truncated_body(), CLOSED),
    "closed": (faults.close_after(), CLOSED),
    "closed before": (faults.close_before(), CLOSED),
    "half-closed": (faults.half_close(executes=True), CLOSED),
    "empty": (Fault(body=b""), "HTTP 200 with a body that is no answer"),
    "not UTF-8": (Fault(body=b'{"ok":true,"result":"\xff\xfe"}'), "answer"),
    "nested without end": (Fault(body=DEEP), "HTTP 200 with a body that is no answer"),
    "no list": (Fault(body=b'{"ok":true,"result":{}}'), "an answer that is no list of updates"),
    "no answer": (Fault(body=b"[]"), "HTTP 200 with a body that is no answer"),
    "refused without a code": (Fault(body=b'{"ok":false}'), "HTTP 200"),
    "418": (faults.error(418, "I'm a teapot"), "HTTP 418"),
    "nothing readable": (Fault(body=b'{"ok":true,"result":[1]}'), "an answer without a readable update"),
}


@pytest.mark.parametrize("name", TROUBLES)
async def test_whatever_goes_wrong_nothing_is_lost_or_repeated(scene, nursery, name):
    """It is told without the token, tried again, and every update is accepted exactly once."""
    fault, reason = TROUBLES[name]
    scene.fault(fault, times=5)  # more than the pool has connections, each of which might leak
    sent = say(scene, 5)
    nursery.start_soon(scene.poll)
    await scene.until(lambda: len(scene.accepted) >= 5)
    sent += say(scene, 1)
    await scene.until(lambda: len(scene.accepted) >= 6)
    assert scene.accepted == sent
    told = [what for what in scene.told if what[0] != "unreadable"]
    assert [kind for kind, _ in told] == ["trouble"] * 5 + ["recovered"]
    assert all(reason in said for _, said in told[:5])
    assert scene.bot.token.partition(":")[2] not in repr(scene.told)


async def test_an_answer_that_cannot_be_unpacked_is_a_trouble(scene, nursery):
    """It says gzip and is not; no connection is lost by it."""
    scene.fault(Fault(body=b"xx", headers=(("Content-Encoding", "gzip"),)), times=5)
    sent = say(scene, 5)
    nursery.start_soon(scene.poll)
    await scene.until(lambda: scene.accepted == sent)
    assert scene.told == [("trouble", "an answer that is compressed, which nobody asked for")] * 5 + [
        ("recovered", "")
    ]


async def test_a_server_that_hangs_is_given_up(scene, nursery, monkeypatch):
    """After the poll's own timeout and some slack; what it held back is fetched anew."""
    monkeypatch.setattr(poll, "SLACK", 0.05)
    scene.settings = Settings(poll_timeout=0.05)
    scene.fault(faults.hang(60), times=2)
    sent = say(scene, 2)
    nursery.start_soon(scene.poll)
    await scene.until(lambda: scene.accepted)
    assert scene.accepted == sent
    assert scene.told[:2] == [("trouble", "timed out")] * 2


async def test_an_answer_that_drips_is_waited_for(scene, nursery):
    """Silence is what counts, not the time in all."""
    scene.fault(faults.slow(20_000))
    sent = say(scene, 2)
    nursery.start_soon(scene.poll)
    await scene.until(lambda: scene.accepted)
    assert scene.accepted == sent
    assert scene.told == []


async def test_a_server_that_is_away_is_waited_for(scene, nursery):
    """Nobody listens at first."""
    url, scene.url = scene.url, "http://127.0.0.1:9"
    with trio.move_on_after(0.05):
        await scene.poll()
    assert set(scene.told) == {("trouble", "cannot connect to 127.0.0.1:9: Connection refused")}
    scene.url = url
    sent = say(scene, 1)
    nursery.start_soon(scene.poll)
    await scene.until(lambda: scene.accepted == sent)


async def test_redirects_are_not_followed(scene, nursery):
    """A token is not sent to wherever an answer points."""
    target = f"{scene.url}/bot{scene.bot.token}/getMe"
    scene.fault(Fault(status=302, body=b"", headers=(("Location", target),)))
    sent = say(scene, 1)
    nursery.start_soon(scene.poll)
    await scene.until(lambda: scene.accepted == sent)
    assert scene.world.calls_of("getMe") == []
    assert scene.told[0] == ("trouble", "HTTP 302 with a body that is no answer")


async def test_an_update_that_is_none_is_told_and_the_others_are_accepted(scene, nursery):
    """One bad update does not stop the rest of its batch."""
    body = b'{"ok":true,"result":[{"update_id":5,"poll":{}},{"update_id":"six"},{"update_id":7,"poll":{}}]}'
    scene.fault(Fault(body=body))
    nursery.start_soon(scene.poll)
    await scene.until(lambda: len(scene.accepted) == 2)
    assert scene.accepted == [5, 7]
    assert scene.told == [("unreadable", "not an update: update_id is not a 32-bit integer")]


async def test_a_kind_that_is_not_known_yet_is_accepted(scene, nursery):
    """Bots get what Telegram invents tomorrow."""
    update_id = scene.world.enqueue(scene.bot, {"mind_reading": {"thought": "42"}})
    nursery.start_soon(scene.poll)
    await scene.until(lambda: scene.accepted == [update_id])


async def test_pauses_grow_and_are_bounded(monkeypatch, autojump_clock):
    """Doubled with jitter from the first one, never above the longest."""
    pauses: list[float] = []

    class Api:
        async def request(self, method, params, *, silence=None):
            raise TransportError(method, "down")

    scene = Scene(Telegram(), None, None)
    monkeypatch.setattr(scene, "trouble", lambda reason, pause: pauses.append(pause))
    with trio.move_on_after(1000):
        await LongPoll(Api(), scene, Settings, scene).serve()  # type: ignore[arg-type]
    bounds = [min(poll.LONGEST_PAUSE, poll.FIRST_PAUSE * 2**n) for n in range(1, len(pauses) + 1)]
    assert len(pauses) > 60
    assert all(bound / 2 <= pause <= bound for pause, bound in zip(pauses, bounds, strict=True))


async def test_a_server_that_does_not_wait_is_not_asked_without_pause(monkeypatch, autojump_clock):
    """Empty answers that come at once are followed by a moment's rest; ones with updates are not."""
    answers = [b"[]", b"[]", b'[{"update_id":1,"poll":{}}]', b'[{"update_id":2,"poll":{}}]', b"[]"]
    asked: list[float] = []

    class Api:
        async def request(self, method, params, *, silence=None):
            asked.append(trio.current_time())
            if not answers:
                await trio.sleep_forever()
            return msgspec.Raw(answers.pop(0))

    scene = Scene(Telegram(), None, None)
    scene.opens.set()
    with trio.move_on_after(1000):
        await LongPoll(Api(), scene, Settings, scene).serve()  # type: ignore[arg-type]
    rest = poll.TOO_SOON
    assert asked == pytest.approx([0, rest, 2 * rest, 2 * rest, 2 * rest, 3 * rest])
    assert scene.accepted == [1, 2]


class Scripted:
    """An API that gives these answers, then none any more; notes when and with which offset it was asked."""

    def __init__(self, *answers):
        self.answers, self.asked, self.offsets = list(answers), [], []

    async def request(self, method, params, *, silence=None):
        self.asked.append(trio.current_time())
        self.offsets.append(params["offset"])
        if not self.answers:
            await trio.sleep_forever()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return msgspec.Raw(answer)

    async def serve(self, gate=None):
        scene = Scene(Telegram(), None, None)
        scene.opens.set()
        with trio.move_on_after(1000):
            await LongPoll(self, gate or scene, Settings, scene).serve()  # type: ignore[arg-type]
        return scene


DEEP = b"[" * 30_000 + b"]" * 30_000  # beyond the limit of each Python


class Answered:
    """Reads an answer as the client does, and gives no other one."""

    def __init__(self, body):
        self.body, self.offsets, self.asked_again = body, [], trio.Event()

    async def request(self, method, params, *, silence=None):
        self.offsets.append(params["offset"])
        if len(self.offsets) > 1:
            self.asked_again.set()
            await trio.sleep_forever()
        return await read_answer(method, Response(200, {}, self.body, is_last=False))


class KeepingGate:
    """Keeps what it is offered."""

    def __init__(self):
        self.arrivals = []

    async def offer(self, arrivals):
        self.arrivals += arrivals
        return [Stored()] * len(arrivals)


class FixedGate:
    """Gives each batch the same admissions."""

    def __init__(self, *admissions: Admission):
        self.admissions = admissions

    async def offer(self, arrivals):
        assert len(arrivals) == len(self.admissions)
        return self.admissions


async def test_a_server_that_never_confirms_is_not_asked_without_pause(autojump_clock):
    """A batch of which nothing is new, and that came at once, is followed by a moment's rest."""

    api = Scripted(*[b'[{"update_id":1,"poll":{}}]'] * 3)
    await api.serve(FixedGate(Duplicate()))
    assert api.asked == pytest.approx([0, poll.TOO_SOON, 2 * poll.TOO_SOON, 3 * poll.TOO_SOON])


@pytest.mark.parametrize("admission", [Stored(), Dropped("an advertisement")])
async def test_a_batch_with_something_new_is_followed_at_once(autojump_clock, admission):
    """One that is dropped at the gate is new, too: there may be thousands of them to get through."""
    batch = b'[{"update_id":1,"poll":{}},{"update_id":2,"poll":{}}]'
    api = Scripted(*[batch] * 3)
    await api.serve(FixedGate(admission, Duplicate()))
    assert api.asked == pytest.approx([0, 0, 0, 0])
    assert api.offsets == [None, 3, 3, 3]


async def test_a_429_of_nothing_is_no_hot_loop(autojump_clock):
    """A second at least, whatever the server asks."""
    api = Scripted(*[BotApiError("getUpdates", 429, "", {"retry_after": 0})] * 3)
    scene = await api.serve()
    assert all(later - sooner >= 1 for sooner, later in pairwise(api.asked))
    assert scene.told == [("trouble", "429 Too Many Requests")] * 3


async def test_nothing_of_the_servers_words_is_told(autojump_clock):
    """Known conflicts have words of ours, others only their number."""
    words = ["Conflict: terminated by setWebhook request", "x" * 1_000_000]
    scene = await Scripted(*[BotApiError("getUpdates", 409, said) for said in words]).serve()
    assert scene.told == [("conflict", "somebody set a webhook"), ("conflict", "409 Conflict")]


async def test_updates_without_a_readable_id_do_not_stop_what_is_behind_them(autojump_clock):
    """After an offset, as many ids are confirmed as were seen, and no other; garbage confirms none."""
    bad = b"[" + b",".join([b'{"update_id":"x"}'] * 100) + b"]"
    api = Scripted(b'[{"update_id":1,"poll":{}}]', bad, b"[1,{}]", b'[{"update_id":102,"poll":{}}]')
    scene = await api.serve()
    assert api.offsets == [None, 2, 102, 102, 103]
    assert scene.accepted == [1, 102]


async def test_without_an_offset_unreadable_updates_confirm_nothing(autojump_clock):
    """Where the ids stand is not known, and what is behind them is not lost."""
    api = Scripted(*[b'[{"update_id":"x"}]'] * 3)
    await api.serve()
    assert api.offsets == [None] * 4


@pytest.mark.parametrize("text", [b'"\xff"', rb'"\ud800"', rb'"\x41"', b"1e999", b"9" * 5000, DEEP])
async def test_an_update_that_nobody_can_decode_keeps_nothing_back(nursery, text):
    """It is offered, marked, with its id; so are the others of its answer, and polling goes on behind it."""
    updates = [
        b'{"update_id":1,"message":{"text":"a, [b] {c} \\"d"}}',
        b'{"update_id":2,"message":{"chat":{"id":5},"text":%b}}' % text,
        b'{"update_id":3,"message":{"text":"after"}}',
    ]
    answer = b'{"ok":true,"result":[' + b",\n".join(updates) + b"]}"
    api = Answered(answer)
    gate = KeepingGate()
    nursery.start_soon(LongPoll(api, gate, Settings, Scene(Telegram(), None, None)).serve)  # type: ignore[arg-type]
    with trio.fail_after(10):
        await api.asked_again.wait()
    assert [(one.update_id, one.broken) for one in gate.arrivals] == [(1, False), (2, True), (3, False)]
    assert gate.arrivals[1].body == updates[1]
    assert api.offsets == [None, 4]


async def test_an_answer_that_no_thread_can_be_had_for_is_a_trouble(autojump_clock, monkeypatch):
    """The limit is named, nothing is lost, and the same is asked for again."""

    async def refuses(*args, **options):
        raise RuntimeError(NO_THREAD)

    monkeypatch.setattr(trio.to_thread, "run_sync", refuses)
    broken = UndecodableError(
        "getUpdates", "no answer", rb'{"ok":true,"result":[{"update_id":1,"a":"\ud800"}]}'
    )
    api = Scripted(broken)
    scene = await api.serve()
    ((what, why),) = scene.told
    assert what == "trouble"
    assert why.startswith("no thread can be started: ")
    assert (api.offsets, scene.accepted) == ([None, None], [])


@pytest.mark.parametrize(
    "answer",
    [
        rb'{"ok":true,"result":[{"update_id":1,"message":{"text":"\ud800"}}',
        rb'{"ok":true,"result":{"text":"\ud800"}}',
        rb'{"ok":true,"text":"\ud800"}',
        rb'[{"update_id":1,"message":{"text":"\ud800"}}]',
    ],
)
async def test_an_answer_that_is_cut_short_or_no_list_is_a_trouble(autojump_clock, answer):
    """Nothing of it is taken, and the same is asked for again."""
    scene = await Scripted(UndecodableError("getUpdates", "no answer", answer)).serve()
    assert [what for what, _ in scene.told] == ["trouble"]
    assert scene.accepted == []
