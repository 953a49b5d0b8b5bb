"""The update queue: ids, offsets, batches, lifetimes, kinds."""

from __future__ import annotations

import msgspec
import pytest
import trio
import trio.testing

from trioworkers.testing import Refused, Telegram
from trioworkers.testing.params import Params
from trioworkers.testing.polling import OTHER_POLL, open_poll, wait_poll
from trioworkers.testing.queue import KINDS, UNASKED


def ids(updates):
    return [msgspec.json.decode(bytes(raw))["update_id"] for raw in updates]


@pytest.fixture
def poll(world, bot):
    def poll(**params):
        world.repeat_guard = False
        return ids(world.call(bot, "getUpdates", **params))

    return poll


def test_ids_are_int32_random_and_consecutive(world, bot, alice):
    """The first id looks random and differs between bots; the next ones count up within int32."""
    first = alice.send(bot, "a")
    assert [alice.send(bot, "b"), alice.send(bot, "c")] == [first + 1, first + 2]
    assert abs(alice.send(world.add_bot("other"), "a") - first) > 1000
    assert 0 < first < 2**31 - 1_000_000


def test_the_same_seed_makes_the_same_world():
    """Tokens and ids depend on the seed alone."""

    def sketch(seed):
        telegram = Telegram(seed)
        bot = telegram.add_bot("echo")
        return bot.token, telegram.add_user("A").send(bot, "x")

    assert sketch(1) == sketch(1) != sketch(2)


def test_a_week_of_silence_makes_a_new_random_id(world, bot, alice, clock):
    """After a week without updates the next id is random again; before, it is consecutive."""
    first = alice.send(bot, "a")
    clock.go(6.9 * 86_400)
    assert alice.send(bot, "b") == first + 1
    clock.go(7.1 * 86_400)
    assert abs(alice.send(bot, "c") - first) > 1000


def test_only_a_greater_offset_confirms(world, bot, alice, poll):
    """What was fetched comes again until a later call asks beyond it."""
    one, two = alice.send(bot, "a"), alice.send(bot, "b")
    assert poll() == poll() == poll(offset=one) == [one, two]
    assert world.confirmed(bot) == []
    assert poll(offset=two) == [two]
    assert world.confirmed(bot) == [one]
    assert poll(offset=two + 1) == []
    assert (world.confirmed(bot), world.pending(bot)) == ([one, two], 0)


def test_the_hook_is_called_at_the_moment_of_confirmation(clock):
    """on_confirm sees each id once, before the answer exists."""
    seen = []
    telegram = Telegram(clock=clock, repeat_guard=False, on_confirm=lambda bot, ids: seen.append((bot, ids)))
    bot, user = telegram.add_bot("b"), telegram.add_user("U")
    one = user.send(bot, "a")
    telegram.call(bot, "getUpdates")
    assert seen == []
    telegram.call(bot, "getUpdates", offset=one + 1)
    telegram.call(bot, "getUpdates", offset=one + 1)
    assert seen == [(bot, [one])]


def test_a_negative_offset_counts_from_the_end(world, bot, alice, poll):
    """-1 fetches the last update and forgets all before."""
    sent = [alice.send(bot, str(i)) for i in range(5)]
    assert poll(offset=-2) == sent[3:]
    assert world.confirmed(bot) == sent[:3]
    assert poll(offset=-100) == sent[3:]


def test_an_offset_of_another_life_is_ignored(world, bot, alice, poll):
    """An offset far beyond the last id confirms nothing."""
    one = alice.send(bot, "a")
    assert poll(offset=one + 1_000) == [one]
    assert world.confirmed(bot) == []


@pytest.mark.parametrize(("limit", "count"), [(1, 1), (100, 100), (0, 1), (500, 100), ("7", 7)])
def test_limit_is_clamped(bot, alice, poll, limit, count):
    """limit is 1 to 100; others are moved there."""
    for i in range(120):
        alice.send(bot, str(i))
    assert len(poll(limit=limit)) == count


def test_a_batch_ends_near_4_mib(bot, alice, poll):
    """Big updates make the batch short; the rest comes later."""
    for _ in range(60):
        alice.send(bot, "x" * 100_000)
    assert len(poll()) == 41


