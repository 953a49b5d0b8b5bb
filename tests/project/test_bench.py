"""The measuring scripts: that they start, and that the stand-in of Telegram counts what it should."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from benchmarks.figures import table
from benchmarks.standin_http import NotUnderstoodError, take_request
from benchmarks.standing import standing_in

ROOT = Path(__file__).parents[2]
MAIN = ROOT / "scripts" / "benchmarks" / "__main__.py"
HEAD = "POST /bot1:A/sendMessage HTTP/1.1\r\nHost: x\r\n"


def test_every_verb_is_told():
    """The commands of CONTRIBUTING and docs/benchmarks.md are there."""
    told = subprocess.run([sys.executable, MAIN, "--help"], capture_output=True, text=True, check=True).stdout
    shown = "".join((ROOT / name).read_text() for name in ("CONTRIBUTING.md", "docs/benchmarks.md"))
    named = set(re.findall(r"scripts/bench ([a-z-]+)", shown))
    verbs = "all inbox fleet demand reload queue frames webhook webhook-kills"
    assert named >= set(verbs.split())
    assert [verb for verb in named if f" {verb} " not in told] == []


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", '{"chat_id": "7", "text": "a b"}'),
        ("application/x-www-form-urlencoded", "chat_id=7&text=a+%62"),
        (
            "multipart/form-data; boundary=x",
            '--x\r\nContent-Disposition: form-data; name="chat_id"\r\n\r\n7\r\n'
            '--x\r\nContent-Disposition: form-data; name="text"\r\n\r\na b\r\n--x--\r\n',
        ),
    ],
)
def test_requests_are_understood_whatever_their_body_is(kind, body):
    """JSON, a form and parts say the same; a request is taken once it is whole, and no byte of the next."""
    whole = f"{HEAD}Content-Type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()
    buffer = bytearray(whole[:-1])
    assert take_request(buffer) is None
    buffer += whole[-1:] + b"POST"
    request = take_request(buffer)
    assert request is not None
    assert (request.token, request.method, request.close) == ("1:A", "sendMessage", False)
    assert request.parameters == {"chat_id": "7", "text": "a b"}
    assert buffer == b"POST"


def test_a_body_in_chunks_is_refused():
    """A product that sent such bodies would be seen to, and not measured wrongly."""
    with pytest.raises(NotUnderstoodError):
        take_request(bytearray(f"{HEAD}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n".encode()))


def test_an_echo_counts_once_and_only_in_its_chat():
    """Of three updates one is answered twice, after a wrong chat, one late, and one never."""
    with standing_in(1) as standin:

        def call(method, **parameters):
            body = json.dumps(parameters).encode()
            address = f"{standin.base}/bot{standin.tokens[0]}/{method}"
            request = urllib.request.Request(  # noqa: S310 - our own
                address, data=body, headers={"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
                return json.loads(answer.read())["result"]

        assert call("getMe")["id"] == int(standin.tokens[0].partition(":")[0])
        standin.send(3, patience=0.2)
        messages = [update["message"] for update in call("getUpdates", timeout=5)]
        chats, texts = [m["chat"]["id"] for m in messages], [m["text"] for m in messages]
        call("sendMessage", chat_id=chats[1], text=texts[0])
        assert call("sendMessage", chat_id=chats[1], text=texts[1])["text"] == texts[1]
        call("sendMessage", chat_id=chats[0], text=texts[0])
        call("sendMessage", chat_id=chats[0], text=texts[0])
        told = standin.told()
        assert (told.updates, told.lost, told.twice, told.wrong) == (3, 1, 1, 1)
        assert [m["text"] for m in [u["message"] for u in call("getUpdates", offset=3)]] == texts[2:]


def test_a_table_compares_with_the_best_of_the_others():
    """More is better of a burst, less of memory; what was not measured is empty."""
    kept = {
        "trioworkers 10": {"burst": 4000.0, "memory": 9.0},
        "telegraf 10": {"burst": 5000.0, "memory": 18.0},
        "aiogram 10": {"burst": 2000.0},
    }
    lines = table(kept, [10], ["trioworkers", "telegraf", "aiogram"])
    assert lines[2:] == [
        "| memory for each of 10, fresh | 9.0 MB | 18.0 MB |  | 0.50, ahead |",
        "| burst, 10 bots | 4,000/s | 5,000/s | 2,000/s | 0.80, behind |",
    ]
