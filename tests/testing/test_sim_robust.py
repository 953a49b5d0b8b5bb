"""Whatever a client sends, the simulator answers it or refuses it; it never breaks."""

from __future__ import annotations

import contextlib
import signal
import sys
from typing import Any

import msgspec
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from trioworkers.testing import Refused, Telegram
from trioworkers.testing.bodies import read_params
from trioworkers.testing.methods.table import all_methods
from trioworkers.testing.params import Params, Upload

NAMES = [
    "chat_id",
    "from_chat_id",
    "message_id",
    "text",
    "caption",
    "photo",
    "document",
    "media",
    "reply_markup",
    "reply_parameters",
    "reply_to_message_id",
    "message_thread_id",
    "name",
    "user_id",
    "action",
    "commands",
    "scope",
    "language_code",
    "offset",
    "limit",
    "timeout",
    "allowed_updates",
    "url",
    "secret_token",
    "max_connections",
    "ip_address",
    "drop_pending_updates",
    "callback_query_id",
    "inline_query_id",
    "results",
    "file_id",
    "parse_mode",
    "protect_content",
    "allow_sending_without_reply",
    "icon_color",
]
PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False),
    st.text(max_size=8),
    st.sampled_from(
        ["1000001", "@ops", "attach://x", "[{}]", "[[1]]", '{"inline_keyboard":1}', "https://[", "-", "²"]
    ),
    st.sampled_from([1_000_001, 7_000_000_001, -1_001_000_000_001, -4_000_002, 1, 2, 3]),
)
PART = b"--b\r\nContent-Disposition: form-data; name=a\r\n"
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["inline_keyboard", "message_id", "type", "media", "command", "text", "caption", "x"]
            ),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=8,
)


@settings(max_examples=400, deadline=None)
@given(
    calls=st.lists(
        st.tuples(
            st.sampled_from(sorted(all_methods())),
            st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6),
            st.sampled_from([None, "chat_id"]),
        ),
        max_size=6,
    )
)
def test_any_parameters_are_answered_or_refused(calls: list[tuple[str, dict[str, Any], str | None]]) -> None:
    """No value of any parameter of any method raises anything but a refusal, and results are JSON."""
    telegram = Telegram(clock=lambda: 1e9)
    bot, alice = telegram.add_bot("b"), telegram.add_user("A")
    forum = telegram.add_group("Ops", [alice], admins=[bot], forum=True, username="ops")
    telegram.add_group("G", [bot, alice])
    alice.start(bot)
    alice.send(bot, "x", group=forum)
    for method, values, fill in calls:
        if fill:
            values = {"chat_id": alice.id, "from_chat_id": forum.id, "message_id": 1} | values
        params = Params(values, {"x": Upload("x.jpg", "", b"x")})
        try:
            msgspec.json.encode(telegram.run(bot, method, params))
        except Refused:
            continue


@given(
    query=st.text(max_size=20),
    content_type=st.sampled_from(
        ["application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b", "b", ""]
    ),
    body=st.one_of(
        st.binary(max_size=60),
        st.binary(max_size=30).map(
            lambda b: b"--b\r\nContent-Disposition: form-data; name=a\r\n" + b + b"--b--"
        ),
    ),
)
def test_any_body_is_read_or_refused(query: str, content_type: str, body: bytes) -> None:
    """No request body raises anything but a refusal."""
    with contextlib.suppress(Refused):
        read_params(query, content_type, body)


async def test_killed_clients_leave_the_server_alive(scene):
    """A process that is killed with SIGKILL while it calls and polls disturbs nobody."""
    code = (
        "import sys, httpx\n"
        "with httpx.Client(base_url=sys.argv[1]) as http:\n"
        "    while True:\n"
        "        http.post('sendMessage', json={'chat_id': int(sys.argv[2]), 'text': 'x'})\n"
        "        http.post('getUpdates', json={'timeout': 0})\n"
    )
    url = f"{scene.base_url}/bot{scene.bot.token}/"
    for _ in range(3):
        before = len(scene.world.calls)
        process = await trio.lowlevel.open_process([sys.executable, "-c", code, url, str(scene.alice.id)])
        await scene.until(lambda before=before: len(scene.world.calls) > before + 20)
        process.send_signal(signal.SIGKILL)
        assert await process.wait() == -signal.SIGKILL
    assert (await scene.call("getMe"))["ok"]
