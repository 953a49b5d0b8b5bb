"""Who may send when: against a server that counts strictly, and a model of what would be allowed."""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trioworkers.botapi.messages import Message
from trioworkers.config.settings import TELEGRAM_RATE_LIMIT, RateLimit
from trioworkers.ratelimit.limiter import Limiter, Ticket
from trioworkers.ratelimit.window import LATE, Window
from trioworkers.testing.limits import SendLimits

TELEGRAM = RateLimit(**TELEGRAM_RATE_LIMIT)
BOT = 7
QUICK = 0.001  # seconds, of a request and of its answer each


@dataclass
class Simulation:
    """A bot's senders, a network, and the server that counts; in a time of its own."""

    limits: Any = TELEGRAM
    strict: SendLimits = field(default_factory=lambda: SendLimits(messages=True))

    def __post_init__(self):
        self.limiter = Limiter(self.limits)
        self.now = 0.0
        self.numbers = itertools.count()
        self.agenda: list[Any] = []
        self.went: dict[str, list[float]] = {}  # by chat, when each message was let go
        self.order: list[Ticket] = []
        self.told: list[tuple[Ticket, float]] = []
        self.most = 0

    def at(self, time, do, *args):
        heapq.heappush(self.agenda, (time, next(self.numbers), do, args))

    def send(self, time, chat, source="s", messages=1, paid=False, up=QUICK, down=QUICK):
        ticket = Ticket(Message(str(chat), messages, paid), source)
        self.at(time, self.ask, ticket, up, down)
        return ticket

    def ask(self, ticket, up, down):
        self.ways = {**getattr(self, "ways", {}), id(ticket): (up, down)}
        self.limiter.ask(ticket, self.now)

    def arrive(self, ticket, down):
        chat, messages, paid = ticket.message
        self.strict.check_message(BOT, int(chat), self.now, messages, paid=paid)
        self.at(self.now + down, self.limiter.over, ticket, self.now + down)

    def step(self):
        for ticket, wait in self.limiter.take(self.now):
            if wait:
                self.told.append((ticket, wait))
                continue
            up, down = self.ways[id(ticket)]
            self.went.setdefault(ticket.message.chat, []).append(self.now)
            self.order.append(ticket)
            self.at(self.now + up, self.arrive, ticket, down)

    def run(self, until=1e6):
        """Let everything happen; the server raises if it was sent too much."""
        while True:
            next_at = self.limiter.next_at(self.now)
            assert next_at > self.now
            time = min(next_at, self.agenda[0][0] if self.agenda else next_at)
            if time > until:
                return
            if time == float("inf"):
                break
            self.now = time
            while self.agenda and self.agenda[0][0] <= time:
                _, _, do, args = heapq.heappop(self.agenda)
                do(*args)
            self.step()
        assert not self.limiter.waiting


delays = st.floats(0, (LATE - 0.1) / 2)
sends = st.lists(
    st.tuples(
        st.floats(0, 5),
        st.sampled_from([1, 2, 3, 4, -5, -6]),
        st.sampled_from("abc"),
        st.sampled_from([1, 1, 1, 2, 10]),
        st.booleans(),
        delays,
        delays,
    ),
    max_size=60,
)


@given(sends)
def test_a_strict_server_never_refuses(sent):
    """However long requests and answers take, no second has too much in it, and everything is sent."""
    simulation = Simulation()
    for time, chat, source, messages, paid, up, down in sent:
        simulation.send(time, chat, source, messages, paid, up, down)
    simulation.run()
    assert len(simulation.order) == len(sent)


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.floats(0, 3), st.integers(1, 200), st.sampled_from("abc")), max_size=150),
    st.sampled_from([{"per_second": 4, "per_chat": 2}, {"per_second": 2.5}, {"per_second": 30}]),
)
def test_nothing_waits_that_may_go(sent, table):
    """Whatever waits is held by a limit: what was let go in its span, or is under way, fills it."""
    simulation = Simulation(RateLimit(**table), SendLimits(messages=False))
    waiting: dict[int, str] = {}
    for time, chat, source in sent:
        simulation.send(time, chat, source)
    whole, one = Window.of_rate(simulation.limits.per_second), Window.of_rate(simulation.limits.per_chat)
    step = simulation.step

    def within(window, times):
        return sum(time + window.span + 2 * QUICK > simulation.now for time in times) >= window.most

    def checked():
        step()
        gone = {id(ticket) for ticket in simulation.order}
        for chat in {chat for key, chat in waiting.items() if key not in gone}:
            everything = list(itertools.chain.from_iterable(simulation.went.values()))
            assert within(whole, everything) or within(one, simulation.went.get(chat, []))

    ask = simulation.ask

    def noted(ticket, up, down):
        waiting[id(ticket)] = ticket.message.chat
        ask(ticket, up, down)

    simulation.step, simulation.ask = checked, noted  # type: ignore[method-assign]
    simulation.run()