@pytest.mark.parametrize(
    ("update", "seconds"),
    [
        ({"message": {"text": "x"}}, 86_400),
        ({"callback_query": {"id": "1"}}, 150),
        ({"pre_checkout_query": {"id": "1"}}, 150),
        ({"shipping_query": {"id": "1"}}, 150),
        ({"inline_query": {"id": "1"}}, 30),
        ({"chosen_inline_result": {"result_id": "1"}}, 600),
    ],
)
def test_each_kind_has_its_lifetime(world, bot, clock, update, seconds):
    """What nobody fetched in time vanishes, and is not confirmed."""
    update_id = world.enqueue(bot, update)
    clock.go(seconds)
    assert world.pending(bot) == 1
    clock.go(0.001)
    assert world.pending(bot) == 0
    assert (bot.queue.expired, world.confirmed(bot)) == ([update_id], [])


def test_allowed_updates_omitted_keeps_the_previous(world, bot, alice, poll):
    """A setting stays until another one is given; unreadable ones count as omitted."""
    poll(allowed_updates=["callback_query"])
    assert alice.send(bot, "a") == 0
    poll()
    poll(allowed_updates="{nonsense")
    poll(allowed_updates={"message": True})
    assert alice.send(bot, "b") == 0
    poll(allowed_updates='["message"]')
    assert alice.send(bot, "c") > 0


def test_an_empty_list_allows_all_but_three(world, bot, poll):
    """[] means all kinds but chat_member, message_reaction and message_reaction_count."""
    poll(allowed_updates=["message"])
    poll(allowed_updates=[])
    assert bot.queue.allowed == KINDS - UNASKED
    assert world.enqueue(bot, {"chat_member": {}}) == 0
    assert world.enqueue(bot, {"poll": {"id": "1"}}) > 0


def test_a_call_that_repeats_an_offset_is_slowed(world, bot, alice, clock):
    """Within 0.5 s limit becomes 1, within 3 s the timeout becomes 3; it can be switched off."""

    def shape(**params):
        poll = open_poll(world, bot, Params(params))
        return poll.limit, poll.timeout

    assert shape() == (100, 0)
    clock.go(0.4)
    assert shape() == (1, 3)
    clock.go(0.6)
    assert shape(timeout=20) == (100, 20)
    assert shape(offset=5) == (100, 0)
    clock.go(3.0)
    assert shape(offset=5, timeout=99) == (100, 50)
    world.repeat_guard = False
    assert shape(offset=5) == (100, 0)


def test_polling_is_refused_while_a_webhook_is_set(world, bot):
    """409, in the words that clients match on."""
    world.call(bot, "setWebhook", url="https://bots.example.org/x")
    with pytest.raises(
        Refused, match="can't use getUpdates method while webhook is active; use deleteWebhook"
    ):
        world.call(bot, "getUpdates")
    world.call(bot, "deleteWebhook")
    assert world.call(bot, "getUpdates") == []


@pytest.mark.parametrize(("asked", "waited"), [(7, 7), (500, 50)])
async def test_a_poll_without_updates_ends_after_its_timeout(asked, waited, autojump_clock):
    """It answers with nothing after timeout seconds, 50 at most."""
    telegram = Telegram(clock=trio.current_time)
    bot = telegram.add_bot("b")
    poll = open_poll(telegram, bot, Params({"timeout": asked}))
    assert await wait_poll(telegram, bot, poll) == []
    assert trio.current_time() == waited
    assert bot.poll is None


async def test_fighting_pollers_are_slowed(autojump_clock, nursery):
    """The first 409 comes at once, the next one within 3 s comes 3 s late."""
    telegram = Telegram(clock=trio.current_time)
    bot = telegram.add_bot("b")
    endings = []

    async def poll(offset):
        try:
            await wait_poll(
                telegram, bot, open_poll(telegram, bot, Params({"timeout": 50, "offset": offset}))
            )
        except Refused as refused:
            endings.append((trio.current_time(), refused.description))

    for offset in (1, 2, 3):
        nursery.start_soon(poll, offset)
        await trio.testing.wait_all_tasks_blocked()
    await trio.sleep(10)
    assert endings == [(0, f"Conflict: {OTHER_POLL}"), (3, f"Conflict: {OTHER_POLL}")]


async def test_a_cancelled_poll_leaves_nothing_behind(autojump_clock):
    """The bot has no waiting poll and the update that comes later is not confirmed."""
    telegram = Telegram(clock=trio.current_time)
    bot, user = telegram.add_bot("b"), telegram.add_user("U")
    with trio.move_on_after(1):
        await wait_poll(telegram, bot, open_poll(telegram, bot, Params({"timeout": 50})))
    assert bot.poll is None
    user.send(bot, "x")
    assert (telegram.pending(bot), telegram.confirmed(bot)) == (1, [])
