"""Webhook delivery over real sockets: posting, connections, failures, replies, TLS."""

from __future__ import annotations

import contextlib
import json
import shutil
import ssl
import subprocess
from collections import deque
from typing import Any

import h11
import httpx
import pytest
import trio

from trioworkers.testing import Telegram, serve_telegram


class Hook:
    """A receiver of webhooks that answers as it is told, 200 without a body by default."""

    def __init__(self) -> None:
        self.url = ""
        self.received: list[tuple[dict[bytes, bytes], dict[str, Any]]] = []
        self.answers: deque[tuple[int, list[tuple[str, str]], bytes] | None] = deque()
        self.connections = 0
        self.busy = 0
        self.most_busy = 0
        self.hold: trio.Event | None = None
        self.tls: ssl.SSLContext | None = None

    async def serve(self, *, task_status):
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/hook?x=1"
        await trio.serve_listeners(self.accept, listeners, task_status=task_status)

    async def accept(self, stream):
        with contextlib.suppress(trio.BrokenResourceError):
            await self.handle(
                stream if self.tls is None else trio.SSLStream(stream, self.tls, server_side=True)
            )

    async def handle(self, stream):
        self.connections += 1
        connection = h11.Connection(h11.SERVER)
        async with stream:
            while True:
                headers, body = {}, b""
                while not isinstance(
                    event := connection.next_event(), (h11.EndOfMessage, h11.ConnectionClosed)
                ):
                    if event is h11.NEED_DATA:
                        connection.receive_data(await stream.receive_some())
                    elif isinstance(event, h11.Request):
                        headers = dict(event.headers)
                    elif isinstance(event, h11.Data):
                        body += event.data
                if isinstance(event, h11.ConnectionClosed):
                    return
                self.received.append((headers, json.loads(body)))
                self.busy += 1
                self.most_busy = max(self.busy, self.most_busy)
                if self.hold is not None:
                    await self.hold.wait()
                self.busy -= 1
                answer = self.answers.popleft() if self.answers else (200, [], b"")
                if answer is None:
                    return
                status, extra, content = answer
                length = ("Content-Length", str(len(content)))
                response = h11.Response(status_code=status, headers=[*extra, length], reason=b"Told")
                wire = connection.send(response) + connection.send(h11.Data(data=content))
                await stream.send_all(wire + connection.send(h11.EndOfMessage()))
                if connection.our_state is h11.MUST_CLOSE:
                    return
                connection.start_next_cycle()


@pytest.fixture
async def hook(nursery):
    hook = Hook()
    await nursery.start(hook.serve)
    return hook


async def test_updates_are_posted_and_confirmed(scene, hook):
    """Each update is a POST of its JSON with the secret, over a kept connection; a 2xx confirms it."""
    await scene.call("setWebhook", url=hook.url, secret_token="s3cret")
    one = scene.alice.send(scene.bot, "one")
    await scene.until(lambda: scene.world.confirmed(scene.bot) == [one])
    two = scene.alice.send(scene.bot, "two")
    await scene.until(lambda: scene.world.confirmed(scene.bot) == [one, two])
    headers, update = hook.received[0]
    assert headers[b"x-telegram-bot-api-secret-token"] == b"s3cret"
    assert headers[b"content-type"] == b"application/json"
    assert (update["update_id"], update["message"]["text"]) == (one, "one")
    assert hook.connections == 1


async def test_what_was_pending_goes_to_the_new_webhook(scene, hook):
    """setWebhook delivers the backlog in order; deleteWebhook stops it."""
    sent = [scene.alice.send(scene.bot, str(i)) for i in range(5)]
    await scene.call("setWebhook", url=hook.url)
    await scene.until(lambda: scene.world.confirmed(scene.bot) == sent)
    await scene.call("deleteWebhook")
    scene.alice.send(scene.bot, "late")
    await scene.call("getMe")
    assert len(hook.received) == 5


async def test_max_connections_bounds_what_is_in_flight(scene, hook):
    """Many chats at once use as many connections as allowed, not more."""
    hook.hold = trio.Event()
    await scene.call("setWebhook", url=hook.url, max_connections=3)
    for i in range(10):
        scene.world.add_user(str(i)).send(scene.bot, "x")
    await scene.until(lambda: hook.busy == 3)
    hook.hold.set()
    await scene.until(lambda: scene.world.pending(scene.bot) == 0)
    assert (hook.most_busy, hook.connections) == (3, 3)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((500, [], b"x"), "Wrong response from the webhook: 500 Told"),
        ((302, [], b""), "Wrong response from the webhook: 302 Told"),
        (None, "Webhook connection closed"),
    ],
)
async def test_a_failed_delivery_is_repeated_and_reported(scene, hook, answer, message):
    """The second attempt follows at once; getWebhookInfo tells what was wrong."""
    hook.answers.append(answer)
    await scene.call("setWebhook", url=hook.url)
    update_id = scene.alice.send(scene.bot, "x")
    await scene.until(lambda: scene.world.confirmed(scene.bot) == [update_id])
    assert len(hook.received) == 2
    info = (await scene.call("getWebhookInfo"))["result"]
    assert info["last_error_message"] == message
    assert info["last_error_date"] > 0


