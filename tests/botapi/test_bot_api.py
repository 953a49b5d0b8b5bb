"""The Bot API client against the simulator, over real sockets: errors told apart, waits obeyed, no token."""

from __future__ import annotations

import logging
import socket
import struct
import threading
import traceback
from dataclasses import dataclass
from enum import Enum
from typing import Any

import httpx
import msgspec
import pytest
import trio

from trioworkers.botapi import answers, decoding
from trioworkers.botapi import client as api_module
from trioworkers.botapi.client import BotApi, Waits, retry_after
from trioworkers.botapi.decoding import decode
from trioworkers.botapi.errors import BotApiError, TransportError
from trioworkers.botapi.files import InputFile
from trioworkers.botapi.migration import moved, old_chats
from trioworkers.botapi.parameters import form_fields, split_files
from trioworkers.botapi.refusals import GroupUpgraded
from trioworkers.botapi.wire import Wire
from trioworkers.testing import Fault, Telegram, faults, serve_telegram


class Id(Enum):
    GROUP = -5


@dataclass
class Reply:
    chat_id: Any
    message_id: int = 6


@dataclass
class Line:
    """A connection of a bot to a served Telegram in which Alice has started it."""

    world: Telegram
    bot: Any
    alice: Any
    url: str
    api: BotApi

    def fault(self, fault, method="sendMessage", times=1):
        return self.world.faults.add(method=method, respond=fault, times=times)

    async def say(self, text="x", **more):
        return await self.api.call("sendMessage", {"chat_id": self.alice.id, "text": text}, **more)

    def heard(self):
        return [message.get("text") for message in self.world.sent(self.bot, self.alice.id)]


@pytest.fixture
async def line(nursery, monkeypatch):
    monkeypatch.setattr(api_module, "FIRST_PAUSE", 0.001)
    world = Telegram(seed=1)
    bot, alice = world.add_bot("echo"), world.add_user("Alice")
    world.dialog(bot, alice.id).started = True
    url = await nursery.start(serve_telegram, world)
    async with BotApi(url, bot.token) as api:
        yield Line(world, bot, alice, url, api)


class Noted(Waits):
    """Waits nothing, and notes what it was asked for."""

    def __init__(self):
        self.waits = []

    async def wait(self, seconds):
        self.waits.append(seconds)


# -- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        (faults.error(400, "Bad Request: chat not found"), 400, "Bad Request: chat not found"),
        (faults.unauthorized(), 401, "Unauthorized"),
        (faults.forbidden(), 403, "Forbidden: bot was blocked by the user"),
        (faults.error(409, "Conflict"), 409, "Conflict"),
    ],
)
async def test_a_refusal_is_final_and_in_telegrams_words(line, fault, code, words):
    """One call, no second try, and the error has all that Telegram said."""
    line.fault(fault)
    with pytest.raises(BotApiError) as caught:
        await line.say()
    error = caught.value
    assert (error.method, error.error_code, error.description) == ("sendMessage", code, words)
    assert str(error) == f"sendMessage: {code} {words}"
    assert len(line.world.calls_of("sendMessage")) == 1


@pytest.mark.parametrize(
    "fault",
    [
        faults.server_error(),
        faults.server_error(502),
        faults.proxy_page(),
        faults.broken_body(executes=False),
        faults.truncated_body(executes=False),
        faults.close_before(),
        faults.half_close(),
        Fault(body=b'{"ok":true,"result":' + b"[" * 100_000),
    ],
)
async def test_what_fails_on_the_way_is_tried_again(line, fault):
    """Four failures are survived, and the message is sent once."""
    line.fault(fault, times=4)
    await line.say("hello")
    assert line.heard() == ["hello"]


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (faults.server_error(), BotApiError, "sendMessage: 500 Internal Server Error"),
        (faults.proxy_page(), TransportError, "sendMessage: HTTP 502 with a body that is no answer"),
        (faults.close_before(), TransportError, "sendMessage: the server closed early"),
    ],
)
async def test_tries_are_bounded(line, fault, error, words):
    """Five in all; then the last error is the caller's."""
    rule = line.fault(fault, times=None)
    with pytest.raises(error) as caught:
        await line.say()
    assert str(caught.value) == words
    assert rule.hits == api_module.TRIES == 5


