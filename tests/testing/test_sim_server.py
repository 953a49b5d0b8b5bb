"""The simulator on a socket: paths, bodies, connections, long polls, clients that vanish."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trioworkers.testing import Refused
from trioworkers.testing.bodies import split_multipart
from trioworkers.testing.params import Upload
from trioworkers.testing.polling import OTHER_POLL, OTHER_WEBHOOK, WEBHOOK_ACTIVE


async def read_response(stream, buffer=b""):
    """One response with a Content-Length: its body, and what came after it."""
    while b"\r\n\r\n" not in buffer:
        buffer += await stream.receive_some()
    head, _, rest = buffer.partition(b"\r\n\r\n")
    length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if b"ength:" in line)
    while len(rest) < length:
        rest += await stream.receive_some()
    return json.loads(rest[:length]), rest[length:]


async def connect(scene):
    url = httpx.URL(scene.base_url)
    return await trio.open_tcp_stream(url.host, url.port or 80)


def request(scene, method, body=b""):
    head = f"POST /bot{scene.bot.token}/{method} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"Content-Type: application/json\r\n\r\n" + body


@pytest.mark.parametrize(
    ("verb", "kind"),
    [("GET", "query"), ("POST", "query"), ("POST", "json"), ("POST", "data"), ("POST", "multipart")],
)
async def test_parameters_come_in_every_form(scene, verb, kind):
    """Query, JSON, form and multipart mean the same, by GET or POST, nested objects as strings."""
    markup = {"inline_keyboard": [[{"text": "é", "callback_data": "1"}]]}
    params = {"chat_id": str(scene.alice.id), "text": "grüße & +", "reply_markup": json.dumps(markup)}
    extra: dict[str, Any]
    if kind == "query":
        extra = {"params": params}
    elif kind == "multipart":
        extra = {"files": {name: (None, value) for name, value in params.items()}}
    else:
        extra = {kind: params}
    response = await scene.http.request(verb, f"/bot{scene.bot.token}/sendMessage", **extra)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    result = response.json()["result"]
    assert (result["text"], result["reply_markup"]) == ("grüße & +", markup)


async def test_method_names_are_case_insensitive_and_unknown_ones_404(scene):
    """getme is getMe; nonsense is Not Found."""
    assert (await scene.call("GETme"))["result"]["id"] == scene.bot.id
    response = await scene.http.get(f"/bot{scene.bot.token}/nonsense")
    assert (response.status_code, response.json()["description"]) == (404, "Not Found: method not found")


@pytest.mark.parametrize(
    ("path", "status"),
    [("/botnonsense/getMe", 404), ("/bot12:abc/getMe", 401), ("/", 404), ("/file/bot12:abc/x", 401)],
)
async def test_tokens_in_paths(scene, path, status):
    """404 where no token can be read, 401 where it is unknown."""
    response = await scene.http.get(path)
    assert response.status_code == response.json()["error_code"] == status


async def test_the_test_environment_has_a_path_of_its_own(scene):
    """A test bot answers below /test/ only, another bot never there."""
    bot = scene.world.add_bot("tester", test=True)
    assert (await scene.http.get(f"/bot{bot.token}/test/getMe")).json()["result"]["id"] == bot.id
    assert (await scene.http.get(f"/bot{bot.token}/getMe")).status_code == 401
    assert (await scene.http.get(f"/bot{scene.bot.token}/test/getMe")).status_code == 401


@pytest.mark.parametrize(
    ("content_type", "body", "words"),
    [
        ("application/json", b"{", "can't parse JSON object"),
        ("application/json", b"[1]", "JSON object expected"),
        ("application/x-www-form-urlencoded", b"text=%ff", "strings must be encoded in UTF-8"),
        ("multipart/form-data", b"x", "boundary not found"),
        (
            "multipart/form-data; boundary=b",
            b"--b\r\n",
            "can't parse multipart body: the closing boundary is missing",
        ),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--b\r\n',
            "can't parse multipart body: the closing boundary is missing",
        ),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; filename="a"\r\n\r\n1\r\n--b--',
            "field name in multipart/form-data not found",
        ),
        (
            "multipart/form-data; boundary=b",
            b"--b\r\nContent-Disposition: form-data; name=\r\n\r\n1\r\n--b--",
            "field name in multipart/form-data not found",
        ),
        (
            "multipart/form-data; boundary=b",
            b"--b\r\nContent-Type: a/b\r\n\r\n1\r\n--b--",
            "can't parse multipart body: Missing Content-Disposition segment header",
        ),
        (
            "multipart/form-data; boundary=b",
            b"--b\r\nContent-Disposition: attachment; name=a\r\n\r\n1\r\n--b--",
            "can't parse multipart body: Invalid Content-Disposition segment header: Wrong type",
        ),
        (
            "multipart/form-data; boundary=b",
            b"--b\nContent-Disposition: form-data; name=a\n\n1\n--b--",
            "can't parse multipart body: Invalid line break after first boundary",
        ),
        (
            "multipart/form-data; boundary=b",
            b"--b\r\nContent-Disposition: form-data; name=\xff\r\n\r\n1\r\n--b--",
            "can't parse multipart body: Segment header failed to decode",
        ),
    ],
)
async def test_a_body_that_cannot_be_read_is_refused(scene, content_type, body, words):
    """400 with a reason; a body of unknown type is ignored."""
    path = f"/bot{scene.bot.token}/getMe"
    response = await scene.http.post(path, content=body, headers={"Content-Type": content_type})
    assert (response.status_code, response.json()["description"]) == (400, f"Bad Request: {words}")
    assert (await scene.http.post(path, content=b"x", headers={"Content-Type": "a/b"})).status_code == 200


@pytest.mark.parametrize("headers", [b"X: " + b"x" * (1 << 18), b"X: xxxx\r\n" * (1 << 15)])
def test_headers_of_parts_without_end_are_refused(headers):
    """431 for more than 256 kB of headers, in one line or in many; 50 headers are none too many."""
    form = b"--b\r\nContent-Disposition: form-data; name=a\r\n%b\r\n\r\n1\r\n--b--"
    with pytest.raises(Refused, match="431 Request Header Fields Too Large"):
        split_multipart("multipart/form-data; boundary=b", form % headers.rstrip())
    fields, files = split_multipart("multipart/form-data; boundary=b", form % (b"X: xxxx\r\n" * 50).rstrip())
    assert (fields, files) == ({"a": "1"}, {})


def test_a_form_is_read_as_telegram_reads_it():
    """Prologue and epilogue are ignored, names may be quoted or not, `filename` alone makes a file."""
    body = (
        b"prologue\r\n--a b\r\n"
        b"content-disposition: form-data; name=plain\r\n\r\n\r\n--a\r\n--a b\r\n"
        b"Content-Disposition: form-data; name=\"quoted name\"; filename*=UTF-8''x\r\n\r\n"
        b"\xd1\x82\xff\r\n--a b\r\n"
        b'Content-Disposition: form-data; name="file"; filename=""\r\nContent-Type: a/b; c=d \r\n\r\n'
        b"\xff\r\n\r\n--a b--epilogue"
    )
    fields, files = split_multipart('Multipart/Form-Data; x=y; boundary="a b"', body)
    assert fields == {"plain": "\r\n--a", "quoted name": "т\ufffd"}
    assert files == {"file": Upload("", "a/b; c=d", b"\xff\r\n")}


async def test_uploads_and_downloads(scene):
    """A photo or document goes up, is described, sent again by file_id, and comes down as it was."""
    url = f"/bot{scene.bot.token}/"
    for kind, method, other in (("photo", "sendPhoto", "document"), ("document", "sendDocument", "photo")):
        content = bytes(range(256)) * 10 + b"\r\n--"
        upload = {kind: ("a.jpg", content, "image/jpeg")}
        data = {"chat_id": scene.alice.id, "caption": "c"}
        message = (await scene.http.post(url + method, data=data, files=upload)).json()["result"]
        assert message["caption"] == "c"
        file = message["photo"][-1] if kind == "photo" else message["document"]
        again = await scene.call(method, chat_id=scene.alice.id, **{kind: file["file_id"]})
        assert again["ok"]
        described = (await scene.call("getFile", file_id=file["file_id"]))["result"]
        assert described["file_size"] == len(content)
        path = f"/file/bot{scene.bot.token}/{described['file_path']}"
        assert (await scene.http.get(path)).content == content
        wrong = f"send{other.title()}"
        refused = await scene.call(wrong, chat_id=scene.alice.id, **{other: file["file_id"]})
        assert refused["description"].startswith("Bad Request: can't use file of type")
        missing = await scene.call(method, chat_id=scene.alice.id)
        assert missing["description"] == f"Bad Request: there is no {kind} in the request"
    assert scene.world.calls_of("sendPhoto")[0].files["photo"].filename == "a.jpg"
    assert (await scene.call("getFile", file_id="x"))["description"] == "Bad Request: invalid file_id"


async def test_a_file_id_belongs_to_one_bot(scene):
    """Another bot that sends it is refused."""
    scene.alice.send_document(scene.bot, b"x", "c", filename="a.txt")
    (update,) = (await scene.call("getUpdates"))["result"]
    other = scene.world.add_bot("other")
    scene.alice.start(other)
    params = {"chat_id": scene.alice.id, "document": update["message"]["document"]["file_id"]}
    answer = (await scene.http.post(f"/bot{other.token}/sendDocument", json=params)).json()
    assert answer["description"] == "Bad Request: wrong file identifier/HTTP URL specified"


async def test_an_album_is_sent_as_one(scene):
    """sendMediaGroup takes attach:// uploads and file ids; its messages share a media_group_id."""
    media = [
        {"type": "photo", "media": "attach://one", "caption": "c"},
        {"type": "photo", "media": "attach://two"},
    ]
    files = {"one": ("1.jpg", b"1"), "two": ("2.jpg", b"2")}
    data = {"chat_id": scene.alice.id, "media": json.dumps(media)}
    path = f"/bot{scene.bot.token}/sendMediaGroup"
    result = (await scene.http.post(path, data=data, files=files)).json()["result"]
    assert len({message["media_group_id"] for message in result}) == 1
    assert len(scene.world.sent(scene.bot, scene.alice.id)) == 2
    short = (await scene.http.post(path, data=data | {"media": "[]"})).json()
    assert short["description"] == "Bad Request: there are no messages to send"
    absent = (await scene.http.post(path, data=data)).json()
    assert absent["description"] == "Bad Request: can't parse InputMedia: media not found"


