"""What a probe tells, and what that does: pure decisions, and the endpoint on real sockets."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import msgspec
import pytest
import trio
import trio.testing
from test_endpoint import LOCAL, TIME, Program, Scene, scene_of, until  # type: ignore[import-not-found]

from trioworkers.botapi.errors import BotApiError
from trioworkers.gateway import pace
from trioworkers.gateway import probe as probe_module
from trioworkers.gateway.desk import Desk, Poll
from trioworkers.gateway.handling import Handling
from trioworkers.gateway.local_bot import LAST_CALLS
from trioworkers.gateway.pace import AHEAD, Pace
from trioworkers.gateway.probe import MOST_LINE, End, outcome_of
from trioworkers.gateway.promise import Greeting, promise_of, read_greeting
from trioworkers.gateway.update_ids import UpdateIds
from trioworkers.protocol.frames import Recorded

AIOGRAM = "X-Trioworkers-Probe: aiogram/3.31.0\r\n"
SERIAL = "X-Trioworkers-Probe: aiogram/3.31.0; at-once=1\r\n"
JSON = "Content-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("field", "greeting"),
    [
        (b"aiogram/3.31.0", Greeting("aiogram", "3.31.0")),
        (b"aiogram/3.31.0; at-once=1", Greeting("aiogram", "3.31.0", at_once=1)),
        (b"aiogram/3.31.0;at-once=16 ; more=x", Greeting("aiogram", "3.31.0", at_once=16)),
        (b"aiogram/3.31.0; at-once=0", Greeting("aiogram", "3.31.0", at_once=1)),
        (b"aiogram/3.31.0; at-once=many", Greeting("aiogram", "3.31.0")),
        (b"@grammyjs/runner/2.0.3", Greeting("@grammyjs/runner", "2.0.3")),
        (b"telegraf/5.0.0-beta.1; unknown", Greeting("telegraf", "5.0.0-beta.1", is_known=False)),
        (b"", None),
        (b"aiogram", None),
        (b"aiogram/", None),
        (b"aiogram/3 1", None),
        (b"a\xff/1", None),
        (b"a" * 200 + b"/1", None),
    ],
)
def test_a_greeting_says_who_polls(field, greeting):
    """What is not understood is nobody."""
    assert read_greeting(field) == greeting


def test_a_promise_is_what_is_asked_for_as_far_as_the_probe_keeps_it():
    """What it does not keep becomes the least."""
    known, unknown = Greeting("a", "1"), Greeting("a", "2", is_known=False)
    assert [promise_of(asked, known) for asked in ("auto", "probe", "poll", "receipt")] == [
        "probe",
        "probe",
        "poll",
        "receipt",
    ]
    for greeting in (unknown, None):
        assert [promise_of(asked, greeting) for asked in ("auto", "probe", "poll", "receipt")] == [
            "receipt",
            "receipt",
            "poll",
            "receipt",
        ]


def test_an_end_means_what_the_exception_means_in_a_handler():
    """A refusal that cannot heal is the last; what Telegram asked to wait counts as no attempt."""
    blocked = BotApiError("sendMessage", 403, "Forbidden: bot was blocked by the user")
    passing = BotApiError("sendPhoto", 400, "Bad Request: failed to get HTTP URL content")
    assert outcome_of(End(1), None).result == "done"
    raised = outcome_of(End(1, "KeyError\n at bot.py:1 in x"), None)
    assert (raised.result, raised.error, raised.counted) == ("retry", "KeyError at bot.py:1 in x", True)
    waits = outcome_of(End(1, "RetryAfter", 429, 7.0), None)
    assert (waits.result, waits.after, waits.counted) == ("retry", 7.0, False)
    refused = outcome_of(End(1, "Forbidden at bot.py:1 in x", 403), blocked)
    assert (refused.result, refused.error) == ("dead", "Forbidden at bot.py:1 in x")
    assert refused.words == "sendMessage: 403 Forbidden: bot was blocked by the user"
    assert outcome_of(End(1, "Forbidden", 403), None).result == "dead"
    assert outcome_of(End(1, "BadRequest", 400), passing).result == "retry"
    assert outcome_of(End(1, "ServerError", 502), None).result == "retry"
    assert len(outcome_of(End(1, "x" * 9000), None).error) == 2000


@pytest.fixture
def desk(tmp_path):
    """The desk of one process."""
    return Desk(UpdateIds(tmp_path / "ids.json").of(7))


def test_under_probe_a_poll_confirms_receipt_and_an_end_ends(desk):
    """What was not received is given again; what was received and has no end stays in hand."""
    desk.poll(Poll(timeout=20), "probe")
    assert [desk.give(item) for item in "abc"] == [1, 2, 3]
    verdict = desk.poll(Poll(offset=3, timeout=20), "probe")
    assert (verdict.confirmed, verdict.again, len(desk)) == ([], [(3, "c")], 3)
    assert desk.poll(Poll(timeout=20), "probe").again == [(3, "c")], "an offset that goes back asks for none"
    assert desk.find(2) == "b"
    assert (desk.end(2), desk.end(2), desk.find(2), desk.end(99)) == ("b", None, None, None)
    farewell = desk.poll(Poll(offset=4), "probe")
    assert (farewell.is_farewell, farewell.confirmed, len(desk)) == (True, [], 2)
    assert desk.take_back() == ["a", "c"]


def test_what_was_received_is_confirmed_where_the_promise_becomes_another(desk):
    """The setting may change while a process runs."""
    desk.poll(Poll(timeout=20), "probe")
    desk.give("a")
    desk.poll(Poll(offset=2, timeout=20), "probe")
    assert desk.poll(Poll(offset=2, timeout=20), "receipt").confirmed == ["a"]


class Recorder:
    """Notes what is recorded."""

    def __init__(self) -> None:
        self.told: list[tuple[str, ...]] = []

    async def begin(self, key: str) -> None:
        await trio.lowlevel.checkpoint()
        self.told.append(("begin", key))

    def made(self, key: str, answer: msgspec.Raw) -> None:
        self.told.append(("made", key, bytes(answer).decode()))

    def not_made(self, key: str) -> None:
        self.told.append(("not made", key))

    async def flush(self) -> None:
        await trio.lowlevel.checkpoint()

    def recorded(self) -> list[Recorded]:
        """What another handling is given of it."""
        found: dict[str, str] = {}
        for what, key, *answer in self.told:
            if what == "not made":
                found.pop(key)
            else:
                found[key] = answer[0] if answer else found.get(key, "")
        return [Recorded(key, bool(answer), msgspec.Raw(answer.encode())) for key, answer in found.items()]


async def begin(scene: Scene, head: str = AIOGRAM, **more: Any) -> tuple[Program, Recorder]:
    """Let a program poll, and be given an update; return its connection, and where its calls are recorded."""
    recorder = Recorder()
    program = await scene.connect()
    await program.ask("getUpdates", b'{"timeout": 20}', head=head)
    await until(lambda: scene.bot.waits)
    scene.hands.add(70)
    scene.hands.given[-1].handling = Handling([], recorder, **more)
    assert (await program.answer())[0] == 200
    return program, recorder


async def tell(scene: Scene, *lines: bytes) -> Program:
    """Open a probe's connection, and write to it; each of these is a chunk."""
    probe = await scene.connect()
    await probe.send(
        f"POST /bot{LOCAL}/trioworkersProbe HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    )
    for line in lines:
        await probe.send(b"%x\r\n%s\r\n" % (len(line), line))
    return probe


async def test_a_probe_tells_ends_and_polls_confirm_nothing(tmp_path):
    """However the lines are cut; an end that comes twice, or of what nobody has, is passed over."""
    async with scene_of(tmp_path, acknowledge="auto") as scene:
        program, _ = await begin(scene)
        await program.ask("getUpdates", b'{"timeout": 20, "offset": 2}', head=AIOGRAM)
        await until(lambda: scene.bot.waits)
        assert (scene.bot.in_hand, scene.hands.confirmed) == (1, [])
        await tell(scene, b'{"id":9}\n{"i', b'd":1,"error":"ValueError at b.py:1 in x"}\n{"id":1}\n')
        await until(lambda: not scene.bot.in_hand)
        ((body, outcome),) = scene.hands.ended
        assert (body, outcome.result) == (b'{"update_id":70,"n":70}', "retry")
        assert outcome.error == "ValueError at b.py:1 in x"
        assert not scene.told
        assert not scene.faults
        assert scene.bot.acknowledged_by == "probe"


def begun(scene: Scene) -> list[bool]:
    """Which of those that were given are handled now, or were."""
    return [item.began_at is not None for item in scene.hands.given]


async def test_a_library_that_handles_one_at_a_time_is_given_as_many_as_it_handles_in_a_moment(
    tmp_path, monkeypatch
):
    """One at first; then several with one answer, which begin one after the other."""
    monkeypatch.setattr(pace, "AHEAD", TIME)
    async with scene_of(tmp_path, acknowledge="auto") as scene:
        program, _ = await begin(scene, SERIAL)
        await program.ask("getUpdates", b'{"timeout": 20, "offset": 2}', head=SERIAL)
        await until(lambda: scene.bot.waits)
        scene.hands.add(71, 72, 73)
        assert len(scene.hands.waiting) == 3, "how long it takes is not known yet"
        probe = await tell(scene, b'{"id":1}\n')
        given = json.loads((await program.answer())[1])["result"]
        assert [update["n"] for update in given] == [71, 72, 73]
        assert begun(scene) == [True, True, False, False]
        await probe.send(b'9\r\n{"id":2}\n\r\n')
        await until(lambda: begun(scene) == [True, True, True, False])
        assert scene.bot.handling_of(b"4") is None
        assert begun(scene)[-1], "its call says so"


async def test_a_library_that_is_slow_is_given_one_at_a_time(tmp_path):
    """What waits here can be given to the next process, and is nobody's to wait for."""
    async with scene_of(tmp_path, acknowledge="auto") as scene:
        program, _ = await begin(scene, SERIAL)
        scene.hands.given[0].began_at = trio.current_time() - 1.2 * AHEAD
        await program.ask("getUpdates", b'{"timeout": 20, "offset": 2}', head=SERIAL)
        await until(lambda: scene.bot.waits)
        scene.hands.add(71, 72)
        await tell(scene, b'{"id":1}\n')
        assert json.loads((await program.answer())[1])["result"] == [{"update_id": 2, "n": 71}]
        assert len(scene.hands.waiting) == 1


async def test_a_poll_ahead_is_answered_when_what_the_library_has_is_begun(tmp_path, monkeypatch):
    """python-telegram-bot polls while it handles: an answer for each update would cost it a poll for each."""
    monkeypatch.setattr(pace, "AHEAD", TIME)
    async with scene_of(tmp_path, acknowledge="auto", most=3) as scene:
        program, _ = await begin(scene, SERIAL)
        await program.ask("getUpdates", b'{"timeout": 20, "offset": 2}', head=SERIAL)
        await until(lambda: scene.bot.waits)
        scene.hands.add(*range(71, 78))
        probe = await tell(scene, b'{"id":1}\n')
        assert len(json.loads((await program.answer())[1])["result"]) == 3
        await program.ask("getUpdates", b'{"timeout": 20, "offset": 5}', head=SERIAL)
        await until(lambda: scene.bot.waits)
        await probe.send(b'9\r\n{"id":2}\n\r\n')
        await until(lambda: len(scene.hands.given) == 5)
        assert scene.bot.waits, "it has two more, of which one is not begun"
        await probe.send(b'9\r\n{"id":3}\n\r\n')
        assert len(json.loads((await program.answer())[1])["result"]) == 2


def test_a_pace_follows_the_longest_handlings_of_late():
    """A slow one counts at once, and for less with each further one."""
    one = Pace()
    assert (one.most(1, 16), one.most(4, 2)) == (1, 2)
    one.ended(0.0)
    assert (one.most(1, 16), one.most(1, 0)) == (16, 0)
    one.ended(2 * AHEAD)
    assert (one.most(1, 16), one.most(4, 16), one.most(40, 16)) == (1, 4, 16)
    for _ in range(4):
        one.ended(AHEAD / 100)
    assert one.most(1, 16) == 1
    for _ in range(20):
        one.ended(AHEAD / 100)
    assert one.most(1, 16) == 16
    one.ended(AHEAD / 5)
    assert one.most(1, 16) == 5


@pytest.mark.parametrize(
    "line", [b"rubbish\n", b"[1]\n", b'{"id":"1"}\n', b'{"id":1,"after":-1}\n', b"x" * (MOST_LINE + 1)]
)
async def test_what_is_no_end_closes_the_connection(tmp_path, line):
    """And settles nothing."""
    async with scene_of(tmp_path, acknowledge="auto") as scene:
        await begin(scene)
        probe = await tell(scene, line)
        assert (await probe.answer())[0] == 400
        assert await probe.ends()
        assert (scene.bot.in_hand, scene.hands.ended, scene.faults) == (1, [], [])


@pytest.mark.parametrize(
    ("kind", "body", "other"),
    [
        (JSON, b'{"chat_id":5,"text":"hi"}', b'{"chat_id":5,"text":"ho"}'),
        ("Content-Type: application/x-www-form-urlencoded\r\n", b"chat_id=5&text=hi", b"chat_id=5&text=ho"),
    ],
    ids=["json", "form"],
)
async def test_a_call_of_a_handling_is_recorded_and_not_made_twice(tmp_path, kind, body, other):
    """With the keys of native handlers; in another handling, the same call has the recorded answer."""
    async with scene_of(tmp_path, acknowledge="auto") as scene:
        program, recorder = await begin(scene)
        mine = kind + "X-Trioworkers-Update: 1\r\nAccept-Encoding: gzip\r\n"
        status, first = await program.call("sendMessage", body, head=mine)
        assert status == 200
        passed = first["result"]["head"].lower()
        assert "x-trioworkers" not in passed
        assert "gzip" not in passed
        ((_, key), (_, again, answer)) = recorder.told
        assert key == again
        assert key.startswith("sendMessage 5 ")
        assert json.loads(answer) == first["result"]
        scene.hands.given[-1].handling = Handling(recorder.recorded(), recorder)
        served = asked(scene)
        assert await program.call("sendMessage", body, head=mine) == (200, first)
        assert asked(scene) == served
        assert (await program.call("sendMessage", other, head=mine))[1] != first
        # of no handling, and of one that has ended: passed on, and not recorded
        told = len(recorder.told)
        await program.call("sendMessage", body, head=kind)
        await program.call("sendMessage", body, head=kind + "X-Trioworkers-Update: 99\r\n")
        await program.call("sendMessage", body, head=kind + "X-Trioworkers-Update: x\r\n")
        assert len(recorder.told) == told
        assert asked(scene) == served + 4


async def test_a_refusal_reaches_the_program_and_is_no_record(tmp_path):
    """Its description is kept for the update's end."""
    refusal = b'{"ok":false,"error_code":403,"description":"Forbidden: bot was blocked by the user"}'
    async with scene_of(tmp_path, partial(say, 403, refusal), acknowledge="auto") as scene:
        program, recorder = await begin(scene)
        mine = JSON + "X-Trioworkers-Update: 1\r\n"
        assert await program.call("sendMessage", b'{"chat_id":5}', head=mine) == (403, json.loads(refusal))
        assert [what for what, *_ in recorder.told] == ["begin", "not made"]
        await tell(scene, b'{"id":1,"error":"Forbidden at b.py:1 in x","code":403}\n')
        await until(lambda: scene.hands.ended)
        outcome = scene.hands.ended[0][1]
        assert (outcome.result, outcome.words) == (
            "dead",
            "sendMessage: 403 Forbidden: bot was blocked by the user",
        )


async def test_an_answer_is_recorded_though_the_program_has_ended(tmp_path):
    """The daemon makes the call, and a kill of the program does not end it; the end waits for it."""
    asked, goes_on = trio.Event(), trio.Event()

    async def slow(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        asked.set()
        await goes_on.wait()
        await stream.send_all(b'HTTP/1.1 200 OK\r\nContent-Length: 24\r\n\r\n{"ok":true,"result":"7"}')

    async with scene_of(tmp_path, slow, acknowledge="auto") as scene:
        program, recorder = await begin(scene)
        await program.ask("sendMessage", b'{"chat_id":5}', head=JSON + "X-Trioworkers-Update: 1\r\n")
        await asked.wait()
        await program.stream.aclose()
        waited: list[float] = []
        async with trio.open_nursery() as nursery:

            async def wait_over() -> None:
                await scene.bot.wait_over()
                waited.append(trio.current_time())

            nursery.start_soon(wait_over)
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert not waited
            goes_on.set()
            began = trio.current_time()
        assert waited[0] - began < LAST_CALLS
        assert recorder.told[-1][0::2] == ("made", '"7"')


async def test_a_call_with_files_is_passed_on_and_marked(tmp_path):
    """Nobody can compare it: it is on record as begun, and so is marked when it is made again."""
    body = b'--b\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\n123\r\n--b--\r\n'
    mine = "Content-Type: multipart/form-data; boundary=b\r\nX-Trioworkers-Update: 1\r\n"
    async with scene_of(tmp_path, acknowledge="auto") as scene:
        program, recorder = await begin(scene)
        for _ in range(2):
            status, answer = await program.call("sendPhoto", body, head=mine)
            assert (status, answer["result"]["body"]) == (200, body.decode())
        assert recorder.told == [("begin", "sendPhoto - files 1"), ("begin", "sendPhoto - files 2")]


@pytest.mark.parametrize(
    ("head", "named"), [("", "no library"), ("X-Trioworkers-Probe: a/9; unknown\r\n", "a 9")]
)
async def test_auto_without_a_probe_is_receipt_and_says_so_once(tmp_path, head, named):
    """And `probe` is refused: the process is given nothing."""
    async with scene_of(tmp_path, acknowledge="auto") as scene:
        program = await scene.connect()
        for _ in range(2):
            assert (await program.call("getUpdates", b'{"timeout": 0}', head=head))[0] == 200
        ((event, fields),) = scene.told
        assert (event, fields["acknowledge"]) == ("gateway.unprobed", "receipt")
        assert named in fields["reason"]
    async with scene_of(tmp_path, acknowledge="probe") as scene:
        program = await scene.connect()
        assert (await program.call("getUpdates", b'{"timeout": 0}', head=head))[0] == 503
        assert scene.bot.polled.is_set()
        assert named in scene.bot.unfit
        assert not scene.told


def asked(scene: Scene) -> int:
    """How many calls were made."""
    return sum(scene.meter.requests.values())


async def say(status: int, body: bytes, stream: trio.SocketStream) -> None:
    """Answer each request so."""
    while await stream.receive_some():
        await stream.send_all(b"HTTP/1.1 %d Said\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))


class SlowTurns:
    """Turns of messages that come after a while."""

    is_on = True

    async def take(self, message: object, caller: object) -> object:
        await trio.sleep(0.2)
        return message

    def over(self, turn: object, hold: float) -> None:
        """It is over."""


async def test_the_time_of_a_handling_stands_still_while_a_message_waits_for_its_turn(tmp_path):
    """For its limit, and for the deadline of its update."""
    async with scene_of(tmp_path, acknowledge="auto", turns=SlowTurns()) as scene:
        program, _ = await begin(scene)
        handling = scene.hands.given[-1].handling
        await program.ask("sendMessage", b'{"chat_id":5}', head=JSON + "X-Trioworkers-Update: 1\r\n")
        await until(lambda: 0 < handling.stood_by_now < 0.15)
        assert handling.stood == 0
        await program.answer()
        assert 0.2 <= handling.stood == handling.stood_by_now < 20
        await tell(scene, b'{"id":1,"error":"ValueError"}\n')
        await until(lambda: scene.hands.ended)
        assert scene.hands.ended[0][1].stood == handling.stood


async def test_ends_that_come_one_after_the_other_are_read_with_the_next_request(tmp_path, monkeypatch):
    """Nobody is woken for each of them; where no request comes, they are read after a moment."""
    monkeypatch.setattr(probe_module, "LOOK", 3600.0)
    async with scene_of(tmp_path, acknowledge="auto") as scene:
        program, _ = await begin(scene)
        await program.ask("getUpdates", b'{"timeout": 20, "offset": 2}', head=AIOGRAM)
        await until(lambda: scene.bot.waits)
        scene.hands.add(71, 72, 73)
        await program.answer()
        probe = await tell(scene, b'{"id":1}\n')
        await until(lambda: scene.bot.in_hand == 3)
        await probe.send(b'9\r\n{"id":2}\n\r\n9\r\n{"id"')
        await trio.sleep(0.05)
        assert scene.bot.in_hand == 3
        await program.ask("getMe")
        await program.answer()
        assert scene.bot.in_hand == 2
        await probe.send(b":3}\n\r\n")
        await program.ask("getMe")
        await program.answer()
        assert scene.bot.in_hand == 1
    assert not scene.faults


async def test_ends_without_a_request_are_read_after_a_moment(tmp_path):
    """Also where one is rubbish: the connection ends, as it does elsewhere."""
    async with scene_of(tmp_path, acknowledge="auto") as scene:
        program, _ = await begin(scene)
        await program.ask("getUpdates", b'{"timeout": 20, "offset": 2}', head=AIOGRAM)
        await until(lambda: scene.bot.waits)
        scene.hands.add(71, 72)
        await program.answer()
        probe = await tell(scene, b'{"id":1}\n')
        await until(lambda: scene.bot.in_hand == 2)
        await probe.send(b'9\r\n{"id":2}\n\r\n')
        await until(lambda: scene.bot.in_hand == 1)
        await probe.send(b"8\r\nrubbish\n\r\n")
        assert (await probe.answer())[0] == 400
        assert scene.bot.in_hand == 1
    assert not scene.faults
