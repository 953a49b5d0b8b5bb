"""The gate: what it asks, what it makes durable, and what it reports of each update."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from trioworkers.arrivals import read_update
from trioworkers.breakage import Breakage
from trioworkers.errors import Drop
from trioworkers.events import Events
from trioworkers.inbox.fetch import Fetch
from trioworkers.inbox.gate import Dropped, Duplicate, Gate, Stored, judge
from trioworkers.inbox.inbox import open_inbox
from trioworkers.inbox.memory import MemoryStore
from trioworkers.inbox.store import StoreError
from trioworkers.inbox.tally import Tally
from trioworkers.records import ONCE_SEEN, Arrival, Once, trace_id

BOT = 7_000_000_001


class Clock:
    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        return self.now


class Judge:
    """Answers by the updates' ids, and notes which of them it was asked about."""

    def __init__(self, **judgements):
        self.judgements = {int(name.removeprefix("of_")): answer for name, answer in judgements.items()}
        self.asked: list[int] = []

    def __call__(self, arrivals):
        answers = []
        for arrival in arrivals:
            self.asked.append(arrival.update_id)
            answers.append(self.judgements.get(arrival.update_id))
            if isinstance(answers[-1], ZeroDivisionError):
                raise answers[-1]
        return answers


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
async def inbox(store, clock):
    async with open_inbox(store, clock=clock) as inbox:
        yield inbox


@pytest.fixture
def told():
    return []


@pytest.fixture
def make_gate(inbox, told):
    def make(*judges, least="debug", bot_id=BOT):
        return Gate("echo", bot_id, inbox, Events(told.append, least=least), lambda: judges)

    return make


def arrival(number, key="a"):
    return Arrival(number, "message", key, None, None, b'{"update_id":%d}' % number)


def arrivals(*numbers):
    return [arrival(number) for number in numbers]


def fields(told, name):
    return [(event.bot, event.trace_id, dict(event.fields)) for event in told if event.event == name]


async def test_without_judges_an_update_is_stored_or_a_duplicate(inbox, make_gate):
    """One admission for each arrival, in order; the bot's backlog has what is new."""
    backlog = inbox.claim(BOT, Breakage())
    gate = make_gate()
    assert await gate.offer(arrivals(1, 2, 1)) == [Stored(), Stored(), Duplicate()]
    assert await gate.offer(arrivals(2, 3)) == [Duplicate(), Stored()]
    assert await make_gate(bot_id=BOT + 1).offer(arrivals(1)) == [Stored()]
    assert inbox.tally(BOT) == Tally(3, 2, pending=3)
    assert (backlog.ordinary.take() or arrival(0)).update_id == 1


async def test_without_judges_nothing_is_read(store, make_gate):
    """The exact check is part of the commit."""
    read: list[object] = []
    store.fault = lambda operation: read.append(operation) if isinstance(operation, str) else None
    await make_gate().offer(arrivals(1, 2))
    assert [what for what in read if what == "known"] == []


async def test_what_a_judge_drops_is_known_and_never_handled(inbox, store, make_gate):
    """It is counted as filtered; when it comes again, it is a duplicate and no judge hears of it."""
    judge = Judge(of_2=Drop("an advertisement"))
    gate = make_gate(judge)
    assert await gate.offer(arrivals(1, 2, 3)) == [Stored(), Dropped("an advertisement"), Stored()]
    assert await gate.offer(arrivals(2, 4)) == [Duplicate(), Stored()]
    assert judge.asked == [1, 2, 3, 4]
    assert inbox.tally(BOT) == store.tallies()[BOT] == Tally(3, 1, filtered=1, pending=3)
    assert [update.update_id for update in store.waiting(BOT, Fetch(after=0, limit=9)).updates] == [1, 3, 4]


async def test_a_judge_is_asked_only_about_what_is_not_known(inbox, make_gate):
    """Not about what came before, in whatever way, nor twice about an update that a batch holds twice."""
    await make_gate().offer(arrivals(1))
    judge = Judge(of_3=Drop("no"))
    gate = make_gate(judge)
    assert await gate.offer(arrivals(1, 2, 3, 2, 3)) == [
        *(Duplicate(), Stored(), Dropped("no"), Duplicate(), Duplicate())
    ]
    assert judge.asked == [2, 3]


