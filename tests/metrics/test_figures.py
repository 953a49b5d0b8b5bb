"""What is counted for metrics: buckets, requests to the Bot API, ends of workers; what cannot be a label."""

from __future__ import annotations

import msgspec
import pytest
import trio

from trioworkers.botapi.client import BotApi, Waits
from trioworkers.botapi.errors import BotApiError
from trioworkers.botapi.meter import MOST_METHODS, CallMeter
from trioworkers.figures import EXITS, Figures, Histogram
from trioworkers.nursery.ended import Ended
from trioworkers.nursery.spawn import Exit
from trioworkers.protocol.frames import (
    CallCount,
    FrameError,
    FromWorker,
    Heartbeat,
    Unfit,
)
from trioworkers.protocol.framing import FrameReader, packed
from trioworkers.testing import Telegram, faults, serve_telegram


def test_a_value_falls_into_the_first_bucket_that_holds_it():
    """A bound belongs to its bucket; what exceeds all bounds is counted apart."""
    histogram = Histogram((1.0, 2.0))
    for value in (0.0, 1.0, 1.5, 2.0, 3.0):
        histogram.observe(value)
    taken = histogram.taken()
    assert (taken.counts, taken.total) == ((2, 2, 1), 7.5)
    histogram.observe(1.0)
    assert taken.counts == (2, 2, 1)


@pytest.mark.parametrize("method", ["send Message", "1:secret", "x" * 51, "ünknown", "", "a-b"])
def test_what_is_no_name_of_a_method_is_no_label(method):
    """Methods come from handlers, which could put anything there."""
    meter = CallMeter()
    meter.count(method, "ok")
    assert meter.requests == {("other", "ok"): 1}


def test_methods_that_the_server_does_not_know_are_no_labels():
    """A made-up name is answered 404."""
    meter = CallMeter()
    meter.refused("JohnDoe", 404)
    meter.refused("sendMessage", 403)
    assert meter.requests == {("other", "refused"): 1, ("sendMessage", "forbidden"): 1}


def test_methods_are_bounded():
    """More names than the Bot API has are counted together."""
    meter = CallMeter()
    names = [f"m{first}{second}" for first in "abcdefghijklmnopqrst" for second in "abcdefghijklmnopqrst"]
    for name in names:
        meter.count(name, "ok")
    assert len(meter.requests) == MOST_METHODS + 1
    assert meter.requests["other", "ok"] == len(names) - MOST_METHODS


def test_what_is_taken_from_one_meter_and_added_to_another_is_counted_once():
    """A worker's counts travel in pieces, and none is lost or counted twice."""
    worker, daemon = CallMeter(), CallMeter()
    for method in ("a", "b", "c"):
        worker.count(method, "ok", 2)
    worker.waited = 1.5
    for _ in range(3):
        daemon.add(*worker.take(2))
    assert daemon.requests == {("a", "ok"): 2, ("b", "ok"): 2, ("c", "ok"): 2}
    assert (daemon.waited, worker.requests) == (1.5, {})


def test_a_heartbeat_brings_counts():
    """They survive the wire, and are added to the daemon's."""
    beat = Heartbeat(1, 0.25, [CallCount("sendMessage", "ok", 3)], 2.0)
    (read,) = FrameReader(FromWorker).feed(packed(beat))
    figures = Figures()
    figures.heard(read.lag, read.calls, read.waited)
    assert figures.calls.requests == {("sendMessage", "ok"): 3}
    assert figures.calls.waited == 2.0
    assert figures.lag.taken().total == 0.25


@pytest.mark.parametrize("times", [0, -5, 2**40])
def test_a_heartbeat_cannot_count_backwards(times):
    """Counters that go back would look like restarts; a frame that tries to make them is not valid."""
    body = msgspec.json.encode(["Heartbeat", 1, 0.0, [["a", "ok", times]], 0.0])
    with pytest.raises(FrameError):
        FrameReader(FromWorker).feed(len(body).to_bytes(4, "little") + body)


def ended(**fields):
    given = {"exit": Exit(0, None), "lived": 1.0, "why": None, **fields}
    return Ended(**given)


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        ({}, "crashed"),
        ({"exit": None, "problem": "could not be started"}, "not_started"),
        ({"exit": None, "why": "leaving"}, None),
        ({"why": "recycled"}, "recycled"),
        ({"why": "recycled", "hung": True}, "hung"),
        ({"unfit": Unfit("handler cannot be imported", "")}, "unfit"),
        ({"oom": True}, "oom"),
        ({"oom": None}, "crashed"),
        ({"problem": "not ready within 60 s"}, "not_ready"),
    ],
)
def test_an_end_has_one_cause(fields, cause):
    """Each is one of the known ones; a session whose process was never made has none."""
    found = ended(**fields).cause
    assert found == cause
    assert found is None or found in EXITS


class AtOnce(Waits):
    """Waits for nothing that Telegram asks for."""

    async def wait(self, seconds):
        await trio.lowlevel.checkpoint()


async def test_a_client_counts_each_request(nursery):
    """A call that is tried again is several requests, each with its result; waits for 429 are added up."""
    world = Telegram(seed=1)
    bot = world.add_bot("b")
    base = await nursery.start(serve_telegram, world)
    meter = CallMeter()
    world.faults.add(respond=faults.too_many_requests(3), method="getMe")
    world.faults.add(respond=faults.server_error(), method="getMe")
    world.faults.add(respond=faults.close_before(), method="getMe")
    async with BotApi(base, bot.token, meter=meter) as api:
        await api.call("getMe", {}, patience=AtOnce())
        with pytest.raises(BotApiError):
            await api.call("sendMessage", {"chat_id": 1, "text": "x"})
        with pytest.raises(BotApiError):
            await api.call("noSuchMethod", {})
    assert {key: times for key, times in meter.requests.items() if key[0] == "getMe"} == {
        ("getMe", "rate_limited"): 1,
        ("getMe", "server_error"): 1,
        ("getMe", "failed"): 1,
        ("getMe", "ok"): 1,
    }
    assert meter.waited == 3.0
    assert [key for key in meter.requests if key[0] not in ("getMe", "other")] == [
        ("sendMessage", "bad_request")
    ]
    assert meter.requests["other", "refused"] == 1
    nursery.cancel_scope.cancel()
