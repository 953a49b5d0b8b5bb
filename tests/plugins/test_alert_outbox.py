"""Notices on their way: tried again, given up in the end, and never in each other's way."""

from __future__ import annotations

import pytest
import trio
from trioworkers_plugins.alerts.book import Notice
from trioworkers_plugins.alerts.outbox import (
    GIVE_UP,
    MOST_WAITING,
    TRY_TIME,
    Outbox,
    Parcel,
    SendError,
)


def notice(number):
    return Notice("bot_failed", float(number), (), (), (), (0, 0, 0))


class Reports:
    def __init__(self):
        self.told, self.changes = [], 0

    def changed(self):
        self.changes += 1

    def failed(self, target, reason):
        self.told.append(("failed", target, reason))

    def given_up(self, target, reason, count):
        self.told.append(("given up", target, reason, count))


class Sender:
    """Sends by noting; fails as often as it is told to."""

    def __init__(self, *failures):
        self.failures = list(failures)
        self.sent, self.tried_at = [], []

    async def send(self, one):
        self.tried_at.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        failure = self.failures.pop(0) if self.failures else None
        if failure == "hangs":
            await trio.sleep_forever()
        if failure is not None:
            raise failure
        self.sent.append(int(one.at))


@pytest.fixture
def reports():
    return Reports()


@pytest.fixture
def outbox(reports):
    return Outbox((), reports, trio.current_time)


async def test_each_target_gets_each_notice_in_order(autojump_clock, outbox, nursery):
    """And nothing is left."""
    chat, url = Sender(), Sender()
    nursery.start_soon(outbox.serve, "chat", chat)
    nursery.start_soon(outbox.serve, "url", url)
    outbox.put([notice(1), notice(2)], ["chat", "url"])
    await trio.sleep(0.1)
    outbox.put([notice(3)], ["url"])
    await trio.sleep(0.1)
    assert (chat.sent, url.sent, outbox.parcels) == ([1, 2], [1, 2, 3], ())


async def test_a_failure_is_tried_again_later_and_later(autojump_clock, outbox, reports, nursery):
    """One, two, four seconds … and five minutes at most; the same reason is reported once."""
    sender = Sender(*[SendError("down")] * 10)
    nursery.start_soon(outbox.serve, "url", sender)
    outbox.put([notice(1), notice(2)], ["url"])
    await trio.sleep(2000)
    assert sender.sent == [1, 2]
    assert sender.tried_at == pytest.approx([0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 811, 811])
    assert reports.told == [("failed", "url", "down")]


async def test_one_target_does_not_wait_for_another(autojump_clock, outbox, nursery):
    """The URL is down, the chat works."""
    chat = Sender()
    nursery.start_soon(outbox.serve, "url", Sender(*["hangs"] * 100))
    nursery.start_soon(outbox.serve, "chat", chat)
    outbox.put([notice(1)], ["url", "chat"])
    await trio.sleep(1)
    assert chat.sent == [1]


async def test_what_hangs_is_a_failure(autojump_clock, outbox, reports, nursery):
    """After a minute it is tried again."""
    sender = Sender("hangs")
    nursery.start_soon(outbox.serve, "chat", sender)
    outbox.put([notice(1)], ["chat"])
    await trio.sleep(TRY_TIME + 2)
    assert sender.sent == [1]
    assert reports.told == [("failed", "chat", f"not sent within {TRY_TIME:g} s")]


async def test_what_is_refused_for_good_is_given_up_at_once(autojump_clock, outbox, reports, nursery):
    """And the next one has its turn."""
    sender = Sender(SendError("Telegram refused it with 403", is_final=True))
    nursery.start_soon(outbox.serve, "chat", sender)
    outbox.put([notice(1), notice(2)], ["chat"])
    await trio.sleep(0.1)
    assert sender.sent == [2]
    assert reports.told == [("given up", "chat", "Telegram refused it with 403", 1)]


async def test_what_is_too_old_is_given_up(autojump_clock, outbox, reports, nursery):
    """An hour later it is no news any more."""
    sender = Sender(*[SendError("down")] * 1000)
    nursery.start_soon(outbox.serve, "url", sender)
    outbox.put([notice(1)], ["url"])
    await trio.sleep(GIVE_UP + 400)
    assert outbox.parcels == ()
    assert reports.told == [("failed", "url", "down"), ("given up", "url", "down", 1)]


async def test_what_waits_is_bounded(autojump_clock, outbox, reports, nursery):
    """The oldest are given up, also the one that is being tried."""
    sender = Sender("hangs")
    nursery.start_soon(outbox.serve, "url", sender)
    outbox.put([notice(0)], ["url"])
    await trio.sleep(1)
    outbox.put([notice(number) for number in range(1, MOST_WAITING + 6)], ["url"])
    assert reports.told == [("given up", "url", f"more than {MOST_WAITING} wait", 6)]
    await trio.sleep(200)
    assert sender.sent == list(range(6, MOST_WAITING + 6))


async def test_what_waited_when_the_daemon_ended_is_sent(reports, nursery, autojump_clock):
    """It was stored; it counts from when it was put in first."""
    sender = Sender()
    outbox = Outbox([Parcel("url", notice(1), -10.0)], reports, trio.current_time)
    nursery.start_soon(outbox.serve, "url", sender)
    await trio.sleep(0.1)
    assert (sender.sent, outbox.parcels, reports.changes) == ([1], (), 1)


async def test_a_change_is_a_reason_to_try_at_once(autojump_clock, outbox, nursery):
    """The token was replaced: the chat need not wait for the pause."""
    sender = Sender(*[SendError("refused")] * 7)
    nursery.start_soon(outbox.serve, "chat", sender)
    outbox.put([notice(1)], ["chat"])
    await trio.sleep(70)
    assert sender.sent == []
    outbox.wake()
    await trio.sleep(0.1)
    assert sender.sent == [1]


async def test_after_a_success_pauses_are_short_again(autojump_clock, outbox, nursery):
    """Each outage begins with a pause of a second."""
    chat = Sender(*[SendError("away")] * 4)
    nursery.start_soon(outbox.serve, "chat", chat)
    outbox.put([notice(1)], ["chat"])
    await trio.sleep(60)
    assert chat.tried_at == [0, 1, 3, 7, 15]
    chat.failures = [SendError("away")]
    outbox.put([notice(2)], ["chat"])
    await trio.sleep(60)
    assert chat.tried_at[5:] == [60, 61]