async def test_a_key_lets_one_update_in_within_its_window(inbox, clock, make_gate):
    """Of one batch and of a later one; the reason does not quote the key, which may tell content."""
    once = Once("secret", 30.0)
    gate = make_gate(Judge(of_1=once, of_2=once, of_3=(once,), of_4=(once, Once("other", 5.0)), of_5=once))
    assert await gate.offer(arrivals(1, 2)) == [Stored(), Dropped(ONCE_SEEN)]
    clock.now += 29.0
    assert await gate.offer(arrivals(3, 2)) == [Dropped(ONCE_SEEN), Duplicate()]
    clock.now += 1.0
    assert await gate.offer(arrivals(4)) == [Stored()]
    assert await gate.offer(arrivals(5)) == [Dropped(ONCE_SEEN)]
    assert inbox.tally(BOT) == Tally(2, 1, filtered=3, pending=2)
    assert "secret" not in ONCE_SEEN


async def test_an_update_without_a_key_is_stored_beside_those_with_one(make_gate):
    """Verdicts stay with their updates, wherever these stand in the batch."""
    once = Once("k", 30.0)
    gate = make_gate(Judge(of_2=Drop("no"), of_3=once, of_5=once, of_7=()))
    assert await gate.offer(arrivals(1, 2, 3, 4, 5, 6, 7)) == [
        *(Stored(), Dropped("no"), Stored(), Stored(), Dropped(ONCE_SEEN), Stored(), Stored())
    ]


async def test_the_first_judge_that_drops_decides(make_gate):
    """Those behind it are not asked; keys of all hold together."""
    first, second = Judge(of_1=Drop("first"), of_2=Once("a", 9.0)), Judge(of_1=Drop("x"), of_2=Once("b", 9.0))
    third = Judge(of_3=Once("b", 9.0), of_4=Once("a", 9.0))
    gate = make_gate(first, second, third)
    assert await gate.offer(arrivals(1)) == [Dropped("first")]
    assert (first.asked, second.asked, third.asked) == ([1], [], [])
    assert await gate.offer(arrivals(2)) == [Stored()]
    assert await gate.offer(arrivals(3, 4)) == [Dropped(ONCE_SEEN)] * 2


async def test_judgements_become_one_verdict():
    """Keys in the order of their judges; an empty one keeps the update unconditionally."""
    one, two, three = (Once(key, 1.0) for key in "abc")
    answers = [None, one, (two, three), ()]
    assert await judge(arrivals(1), [Judge(of_1=answer) for answer in answers]) == [(one, two, three)]
    assert await judge(arrivals(1), [Judge(of_1=None), Judge(of_1=())]) == [()]
    assert await judge(arrivals(1), []) == [()]
    assert await judge([], [Judge()]) == []


async def test_a_judge_is_asked_about_a_batch_at_once():
    """About all of it that no judge before has dropped; about nothing it is not asked."""
    batches = []

    def notes(answers):
        def asked(batch):
            batches.append([arrival.update_id for arrival in batch])
            return [answers.get(number) for number in batches[-1]]

        return asked

    one, two, drop = Once("a", 1.0), Once("b", 1.0), Drop("no")
    judges = [notes({1: one, 2: drop}), notes({1: two, 3: drop}), notes({1: drop}), notes({})]
    assert await judge(arrivals(1, 2, 3), judges) == [drop, drop, drop]
    assert batches == [[1, 2, 3], [1, 3], [1]]


async def test_a_judge_that_answers_for_fewer_is_refused():
    """Nobody would know for which."""
    with pytest.raises(ValueError, match="shorter"):
        await judge(arrivals(1, 2), [lambda _: [None]])


async def test_judgements_are_awaited_where_they_have_to_be():
    """Judges before and behind one that is awaited are asked in their order; a later drop decides."""
    one, two, three = (Once(key, 1.0) for key in "abc")

    async def late(answer):
        await trio.lowlevel.checkpoint()
        return [answer]

    async def awaited(*judges):
        (verdict,) = await judge(arrivals(1), judges)
        return verdict

    assert await awaited(lambda _: [one], lambda _: late(two), lambda _: [three]) == (one, two, three)
    assert await awaited(lambda _: late(one), lambda _: [None], lambda _: late((two, three))) == (
        one,
        two,
        three,
    )
    assert await awaited(lambda _: late(None), lambda _: [None]) == ()
    second, first = Drop("second"), Drop("first")
    assert await awaited(lambda _: late(one), lambda _: [second]) is second
    assert await awaited(lambda _: late(first), lambda _: [second]) is first