async def test_requests_may_be_pipelined_and_chunked(scene):
    """Two requests in one packet get two answers in order; a chunked body is joined."""
    async with await connect(scene) as stream:
        await stream.send_all(request(scene, "getMe") + request(scene, "getMyCommands"))
        first, rest = await read_response(stream)
        second, _ = await read_response(stream, rest)
        assert (first["result"]["id"], second["result"]) == (scene.bot.id, [])
        body = json.dumps({"chat_id": scene.alice.id, "text": "chunked"}).encode()
        head = request(scene, "sendMessage").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
        await stream.send_all(head + chunks + b"0\r\n\r\n")
        third, _ = await read_response(stream)
        assert third["result"]["text"] == "chunked"


async def test_a_client_may_ask_before_it_sends_its_body(scene):
    """Expect: 100-continue is answered."""
    async with await connect(scene) as stream:
        whole = request(scene, "getMe", b"{}").replace(b"Host", b"Expect: 100-continue\r\nHost")
        await stream.send_all(whole[:-2])
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 100 ")
        await stream.send_all(whole[-2:])
        assert (await read_response(stream))[0]["ok"]


async def test_what_is_no_http_gets_400(scene):
    """Nonsense on the socket is answered once and closed; the server lives on."""
    async with await connect(scene) as stream:
        await stream.send_all(b"nonsense\r\n\r\n")
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 400 ")
        assert await stream.receive_some() == b""
    assert (await scene.call("getMe"))["ok"]