def test_a_broadcast_uses_the_whole_rate():
    """1,000 chats get their message as fast as 30 a second are; only the answers' way comes on top."""
    simulation = Simulation()
    for chat in range(1, 1001):
        simulation.send(0, chat)
    simulation.run()
    last = max(max(times) for times in simulation.went.values())
    spans = (1000 - 1) // 30
    assert spans <= last <= spans * (1 + 2 * QUICK) + 1e-6


def test_a_chat_that_gets_much_delays_no_other():
    """A hundred messages for one chat stand before one for another: it goes at once."""
    simulation = Simulation()
    for _ in range(100):
        simulation.send(0, 1)
    simulation.send(0, 2)
    simulation.run()
    assert simulation.went["2"] == [0.0]
    assert simulation.went["1"][-1] == pytest.approx(99 * (1 + 2 * QUICK))


def test_chats_of_one_sender_take_turns():
    """Also where a chat may be sent more than one message in a second."""
    limiter = Limiter(RateLimit(per_second=4, per_chat=30))
    tickets = [Ticket(Message(chat, 1, False), "s") for chat in "111112"]
    for ticket in tickets:
        limiter.ask(ticket, 0)
    assert [ticket.message.chat for ticket, _ in limiter.take(0)] == ["1", "2", "1", "1"]


def test_a_group_that_is_known_by_its_name_has_the_limit_of_groups():
    """Nobody has a private chat by a name that begins with `@`."""
    limiter = Limiter(TELEGRAM)
    for number in range(20):
        ticket = Ticket(Message("@group", 1, False), "s")
        limiter.ask(ticket, 2 * number)
        assert limiter.take(2 * number) == [(ticket, 0)]
        limiter.over(ticket, 2 * number)
    late = Ticket(Message("@group", 1, False), "s")
    limiter.ask(late, 40)
    assert limiter.take(40) == []
    assert limiter.take(60) == [(late, 0)]


def test_a_refused_chat_is_remembered_while_nothing_waits_for_it():
    """Longer than its limits look back: until the time that Telegram named."""
    limiter = Limiter(TELEGRAM)
    first, late = (Ticket(Message("1", 1, False), "s") for _ in range(2))
    limiter.ask(first, 0)
    limiter.take(0)
    limiter.over(first, 0, hold=30)
    for now in (1, 5, 20):
        assert limiter.take(now) == []
    limiter.ask(late, 20)
    assert limiter.take(20) == [(late, 10)]


def test_an_answer_does_not_wait_for_a_broadcast():
    """A user writes while a thousand are sent to: the next free turn is the answer's."""
    simulation = Simulation()
    for chat in range(1, 1001):
        simulation.send(0, chat, "broadcast")
    simulation.send(5.5, 5000, "handling 1")
    simulation.send(5.5, 5001, "handling 2")
    simulation.run()
    assert simulation.went["5000"][0] - 5.5 < 1.1
    assert simulation.went["5001"][0] - 5.5 < 1.1


def test_messages_of_one_chat_keep_their_order():
    """What one source sends to one chat goes in the order in which it asked."""
    simulation = Simulation()
    tickets = [simulation.send(0.1 * number, number % 3 + 1) for number in range(30)]
    simulation.run()
    for chat in ("1", "2", "3"):
        asked = [ticket for ticket in tickets if ticket.message.chat == chat]
        assert [ticket for ticket in simulation.order if ticket.message.chat == chat] == asked


