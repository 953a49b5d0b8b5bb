"""What pages of operators need of the HTTP desk: to work side by side, to wait, to read, to see files."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing
from handoff_scene import MemoryStore  # type: ignore[import-not-found] # it lies beside
from quart_trio import QuartTrio
from trioworkers_plugins import handoff
from trioworkers_plugins.handoff.bulletin import MOST_WAITING, Bulletin
from trioworkers_plugins.handoff.media import LARGEST, PLAIN, STALLED, MediaError, headers_of, type_of
from trioworkers_plugins.handoff.outbox import Stamps
from trioworkers_plugins.handoff.pieces import Line, Place
from trioworkers_plugins.handoff.route import running
from trioworkers_plugins.handoff.transcript import Transcripts

from trioworkers.testing import faults

JPEG = b"\xff\xd8\xff\xe0" + bytes(range(200))
END = "9" * 17


class Client:
    """Asks the routes, with JSON."""

    def __init__(self, desk):
        self.app = QuartTrio("test")
        handoff.trioworkers_web(app=self.app, daemon=desk, plugin=desk.plugin)
        self.http = self.app.test_client()

    async def get(self, path, status=200):
        response = await self.http.get(f"/api/handoffs{path}")
        answer = await response.get_json()
        assert response.status_code == status, answer
        return answer

    async def post(self, path, body=None, status=200):
        response = await self.http.post(f"/api/handoffs{path}", json=body or {})
        answer = await response.get_json()
        assert response.status_code == status, answer
        return answer


@pytest.fixture
async def http(make_desk):
    desk = await make_desk(group=None)
    desk.alice.start(desk.support)
    await desk.settle()
    return desk, Client(desk), f"support:{desk.alice.id}"


# -- several operators -------------------------------------------------------------------------------


async def test_of_two_who_take_a_dialog_one_gets_it(http, autojump_clock):
    """The other is told who has it; whoever asks again for what is his, has it."""
    desk, client, id_ = http
    desk.fence_time = 1.0
    await client.post("", {"bot": "support", "chat_id": desk.alice.id})
    answers = []

    async def take(name):
        body = {"operator": name, "expected": ""}
        response = await client.http.post(f"/api/handoffs/{id_}/take", json=body)
        answers.append((response.status_code, name, await response.get_json()))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take, "Olga")
        nursery.start_soon(take, "Anna")
    (_, winner, _), (status, loser, refusal) = sorted(answers, key=lambda one: one[0])
    assert (status, refusal["error"]) == (409, f"{winner} has this dialog now")
    await client.post(f"/{id_}/take", {"operator": winner, "expected": ""})
    taken = await client.post(f"/{id_}/take", {"operator": loser, "expected": f"api:{winner}"})
    assert taken["name"] == loser
    refusal = await client.post(f"/{id_}/take", {"operator": "Zoe", "expected": f"api:{winner}"}, 409)
    assert refusal["error"] == f"{loser} has this dialog now"


async def test_who_lost_a_dialog_neither_speaks_in_it_nor_closes_it(http, autojump_clock):
    """Where another has it, nobody has, or the bot has it again."""
    desk, client, id_ = http
    mine = {"expected": "api:Olga"}
    say = {"operator": "Olga", "text": "hello", **mine}
    await client.post(f"/{id_}/take", {"operator": "Olga"})
    await client.post(f"/{id_}/take", {"operator": "Anna", "expected": "api:Olga"})
    for path, body in ((f"/{id_}/say", say), (f"/{id_}/release", mine)):
        assert (await client.post(path, body, 409))["error"] == "Anna has this dialog now"
    await client.post(f"/{id_}/release", {"expected": "api:Anna"})
    await desk.settle()
    assert "take it first" in (await client.post(f"/{id_}/say", say, 409))["error"]
    await client.post(f"/{id_}/release", mine, 409)
    await client.post("", {"bot": "support", "chat_id": desk.alice.id})
    await client.post(f"/{id_}/say", say, 409)  # it waits, and these words were meant for what was before
    assert desk.to_alice() == ["bot: /start"]


async def test_words_that_are_sent_twice_are_said_once(http, autojump_clock):
    """Who did not see the answer sends them again under their key; also while they wait."""
    desk, client, id_ = http
    await client.post(f"/{id_}/take", {"operator": "Olga"})
    say = {"operator": "Olga", "text": "hello", "key": "one", "expected": "api:Olga"}
    assert await client.post(f"/{id_}/say", say) == {"delivered": True, "reason": None}
    again = {"delivered": None, "reason": None, "repeated": True}
    assert await client.post(f"/{id_}/say", say) == again
    desk.world.faults.add(respond=faults.server_error(), method="sendMessage", times=6)
    say = {**say, "key": "two"}
    assert (await client.post(f"/{id_}/say", say))["delivered"] is None
    assert (await client.get(f"/{id_}"))["sending"] == ["say.two"]
    assert await client.post(f"/{id_}/say", say) == again
    await trio.sleep(60)
    assert await client.post(f"/{id_}/say", say) == again
    assert desk.to_alice() == ["bot: /start", "hello", "hello"]
    found = await client.get(f"/{id_}")
    assert [line["source"] for line in found["transcript"] if line["who"] == "operator"] == [
        "say.one",
        "say.two",
    ]
    assert found["sending"] == []
    assert [action for action, _ in desk.actions_done].count("handoff.say") == 2


async def test_what_was_not_delivered_is_named_in_the_transcript(http, autojump_clock):
    """By the source of the line that it is about."""
    desk, client, id_ = http
    await client.post(f"/{id_}/take", {"operator": "Olga"})
    desk.alice.block(desk.support)
    await desk.settle()
    await client.post(f"/{id_}/say", {"operator": "Olga", "text": "hello", "key": "one"})
    lines = (await client.get(f"/{id_}"))["transcript"]
    (failed,) = [line for line in lines if line["kind"] == "undelivered"]
    assert (failed["source"], failed["text"]) == ("say.one", "the user has blocked the bot")


# -- waiting -----------------------------------------------------------------------------------------


async def test_a_page_waits_until_something_happens(http, autojump_clock):
    """A new dialog, a message that is durable by then, a state; else it is answered after its time."""
    desk, client, id_ = http
    version = (await client.get(""))["version"]

    async def next_(do, *args):
        nonlocal version
        began, found = trio.current_time(), {}

        async def wait():
            found.update(await client.get(f"?since={version}&wait=20"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            await do(*args)
        version = found["version"]
        return found["handoffs"], trio.current_time() - began

    rows, took = await next_(client.post, "", {"bot": "support", "chat_id": desk.alice.id})
    assert ([row["state"] for row in rows], took < 5) == (["queued"], True)
    await desk.settle()
    version = (await client.get(""))["version"]
    (row,), took = await next_(desk.user, "hello")
    assert (row["changed"], took < 5) == (version, True)
    assert (await client.get(f"/{id_}"))["transcript"][-1]["text"] == "hello"
    await trio.sleep(60)
    version = (await client.get(""))["version"]
    _, took = await next_(trio.sleep, 0)
    assert took == pytest.approx(20)


async def test_a_page_of_another_node_is_not_waited_with(http, autojump_clock):
    """That node has waited for a change, and hears of no other answer for long."""
    desk, client, _ = http

    async def none(*_):
        await trio.lowlevel.checkpoint()

    desk.others = SimpleNamespace(is_alone=False, is_asking=True, all_rows=none)
    version = (await client.get(""))["version"]
    began = trio.current_time()
    await client.get(f"?since={version}&wait=20")
    assert trio.current_time() - began < 1


async def test_no_page_holds_up_the_end_of_the_service(http, autojump_clock):
    """It is answered at once, with what there is to say."""
    desk, client, _ = http
    version = (await client.get(""))["version"]
    statuses = []

    async def wait():
        response = await client.http.get(f"/api/handoffs?since={version}&wait=25")
        statuses.append(response.status_code)

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        await desk.kill()
    assert (statuses, trio.current_time() - began < 5) == ([503], True)


async def test_only_so_many_wait(autojump_clock):
    """Who comes then is answered at once."""
    bulletin = Bulletin(lambda: 1.0)
    async with trio.open_nursery() as nursery:
        for _ in range(MOST_WAITING):
            nursery.start_soon(bulletin.wait, bulletin.number, 10.0)
        await trio.testing.wait_all_tasks_blocked()
        began = trio.current_time()
        await bulletin.wait(bulletin.number, 10.0)
        assert trio.current_time() == began
        bulletin.note(Place(1, 2))
    assert trio.current_time() - began < 1


async def test_a_version_of_a_former_run_is_not_waited_with(make_desk, autojump_clock):
    """Versions rise over restarts, so that a page that stayed open sees what has changed."""
    assert Bulletin(lambda: 1_700_000_001.0).number > Bulletin(lambda: 1_700_000_000.0).number
    desk = await make_desk(group=None)
    client = Client(desk)
    began = trio.current_time()
    await client.get("?since=5&wait=20")
    assert trio.current_time() - began < 5


async def test_a_page_never_lacks_a_line_of_its_version(http, autojump_clock, monkeypatch):
    """A line that is written while a page is read raises the version beyond that of the page."""
    desk, client, id_ = http
    await client.post("", {"bot": "support", "chat_id": desk.alice.id})
    core = desk.core
    transcripts = core.transcripts
    for query, way in (("?after=", "read"), (f"?before={END}", "read_back")):
        read = getattr(transcripts, way)

        async def overtaken(*given, read=read):
            lines = await read(*given)
            await client.post(f"/{id_}/note", {"operator": "Olga", "text": "meanwhile"})
            return lines

        with monkeypatch.context() as patch:
            patch.setattr(transcripts, way, overtaken)
            page = await client.get(f"/{id_}{query}")
        now = await client.get(f"/{id_}{query}")
        assert len(now["transcript"]) == len(page["transcript"]) + 1
        assert (now["version"] > page["version"], now["changed"] > page["changed"]) == (True, True)


async def test_a_dialog_that_has_ended_leaves_no_number_behind(http, autojump_clock):
    """Else a fleet of many users grows for ever."""
    desk, client, id_ = http
    await client.post("", {"bot": "support", "chat_id": desk.alice.id})
    await client.post(f"/{id_}/release")
    await desk.settle()
    assert (await client.get(f"/{id_}"))["state"] == "bot"
    core = desk.core
    assert core.bulletin.of(Place(desk.support.id, desk.alice.id)) == 0


# -- reading -----------------------------------------------------------------------------------------


async def test_a_transcript_is_read_from_its_end(http, autojump_clock):
    """Page by page; nothing is left out, nothing comes twice."""
    desk, client, id_ = http
    await client.post("", {"bot": "support", "chat_id": desk.alice.id})
    for number in range(7):
        await desk.user(f"line {number}")
    texts: list[Any] = []
    before = END
    while before is not None:
        page = await client.get(f"/{id_}?limit=2&before={before}")
        assert len(page["transcript"]) <= 2
        texts[:0] = [line.get("text") for line in page["transcript"] if line["who"] == "user"]
        before = page["previous"]
    assert texts == [f"line {number}" for number in range(7)]
    await client.get("/support:5?before=" + END, 404)
    await client.get(f"/{id_}?before=x", 400)


async def test_a_long_silence_is_read_over(autojump_clock):
    """The transcript of weeks is read back without reading all of it at once."""
    now = [1_700_000_000.0]
    store: Any = MemoryStore()
    transcripts = Transcripts(store, Stamps(lambda: now[0]), lambda: 30 * 86400.0)
    place = Place(1, 2)
    times = [0, 1, 2, 86400, 86401, 9 * 86400, 9 * 86400 + 3]
    for time in times:
        now[0] = 1_700_000_000.0 + time
        await transcripts.write(place, Line(float(time), "user", 1, "text"))
    found: list[float] = []
    before = END
    while page := await transcripts.read_back(place, before, 2):
        assert len(page) <= 2
        found[:0] = [line.at for _, line in page]
        before = page[0][0]
    assert found == times


async def test_the_user_is_named(http, autojump_clock):
    """Once Telegram was asked; where it does not know, the number has to do."""
    desk, client, id_ = http
    await client.post("", {"bot": "support", "chat_id": desk.alice.id})
    await client.get("")
    await desk.settle()
    (row,) = (await client.get(""))["handoffs"]
    assert row["user"] == {"name": "Alice", "username": "alice_w"}
    assert (await client.get(f"/{id_}"))["user"]["name"] == "Alice"
    assert len(desk.world.calls_of("getChat")) == 1
    await client.post("", {"bot": "support", "chat_id": 999})
    await client.get("")
    await desk.settle()
    assert [row["user"] for row in (await client.get(""))["handoffs"]][1] is None


# -- files -------------------------------------------------------------------------------------------


async def media_of(desk, client, id_):
    await client.post("", {"bot": "support", "chat_id": desk.alice.id})
    await desk.settle()
    desk.alice.send_photo(desk.support, JPEG, "look")
    await desk.settle()
    line = (await client.get(f"/{id_}"))["transcript"][-1]
    assert (line["kind"], line["text"], line["media"]["kind"]) == ("photo", "look", "photo")
    assert not {"file_id", "by"} & line["media"].keys()
    return f"/api/handoffs/{id_}/media/{line['stamp']}"


async def test_a_photo_is_shown(http, autojump_clock):
    """As what its bytes say that it is; nothing keeps it, and no other site may use it."""
    desk, client, id_ = http
    response = await client.http.get(await media_of(desk, client, id_))
    assert (response.status_code, await response.get_data()) == (200, JPEG)
    headers = response.headers
    assert headers["Content-Type"] == "image/jpeg"
    assert headers["Content-Disposition"].startswith("inline; filename=")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in headers["Content-Security-Policy"]
    assert "no-store" in headers["Cache-Control"]


async def test_a_page_that_a_stranger_has_sent_does_not_run(http, autojump_clock):
    """Whatever it says that it is: it is a download without a type."""
    desk, client, id_ = http
    await client.post("", {"bot": "support", "chat_id": desk.alice.id})
    await desk.settle()
    for name, type_ in (("a.html", "text/html"), ("b.svg", "image/svg+xml"), ("c.jpg", "image/jpeg")):
        page = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
        desk.alice.send_document(desk.support, page, filename=name, content_type=type_)
        await desk.settle()
        line = (await client.get(f"/{id_}"))["transcript"][-1]
        response = await client.http.get(f"/api/handoffs/{id_}/media/{line['stamp']}")
        assert response.headers["Content-Type"] == "application/octet-stream"
        assert response.headers["Content-Disposition"].startswith(f'attachment; filename="{name}"')
        assert await response.get_data() == page


async def test_what_cannot_be_fetched_is_told(http, autojump_clock):
    """A line without a file, an id that Telegram does not know any more, a server that fails."""
    desk, client, id_ = http
    path = await media_of(desk, client, id_)
    first = (await client.get(f"/{id_}"))["transcript"][0]["stamp"]
    for stamp in (first, END, "5", "x"):
        response = await client.http.get(f"/api/handoffs/{id_}/media/{stamp}")
        assert response.status_code == 404
    desk.world.faults.add(respond=faults.server_error(), method="download", times=1)
    response = await client.http.get(path)
    assert (response.status_code, (await response.get_json())["error"]) == (
        502,
        "the file cannot be fetched from Telegram",
    )
    desk.world.faults.add(
        respond=faults.error(400, "Bad Request: file is too big"), method="getFile", times=1
    )
    assert (await client.http.get(path)).status_code == 413
    desk.world.faults.add(respond=faults.error(400, "Bad Request: wrong file_id"), method="getFile", times=1)
    assert (await client.http.get(path)).status_code == 404
    assert (await client.http.get(path)).status_code == 200


async def test_a_file_that_nobody_reads_is_given_up(http, autojump_clock):
    """Its place is free again: two files of a bot are fetched at a time."""
    desk, client, id_ = http
    stamp = (await media_of(desk, client, id_)).rpartition("/")[2]
    media: Any = running(desk.plugin).media
    place = Place(desk.support.id, desk.alice.id)
    for _ in range(2):
        await media.open(place, stamp)
    with pytest.raises(MediaError) as caught:
        await media.open(place, stamp)
    assert caught.value.status == 504
    await trio.sleep(STALLED)
    file = await media.open(place, stamp)
    assert b"".join([part async for part in file]) == JPEG


@pytest.mark.parametrize(
    ("head", "type_"),
    [
        (b"\x89PNG\r\n\x1a\n....", "image/png"),
        (b"GIF89a....", "image/gif"),
        (b"RIFF....WEBPVP8 ", "image/webp"),
        (b"RIFF....WAVEfmt ", PLAIN),
        (b"\x00\x00\x00 ftypisom", "video/mp4"),
        (b"\x00\x00\x00 ftypM4A ", "audio/mp4"),
        (b"OggS............", "audio/ogg"),
        (b"%PDF-1.7", PLAIN),
        (b"<html>", PLAIN),
        (b"", PLAIN),
    ],
)
def test_the_type_is_what_the_first_bytes_say(head, type_):
    """And nothing but images, sounds and videos is shown."""
    assert type_of(head) == type_
    headers = headers_of(head, {"kind": "document"}, "7")
    assert headers["Content-Disposition"].startswith("attachment" if type_ == PLAIN else "inline")


def test_a_file_name_cannot_break_out_of_its_header():
    """It is quoted, whatever a stranger has called the file."""
    name: Any = 'a"; filename=evil.html\r\nX: y\u202e.exe'
    headers = headers_of(b"", {"kind": "document", "name": name}, "7")
    disposition = headers["Content-Disposition"]
    assert disposition.isascii()
    assert disposition.isprintable()
    assert disposition.count('"') == 2
    assert disposition.count("filename=") == 1
    assert LARGEST == 20 * 2**20
