"""Tokens, secrets and texts of messages: nowhere but in the inbox and on the wire."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fleet_project import Project, until, workers_of

from trioworkers.testing import Telegram, faults, serve_telegram

if TYPE_CHECKING:
    import trio

TEXT = "canary-text-of-a-message"
API_TOKEN = "canary-token-of-the-api"
HANDLER = """
import logging
from trioworkers import Dead

logging.basicConfig(level=logging.DEBUG)  # what a curious user would do

async def start(bot):
    bot.log.info("started")
    logging.getLogger("leaky").debug("at the debug level")

async def handle(update, bot):
    if "raise" in update.text:
        raise ValueError(f"cannot handle {update.text!r}")
    if "dead" in update.text:
        raise Dead(f"no use for {update.text!r}")
    if "group" in update.text:
        raise ExceptionGroup(update.text, [KeyError(update.text)])
    if "exit" in update.text:
        raise SystemExit(update.text)
    if "assert" in update.text:
        assert update.text == "", update.text
    await bot.send_message(chat_id=update.chat_id, text=update.text)
"""


async def test_no_token_and_no_text_in_any_output_argument_or_environment(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """A run with every kind of fault, at the debug level, with a handler that logs all it can."""
    base = await nursery.start(serve_telegram, world)
    bot, env_bot, revoked = world.add_bot("leaky"), world.add_bot("by_variable"), world.add_bot("revoked")
    secrets = [one.token.partition(":")[2] for one in (bot, env_bot, revoked)] + [API_TOKEN, TEXT]
    project.module("leaky", HANDLER)
    project.environ |= {"BOT_TOKEN": env_bot.token, "TRIOWORKERS_API_TOKEN": API_TOKEN}
    settings = {"handler": "leaky:handle", "poll_timeout": 1, "restart": {"initial": "10ms"}}
    settings["retry"] = {"attempts": 2, "initial": "10ms"}
    bots = {
        "leaky": {**settings, "token": bot.token},
        "by_variable": {**settings, "token": {"env": "BOT_TOKEN"}},
        "revoked": {**settings, "token": revoked.token},
    }
    project.write(base, bots, log={"level": "debug"})
    for method in ("getUpdates", "sendMessage"):
        for fault in (
            faults.proxy_page(502),
            faults.broken_body(executes=False),
            faults.close_before(),
            faults.error(400, f'Bad Request: can\'t parse entities: unsupported start tag "{TEXT}"'),
        ):
            world.faults.add(respond=fault, method=method, times=2)
    daemon = await project.start().ready()
    world.revoke(revoked)
    alice = world.add_user("Alice")
    for word in ("", "raise", "dead", "group", "exit", "assert"):
        for one in (bot, env_bot):
            alice.send(one, f"{TEXT} {word}")
    await until(lambda: project.tally(bot)["dead"] >= 4)
    workers = workers_of(daemon.process.pid)
    os.kill(workers[0], signal.SIGKILL)
    await until(lambda: project.tally(bot)["pending"] == project.tally(env_bot)["pending"] == 0)
    seen = {"status": json.dumps(await daemon.status())}
    for pid in workers_of(daemon.process.pid):
        for name in ("cmdline", "environ"):
            seen[f"{name} of a worker"] = Path(f"/proc/{pid}/{name}").read_bytes().decode()
    seen["cmdline of the daemon"] = Path(f"/proc/{daemon.process.pid}/cmdline").read_text()
    for words in (["status"], ["status", "--json"], ["check"], ["run", "--dry-run"]):
        done = project.run(*words)
        seen[" ".join(words)] = done.stdout + done.stderr
    assert await daemon.stop() == 0
    seen["log of the daemon"] = project.log.read_text()
    for log in (project.folder / "state" / "logs").glob("*.log"):
        seen[log.name] = log.read_text()
        assert log.stat().st_mode & 0o077 == 0, log
    assert "update.retried" in seen["log of the daemon"]
    assert "DEBUG:leaky:at the debug level" in seen["worker_leaky.log"], "what any library logs is kept"
    found = [(place, secret) for place, text in seen.items() for secret in secrets if secret in text]
    assert not found
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("verb", ["run", "start"])
def test_the_state_is_for_its_owner_only(project: Project, verb: str) -> None:
    """Folders are made with mode 0700, files of ours with 0600, whatever the umask says."""
    project.write("http://127.0.0.1:1", {})
    previous = os.umask(0)
    try:
        if verb == "start":
            started = project.run("start")
            assert started.returncode == 0, started.stderr
        else:
            project.start()
    finally:
        os.umask(previous)
    state = project.folder / "state"
    socket = state / "run" / "control.sock"
    try:
        for _ in range(500):
            if socket.exists():
                break
            signal.sigtimedwait([], 0.02)
        open_to_others = [path for path in [state, *state.rglob("*")] if path.lstat().st_mode & 0o077]
        assert socket.exists()
        assert not open_to_others
    finally:
        assert project.run("stop").returncode == 0