def test_paid_broadcasts_do_not_wait_for_the_rest():
    """What is paid for is limited by its own 1,000 a second and by its chat, and passes what is not paid."""
    simulation = Simulation()
    for chat in range(1, 301):
        simulation.send(0, chat, "s")
        simulation.send(0, 1000 + chat, "s", paid=True)
    simulation.run()
    assert all(simulation.went[str(1000 + chat)] == [0.0] for chat in range(1, 301))
    assert simulation.went["300"][0] > 8


def test_an_album_is_not_passed_by_without_end():
    """Ten messages at once wait until ten fit; what asks later waits behind them."""
    simulation = Simulation()
    for chat in range(1, 1000):
        simulation.send(0.001 * chat, chat, f"handling {chat}")
    simulation.send(2, 5000, "album", messages=10)
    simulation.run()
    ahead = sum(time <= simulation.went["5000"][0] for times in simulation.went.values() for time in times)
    assert simulation.went["5000"][0] < 2 + 1000 / 30
    assert ahead <= 1000


def test_a_refused_chat_is_left_alone_and_the_others_go_on():
    """Telegram asked to wait: what waits for that chat is told so, and what asks for it later."""
    limiter = Limiter(TELEGRAM)
    tickets = [Ticket(Message(chat, 1, False), "s") for chat in ("1", "1", "2")]
    limiter.ask(tickets[0], 0)
    assert limiter.take(0) == [(tickets[0], 0)]
    limiter.ask(tickets[1], 0)
    limiter.over(tickets[0], 0.5, hold=30)
    limiter.ask(tickets[2], 1)
    assert limiter.take(1) == [(tickets[1], 30), (tickets[2], 0)]
    assert limiter.waiting == 0
    late = Ticket(Message("1", 1, False), "s")
    limiter.ask(late, 10.5)
    assert limiter.take(10.5) == [(late, 20)]
    limiter.ask(late, 30.5)
    assert limiter.take(30.5) == [(late, 0)]


def test_two_refused_chats_are_the_bot():
    """A second chat is refused while the first is held: all wait until the earlier time."""
    limiter = Limiter(TELEGRAM)
    one, two, three = (Ticket(Message(chat, 1, False), "s") for chat in "123")
    for ticket in (one, two):
        limiter.ask(ticket, 0)
    limiter.take(0)
    limiter.over(one, 0, hold=10)
    limiter.over(two, 1, hold=60)
    limiter.ask(three, 2)
    assert limiter.take(2) == []
    assert limiter.next_at(2) == 10
    assert limiter.take(10) == [(three, 0)]


def test_a_slow_upload_does_not_hold_the_others():
    """Thirty uploads take a minute: they count as under way for a moment, and again when they end."""
    simulation = Simulation(strict=SendLimits(messages=False))
    for chat in range(1, 31):
        simulation.send(0, chat, up=60)
    for chat in range(101, 131):
        simulation.send(0, chat)
    simulation.run()
    assert simulation.went["101"][0] == LATE


def test_who_leaves_gives_its_place_up():
    """A ticket that is not wanted any more delays nobody, and the chat is forgotten."""
    limiter = Limiter(TELEGRAM)
    first, second, third = (Ticket(Message("1", 1, False), "s") for _ in range(3))
    for ticket in (first, second, third):
        limiter.ask(ticket, 0)
    assert limiter.take(0) == [(first, 0)]
    limiter.over(first, 0)
    limiter.leave(second)
    limiter.leave(second)
    assert limiter.waiting == 1
    assert limiter.take(1) == [(third, 0)]


def test_chats_are_forgotten():
    """A year of broadcasts leaves no memory behind: a chat is kept as long as its limits look back."""
    simulation = Simulation()
    for chat in range(1, 301):
        simulation.send(0, chat)
        simulation.send(0, -chat)
    simulation.run()
    simulation.send(simulation.now + 61, 1000)
    simulation.run()
    assert len(simulation.limiter._chats) == 1