async def test_nobody_listens(line):
    """Refused connections are failures on the way."""
    async with BotApi("http://127.0.0.1:9", line.bot.token) as api:
        with pytest.raises(
            TransportError, match=r"getMe: cannot connect to 127\.0\.0\.1:9: Connection refused"
        ):
            await api.call("getMe", {})


async def test_silence_is_a_failure_on_the_way(line):
    """After as long as the request allows."""
    line.fault(faults.hang(60), method="getMe")
    with trio.fail_after(5), pytest.raises(TransportError, match=r"^getMe: timed out$"):
        await line.api.request("getMe", {}, silence=0.05)
    assert b"echo" in bytes(await line.api.request("getMe", {}))


async def test_an_answer_that_drips_may_take_longer_than_a_silence(line):
    """What is limited is the time without a byte."""
    line.fault(faults.slow(1000), method="getMe")
    began = trio.current_time()
    assert b"echo" in bytes(await line.api.request("getMe", {}, silence=0.15))
    assert trio.current_time() - began > 0.2


async def test_a_connection_that_is_reset_is_a_failure_on_the_way(nursery):
    """Whatever the system says of it, the token is not in it."""

    async def reset(stream):
        await stream.receive_some(10)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await trio.aclose_forcefully(stream)

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, reset, [listener])
    port = listener.socket.getsockname()[1]
    async with BotApi(f"http://127.0.0.1:{port}", "42:SECRET") as api:
        with trio.fail_after(5), pytest.raises(TransportError, match=r"^getMe: the connection broke$"):
            await api.request("getMe", {})
    nursery.cancel_scope.cancel()


async def test_more_requests_than_connections_are_all_answered(line):
    """A pool that is full makes them wait, and cancelled or broken ones give their place back."""
    line.fault(faults.hang(60), method="getMe", times=4)
    for _ in range(4):
        with trio.move_on_after(0.02):
            await line.api.request("getMe", {})
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(line.api.request, "getMe", {})


# -- what is obeyed ---------------------------------------------------------------------------------


async def test_a_429_waits_as_long_as_telegram_asks(line):
    """However often, and it uses up no tries."""
    for seconds in (7, 3, 1, 1, 1, 1, 1):
        line.fault(faults.too_many_requests(seconds))
    noted = Noted()
    await line.say("patience", patience=noted)
    assert noted.waits == [7, 3, 1, 1, 1, 1, 1]
    assert line.heard() == ["patience"]


async def test_a_429_without_patience_is_slept_out(line, monkeypatch):
    """By default the call itself waits."""
    monkeypatch.setattr(api_module, "SHORTEST_RETRY_AFTER", 0.01)
    line.fault(faults.error(429, "Too Many Requests", {"retry_after": 0.05}))
    began = trio.current_time()
    await line.say()
    assert trio.current_time() - began >= 0.05


async def test_whoever_has_no_patience_decides(line):
    """What the patience raises ends the call."""

    class None_(Waits):
        async def wait(self, seconds):
            raise ZeroDivisionError

    line.fault(faults.too_many_requests(7))
    with pytest.raises(ZeroDivisionError):
        await line.say(patience=None_())


async def test_a_try_that_may_have_succeeded_is_announced_before_it_is_repeated(line):
    """After a failure on the way and an error of the server's, once for each; not after a wait."""
    line.fault(faults.close_after())
    line.fault(faults.server_error())
    line.fault(faults.too_many_requests(1))
    line.fault(faults.close_before())
    announced: list[int] = []

    async def again():
        announced.append(len(line.world.calls_of("sendMessage")))

    await line.say("hello", patience=Noted(), again=again)
    assert announced == [1, 2, 4]
    assert line.heard() == ["hello", "hello"]


async def test_a_429_that_only_has_the_header_is_obeyed(line):
    """A proxy in between may have left no parameters."""
    body = b'{"ok":false,"error_code":429,"description":"Too Many Requests"}'
    line.fault(Fault(status=429, body=body, headers=(("Retry-After", "9"),)))
    noted = Noted()
    await line.say(patience=noted)
    assert noted.waits == [9]


