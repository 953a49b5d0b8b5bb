"""Updates of a program by its webhook: on real sockets, with the program's server played."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import trio
from test_endpoint import (  # type: ignore[import-not-found] # it lies beside
    REAL,
    Scene,
    length_of,
    read_request,
    scene_of,
    until,
)

from trioworkers.gateway import hook_reply
from trioworkers.gateway.webhook import WebhookRefusedError, read_webhook

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SECRET = "a-secret_of-the-webhook"
FORM = b"multipart/form-data; boundary=xyz"


@dataclass
class Site:
    """A program's own server.

    Attributes:
        answers: what it answers, the last one again and again; a function does it by itself.
        seen: heads and updates that it was sent.
    """

    answers: list[Any]
    port: int = 0
    seen: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    connections: int = 0

    @property
    def numbers(self) -> list[int]:
        return [update["n"] for _, update in self.seen]

    async def serve(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        rest = b""
        try:
            while True:
                head, rest = await read_request(stream, rest)
                if not head:
                    return
                while len(rest) < length_of(head):
                    rest += await stream.receive_some()
                body, rest = rest[: length_of(head)], rest[length_of(head) :]
                self.seen.append((head.decode(), json.loads(body)))
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if callable(answer):
                    await answer(stream)
                    return
                await stream.send_all(answer)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            await stream.aclose()


def said(body: bytes = b"", status: int = 200, kind: bytes = b"application/json", more: str = "") -> bytes:
    """An answer of a program."""
    fields = f"Content-Length: {len(body)}\r\nContent-Type: {kind.decode()}\r\n{more}"
    return f"HTTP/1.1 {status} X\r\n{fields}\r\n".encode() + body


OK = said()


@asynccontextmanager
async def site_of(folder: Any, *answers: Any, **more: Any) -> AsyncIterator[tuple[Scene, Site]]:
    async with scene_of(folder, **more) as scene, trio.open_nursery() as nursery:
        site = Site(list(answers) or [OK])
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        site.port = listeners[0].socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, site.serve, listeners)
        yield scene, site
        nursery.cancel_scope.cancel()


async def hook(scene: Scene, site: Site, **params: Any) -> None:
    """Set the webhook, as a program does."""
    body = {"url": f"https://127.0.0.1:{site.port}/hook?x=1", **params}
    program = await scene.connect()
    answer = await program.call("setWebhook", json.dumps(body).encode())
    assert answer == (200, {"ok": True, "result": True})
    await program.stream.aclose()


def ends(scene: Scene) -> list[tuple[int, Any]]:
    """How updates ended."""
    return [(json.loads(body)["n"], outcome) for body, outcome in scene.hands.ended]


@pytest.mark.parametrize(
    ("url", "hosts", "port", "target"),
    [
        ("http://127.0.0.1:3000/a/b?c=d", ("127.0.0.1",), 3000, "/a/b?c=d"),
        ("https://localhost/x#y", ("127.0.0.1", "::1"), 443, "/x"),
        ("http://[::1]:8080", ("::1",), 8080, "/"),
        ("http://127.3.2.1", ("127.3.2.1",), 80, "/"),
        ("http://[::ffff:127.0.0.1]:1/", ("127.0.0.1",), 1, "/"),
        ("HTTP://LOCALHOST:3/", ("127.0.0.1", "::1"), 3, "/"),
    ],
)
def test_a_webhook_of_this_machine_is_read(url, hosts, port, target):
    """Names are not looked up."""
    found = read_webhook({"url": url, "max_connections": "7", "secret_token": SECRET})
    assert (found.hosts, found.port, found.target, found.most) == (hosts, port, target, 7)
    assert SECRET not in repr(found)
    assert read_webhook({"url": url}).most == 40
    assert read_webhook({"url": url, "max_connections": 1000}).most == 100


@pytest.mark.parametrize(
    "url",
    [
        "https://bot.example.org/hook",
        "http://10.0.0.1/",
        "http://169.254.169.254/latest",
        "http://0.0.0.0:80/",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f.0.0.1/",
        "http://localhost.example.org/",
        "http://127.0.0.1.example.org/",
        "http://127.0.0.1@example.org/",
        "http://x:y@127.0.0.1/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "unix:/run/x.sock",
        "127.0.0.1:80",
        "http://[::1%25lo]/",
        "http://[::2]/",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1:0/",
        "http://127.0.0.1/a b",
        "http://127.0.0.1/a\r\nHost: b",
        "http://127.0.0.1/\u00e9",
        "http://127.0.0.1/" + "x" * 3000,
        "http://[",
        "//127.0.0.1/",
        7,
        ["http://127.0.0.1/"],
    ],
)
def test_a_webhook_elsewhere_is_refused(url):
    """The words say what to do, and quote nothing."""
    with pytest.raises(WebhookRefusedError) as refused:
        read_webhook({"url": url})
    words = str(refused.value)
    assert any(word in words for word in ("expected", "http://127.0.0.1:PORT/PATH", "cannot be read"))
    assert "example" not in words


@pytest.mark.parametrize("secret", ["a b", "a\r\nb", "x" * 257, 7, "\u00e9"])
def test_a_secret_that_could_be_more_than_one_is_refused(secret):
    """It would be a line of the head."""
    with pytest.raises(WebhookRefusedError, match="secret_token"):
        read_webhook({"url": "http://127.0.0.1/", "secret_token": secret})


async def test_a_probe_is_for_polls(tmp_path):
    """Where the file asks for one, a webhook is refused with words that say what to do."""
    async with site_of(tmp_path, acknowledge="probe") as (scene, site):
        program = await scene.connect()
        body = json.dumps({"url": f"http://127.0.0.1:{site.port}/"}).encode()
        status, refused = await program.call("setWebhook", body)
        assert status == 400
        assert "let the bot poll" in refused["description"]
        assert scene.told[0][0] == "gateway.withheld"


async def test_updates_are_posted_to_a_webhook(tmp_path):
    """With ids of ours and the secret; an answer of 2xx is the end, and the connection is used again."""
    async with site_of(tmp_path, OK, said(b"", 204), said(b"{}", 201)) as (scene, site):
        assert not scene.bot.polled.is_set()
        await hook(scene, site, secret_token=SECRET)
        assert scene.bot.polled.is_set()
        assert scene.bot.waits
        for number in (70, 71, 72):
            scene.hands.add(number)
            await until(lambda number=number: scene.hands.ended and ends(scene)[-1][0] == number)
        assert [(number, outcome.result) for number, outcome in ends(scene)] == [
            (70, "done"),
            (71, "done"),
            (72, "done"),
        ]
        assert [update["update_id"] for _, update in site.seen] == [1, 2, 3]
        assert site.numbers == [70, 71, 72]
        head = site.seen[0][0].lower()
        assert head.startswith("post /hook?x=1 http/1.1")
        assert f"x-telegram-bot-api-secret-token: {SECRET}".lower() in head
        assert f"host: 127.0.0.1:{site.port}" in head
        assert site.connections <= 2
        assert scene.told == [("gateway.hooked", {"address": f"127.0.0.1:{site.port}"})]
        assert not scene.faults


async def test_no_more_are_posted_at_once_than_the_webhook_wants(tmp_path):
    """Nor more than chats are handled at a time."""
    gate = trio.Event()

    async def late(stream: trio.SocketStream) -> None:
        await gate.wait()
        await stream.send_all(OK)

    async with site_of(tmp_path, late) as (scene, site):
        await hook(scene, site, max_connections=3)
        scene.hands.add(*range(5))
        await until(lambda: len(site.seen) == 3)
        assert scene.bot.room() == 0
        assert not scene.bot.waits
        assert len(scene.hands.waiting) == 2
        gate.set()
        await until(lambda: len(scene.hands.ended) == 5)


async def close_early(stream: trio.SocketStream) -> None:
    await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{}")


async def say_rubbish(stream: trio.SocketStream) -> None:
    await stream.send_all(b"\x15\x03\x01\x00\x02\x02\x46")


async def hang_up(stream: trio.SocketStream) -> None:
    await trio.lowlevel.checkpoint()


async def say_nothing(stream: trio.SocketStream) -> None:
    await trio.sleep_forever()


@pytest.mark.parametrize(
    ("answer", "reason", "after"),
    [
        (said(b"no", 500), "answered 500", None),
        (said(b"", 302, more="Location: http://10.0.0.1/\r\n"), "answered 302", None),
        (said(b"", 503, more="Retry-After: 7\r\n"), "answered 503", 7.0),
        (said(b"", 429, more="Retry-After: soon\r\n"), "answered 429", None),
        (close_early, "its answer broke off", None),
        (say_rubbish, "broke off before an answer, or does not speak HTTP without TLS", None),
        (hang_up, "broke off before an answer, or does not speak HTTP without TLS", None),
        (say_nothing, "no answer within 0.3 s", None),
        (said(b'{"method": "' + b"x" * 2**20 + b'"}'), "the call in its answer is too large", None),
    ],
    ids=["500", "302", "503", "429", "early", "rubbish", "hangup", "silent", "large"],
)
async def test_any_other_answer_is_a_failure(tmp_path, answer, reason, after):
    """It is tried again as one that a handler failed at; the program is shown why, and so is the log."""
    async with site_of(tmp_path, answer, OK, handler_timeout=0.3) as (scene, site):
        await hook(scene, site)
        scene.hands.add(1)
        await until(lambda: len(scene.hands.ended) == 1)
        ((_, outcome),) = ends(scene)
        assert (outcome.result, outcome.counted, outcome.after) == ("retry", True, after)
        assert outcome.error == f"webhook: {reason}"
        assert outcome.late == (answer is say_nothing)
        program = await scene.connect()
        _, info = await program.call("getWebhookInfo")
        assert info["result"]["last_error_message"] == reason
        assert info["result"]["url"] == f"https://127.0.0.1:{site.port}/hook?x=1"
        assert info["result"]["pending_update_count"] == 5
        scene.hands.add(2)
        await until(lambda: len(scene.hands.ended) == 2)
        assert [event for event, _ in scene.told] == [
            "gateway.hooked",
            "gateway.unanswered",
            "gateway.answered",
        ]
        assert not scene.faults


@pytest.mark.parametrize(
    ("kind", "result"), [(b"text/plain", "done"), (b"application/json", "retry")], ids=["said", "call"]
)
async def test_an_answer_whose_rest_never_comes_is_judged_by_what_came(tmp_path, kind, result):
    """A head of 200 is the end of an update, unless a call may follow. Nothing breaks in either case."""

    async def stall(stream: trio.SocketStream) -> None:
        await stream.send_all(said(b"{}", kind=kind)[:-1])
        await trio.sleep_forever()

    async with site_of(tmp_path, stall, OK, handler_timeout=0.3) as (scene, site):
        await hook(scene, site)
        for number in (1, 2):
            scene.hands.add(number)
            await until(lambda number=number: len(scene.hands.ended) == number)
        assert [outcome.result for _, outcome in ends(scene)] == [result, "done"]
        assert (scene.bot.in_hand, scene.faults) == (0, [])


async def test_a_program_that_does_not_listen_yet_is_waited_for(tmp_path):
    """That is no attempt of the update: most programs set their webhook before they listen."""
    async with site_of(tmp_path) as (scene, site):
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        await listeners[0].aclose()
        program = await scene.connect()
        await program.call("setWebhook", json.dumps({"url": f"http://127.0.0.1:{port}/"}).encode())
        scene.hands.add(1)
        await until(lambda: [event for event, _ in scene.told] == ["gateway.hooked", "gateway.unanswered"])
        _, info = await program.call("getWebhookInfo")
        assert "connection refused" in info["result"]["last_error_message"]
        async with trio.open_nursery() as nursery:
            again = await trio.open_tcp_listeners(port, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, site.serve, again)
            await until(lambda: len(scene.hands.ended) == 1)
            nursery.cancel_scope.cancel()
        assert [(number, outcome.result) for number, outcome in ends(scene)] == [(1, "done")]


async def test_a_program_goes_back_to_polling(tmp_path):
    """What its polls had in hand is posted once it has a webhook; a poll beside that is given nothing."""
    async with site_of(tmp_path) as (scene, site):
        program = await scene.connect()
        await program.ask("getUpdates", b'{"timeout": 20}')
        await until(lambda: scene.bot.waits)
        scene.hands.add(1)
        await program.answer()
        await hook(scene, site)
        await until(lambda: [number for number, _ in ends(scene)] == [1])
        assert await program.call("getUpdates", b'{"timeout": 0, "offset": 9}') == (
            200,
            {"ok": True, "result": []},
        )
        assert ("getUpdates", "a poll beside the bot's webhook") in [
            (fields.get("method"), fields.get("reason")) for _, fields in scene.told
        ]
        assert (await program.call("deleteWebhook"))[1]["result"] is True
        assert (await program.call("getWebhookInfo"))[1]["result"]["url"] == ""
        await program.ask("getUpdates", b'{"timeout": 20}')
        await until(lambda: scene.bot.waits)
        scene.hands.add(2)
        assert len(json.loads((await program.answer())[1])["result"]) == 1
        assert site.numbers == [1]


async def test_a_webhook_ends_with_its_process(tmp_path):
    """What it had in hand is given back, and nothing more is posted."""
    async with site_of(tmp_path, say_nothing) as (scene, site):
        await hook(scene, site)
        scene.hands.add(1, 2)
        await until(lambda: len(site.seen) == 2)
        assert [item.body for item in scene.bot.close()] == [
            b'{"update_id":1,"n":1}',
            b'{"update_id":2,"n":2}',
        ]
        assert (scene.bot.room(), scene.bot.in_hand) == (0, 0)


def form(*fields: tuple[str, bytes], boundary: bytes = b"xyz") -> bytes:
    """A form, with its fields in this order."""
    parts = [
        b'--%s\r\nContent-Type: text/plain\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
        % (boundary, name.encode(), value)
        for name, value in fields
    ]
    return b"".join(parts) + b"--%s--\r\n" % boundary


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"method": "sendMessage", "chat_id": 1, "text": "hi"}', b"application/json; charset=utf-8"),
        (form(("method", b"sendMessage"), ("text", b"hi")), FORM),
        (form(("method", b"sendDocument"), ("document", b"x" * 3_000_000)), FORM),
        (form(("chat_id", b"1"), ("method", b"sendMessage")), FORM),
    ],
    ids=["json", "form", "file", "later"],
)
async def test_a_call_in_the_answer_is_carried_out(tmp_path, body, kind):
    """As it stands, with the real token, and the connection goes on."""
    calls: list[tuple[str, bytes]] = []

    async def take(stream: trio.SocketStream) -> None:
        while True:
            head, rest = await read_request(stream)
            if not head:
                return
            while len(rest) < length_of(head):
                rest += await stream.receive_some(2**20)
            calls.append((head.decode(), rest))
            await stream.send_all(said(b'{"ok":true,"result":true}'))

    async with site_of(tmp_path, said(body, kind=kind), OK, answer=take) as (scene, site):
        await hook(scene, site)
        scene.hands.add(1)
        await until(lambda: len(scene.hands.ended) == 1)
        scene.hands.add(2)
        await until(lambda: len(scene.hands.ended) == 2)
        assert [outcome.result for _, outcome in ends(scene)] == ["done", "done"]
        ((head, found),) = calls
        method = "sendDocument" if b"sendDocument" in body else "sendMessage"
        assert head.startswith(f"POST /bot{REAL}/{method} HTTP/1.1")
        assert kind.decode().partition(";")[0] in head
        assert found == body
        assert site.connections == 1
        assert scene.meter.requests == {(method, "ok"): 1}


@pytest.mark.parametrize(
    "answer",
    [
        said(b"OK", kind=b"text/plain"),
        said(b"{}"),
        said(b'{"method": 7}'),
        said(b'{"method": "send/../getMe"}'),
        said(b'{"method": "sendMessage\\r\\nHost: x"}'),
        said(b'["sendMessage"]'),
        said(b'{"method": "sendMess'),
        said(b"\xff\xfe"),
        said(form(("text", b"hi")), kind=FORM),
        said(form(("method", b"a/b")), kind=FORM),
        said(form(("method", b"getUpdates")), kind=FORM),
        said(b'{"method": "getUpdates", "timeout": 60}'),
        said(b"rubbish", kind=FORM),
        said(form(("method", b"sendMessage")), kind=b"multipart/form-data"),
        said(b'{"method": "close"}'),
    ],
)
async def test_an_answer_that_holds_no_call_is_just_an_answer(tmp_path, answer):
    """Nothing is passed on, whatever stands in it."""
    async with site_of(tmp_path, answer, OK) as (scene, site):
        await hook(scene, site)
        scene.hands.add(1)
        scene.hands.add(2)
        await until(lambda: len(scene.hands.ended) == 2)
        assert [outcome.result for _, outcome in ends(scene)] == ["done", "done"]
        assert scene.connections == 0
        assert not scene.faults


async def test_a_program_deletes_its_webhook_by_an_answer(tmp_path):
    """What is answered by the daemon is answered by it here, too."""
    async with site_of(tmp_path, said(b'{"method": "deleteWebhook"}')) as (scene, site):
        await hook(scene, site)
        scene.hands.add(1)
        await until(lambda: len(scene.hands.ended) == 1)
        program = await scene.connect()
        assert (await program.call("getWebhookInfo"))[1]["result"]["url"] == ""


@pytest.mark.parametrize(
    ("status", "more", "result", "counted", "after"),
    [
        (400, "", "done", True, None),
        (403, "", "done", True, None),
        (500, "", "retry", True, None),
        (429, "Retry-After: 3\r\n", "retry", False, 3.0),
        (0, "", "retry", True, None),
    ],
)
async def test_a_call_that_could_not_be_made_is_a_failure(tmp_path, status, more, result, counted, after):
    """The answer to the person is in it. A refusal is not: nobody learns of it at Telegram either."""

    async def refuse(stream: trio.SocketStream) -> None:
        await read_request(stream)
        if status:
            await stream.send_all(said(b'{"ok":false}', status, more=more))

    body = b'{"method": "sendMessage", "chat_id": 1, "text": "hi"}'
    async with site_of(tmp_path, said(body), answer=refuse) as (scene, site):
        await hook(scene, site)
        scene.hands.add(1)
        await until(lambda: len(scene.hands.ended) == 1)
        ((_, outcome),) = ends(scene)
        assert (outcome.result, outcome.counted, outcome.after) == (result, counted, after)
        assert REAL not in outcome.error


async def test_a_method_is_found_in_the_beginning_of_a_form():
    """Libraries put it first; a form is not read as a whole for it."""
    parts = form(("text", b"x" * 100), ("method", b"sendMessage"))
    assert hook_reply._method_of(parts, b"xyz") == "sendMessage"
    assert hook_reply._method_of(parts[:80], b"xyz") == ""


async def test_a_connection_that_was_closed_while_it_was_idle_is_no_failure(tmp_path):
    """The update is posted on another one."""

    async def once(stream: trio.SocketStream) -> None:
        await stream.send_all(OK)

    async with site_of(tmp_path, once) as (scene, site):
        await hook(scene, site)
        for number in range(5):
            scene.hands.add(number)
            await until(lambda number=number: len(scene.hands.ended) == number + 1)
        assert {outcome.result for _, outcome in ends(scene)} == {"done"}
        assert site.numbers == list(range(5))