@pytest.mark.parametrize("answer", [True, "drop it", [Once("k", 1.0)], (Once("k", 1.0), "k"), Drop])
async def test_an_answer_that_is_no_judgement_is_refused(store, make_gate, answer):
    """It would reach the store otherwise; nothing of the batch is durable."""
    with pytest.raises(TypeError, match="a judge answered"):
        await make_gate(Judge(of_2=answer)).offer(arrivals(1, 2))
    assert store.known(BOT, [1, 2]) == set()


async def test_what_a_judge_raises_is_the_callers(inbox, store, make_gate, told):
    """Nothing of the batch is durable or reported, and it can be offered again."""
    judge = Judge(of_1=Drop("no"), of_2=ZeroDivisionError())
    gate = make_gate(judge)
    with pytest.raises(ZeroDivisionError):
        await gate.offer(arrivals(1, 2))
    assert (store.known(BOT, [1, 2]), inbox.tally(BOT), told) == (set(), Tally(), [])
    judge.judgements.clear()
    assert await gate.offer(arrivals(1, 2)) == [Stored(), Stored()]


@pytest.mark.parametrize("fails", ["known", "commit"])
async def test_an_inbox_that_refuses_leaves_nothing_behind(store, inbox, make_gate, told, fails):
    """The batch is not admitted, counted or reported; it is judged anew when it comes again."""

    def fault(operation):
        if operation == "known" if fails == "known" else not isinstance(operation, str):
            raise StoreError("broken")

    gate = make_gate(Judge(of_1=Drop("no"), of_2=Once("k", 30.0)))
    store.fault = fault
    with pytest.raises(StoreError, match="broken"):
        await gate.offer(arrivals(1, 2))
    store.fault = lambda _: None
    assert (store.tallies(), inbox.tally(BOT), told) == ({}, Tally(), [])
    assert await gate.offer(arrivals(1, 2)) == [Dropped("no"), Stored()]