@pytest.mark.parametrize(
    ("parameters", "seconds"),
    [
        ({}, 1),
        ({"retry_after": 7}, 7),
        ({"retry_after": -5}, 1),
        ({"retry_after": 0}, 1),
        ({"retry_after": 10**400}, 3600),
        ({"retry_after": -(10**400)}, 1),
        ({"retry_after": float("inf")}, 3600),
        ({"retry_after": float("nan")}, 1),
        ({"retry_after": True}, 1),
        ({"retry_after": "soon"}, 1),
        ({"retry_after": None}, 1),
    ],
)
def test_what_a_429_may_ask(parameters, seconds):
    """One second when it says nothing sensible, and at least; never more than an hour."""
    assert retry_after(BotApiError("m", 429, "", parameters)) == seconds


async def test_a_group_that_became_a_supergroup_is_followed(line):
    """The call goes to the new id, with all its other parameters."""
    group = line.world.add_group("G", [line.bot, line.alice])
    old = group.id
    new = group.upgrade(line.alice)
    await line.api.call("sendMessage", {"chat_id": old, "text": "moved"})
    assert [message["text"] for message in line.world.sent(line.bot, new)] == ["moved"]
    assert len(line.world.calls_of("sendMessage")) == 2


@pytest.fixture
async def groups(line):
    """A group that was upgraded, its supergroup, another group, and a message in each chat."""
    old_group, other = (line.world.add_group(name, [line.bot, line.alice]) for name in "GH")
    old = old_group.id
    new = old_group.upgrade(line.alice)
    ids = {}
    for chat in (new, other.id, line.alice.id):
        made = await line.api.call("sendMessage", {"chat_id": chat, "text": "x"})
        ids[chat] = msgspec.json.decode(made)["message_id"]
    line.world.calls.clear()
    return old, new, other.id, ids


@pytest.mark.parametrize("as_text", [False, True])
@pytest.mark.parametrize("into", ["group", "dialog"])
async def test_only_the_old_groups_id_is_replaced(line, groups, into, as_text):
    """The origin of a copy moved: it is taken from the new chat, and its destination stays."""
    old, new, other, ids = groups
    to = other if into == "group" else line.alice.id
    given = {"chat_id": to, "from_chat_id": str(old) if as_text else old, "message_id": ids[new]}
    await line.api.call("copyMessage", given)
    refused, made = line.world.calls_of("copyMessage")
    assert not refused.ok
    assert made.ok
    assert dict(made.params) == {**given, "from_chat_id": str(new) if as_text else new}
    asked = [call.params["chat_id"] for call in line.world.calls_of("getChatMember")]
    assert asked == ([other, old] if into == "group" else []), "only where two groups may be meant"
    assert given["from_chat_id"] in (old, str(old)), "the caller's parameters are left alone"


async def test_a_destination_that_moved_leaves_the_origin_alone(line, groups):
    """The other way round."""
    old, new, other, ids = groups
    await line.api.call("copyMessage", {"chat_id": old, "from_chat_id": other, "message_id": ids[other]})
    made = line.world.calls_of("copyMessage")[-1]
    assert (made.ok, made.params["chat_id"], made.params["from_chat_id"]) == (True, new, other)


async def test_both_groups_may_have_moved(line, groups):
    """Each is followed once."""
    old, new, _, ids = groups
    second = line.world.add_group("I", [line.bot, line.alice])
    second_old, second_new = second.id, second.upgrade(line.alice)
    await line.api.call("copyMessage", {"chat_id": second_old, "from_chat_id": old, "message_id": ids[new]})
    made = line.world.calls_of("copyMessage")[-1]
    assert (made.ok, made.params["chat_id"], made.params["from_chat_id"]) == (True, second_new, new)


async def test_the_group_that_a_refusal_is_about_is_the_one_with_that_new_id(line, groups):
    """Another group in the call has been upgraded as well, and stands before it."""
    old, new, _, ids = groups
    second = line.world.add_group("I", [line.bot, line.alice])
    second_old, second_new = second.id, second.upgrade(line.alice)
    error = faults.error(400, "Bad Request: upgraded", {"migrate_to_chat_id": new})
    line.fault(error, method="copyMessage")
    await line.api.call("copyMessage", {"chat_id": second_old, "from_chat_id": old, "message_id": ids[new]})
    made = line.world.calls_of("copyMessage")[-1]
    assert (made.ok, made.params["chat_id"], made.params["from_chat_id"]) == (True, second_new, new)


async def test_no_more_than_a_few_groups_are_asked_about(line, groups):
    """A call may name any number of them."""
    error = faults.error(400, "Bad Request: upgraded", {"migrate_to_chat_id": -1_001_234_567_890})
    line.fault(error)
    with pytest.raises(GroupUpgraded):
        await line.api.call("sendMessage", {"chat_id": -1, "x": [{"chat_id": -n} for n in range(2, 30)]})
    assert len(line.world.calls_of("getChatMember")) == 4


