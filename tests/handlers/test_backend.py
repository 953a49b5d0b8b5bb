"""A backend that is asked over real sockets: what it is sent, and what its answers mean."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from contextlib import asynccontextmanager
from email.utils import formatdate

import pytest
import trio
from backends import PlayedBackend, Reply, say

from trioworkers.botapi.errors import TransportError
from trioworkers.errors import Dead, Retry
from trioworkers.handlers.backend import Backend, Request, judge
from trioworkers.handlers.settings import BackendSettings
from trioworkers.handling.bot import WaitsTooLong
from trioworkers.handling.update import Update
from trioworkers.http.response import Response
from trioworkers.records import trace_id

SECRET = b"0123456789abcdef"
NOW = 1_700_000_000.9
TRACE = trace_id(42, 7)
BODY = '{"update_id":7,"message":{"chat":{"id":1},"text":"grüße"}}'.encode()


async def until(condition):
    while not condition():  # noqa: ASYNC110 - of sockets, whose other ends are another task's
        await trio.sleep(0.001)


def request(attempt=0):
    update = Update(BODY, bot_id=42, attempt=attempt, after_gap=False)
    return Request.of(update, "mind")


@asynccontextmanager
async def played(*replies, answer_time=5.0):
    """A service that gives these replies, the last of them for good, and a client for it."""
    left = list(replies)

    async def reply(_asked):
        one = left.pop(0) if len(left) > 1 else left[0]
        if one is None:
            await trio.sleep_forever()
        return one

    service = PlayedBackend(reply)
    async with trio.open_nursery() as nursery:
        url = await nursery.start(service.serve)
        backend = Backend(BackendSettings(url, SECRET, answer_time), lambda: NOW)
        with trio.fail_after(20):
            yield service, backend
        backend.retire()
        nursery.cancel_scope.cancel()


async def test_an_update_is_posted_signed_and_named():
    """The receiver learns which update, attempt, bot and trace it is, and can prove who sent it and when."""
    async with played(Reply([say("hi", 1)])) as (service, backend):
        assert await backend.ask(request(attempt=2)) == Reply([say("hi", 1)]).content()
    (asked,) = service.asked
    headers = asked.headers
    assert asked.target == "/updates"
    assert asked.update == json.loads(BODY)
    assert headers["content-type"] == "application/json"
    assert headers["idempotency-key"] == "42:7"
    assert re.fullmatch(rf"00-{TRACE}-[0-9a-f]{{16}}-01", headers["traceparent"])
    assert (headers["x-trioworkers-bot"], headers["x-trioworkers-attempt"]) == ("mind", "2")
    assert headers["x-trioworkers-timestamp"] == "1700000000"
    expected = hmac.new(SECRET, b"1700000000." + asked.body, hashlib.sha256).hexdigest()
    assert headers["x-trioworkers-signature"] == f"sha256={expected}"


async def test_a_connection_is_used_again():
    """A hundred questions one after the other need one connection."""
    async with played(Reply()) as (service, backend):
        for _ in range(100):
            await backend.ask(request())
    assert (len(service.asked), service.connections) == (100, 1)


async def test_a_broken_connection_is_replaced_once_and_with_the_same_key():
    """A server that restarts ends idle connections; the idempotency key allows to ask again."""
    async with played(Reply(), Reply(breaks=True), Reply([1])) as (service, backend):
        await backend.ask(request())
        assert await backend.ask(request()) == b"[1]"
    assert [asked.headers["idempotency-key"] for asked in service.asked] == ["42:7"] * 3
    assert service.connections == 2


async def test_a_service_that_always_breaks_the_connection_is_a_failure():
    """Which is tried again as a whole, after a pause."""
    async with played(Reply(breaks=True)) as (service, backend):
        with pytest.raises(TransportError, match=r"^backend: the server closed early$"):
            await backend.ask(request())
    assert len(service.asked) == 2


async def test_a_service_that_is_not_there_is_a_failure():
    """The error names the place, which is in the settings."""
    backend = Backend(BackendSettings("http://127.0.0.1:1/", SECRET))
    with pytest.raises(
        TransportError, match=r"^backend: cannot connect to 127\.0\.0\.1:1: Connection refused$"
    ):
        await backend.ask(request())
    backend.retire()


async def test_a_late_answer_is_a_failure():
    """It may still act on the update: its key will be the same."""
    async with played(None, answer_time=0.05) as (_, backend):
        with pytest.raises(TransportError, match=r"^backend: (no answer within 0\.05 s|timed out)$"):
            await backend.ask(request())


async def test_an_answer_that_is_too_large_is_a_failure():
    """A megabyte is read at most."""
    async with played(Reply(body=b" " * 2**20), Reply(body=b" " * (2**20 + 1))) as (_, backend):
        assert await backend.ask(request()) == b" " * 2**20
        with pytest.raises(TransportError, match=r"^backend: an answer of more than 1048576 bytes$"):
            await backend.ask(request())


async def test_a_redirect_is_not_followed():
    """The signature and the update are for this address alone."""
    async with played(Reply(status=307, headers={"location": "http://127.0.0.1:1/"})) as (service, backend):
        with pytest.raises(TransportError, match=r"^backend: it answered with 307$"):
            await backend.ask(request())
    assert len(service.asked) == 1


async def test_nothing_to_do():
    """204 is told apart from an answer without calls."""
    async with played(Reply(status=204)) as (_, backend):
        assert await backend.ask(request()) is None


async def test_a_retired_client_closes_its_connections_once_they_are_free():
    """New settings end no exchange that is under way, and leave no connection behind."""
    release = trio.Event()

    async def reply(_asked):
        await release.wait()
        return Reply([1])

    service = PlayedBackend(reply)
    async with trio.open_nursery() as nursery:
        url = await nursery.start(service.serve)
        backend = Backend(BackendSettings(url, SECRET, 5.0))
        answers = []

        async def ask():
            answers.append(await backend.ask(request()))

        with trio.fail_after(20):
            async with trio.open_nursery() as asking:
                asking.start_soon(ask)
                await until(lambda: service.asked)
                backend.retire()
                release.set()
            assert answers == [b"[1]"]
            await until(lambda: not service.open)
        nursery.cancel_scope.cancel()


def response(status, **fields):
    return Response(status, {b"retry-after": fields["after"].encode()} if fields else {}, b"private", False)


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_success_is_read(status):
    """Whatever kind of success it is."""
    judge(response(status), NOW)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 413, 422, 451, 499])
def test_a_refusal_is_final_and_tells_the_status_alone(status):
    """The dead letter's reason quotes nothing of the answer."""
    with pytest.raises(Dead) as caught:
        judge(response(status), NOW)
    assert caught.value.reason == f"the backend answered with {status}"