async def test_the_same_update_offered_at_one_moment_by_two_is_stored_once(inbox, make_gate):
    """Both may have asked before either was durable; the commit decides."""
    judge = Judge(of_1=Once("k", 30.0))
    gate = make_gate(judge)
    admissions = []

    async def offer():
        admissions.extend(await gate.offer(arrivals(1)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(offer)
        nursery.start_soon(offer)
    assert sorted(map(repr, admissions)) == ["Duplicate()", "Stored()"]
    assert inbox.tally(BOT) == Tally(1, 1, pending=1)


async def test_a_cancelled_offer_is_counted_when_it_is_durable(inbox, make_gate):
    """The caller does not know; the tallies and the next offer do."""
    gate = make_gate(Judge(of_2=Drop("no")))
    with trio.CancelScope() as scope:
        scope.cancel()
        await make_gate().offer(arrivals(1))
    assert scope.cancelled_caught
    assert await gate.offer(arrivals(1, 2)) == [Duplicate(), Dropped("no")]
    assert inbox.tally(BOT) == Tally(1, 1, filtered=1, pending=1)


# -- events -------------------------------------------------------------------------------------


async def test_a_batch_is_reported_once(make_gate, told):
    """With how many are new and how many are duplicates; `dropped` only when some are."""
    gate = make_gate(Judge(of_3=Drop("no")))
    await gate.offer(arrivals(1, 2, 1))
    await gate.offer(arrivals(3, 4))
    await gate.offer(arrivals(4))
    assert fields(told, "update.accepted") == [
        ("echo", None, {"new": 2, "duplicates": 1}),
        ("echo", None, {"new": 1, "duplicates": 0, "dropped": 1}),
        ("echo", None, {"new": 0, "duplicates": 1}),
    ]


async def test_each_stored_update_is_reported_before_it_is_handed_out(make_gate, inbox, told):
    """With its trace id; duplicates and what was dropped are not stored."""
    backlog = inbox.claim(BOT, Breakage())
    order: list[str] = []

    def taken():
        while (update := backlog.ordinary.take()) is not None:
            reported = [event.trace_id for event in told if event.event == "update.stored"]
            order.append("after" if trace_id(BOT, update.update_id) in reported else "before")

    gate = make_gate(Judge(of_3=Drop("no")))
    with backlog.ordinary.taken_by(taken):
        await gate.offer([arrival(1, "-100/7"), arrival(2, "b"), arrival(3, "c")])
        await gate.offer(arrivals(2))
    assert order == ["after", "after"]
    stored = fields(told, "update.stored")
    assert [(bot, trace) for bot, trace, _ in stored] == [("echo", trace_id(BOT, id_)) for id_ in (1, 2)]
    first = stored[0][2]
    assert (first["dialog"], first["update_id"], first["kind"]) == ("echo/-100/7", 1, "message")
    assert first["accepted_at"] == inbox._clock()


async def test_each_dropped_update_is_reported_with_its_reason(make_gate, told):
    """And with its dialog and trace id; once, since it is a duplicate from then on."""
    once = Once("k", 30.0)
    gate = make_gate(Judge(of_1=Drop("no"), of_2=once, of_3=once))
    batch = [arrival(1, "-100/7"), arrival(2, "b"), arrival(3, "c")]
    await gate.offer(batch)
    await gate.offer(batch)
    assert fields(told, "update.dropped") == [
        ("echo", trace_id(BOT, 1), {"reason": "no", "dialog": "echo/-100/7"}),
        ("echo", trace_id(BOT, 3), {"reason": ONCE_SEEN, "dialog": "echo/c"}),
    ]


async def test_no_event_is_made_when_nobody_hears_it(inbox):
    """Polls without news come all the time, and their events are for debugging."""

    class Deaf(Events):
        def emit(self, event, bot=None, **_):
            raise AssertionError(event)

    gate = Gate("echo", BOT, inbox, Deaf(), lambda: [Judge(of_1=Drop("no"))])
    assert await gate.offer(arrivals(1, 2)) == [Dropped("no"), Stored()]


# -- upkeep -------------------------------------------------------------------------------------


async def test_tending_forgets_keys_that_do_not_count_any_more(inbox, store, clock, autojump_clock):
    """Soon after their window, long before the ids of their updates."""
    once = Once("k", 30.0)
    gate = Gate("echo", BOT, inbox, Events(), lambda: [Judge(of_1=once, of_2=once)])
    await gate.offer(arrivals(1))

    async def keys():
        return await inbox._writer.read(lambda store: len(store._once))

    clock.now += 29.0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(inbox.tend, lambda: 1.0)
        await trio.sleep(3)
        assert await keys() == 1
        clock.now += 1.0
        for _ in range(200):  # the clock jumps on while the thread works
            if await keys() == 0:
                break
            await trio.sleep(1)
        assert await keys() == 0
        nursery.cancel_scope.cancel()
    assert store.known(BOT, [1]) == {1}


CALLBACK = b'{"update_id":2,"callback_query":{"from":{"id":5},"message":{"chat":{"id":5}}}}'


@pytest.mark.parametrize(("apart", "taken"), [(True, [1, 2]), (False, [1])])
async def test_a_press_of_a_button_need_not_wait_for_its_chats_message(inbox, apart, taken):
    """Where the bot says so; by default both are in the lane of the chat."""
    gate = Gate("echo", BOT, inbox, Events(), apart=lambda: apart)
    backlog = inbox.claim(BOT, Breakage())
    message = b'{"update_id":1,"message":{"chat":{"id":5},"from":{"id":5},"text":"begin"}}'
    await gate.offer([read_update(message), read_update(CALLBACK)])
    found = []
    while (update := backlog.ordinary.take()) is not None:
        found.append(update.update_id)
    assert found == taken


async def test_no_judge_is_asked_about_what_nobody_can_decode(inbox):
    """It would fail, and might be switched off for that; the update is kept, and will be a dead letter."""
    asked = Judge()
    gate = Gate("echo", BOT, inbox, Events(), lambda: [asked])
    broken = read_update(b'{"update_id":1,"message":{"chat":{"id":5},"text":"\xff"}}')
    assert await gate.offer([broken, read_update(CALLBACK)]) == [Stored(), Stored()]
    assert asked.asked == [2]