async def test_clients_may_vanish_at_any_point(scene):
    """A reset in the middle of a head, a body, a poll or an answer disturbs nobody."""
    import socket
    import struct

    whole = request(scene, "getUpdates", b'{"timeout":50}')
    for end in (0, 10, len(whole) - 3, len(whole)):
        stream = await connect(scene)
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await stream.send_all(whole[:end])
        await wait_all_tasks_blocked(0.01)
        stream.socket.close()
    await scene.until(lambda: scene.bot.poll is None)
    assert (await scene.call("getMe"))["ok"]


async def test_a_long_poll_ends_with_the_first_update(scene, nursery):
    """It waits while there is nothing and answers as soon as there is something."""
    answers = []

    async def poll():
        answers.append(await scene.call("getUpdates", timeout=50))

    nursery.start_soon(poll)
    await scene.until(lambda: scene.bot.poll is not None)
    update_id = await scene.alice.say(scene.bot, "hi")
    await scene.until(lambda: answers)
    assert [update["update_id"] for update in answers[0]["result"]] == [update_id]


async def test_the_older_waiting_poll_gets_409(scene, nursery):
    """The newcomer wins; setWebhook and a revoked token end a waiting poll, too."""
    endings = []

    async def poll():
        endings.append((await scene.call("getUpdates", timeout=50))["description"])

    async def wait_for_another(old):
        await scene.until(lambda: scene.bot.poll is not old)
        return scene.bot.poll

    nursery.start_soon(poll)
    first = await wait_for_another(None)
    nursery.start_soon(poll)
    second = await wait_for_another(first)
    await scene.call("setWebhook", url="http://127.0.0.1:1/")
    await wait_for_another(second)
    assert (await scene.call("getUpdates"))["description"] == f"Conflict: {WEBHOOK_ACTIVE}"
    await scene.call("deleteWebhook")
    nursery.start_soon(poll)
    third = await wait_for_another(None)
    scene.world.revoke(scene.bot)
    await wait_for_another(third)
    await scene.until(lambda: len(endings) == 3)
    assert endings == [f"Conflict: {OTHER_POLL}", f"Conflict: {OTHER_WEBHOOK}", "Unauthorized"]