def test_limits_change_while_messages_wait():
    """What waits goes as the new limits allow; what was sent before still counts."""
    limiter = Limiter(RateLimit(per_second=1, per_chat=0.1))
    tickets = [Ticket(Message(str(chat), 1, False), "s") for chat in (1, 1, 2, 3)]
    for ticket in tickets:
        limiter.ask(ticket, 0)
    assert limiter.take(0) == [(tickets[0], 0)]
    limiter.over(tickets[0], 0)
    limiter.tune(RateLimit(per_second=3, per_chat=1))
    assert [ticket for ticket, _ in limiter.take(0)] == [tickets[2], tickets[3]]
    assert limiter.next_at(0) == 1
    assert limiter.take(1) == [(tickets[1], 0)]
    assert limiter.delayed == 1
    assert limiter.waited == 1


def test_what_left_a_window_does_not_count():
    """Whether it is over, or was never heard of again."""
    window = Window(2, 1.0)
    for ticket in ("over", "lost"):
        window.begin(ticket, 0.0, 1)
    window.end("over", 0.0, 1)
    assert window.room_at(0.5, 1) == 1.0
    assert window.room_at(1.0, 1) == 1.0
    assert window.room_at(LATE + 3.0, 2) == LATE + 3.0


def asked(limiter, *chats, now=0.0, paid=False):
    """Tickets that wait, each for a message to one of these chats."""
    tickets = [Ticket(Message(str(chat), 1, paid), "s") for chat in chats]
    for ticket in tickets:
        limiter.ask(ticket, now)
    return tickets


def gone(limiter, now):
    """What goes by now, and is over at once."""
    found = [ticket for ticket, _ in limiter.take(now)]
    for ticket in found:
        limiter.over(ticket, now)
    return found


def test_a_chat_that_waits_for_its_own_limit_goes_as_a_new_one_allows():
    """Also before the time at which the old one would have let it."""
    limiter = Limiter(RateLimit(per_second=30, per_chat=0.1))
    first, second = asked(limiter, 1, 1)
    assert gone(limiter, 0.0) == [first]
    assert gone(limiter, 1.0) == []
    limiter.tune(RateLimit(per_second=30, per_chat=0.5))
    assert gone(limiter, 1.9) == []
    assert gone(limiter, 2.0) == [second]


def test_a_limit_of_groups_comes_and_goes_with_the_settings():
    """For groups that are known already, too."""
    plain, grouped = (RateLimit(per_second=30, per_chat=10, per_group_minute=most) for most in (None, 2))
    limiter = Limiter(plain)
    assert len(asked(limiter, *[-5] * 3)) == len(gone(limiter, 0.0))
    limiter.tune(grouped)
    tickets = asked(limiter, *[-5] * 3, now=1.0)
    assert gone(limiter, 1.0) == tickets[:2]
    assert gone(limiter, 60.9) == []
    limiter.tune(plain)
    assert gone(limiter, 60.95) == tickets[2:]


def test_a_thousand_paid_messages_go_in_a_second():
    """And the next one when the second is over."""
    limiter = Limiter(TELEGRAM)
    tickets = asked(limiter, *range(1, 1002), paid=True)
    assert gone(limiter, 0.0) == tickets[:1000]
    assert limiter.next_at(0.5) == 1.0
    assert gone(limiter, 1.0) == tickets[1000:]


def test_how_long_messages_waited_is_counted_from_when_each_was_asked():
    """What went at once waited for nothing."""
    limiter = Limiter(RateLimit(per_second=30, per_chat=1))
    asked(limiter, 1, 2, now=100.0)
    gone(limiter, 100.0)
    assert (limiter.delayed, limiter.waited) == (0, 0.0)
    asked(limiter, 1, now=100.25)
    gone(limiter, 101.0)
    assert (limiter.delayed, limiter.waited) == (1, 0.75)


def test_a_ticket_of_a_chat_that_is_forgotten_may_leave():
    """It went, and is over, long ago."""
    limiter = Limiter(TELEGRAM)
    (ticket,) = asked(limiter, 1)
    gone(limiter, 0.0)
    gone(limiter, 100.0)
    limiter.leave(ticket)
    assert limiter.waiting == 0


@pytest.mark.parametrize(("rate", "most", "span"), [(30, 30, 1), (1, 1, 1), (0.5, 1, 2), (2.5, 2, 0.8)])
def test_rates_are_windows(rate, most, span):
    """A rate that is not whole is a whole number in another span."""
    window = Window.of_rate(rate)
    assert window.most == most
    assert window.span == pytest.approx(span)