async def test_where_nobody_can_tell_which_group_moved_the_call_is_refused(line, groups):
    """A message in a wrong chat is worse than none."""
    _, _, other, ids = groups
    third = line.world.add_group("J", [line.bot, line.alice]).id
    params = {"chat_id": other, "from_chat_id": third, "message_id": ids[other]}
    error = faults.error(400, "Bad Request: upgraded", {"migrate_to_chat_id": -1_001_234_567_890})
    rule = line.fault(error, method="copyMessage", times=None)
    with pytest.raises(GroupUpgraded):
        await line.api.call("copyMessage", params)
    assert rule.hits == 1


@pytest.mark.parametrize(
    ("params", "chats"),
    [
        ({"chat_id": -5}, [-5]),
        ({"chat_id": "-5"}, [-5]),
        ({"chat_id": 7}, []),
        ({"chat_id": 7, "reply_parameters": '{"chat_id": -5, "message_id": 6}'}, []),
        ({"chat_id": 7, "reply_parameters": Reply(-5)}, [-5]),
        ({"chat_id": 7, "reply_parameters": [Reply(Id.GROUP)]}, [-5]),
        ({"chat_id": Id.GROUP}, [-5]),
        ({"chat_id": -1_001_234_567_890, "from_chat_id": -5}, [-5]),
        ({"chat_id": "@channel", "from_chat_id": 7}, []),
        ({"chat_id": -1_001_234_567_890}, []),
        ({"chat_id": 7, "from_chat_id": 8}, []),
        ({"chat_id": -5, "from_chat_id": -5}, [-5]),
        ({"chat_id": -5, "from_chat_id": "-6"}, [-5, -6]),
        ({"chat_id": 7, "reply_parameters": {"chat_id": -5, "message_id": -6}}, [-5]),
        ({"commands": [], "scope": {"type": "chat", "chat_id": -5}}, [-5]),
        ({"chat_id": 7, "sender_chat_id": -5}, [-5]),
        ({"chat_id": True, "x": [{"chat_id": None}], "user_id": -5}, []),
        ({"chat_id": "²", "from_chat_id": "-" + "9" * 5000}, []),
        ({}, []),
    ],
)
def test_the_old_group_is_known_by_the_range_of_its_id(params, chats):
    """Wherever a chat is named, in what way so ever; a user or a supergroup cannot be upgraded."""
    assert old_chats(params) == chats


def test_an_id_is_replaced_at_every_depth():
    """And only where it is a chat's."""
    given: dict[str, Any] = {
        "chat_id": 7,
        "user_id": -5,
        "text": "-5",
        "x": [({"chat_id": "-5"}, {"from_chat_id": -5, "n": -5})],
    }
    expected = [[{"chat_id": "-9"}, {"from_chat_id": -9, "n": -5}]]
    assert moved(given, -5, -9) == {"chat_id": 7, "user_id": -5, "text": "-5", "x": expected}
    assert given["x"][0][0] == {"chat_id": "-5"}
    objects = {"chat_id": Id.GROUP, "reply_parameters": Reply(-5)}
    assert moved(objects, -5, -9) == {"chat_id": -9, "reply_parameters": {"chat_id": -9, "message_id": 6}}


async def test_a_users_message_never_goes_to_a_group_that_was_upgraded(line):
    """Whatever the refusal was about: in a text of JSON no chat can be seen."""
    error = faults.error(400, "Bad Request: upgraded", {"migrate_to_chat_id": -1_001_234_567_890})
    rule = line.fault(error, times=None)
    reply = '{"chat_id": -5, "message_id": 6}'
    with pytest.raises(GroupUpgraded):
        await line.api.call("sendMessage", {"chat_id": line.alice.id, "text": "x", "reply_parameters": reply})
    assert rule.hits == 1


async def test_a_migration_to_itself_is_not_followed_for_ever(line):
    """A server that is confused gets two calls, not a storm."""
    error = faults.error(400, "Bad Request: group chat was upgraded", {"migrate_to_chat_id": -6})
    rule = line.fault(error, times=None)
    with pytest.raises(BotApiError):
        await line.api.call("sendMessage", {"chat_id": -5, "text": "x"})
    assert rule.hits == 2