async def test_with_updates_pending_two_pollers_get_no_409(scene):
    """They get the same updates and never learn of each other."""
    scene.alice.send(scene.bot, "x")
    first, second = (await scene.call("getUpdates", timeout=50)), (await scene.call("getUpdates", timeout=50))
    assert first["result"] == second["result"] != []


async def test_a_poll_whose_client_vanished_confirms_nothing(scene):
    """The update that arrives afterwards is there for the next poll."""
    async with await connect(scene) as stream:
        await stream.send_all(request(scene, "getUpdates", b'{"timeout":50}'))
        await scene.until(lambda: scene.bot.poll is not None)
    await scene.until(lambda: scene.bot.poll is None)
    update_id = scene.alice.send(scene.bot, "x")
    assert (await scene.call("getUpdates"))["result"][0]["update_id"] == update_id
    assert scene.world.confirmed(scene.bot) == []


async def test_429_comes_with_a_header(scene):
    """retry_after is in the body and in Retry-After."""
    response = await scene.http.post(f"/bot{scene.bot.token}/close")
    assert response.status_code == 429
    seconds = response.json()["parameters"]["retry_after"]
    assert response.headers["retry-after"] == str(seconds)


async def test_cancelling_the_server_frees_the_port(scene, nursery):
    """serve_telegram ends at once, waiting polls included, and the port can be bound again."""
    from trioworkers.testing import Telegram, serve_telegram

    async with trio.open_nursery() as inner:
        world = Telegram()
        base_url = await inner.start(serve_telegram, world)
        port = httpx.URL(base_url).port or 0
        inner.cancel_scope.cancel()
    async with trio.open_nursery() as inner:

        async def serve(task_status):
            await serve_telegram(world, port=port, task_status=task_status)

        assert await inner.start(serve) == base_url
        inner.cancel_scope.cancel()