async def test_the_receiver_may_ask_for_time(scene, hook):
    """Retry-After of the answer moves the next attempt."""
    hook.answers.append((503, [("Retry-After", "100")], b""))
    await scene.call("setWebhook", url=hook.url)
    scene.alice.send(scene.bot, "x")
    await scene.until(lambda: hook.received and scene.bot.webhook.last_error)
    assert 90 < scene.bot.webhook.next_due() - scene.world.clock() <= 100


async def test_nobody_listens(scene):
    """Connection refused is the last error, and the update stays."""
    await scene.call("setWebhook", url="http://127.0.0.1:1/")
    scene.alice.send(scene.bot, "x")
    await scene.until(lambda: scene.bot.webhook.last_error)
    assert scene.bot.webhook.last_error[1] == "Connection refused"
    assert scene.world.pending(scene.bot) == 1


@pytest.mark.parametrize("form", ["json", "urlencoded"])
async def test_a_reply_in_the_response_is_executed(scene, hook, form):
    """`method` in a 2xx body makes the call, and it is recorded."""
    call = {"method": "sendMessage", "chat_id": scene.alice.id, "text": "pong"}
    if form == "json":
        content, kind = json.dumps(call).encode(), "application/json"
    else:
        content, kind = httpx.QueryParams(call).__str__().encode(), "application/x-www-form-urlencoded"
    hook.answers.append((200, [("Content-Type", kind)], content))
    await scene.call("setWebhook", url=hook.url)
    scene.alice.send(scene.bot, "ping")
    assert (await scene.alice.expect(scene.bot))["text"] == "pong"
    assert scene.world.calls_of("sendMessage")[0].ok


@pytest.mark.parametrize("method", ["getMe", "deleteWebhook", "setWebhook", "close", "logOut", "nonsense"])
async def test_some_methods_are_not_executed_in_a_response(scene, hook, method):
    """get*, setWebhook, deleteWebhook, close and logOut are ignored there."""
    body = json.dumps({"method": method}).encode()
    hook.answers.append((200, [("Content-Type", "application/json")], body))
    await scene.call("setWebhook", url=hook.url)
    update_id = scene.alice.send(scene.bot, "x")
    await scene.until(lambda: scene.world.confirmed(scene.bot) == [update_id])
    assert scene.bot.webhook is not None
    assert [call.method for call in scene.world.calls] == ["setWebhook"]


async def test_a_certificate_is_uploaded(scene):
    """It shows in getWebhookInfo, and setting the same URL again is no no-op."""
    files = {"certificate": ("cert.pem", b"-----BEGIN CERTIFICATE-----")}
    path = f"/bot{scene.bot.token}/setWebhook"
    answer = (await scene.http.post(path, data={"url": "https://127.0.0.1:1/"}, files=files)).json()
    assert answer["description"] == "Webhook was set"
    assert (await scene.call("getWebhookInfo"))["result"]["has_custom_certificate"] is True


async def test_410_takes_the_webhook_away(nursery, clock, hook):
    """After 23 hours of 410 the webhook is gone and the update still there."""
    telegram = Telegram(clock=clock)
    bot, alice = telegram.add_bot("b"), telegram.add_user("A")
    await nursery.start(serve_telegram, telegram)
    hook.answers.extend([(410, [], b"")] * 3)
    telegram.call(bot, "setWebhook", url=hook.url)
    alice.send(bot, "x")
    with trio.fail_after(5):
        while bot.webhook is not None and bot.webhook.next_due() != clock() + 2:  # noqa: ASYNC110 - as in until
            await trio.sleep(0.001)
        clock.go(23.5 * 3600)
        bot.queue.changed.fire()
        while bot.webhook is not None:  # noqa: ASYNC110 - as in until
            await trio.sleep(0.001)
    assert telegram.call(bot, "getWebhookInfo")["url"] == ""
    assert telegram.pending(bot) == 1


async def test_a_line_that_the_receiver_closed_is_not_used_again(scene, hook):
    """An idle connection that was closed is no error; a new one is opened."""
    hook.answers.append((200, [("Connection", "close")], b""))
    await scene.call("setWebhook", url=hook.url)
    hook.answers.append((200, [], b""))
    for text in ("one", "two"):
        scene.alice.send(scene.bot, text)
        await scene.until(lambda: scene.world.pending(scene.bot) == 0)
    assert (hook.connections, scene.bot.webhook.last_error) == (2, None)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A self-signed certificate for 127.0.0.1 and its key, as paths."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command")
    folder = tmp_path_factory.mktemp("tls")
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -keyout key.pem -out cert.pem"
    )
    names = ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command.split(), *names], cwd=folder, check=True, capture_output=True)
    return folder / "cert.pem", folder / "key.pem"


@pytest.mark.parametrize("uploaded", [True, False])
async def test_https_is_verified(scene, hook, certificate, uploaded):
    """A self-signed certificate works once it was uploaded, and is an SSL error otherwise."""
    hook.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    hook.tls.load_cert_chain(*certificate)
    url = hook.url.replace("http:", "https:")
    files = {"certificate": ("cert.pem", certificate[0].read_bytes())} if uploaded else None
    await scene.http.post(f"/bot{scene.bot.token}/setWebhook", data={"url": url}, files=files)
    update_id = scene.alice.send(scene.bot, "x")
    if uploaded:
        await scene.until(lambda: scene.world.confirmed(scene.bot) == [update_id])
    else:
        await scene.until(lambda: scene.bot.webhook.last_error)
        assert scene.bot.webhook.last_error[1] == "SSL error {certificate_verify_failed}"