async def test_a_migration_there_and_back_is_followed_once(line):
    """A to B to A is two calls, not a storm."""
    here, there = -5, -6
    for chat, other in ((here, there), (there, here)):
        error = faults.error(400, "upgraded", {"migrate_to_chat_id": other})
        line.world.faults.add(method="sendMessage", chat_id=chat, respond=error, times=None)
    with trio.fail_after(5), pytest.raises(BotApiError):
        await line.api.call("sendMessage", {"chat_id": here, "text": "x"})
    assert len(line.world.calls_of("sendMessage")) == 2


@pytest.mark.parametrize("new", [2**70, -(2**60), [1], {}, True, "x", 1.5])
async def test_a_strange_new_chat_is_not_followed(line, new):
    """It is a refusal like any other."""
    rule = line.fault(faults.error(400, "upgraded", {"migrate_to_chat_id": new}), times=None)
    with pytest.raises(BotApiError):
        await line.say()
    assert rule.hits == 1


async def test_large_parameters_and_descriptions_are_not_decoded(line):
    """Five million objects would hold up whoever reads them; what the answer says is read all the same."""
    large = b'{"retry_after":7,"x":[%s]}' % b",".join([b"{}"] * 10_000)
    body = b'{"ok":false,"error_code":400,"description":"%s","parameters":%s}' % (b"Bad" * 100_000, large)
    line.fault(Fault(status=400, body=body))
    with pytest.raises(BotApiError) as caught:
        await line.say()
    assert caught.value.error_code == 400
    assert caught.value.description.startswith("BadBad")
    assert len(caught.value.description) == answers.DESCRIPTION_LIMIT
    assert caught.value.parameters == {}


async def test_a_large_answer_is_decoded_beside_the_loop(line):
    """The loop's own thread is left to others."""
    at = []

    def read(data):
        at.append(threading.get_ident())
        return len(data)

    assert await decode(read, b"x" * decoding.LARGE) == decoding.LARGE
    assert await decode(read, b"x" * (decoding.LARGE + 1)) == decoding.LARGE + 1
    assert at[0] == threading.get_ident() != at[1]


@pytest.mark.parametrize("parameters", [b"null", b"[]", b"7", b'"x"'])
async def test_parameters_of_another_type_hide_no_refusal(line, parameters):
    """The caller gets Telegram's code and words."""
    body = b'{"ok":false,"error_code":400,"description":"Bad","parameters":%s}' % parameters
    line.fault(Fault(status=400, body=body))
    with pytest.raises(BotApiError, match="sendMessage: 400 Bad"):
        await line.say()


async def test_a_429_that_is_repeated_is_waited_out_longer_each_time(line, monkeypatch):
    """No server can make a call spin."""
    monkeypatch.setattr(api_module, "FIRST_PAUSE", 0.25)
    line.fault(faults.too_many_requests(0), times=7)
    noted = Noted()
    await line.say(patience=noted)
    assert noted.waits == [1, 1, 2, 4, 8, 8, 8]


async def test_redirects_are_not_followed(line):
    """The token is not carried to wherever an answer points."""
    target = f"{line.url}/bot{line.bot.token}/getMe"
    line.fault(Fault(status=307, body=b"", headers=(("Location", target),)), times=5)
    with pytest.raises(TransportError, match="HTTP 307"):
        await line.say()
    assert line.world.calls_of("getMe") == []


async def test_none_is_left_out(line):
    """A parameter that is None is not sent as null; false and zero are."""
    await line.say(text="x")
    await line.api.call(
        "sendMessage",
        {"chat_id": line.alice.id, "text": "y", "reply_markup": None, "disable_notification": False},
    )
    assert dict(line.world.calls[-1].params) == {
        "chat_id": line.alice.id,
        "text": "y",
        "disable_notification": False,
    }


async def test_words_of_any_language_arrive(line):
    """UTF-8, quotes and line breaks."""
    text = 'Привет, 世界 🙂 "quoted" \\ \n next'
    await line.say(text)
    assert line.heard() == [text]


# -- files ------------------------------------------------------------------------------------------