@pytest.mark.parametrize("status", [301, 302, 304, 308, 408, 425, 500, 502, 503, 504, 599, 205, 999])
def test_what_may_be_better_another_time_is_tried_again(status):
    """Failures of the server, and what no service answers on purpose."""
    with pytest.raises(TransportError, match=f"^backend: it answered with {status}$"):
        judge(response(status), NOW)


@pytest.mark.parametrize(
    ("status", "after", "seconds"),
    [
        (429, "30", 30),
        (503, "30", 30),
        (429, "0", 1),
        (429, "86400", 3600),
        (429, "999999999", 3600),
        (429, formatdate(1_700_000_090.9, usegmt=True).lower(), 90 - 0.9),
        (429, formatdate(1_600_000_000, usegmt=True), 1),
    ],
)
def test_a_wait_that_is_asked_for_uses_up_no_attempt(status, after, seconds):
    """As Telegram's 429; at most an hour, so that no header stops a chat for good."""
    with pytest.raises(WaitsTooLong) as caught:
        judge(response(status, after=after), NOW)
    assert caught.value.after == pytest.approx(seconds, abs=0.2)


@pytest.mark.parametrize("after", ["", "soon", "-1", "1.5", "1e3", "9999999999", "ÿ"])
def test_a_wait_that_cannot_be_read_is_an_ordinary_retry(after):
    """When, the bot's retry settings decide."""
    with pytest.raises(Retry) as caught:
        judge(response(429, after=after), NOW)
    assert not isinstance(caught.value, WaitsTooLong)
    assert caught.value.after is None
