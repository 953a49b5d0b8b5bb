"""A worker process carries only what a bot needs: there may be a thousand of them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import msgspec
import pytest

from trioworkers.protocol.frames import Configure, Retune

HANDLER = """
import json, sys

async def start(bot):
    print(json.dumps(sorted(sys.modules)), flush=True)

async def handle(update, bot): ...
"""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """The modules of a real worker that is ready, by their top names and by those of ours."""
    folder = tmp_path_factory.mktemp("handler")
    (folder / "quiet.py").write_text(HANDLER)
    configure = Configure(
        name="quiet",
        bot_id=1,
        token="1:a",
        api_base="https://127.0.0.1:9",
        handler="quiet:handle",
        python_path=[str(folder)],
        concurrency=1,
        tuning=Retune({}, 1, 60, 60, "info"),
    )
    body = msgspec.json.encode(configure)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(len(body).to_bytes(4, "little") + body)
        command = [sys.executable, "-P", "-m", "trioworkers.worker", str(theirs.fileno())]
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
            env={"PATH": os.environ["PATH"]},
        ) as process:
            theirs.close()
            ours.settimeout(30)
            ours.recv(4)  # its first frame: it is ready, `start` has run
            ours.shutdown(socket.SHUT_RDWR)  # the lifeline: the worker ends itself
            line, _ = process.communicate(timeout=10)
    names = json.loads(line)
    return {name.partition(".")[0] for name in names} | {name for name in names if name.startswith("trio")}


@pytest.mark.parametrize(
    "name",
    ["asyncio", "hypercorn", "jinja2", "pluggy", "psutil", "pydantic", "pytest", "quart", "quart_trio"]
    + ["sqlite3", "structlog", "tomli_w", "tree_sitter", "tree_sitter_toml", "trio_websocket", "wsproto"]
    + ["click", "pygments", "rich", "h11", "httpcore", "multipart"]
    + [
        f"trioworkers.{name}"
        for name in ("cli", "config", "daemon", "inbox", "status", "testing", "types", "web")
    ],
)
def test_a_worker_does_not_load(loaded, name):
    """What only the daemon, the commands or the tests need stays out of a worker's memory."""
    assert "trioworkers.worker" in loaded
    assert name not in loaded