async def test_bytes_and_paths_are_uploaded(line, tmp_path):
    """As they are, with their names and kinds."""
    path = tmp_path / "relatório.pdf"
    path.write_bytes(b"%PDF" + bytes(range(256)))
    chat = {"chat_id": line.alice.id, "caption": "here", "disable_notification": True}
    await line.api.call("sendDocument", {**chat, "document": InputFile(path)})
    await line.api.call("sendPhoto", {**chat, "photo": InputFile(b"\x89PNG", "me.png")})
    document, photo = (line.world.calls_of(method)[0] for method in ("sendDocument", "sendPhoto"))
    assert document.files["document"].content == path.read_bytes()
    assert document.files["document"].filename == "relatório.pdf"
    assert document.files["document"].content_type == "application/pdf"
    assert document.params["disable_notification"] == "true"
    assert (photo.files["photo"].filename, photo.files["photo"].content) == ("me.png", b"\x89PNG")


async def test_files_inside_a_parameter_are_attached(line):
    """Each has a part of its own, named where it stood."""
    media = [
        {"type": "photo", "media": InputFile(b"one"), "caption": "1"},
        {"type": "photo", "media": InputFile(b"two")},
    ]
    await line.api.call("sendMediaGroup", {"chat_id": line.alice.id, "media": media})
    (call,) = line.world.calls_of("sendMediaGroup")
    assert call.ok
    assert sorted(upload.content for upload in call.files.values()) == [b"one", b"two"]


async def test_an_upload_that_fails_on_the_way_is_sent_again_whole(line):
    """Its content is there for each try."""
    line.fault(faults.close_before(), method="sendDocument", times=3)
    await line.api.call("sendDocument", {"chat_id": line.alice.id, "document": InputFile(b"abc" * 100_000)})
    assert line.world.calls_of("sendDocument")[-1].files["document"].content == b"abc" * 100_000


async def test_a_file_that_is_not_there_is_the_callers_mistake(line, tmp_path):
    """OSError, and no call is made."""
    with pytest.raises(FileNotFoundError):
        await line.api.call("sendDocument", {"document": InputFile(tmp_path / "nothing")})
    assert line.world.calls == []


async def test_what_a_user_sent_can_be_downloaded(line):
    """By the path that getFile tells; one that is wrong is an error."""
    line.alice.send_document(line.bot, b"\x00\x01" * 5000)
    updates = line.world.call(line.bot, "getUpdates")
    file_id = httpx.Response(200, content=bytes(updates[0])).json()["message"]["document"]["file_id"]
    told = httpx.Response(200, content=bytes(await line.api.call("getFile", {"file_id": file_id}))).json()
    assert await line.api.download(told["file_path"]) == b"\x00\x01" * 5000
    with pytest.raises(TransportError, match="download: HTTP 404"):
        await line.api.download("documents/none.bin")


@pytest.mark.parametrize(
    "path", ["../../bot1/getMe", "a\x00b", "a\nb", "//evil.example/x", "?q", "#f", "%zz"]
)
async def test_a_strange_path_is_not_fetched_from_elsewhere(line, path):
    """Whatever it holds, only this bot's files are asked for."""
    with pytest.raises(TransportError):
        await line.api.download(path)


def test_files_are_told_from_parameters():
    """Names of parts are unique, what is nested is replaced in place, the caller's objects are left alone."""
    one, two = InputFile(b"1"), InputFile("folder/b.txt", content_type="text/x")
    given: dict[str, Any] = {"a": one, "b": [{"c": two}, (one, 5)], "d": None, "e": 0}
    plain, files = split_files(given)
    assert plain == {"b": [{"c": "attach://file1"}, ["attach://file2", 5]], "e": 0}
    assert files == {"a": one, "file1": two, "file2": one}
    assert given["b"][0] == {"c": two}
    assert (two.filename, two.content_type, repr(two)) == ("b.txt", "text/x", "InputFile('b.txt')")
    assert (one.filename, one.content_type) == ("file", "application/octet-stream")
    assert form_fields({"n": 1, "s": "x", "l": [1, "é"], "t": True}) == {
        "n": "1",
        "s": "x",
        "l": '[1,"é"]',
        "t": "true",
    }


# -- the token --------------------------------------------------------------------------------------


