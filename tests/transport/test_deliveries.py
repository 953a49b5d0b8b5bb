"""From a delivery to the inbox: secrets, batches, and what is answered when."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from trioworkers.breakage import Breakage
from trioworkers.errors import Drop
from trioworkers.events import Events
from trioworkers.inbox.gate import Gate, Stored
from trioworkers.inbox.inbox import open_inbox
from trioworkers.inbox.sqlite.store import open_sqlite
from trioworkers.inbox.store import StoreError
from trioworkers.transport import deliveries as module
from trioworkers.transport.deliveries import GRACE, Deliveries, derive_secret

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trioworkers.inbox.gate import Judgement
    from trioworkers.records import Arrival

BOT = 7


def body(update_id: int, chat: int = 1) -> bytes:
    return json.dumps({"update_id": update_id, "message": {"chat": {"id": chat}, "text": "ä"}}).encode()


class FakeGate:
    """A gate that admits when it is told to; all bots share it."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.arrivals: list[Arrival] = []
        self.opens = trio.Event()
        self.opens.set()
        self.error: Exception | None = None

    async def offer(self, arrivals: Any) -> list[Stored]:
        self.batches.append([arrival.update_id for arrival in arrivals])
        self.arrivals += arrivals
        await self.opens.wait()
        if self.error is not None:
            raise self.error
        return [Stored() for _ in arrivals]


@pytest.fixture
def gate() -> FakeGate:
    return FakeGate()


@pytest.fixture
async def deliveries(gate: FakeGate, nursery: trio.Nursery) -> Deliveries:
    made = Deliveries()
    await nursery.start(made.serve)
    made.open("echo", BOT, gate).add_secret("right")
    return made


