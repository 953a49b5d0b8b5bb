"""What daemon and worker say: frames survive any way of arriving, garbage does not pass."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioworkers.protocol.frames import (
    CHAT_LENGTH,
    CODE_LENGTH,
    ERROR_LENGTH,
    KEY_LENGTH,
    LONGEST_AFTER,
    LONGEST_HOLD,
    MOST_ANSWER,
    MOST_ASKED,
    MOST_CALLED,
    MOST_COUNTS,
    MOST_FILES,
    MOST_MEMORY,
    MOST_MESSAGES,
    MOST_OF_WORKER,
    MOST_TIMES,
    MOST_UNMADE,
    PATH_LENGTH,
    TASK_LENGTH,
    WORDS_LENGTH,
    Answer,
    Ask,
    AskTurn,
    CallCount,
    Called,
    Calling,
    CodeFile,
    CodeLoaded,
    Configure,
    Deliver,
    Drain,
    Fence,
    Fenced,
    FrameError,
    FromWorker,
    Go,
    Head,
    Heartbeat,
    HookCount,
    Outcome,
    Ping,
    Ready,
    Recorded,
    Retune,
    Standing,
    TaskFailed,
    ToWorker,
    TurnOver,
    Unfit,
    cut,
)
from trioworkers.protocol.framing import FrameReader, packed
from trioworkers.worker.code_reports import MOST_PATHS

words = st.text(st.characters(codec="utf-8"))
whole = st.integers(-(2**63), 2**63 - 1)
real = st.floats(allow_nan=False, allow_infinity=False)
tables = st.dictionaries(words, st.one_of(st.none(), st.booleans(), whole, words, st.lists(words)))
bodies = st.binary(max_size=200).map(
    lambda raw: msgspec.json.format(msgspec.json.encode({"b": raw}), indent=2)
)
keys = st.text(st.characters(codec="utf-8"), max_size=KEY_LENGTH)
tunings = st.builds(Retune, tables, real, real, real, words)
FRAMES: dict[type, Any] = {
    Configure: st.builds(Configure, words, whole, words, words, words, st.lists(words), whole, tunings),
    Retune: tunings,
    Deliver: st.builds(
        Deliver,
        whole,
        whole,
        st.booleans(),
        bodies.map(msgspec.Raw),
        st.none() | st.lists(st.builds(Recorded, words, st.booleans(), bodies.map(msgspec.Raw)), max_size=3),
        st.none() | st.builds(Head, whole, words, words, st.none() | whole, st.none() | whole),
    ),
    Fence: st.builds(Fence, st.integers(0, 2**31), st.lists(st.integers(0, 2**31), max_size=5)),
    Answer: st.builds(Answer, st.integers(0, 2**31), bodies.map(msgspec.Raw), st.none() | words),
    Ask: st.builds(Ask, st.integers(0, 2**31), st.sampled_from(["handoff", "x"]), bodies.map(msgspec.Raw)),
    Go: st.builds(Go, st.integers(0, 2**31), st.floats(0, LONGEST_HOLD)),
    Standing: st.builds(Standing, st.booleans()),
    AskTurn: st.builds(
        AskTurn,
        st.integers(0, 2**31),
        st.integers(0, 2**63 - 1),
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=CHAT_LENGTH),
        st.integers(1, MOST_MESSAGES),
        st.booleans(),
    ),
    TurnOver: st.builds(TurnOver, st.integers(0, 2**31), st.floats(0, LONGEST_HOLD)),
    TaskFailed: st.builds(TaskFailed, st.text(st.characters(codec="utf-8"), max_size=TASK_LENGTH), words),
    CodeLoaded: st.builds(
        CodeLoaded,
        st.lists(
            st.builds(
                CodeFile,
                st.text(st.characters(codec="utf-8"), min_size=1, max_size=PATH_LENGTH),
                st.text(st.characters(codec="utf-8"), max_size=CODE_LENGTH),
                st.booleans(),
            ),
            max_size=3,
        ),
    ),
    Fenced: st.builds(Fenced, st.integers(0, 2**31)),
    Ping: st.builds(Ping),
    Drain: st.builds(Drain),
    Ready: st.builds(Ready, st.text(st.characters(codec="utf-8"), max_size=CODE_LENGTH)),
    Unfit: st.builds(Unfit, words, words),
    Calling: st.builds(Calling, st.integers(0, 2**63 - 1), keys),
    Called: st.builds(Called, st.integers(0, 2**63 - 1), keys, st.booleans(), bodies.map(msgspec.Raw)),
    Outcome: st.builds(
        Outcome,
        st.integers(0, 2**63 - 1),
        st.sampled_from(["done", "retry", "dead", "drop", "fenced"]),
        st.none() | st.floats(0, LONGEST_AFTER),
        st.booleans(),
        words,
        words,
        st.lists(keys, max_size=3),
    ),
    Heartbeat: st.builds(Heartbeat, st.integers(0, MOST_MEMORY), st.floats(0, LONGEST_AFTER)),
}
ANY = ToWorker | FromWorker


def wire(frames):
    return b"".join(map(packed, frames))


def receive_all(*pieces, incoming=ANY, **limit):
    reader = FrameReader(incoming, **limit)
    return [frame for piece in pieces if piece for frame in reader.feed(piece)]


def test_every_frame_is_tried():
    """Whoever adds a frame adds it here."""
    assert set(FRAMES) == {*get_args(ToWorker), *get_args(FromWorker)}


@given(st.lists(st.one_of(*FRAMES.values()), max_size=8), st.data())
def test_any_split_of_the_bytes_gives_the_same_frames(frames, data):
    """However the stream is cut, also in the middle of a length or of a character."""
    sent = wire(frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=12)))
    pieces = [sent[a:b] for a, b in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
    assert receive_all(*pieces) == frames


def test_byte_by_byte():
    """The worst split of all."""
    frames = [Outcome(1, "done"), Deliver(2, 0, True, msgspec.Raw(b'{"a":"\xc3\xa9"}')), Drain()]
    assert receive_all(*[bytes([byte]) for byte in wire(frames)]) == frames


def test_an_update_travels_as_telegram_sent_it():
    """Line breaks, spaces and the order of keys are those of the original."""
    body = b'{ "update_id" : 1,\n\r\n\t"message":{"text":"a\\nb","z":1.50,"a":1e3} }'
    (frame,) = receive_all(wire([Deliver(1, 0, False, msgspec.Raw(body))]))
    assert bytes(frame.update) == body


@given(st.binary(min_size=1, max_size=64))
def test_garbage_is_no_frame(garbage):
    """Nothing but a FrameError, or waiting for the rest that never comes."""
    length = len(garbage).to_bytes(4, "little")
    with pytest.raises(FrameError, match="not a valid frame"):
        receive_all(length + garbage)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'["Outcome"]',
        b'["Nonsense",1]',
        b'["Outcome","1","done"]',
        b'["Outcome",1,"\xff"]',
        b'["Heartbeat",1]x',
        b'["Drain",' + b"[" * 100_000,
    ],
)
def test_what_looks_like_a_frame_and_is_none(body):
    """Wrong kinds, missing fields, no UTF-8, something behind it, nesting without end."""
    with pytest.raises(FrameError, match="not a valid frame"):
        receive_all(len(body).to_bytes(4, "little") + body)


@pytest.mark.parametrize(
    "frame",
    [
        Heartbeat(-1),
        Heartbeat(MOST_MEMORY + 1),
        Heartbeat(2**63),
        Outcome(-1, "done"),
        Outcome(1, "finished"),  # type: ignore[arg-type]
        Outcome(1, "retry", after=-0.001),
        Outcome(1, "retry", after=LONGEST_AFTER + 1),
        Outcome(1, "retry", after=1e300),
        Outcome(1, "dead", error="x" * (ERROR_LENGTH + 1)),
        Outcome(1, "dead", words="x" * (WORDS_LENGTH + 1)),
        Ready("x" * (CODE_LENGTH + 1)),
        Unfit("x" * (WORDS_LENGTH + 1), ""),
        Unfit("", "x" * (WORDS_LENGTH + 1)),
    ],
    ids=lambda frame: repr(frame)[:40],
)
def test_what_is_out_of_bounds_is_no_frame(frame):
    """A worker that forges frames is cut off; what it says reaches neither logs nor the database."""
    with pytest.raises(FrameError, match="not a valid frame"):
        receive_all(wire([frame]), incoming=FromWorker)


@pytest.mark.parametrize("body", [b'["Outcome",1,"retry",1e400]', b'["Outcome",1,"retry",NaN]'])
def test_a_wait_is_finite(body):
    """Whatever JSON can be made to say."""
    with pytest.raises(FrameError):
        receive_all(len(body).to_bytes(4, "little") + body, incoming=FromWorker)


@given(st.text(), st.sampled_from([CODE_LENGTH, ERROR_LENGTH, 3]))
def test_what_is_cut_fits(text, length):
    """Lone surrogates, too, which no encoder takes."""
    assert len(cut(text * 3, length)) == min(len(text * 3), length)
    assert receive_all(wire([Unfit(cut(text, length), "")])) == [Unfit(cut(text, length), "")]


def test_a_frame_of_the_other_direction_is_none():
    """A worker cannot send what only the daemon may."""
    with pytest.raises(FrameError):
        receive_all(wire([Drain()]), incoming=FromWorker)
    with pytest.raises(FrameError):
        receive_all(wire([Heartbeat(1)]), incoming=ToWorker)


def test_a_frame_that_is_too_long_is_refused_at_its_length():
    """Before it is collected in memory; one of exactly the limit passes."""
    frame = Unfit("x" * 100, "")
    sent = wire([frame])
    assert receive_all(sent, limit=len(sent) - 4) == [frame]
    with pytest.raises(FrameError, match=f"a frame of {len(sent) - 4} bytes"):
        receive_all(sent[:4], limit=len(sent) - 5)


LONGEST = {
    "Ready": Ready("\x01" * CODE_LENGTH),
    "Unfit": Unfit("\x01" * WORDS_LENGTH, "\x01" * WORDS_LENGTH),
    "Calling": Calling(2**63 - 1, "\x01" * KEY_LENGTH),
    "Ask": Ask(2**63 - 1, "\x01" * CODE_LENGTH, msgspec.Raw(b'"' + b"x" * (MOST_ASKED - 2) + b'"')),
    "Fenced": Fenced(2**63 - 1),
    "AskTurn": AskTurn(2**63 - 1, 2**63 - 1, "\x01" * CHAT_LENGTH, MOST_MESSAGES, True),
    "TurnOver": TurnOver(2**63 - 1, LONGEST_HOLD),
    "Standing": Standing(True),
    "TaskFailed": TaskFailed("\x01" * TASK_LENGTH, "\x01" * ERROR_LENGTH),
    "Outcome": Outcome(
        2**63 - 1, "retry", LONGEST_AFTER, False, "\x01" * ERROR_LENGTH, "\x01" * WORDS_LENGTH,
        ["\x01" * KEY_LENGTH] * MOST_UNMADE,
    ),
    "Heartbeat": Heartbeat(
        MOST_MEMORY, 1 / 3,
        [CallCount("\x01" * CODE_LENGTH, "unauthorized", MOST_TIMES)] * MOST_COUNTS, 1 / 3,
        [HookCount("\x01" * CODE_LENGTH, MOST_TIMES, MOST_TIMES, 1 / 3, 1 / 3)] * MOST_COUNTS,
    ),
    "CodeLoaded": CodeLoaded(
        [CodeFile("\x01" * PATH_LENGTH, "f" * 12, False)] * (MOST_PATHS // (6 * PATH_LENGTH + 2))
        + [CodeFile("m", "f" * 12, False)] * (MOST_FILES - MOST_PATHS // (6 * PATH_LENGTH + 2))
    ),
    "Called": Called(
        2**63 - 1, "\x01" * KEY_LENGTH, True, msgspec.Raw(b'"' + b"x" * (MOST_ANSWER - 2) + b'"')
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LONGEST)
def test_the_longest_frame_of_an_honest_worker_passes(name):
    """Of each kind, also where each character takes six bytes, and in whatever pieces it comes."""
    assert {*LONGEST} == {kind.__name__ for kind in get_args(FromWorker)}
    sent = wire([LONGEST[name]])
    for size in (3, 5, 64 * 1024, len(sent)):
        pieces = [sent[at : at + size] for at in range(0, min(len(sent), 100), size)]
        pieces.append(sent[sum(map(len, pieces)) :])
        assert receive_all(*pieces, incoming=FromWorker) == [LONGEST[name]]


@pytest.mark.parametrize("kind", ["Ask", "Outcome", "Heartbeat", "Nonsense", "Calle"])
def test_a_worker_may_send_a_large_frame_of_one_kind_only(kind):
    """The answer of a call; any other one is refused with its first bytes, before it is collected."""
    body = f'["{kind}",1,"'.encode() + b"x" * MOST_OF_WORKER + b'"]'
    sent = len(body).to_bytes(4, "little") + body
    with pytest.raises(FrameError, match=f"^a frame of {len(body)} bytes from a worker$"):
        receive_all(sent[:4], sent[4:20], incoming=FromWorker)


def test_a_workers_answer_that_is_too_large_is_refused():
    """An honest worker does not record it."""
    head = MOST_CALLED.to_bytes(4, "little") + b'["Called",1,"'
    assert receive_all(head, incoming=FromWorker) == []
    with pytest.raises(FrameError, match="from a worker"):
        receive_all((MOST_CALLED + 1).to_bytes(4, "little") + b'["Called",1,"', incoming=FromWorker)


def test_a_large_frame_of_the_daemons_passes():
    """An update with the calls of earlier handlings."""
    frame = Deliver(1, 0, False, msgspec.Raw(b'"' + b"x" * (2 * MOST_CALLED) + b'"'))
    assert receive_all(wire([frame]), incoming=ToWorker) == [frame]


def test_the_message_of_a_frame_error_shows_nothing_of_the_frame():
    """It may have held what a user wrote."""
    body = b'["Outcome",1,"done",null,true,"","secret words"'
    with pytest.raises(FrameError) as caught:
        receive_all(len(body).to_bytes(4, "little") + body)
    assert "secret" not in str(caught.value)


def test_a_frame_that_is_cut_off_by_the_end_is_not_there():
    """The worker died while it wrote."""
    sent = wire([Heartbeat(1), Outcome(1, "done")])
    assert receive_all(sent[:-1]) == [Heartbeat(1)]