async def test_the_token_is_on_the_wire_and_nowhere_else(line, caplog):
    """No exception, traceback, repr or log record shows it, at the most talkative level of every library."""
    caplog.set_level(logging.DEBUG)
    secret = line.bot.token.partition(":")[2]
    shown = []
    spoilt = [
        faults.server_error(),
        faults.unauthorized(),
        faults.proxy_page(),
        faults.broken_body(),
        faults.truncated_body(),
        faults.close_before(),
        faults.half_close(),
        faults.hang(60),
        Fault(status=302, body=b"", headers=(("Location", f"{line.url}/bot{line.bot.token}/getMe"),)),
        Fault(status=302, body=b"", headers=(("Location", "http://[::"),)),
        Fault(body=b"xx", headers=(("Content-Encoding", "gzip"),)),
    ]
    for fault in spoilt:
        line.fault(fault, method="getMe")
        with pytest.raises((BotApiError, TransportError)) as caught:
            await line.api.request("getMe", {}, silence=0.05)
        shown += traceback.format_exception(caught.value)
        shown += [repr(caught.value), str(caught.value), repr(vars(caught.value))]
    async with BotApi("http://127.0.0.1:9", line.bot.token) as nobody:
        for call in (nobody.request("getMe", {}), nobody.download("x")):
            with pytest.raises(TransportError) as caught:
                await call
            shown += traceback.format_exception(caught.value)
    with pytest.raises(TransportError) as caught:
        await line.api.download("nothing")
    shown += traceback.format_exception(caught.value)
    shown += [repr(line.api), repr(vars(line.api)), repr(line.api._wire)]
    shown += [f"{record.name} {record.getMessage()} {record.args!r}" for record in caplog.records]
    assert not any(record.name.startswith("http") for record in caplog.records)
    assert [text for text in shown if secret in text] == []
    assert line.world.calls[-1].bot_id == line.bot.id


def test_the_wire_puts_the_token_in_and_changes_nothing_else():
    """Paths, queries and a base with a path of its own; any other address is refused."""
    wire = Wire("http://host:81/base", 42, "42:SECRET", connections=1)
    for shown, sent in (
        ("bot42/getMe?a=%2F&b=bot42", b"/base/bot42:SECRET/getMe?a=%2F&b=bot42"),
        ("file/bot42/photos/f%20x.jpg", b"/base/file/bot42:SECRET/photos/f%20x.jpg"),
        ("file/bot42/photos/f x.jpg", b"/base/file/bot42:SECRET/photos/f%20x.jpg"),
        ("bot42/get\u00e9", b"/base/bot42:SECRET/get%C3%A9"),
    ):
        assert wire.target(f"http://host:81/base/{shown}") == sent
    for wrong in (
        "host:81/bot42/getMe",
        "host:81/base/bot421/getMe",
        "host:81/base/bot42",
        "host:81/base/file/bot4/x",
        "host:82/base/bot42/getMe",
        "elsewhere:81/base/bot42/getMe",
        "host:81/base/bot42/../bot1/getMe",
    ):
        with pytest.raises(httpx.UnsupportedProtocol):
            wire.target(f"http://{wrong}")


@pytest.mark.parametrize("method", ["a\r\nx: y", "../bot1/getMe", "a\x00b"])
async def test_a_strange_method_is_no_other_request(line, method):
    """Nothing that a handler calls adds a line to a head, or is another bot's."""
    with pytest.raises(TransportError):
        await line.api.request(method, {})
    assert line.world.calls == []


async def test_a_name_that_is_none_is_told_in_the_systems_words(line):
    """Without the address twice, and without a traceback of the resolver's."""
    async with BotApi("http://no-such-host.invalid", line.bot.token) as api:
        with pytest.raises(
            TransportError, match=r"^getMe: cannot connect to no-such-host\.invalid:80: \w.*\w$"
        ):
            await api.request("getMe", {})


async def test_a_connection_that_ended_meanwhile_is_not_used(line):
    """The next call gets a new one, and sees no failure."""
    pool: Any = line.api._wire._pool
    await line.api.request("getMe", {})
    (idle,) = pool._idle
    idle.stream.socket.shutdown(socket.SHUT_RDWR)
    await line.api.request("getMe", {})
    (kept,) = pool._idle
    assert kept is not idle


async def test_a_connection_that_broke_is_not_kept(line):
    """One that is whole is used again and again."""
    pool: Any = line.api._wire._pool
    line.fault(faults.truncated_body(), method="getMe")
    with pytest.raises(TransportError):
        await line.api.request("getMe", {})
    assert pool._idle == []
    await line.api.request("getMe", {})
    (kept,) = pool._idle
    for _ in range(3):
        await line.api.request("getMe", {})
    assert pool._idle == [kept]