async def test_a_delivery_is_answered_once_it_is_durable(deliveries, gate, autojump_clock):
    """Not a moment before."""
    gate.opens = trio.Event()
    statuses = []

    async def deliver() -> None:
        statuses.append(await deliveries.deliver("echo", b"right", body(1)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(deliver)
        await trio.testing.wait_all_tasks_blocked()
        assert (gate.batches, statuses) == ([[1]], [])
        gate.opens.set()
    assert statuses == [200]
    traffic = deliveries.open("echo", BOT, gate).traffic
    assert (traffic.accepted, traffic.bytes) == (1, len(body(1)))


async def test_what_waits_together_is_accepted_together(deliveries, gate, autojump_clock):
    """While one batch becomes durable the next one gathers; other bots do not wait for it."""
    deliveries.open("other", 8, gate).add_secret("its")
    gate.opens = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(deliveries.deliver, "echo", b"right", body(1))
        await trio.testing.wait_all_tasks_blocked()
        for number in (2, 3, 4):
            nursery.start_soon(deliveries.deliver, "echo", b"right", body(number))
        nursery.start_soon(deliveries.deliver, "other", b"its", body(9))
        await trio.testing.wait_all_tasks_blocked()
        assert gate.batches == [[1], [9]]
        gate.opens.set()
    assert [sorted(batch) for batch in gate.batches] == [[1], [9], [2, 3, 4]]


@pytest.mark.parametrize(
    ("name", "secret", "content", "status", "reason"),
    [
        ("nobody", b"right", body(1), 404, "unknown bot"),
        ("echo", b"wrong", body(1), 401, "wrong secret"),
        ("echo", b"", body(1), 401, "wrong secret"),
        ("echo", b"right", b"", 400, "no update"),
        ("echo", b"right", b"[]", 400, "no update"),
        ("echo", b"right", b'{"message":{}}', 400, "no update"),
        ("echo", b"right", b'{"update_id":1,"message":{"text":"\xff"}', 400, "no update"),
        ("echo", b"right", b'{"update_id":99999999999}', 400, "no update"),
    ],
)
async def test_refusals_are_told_apart_and_counted(deliveries, gate, name, secret, content, status, reason):
    """By status and by reason, at the bot's endpoint if there is such a bot; nothing reaches the inbox."""
    assert await deliveries.deliver(name, secret, content) == status
    endpoint = deliveries.endpoint(name)
    assert (deliveries.refused if endpoint is None else endpoint.traffic.refused) == {reason: 1}
    assert gate.batches == []


@pytest.mark.parametrize(
    "text", [b'"\xff"', rb'"\ud800"', b"1e999", b"9" * 5000, b"[" * 30_000 + b"]" * 30_000]
)
async def test_what_nobody_can_decode_is_accepted_as_such(deliveries, gate, text):
    """It becomes a dead letter. Refused, it would come again for a day, and keep its chat's others back."""
    content = b'{"update_id":1,"message":{"chat":{"id":5},"text":%b}}' % text
    assert await deliveries.deliver("echo", b"right", content) == 200
    assert gate.batches == [[1]]
    assert [(one.broken, one.chat_id) for one in gate.arrivals] == [(True, 5)]


@pytest.mark.parametrize("error", [StoreError("disk full"), RuntimeError("a mistake")])
async def test_an_inbox_that_refuses_is_503(gate, nursery, error):
    """For a mistake of ours, too, which is told; the next batch is tried like the first."""
    told: list[Any] = []
    deliveries = Deliveries(lambda bot_id, error: told.append((bot_id, error)))
    await nursery.start(deliveries.serve)
    deliveries.open("echo", BOT, gate).add_secret("right")
    gate.error = error
    assert await deliveries.deliver("echo", b"right", body(1)) == 503
    assert told == ([] if isinstance(error, StoreError) else [(BOT, error)])
    gate.error = None
    assert await deliveries.deliver("echo", b"right", body(1)) == 200


async def test_once_closed_it_answers_503_and_ends_what_it_has(gate, autojump_clock):
    """What is in flight becomes durable and is answered; `serve` returns after it."""
    deliveries = Deliveries()
    gate.opens = trio.Event()
    statuses = []

    async def deliver(number: int) -> None:
        statuses.append((number, await deliveries.deliver("echo", b"right", body(number))))

    async with trio.open_nursery() as nursery:
        await nursery.start(deliveries.serve)
        deliveries.open("echo", BOT, gate).add_secret("right")
        nursery.start_soon(deliver, 1)
        await trio.testing.wait_all_tasks_blocked()
        deliveries.close()
        await deliver(2)
        assert statuses == [(2, 503)]
        gate.opens.set()
    assert statuses == [(2, 503), (1, 200)]


async def test_cancelled_it_lets_nobody_wait(gate, autojump_clock):
    """Whoever waits is answered 503, in flight or gathered: it comes again."""
    deliveries = Deliveries()
    gate.opens = trio.Event()
    statuses = []

    async def deliver(number: int) -> None:
        statuses.append(await deliveries.deliver("echo", b"right", body(number)))

    async with trio.open_nursery() as outer, trio.open_nursery() as nursery:
        await nursery.start(deliveries.serve)
        deliveries.open("echo", BOT, gate).add_secret("right")
        outer.start_soon(deliver, 1)
        await trio.testing.wait_all_tasks_blocked()
        outer.start_soon(deliver, 2)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert statuses == [503, 503]


async def test_a_client_that_hangs_up_takes_nobody_with_it(deliveries, gate, autojump_clock):
    """The batch that it began is accepted all the same."""
    gate.opens = trio.Event()
    statuses = []

    async def deliver(number: int) -> None:
        statuses.append(await deliveries.deliver("echo", b"right", body(number)))

    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as first:
            nursery.start_soon(deliver, 2)
            first.cancel()
            await deliver(1)
        await trio.testing.wait_all_tasks_blocked()
        gate.opens.set()
    assert 200 in statuses


async def test_old_secrets_are_good_until_ten_minutes_after_the_change(deliveries, gate, autojump_clock):
    """However long Telegram takes to be told the new one; both are good meanwhile."""
    assert GRACE == 600
    endpoint = deliveries.open("echo", BOT, gate)
    endpoint.add_secret("new")
    await trio.sleep(10 * GRACE)
    assert endpoint.admits(b"right")
    assert endpoint.admits(b"new")
    endpoint.registered("new")
    await trio.sleep(GRACE - 1)
    endpoint.registered("new")  # told again at each look: that prolongs nothing
    assert endpoint.admits(b"right")
    await trio.sleep(1)
    assert not endpoint.admits(b"right")
    assert endpoint.admits(b"new")


async def test_each_secret_is_compared_whole_whatever_the_others_said(deliveries, gate, monkeypatch):
    """By what takes as long for any secret of a length: nothing is learned from how long it takes."""
    compared: list[tuple[bytes, bytes]] = []

    class Watched:
        @staticmethod
        def compare_digest(known: bytes, secret: bytes) -> bool:
            compared.append((known, secret))
            return known == secret

    monkeypatch.setattr(module, "hmac", Watched)
    endpoint = deliveries.open("echo", BOT, gate)
    endpoint.add_secret("newer")
    for secret in (b"right", b"newer", b"wrong"):
        compared.clear()
        assert endpoint.admits(secret) == (secret != b"wrong")
        assert compared == [(b"right", secret), (b"newer", secret)]


async def test_a_door_that_was_left_stays_open_for_ten_minutes(deliveries, gate, autojump_clock):
    """Deliveries that were under way are taken; then there is nothing at this address."""
    endpoint = deliveries.open("echo", BOT, gate)
    endpoint.leave()
    await trio.sleep(GRACE - 1)
    assert await deliveries.deliver("echo", b"right", body(1)) == 200
    await trio.sleep(1)
    assert await deliveries.deliver("echo", b"right", body(2)) == 404
    endpoint.add_secret("right")
    assert await deliveries.deliver("echo", b"right", body(2)) == 200


async def test_a_name_that_another_bot_takes_opens_another_door(deliveries, gate):
    """The secrets of the one before are not its own."""
    deliveries.open("echo", 8, gate).add_secret("its")
    assert await deliveries.deliver("echo", b"right", body(1)) == 401
    deliveries.remove("echo")
    assert await deliveries.deliver("echo", b"its", body(1)) == 404


async def test_the_same_update_twice_in_a_batch_is_one(tmp_path, autojump_clock):
    """With a real inbox: both are answered 200, one is counted as a duplicate."""
    async with open_inbox(open_sqlite(tmp_path / "inbox.db")) as inbox, trio.open_nursery() as nursery:
        deliveries = Deliveries()
        await nursery.start(deliveries.serve)
        endpoint = deliveries.open("echo", BOT, Gate("echo", BOT, inbox, Events()))
        endpoint.add_secret("right")
        async with trio.open_nursery() as posting:
            for _ in range(2):
                posting.start_soon(deliveries.deliver, "echo", b"right", body(1))
        assert (endpoint.traffic.accepted, endpoint.traffic.duplicates) == (1, 1)
        assert inbox.claim(BOT, Breakage()).pending == 1
        deliveries.close()


async def test_what_is_dropped_at_the_gate_is_answered_200(tmp_path, autojump_clock):
    """It is counted apart, also in the document; Telegram has to forget it, so it is not sent again."""

    def drop(arrivals: Sequence[Arrival]) -> list[Judgement]:
        return [Drop("an advertisement") for _ in arrivals]

    async with open_inbox(open_sqlite(tmp_path / "inbox.db")) as inbox, trio.open_nursery() as nursery:
        deliveries = Deliveries()
        await nursery.start(deliveries.serve)
        endpoint = deliveries.open("echo", BOT, Gate("echo", BOT, inbox, Events(), lambda: [drop]))
        endpoint.add_secret("right")
        assert await deliveries.deliver("echo", b"right", body(1)) == 200
        assert await deliveries.deliver("echo", b"right", body(1)) == 200
        document = endpoint.traffic.document()
        assert (document["accepted"], document["duplicates"], document["dropped"]) == (0, 1, 1)
        assert endpoint.traffic.bytes == 2 * len(body(1))
        assert endpoint.traffic.last_at is not None
        assert inbox.claim(BOT, Breakage()).pending == 0
        deliveries.close()


async def test_deliveries_reach_the_gate_with_which_the_endpoint_was_opened_last(deliveries, gate):
    """A bot that was replaced has a new gate; what is still gathered at its endpoint reaches that one."""
    renewed = FakeGate()
    endpoint = deliveries.open("echo", BOT, gate)
    assert deliveries.open("echo", BOT, renewed) is endpoint
    assert await deliveries.deliver("echo", b"right", body(1)) == 200
    assert (gate.batches, renewed.batches) == ([], [[1]])


@given(st.text(min_size=1), st.integers(1, 2**52), st.integers(1, 2**52))
def test_each_bot_has_a_secret_of_its_own(secret, one, two):
    """One that setWebhook takes; another for each bot and each fleet, always the same for the same."""
    made = derive_secret(secret, one)
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", made)
    assert made == derive_secret(secret, one)
    assert (made == derive_secret(secret, two)) == (one == two)
    assert made != derive_secret(secret + "x", one)


@given(st.binary())
def test_garbage_is_refused(content):
    """Whatever the bytes are, the answer is a status."""

    async def main() -> None:
        gate = FakeGate()
        deliveries = Deliveries()
        async with trio.open_nursery() as nursery:
            await nursery.start(deliveries.serve)
            deliveries.open("echo", BOT, gate).add_secret("right")
            assert await deliveries.deliver("echo", b"right", content) == 400
            assert await deliveries.deliver("echo", content, body(1)) in (
                401,
                200 if content == b"right" else 401,
            )
            deliveries.close()

    trio.run(main)


async def test_a_bot_that_has_yet_to_start_is_asked_for_again(deliveries, gate, autojump_clock):
    """503, not the 404 of a bot that is none; with its first secret the endpoint is one like others."""
    endpoint = deliveries.open("late", BOT + 1, gate)
    assert await deliveries.deliver("late", b"right", body(1)) == 404
    endpoint.expect(True)
    assert await deliveries.deliver("late", b"right", body(1)) == 503
    endpoint.add_secret("right")
    assert await deliveries.deliver("late", b"wrong", body(1)) == 401
    assert await deliveries.deliver("late", b"right", body(1)) == 200
    endpoint.expect(True)  # started anew: it is open already
    assert await deliveries.deliver("late", b"right", body(2)) == 200
    endpoint.leave()
    await trio.sleep(GRACE)
    endpoint.expect(False)
    assert await deliveries.deliver("late", b"right", body(3)) == 404
