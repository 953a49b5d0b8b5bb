"""A bot of another library run by `command`, beside the same bot polling the stand-in itself, in turns.

Both are the same file, the same library and the same stand-in. What differs is that trioworkers stands
between them and makes each update durable. Turns are ABBA, so that what drifts on the machine falls on both.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import tomli_w

from benchmarks.processes import cpu
from benchmarks.standing import StandIn, standing_in

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = ROOT / ".tools" / "libraries"
BOTS = ROOT / "tests" / "libraries" / "bots"
PEERS = Path(__file__).with_name("peers")
WARM_UP, BURSTS = 400, 3
READY = 60.0  # seconds
NODE, PYTHON = "node", sys.executable


@dataclass(frozen=True, slots=True)
class Program:
    """A bot: its command, and the least share of its own rate that is wanted."""

    words: tuple[str, ...]
    least: float = 0.6


def _bot(name: str, *words: str, least: float = 0.6) -> Program:
    return Program((NODE if name.endswith("js") else PYTHON, str(BOTS / name), *words), least)


PROGRAMS = {
    "telegraf": Program((NODE, str(PEERS / "telegraf.js")), least=0.85),
    "grammy": _bot("grammy.js"),
    "grammy-runner": _bot("grammy_runner.js"),
    "node-telegram-bot-api": Program((NODE, str(PEERS / "node-telegram-bot-api.js"))),
    "aiogram": _bot("aiogram_bot.py"),
    "aiogram-serial": _bot("aiogram_bot.py", "serial", least=0.85),
    "python-telegram-bot": _bot("python_telegram_bot.py"),
    "telebot": _bot("telebot_bot.py"),
    "telebot-serial": _bot("telebot_bot.py", "serial"),
    "telebot-async": _bot("telebot_async.py"),
}
AT_ONCE = 100  # updates, as many as Telegram gives


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn gave: updates per second, and seconds of the daemon's processor for each update."""

    rate: float
    daemon: float = 0.0


def run(names: list[str], updates: int, rounds: int, acknowledge: str) -> None:
    """Print a line for each library: both rates, their ratio, and what an update costs the daemon."""
    if not (LIBRARIES / "installed").exists():
        raise SystemExit(f"expected the libraries of bots in {LIBRARIES}: run scripts/test once")
    print(f"echo bots, bursts of {updates} updates over 100 chats, median of {BURSTS} in each turn;")
    print(f"{rounds} x ABBA; on {os.cpu_count()} cores that the stand-in shares; * below what is wanted")
    heads = f"{'itself':>9}  {'command':>9}  {'ratio':>6}  {'wanted':>6}  {'daemon, ms':>10}"
    print(f"{'':<24}{'acknowledge':<12}{heads}")
    for name in names:
        program = PROGRAMS[name]
        alone, under = [], []
        for _ in range(rounds):
            for turn in "ABBA":
                if turn == "A":
                    alone.append(_measured(program, updates, None))
                else:
                    under.append(_measured(program, updates, acknowledge))
        own, ours = median(turn.rate for turn in alone), median(turn.rate for turn in under)
        daemon = median(turn.daemon for turn in under) * 1000
        mark = "*" if ours / own < program.least else ""
        figures = f"{own:>7.0f}/s  {ours:>7.0f}/s  {ours / own:>6.2f}{mark:1} {program.least:>6.2f}"
        figures += f"  {daemon:>9.3f}{'*' if daemon > 0.2 else ''}"
        print(f"{name:<24}{acknowledge:<12}{figures}", flush=True)


def _measured(program: Program, updates: int, acknowledge: str | None) -> Turn:
    """Run a bot beside a stand-in of its own, by `command` or by itself, and send it bursts."""
    with (
        tempfile.TemporaryDirectory(dir=Path.cwd(), prefix="bench-") as folder,
        standing_in(1) as standin,
        _running(program, Path(folder), standin, acknowledge) as pid,
    ):
        standin.wait_polled(READY)
        standin.answered(WARM_UP)
        rates, before = [], cpu(pid)
        for _ in range(BURSTS):
            standin.send(updates, patience=READY)
            told = standin.told()
            if told.lost or told.twice or told.wrong:
                raise SystemExit(f"{told.lost} lost, {told.twice} answered twice, {told.wrong} wrong")
            rates.append(updates / told.seconds)
        return Turn(median(rates), (cpu(pid) - before) / (BURSTS * updates))


@contextmanager
def _running(program: Program, folder: Path, standin: StandIn, acknowledge: str | None) -> Iterator[int]:
    """Run a bot; the process that is yielded is the daemon, or the bot itself."""
    libraries = {"PYTHONPATH": str(LIBRARIES / "python"), "NODE_PATH": str(LIBRARIES / "node_modules")}
    words = [shutil.which(program.words[0]) or program.words[0], *program.words[1:]]
    environ = {**os.environ}
    if acknowledge is None:
        environ |= {**libraries, **_told(standin.tokens[0], standin.base)}
    else:
        bot: dict[str, Any] = {
            "token": standin.tokens[0],
            "command": words,
            "environment": {**libraries, **_told("{token}", "{api}")},
            "acknowledge": acknowledge,
            "concurrency": AT_ONCE,
            "memory_limit": "1GB",
        }
        fleet = {"fleet": {"api_base": standin.base}, "api": {"bind": "127.0.0.1:0"}, "bots": {"echo": bot}}
        (folder / "fleet.toml").write_text(tomli_w.dumps(fleet))
        (folder / "fleet.toml").chmod(0o600)
        words = [sys.executable, "-m", "trioworkers.cli", "-c", str(folder / "fleet.toml"), "run"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(words, cwd=folder, env=environ, stdout=log, stderr=log)
    try:
        yield process.pid
    except SystemExit:
        print((folder / "log").read_text(errors="replace")[-2000:], file=sys.stderr)
        raise
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _told(token: str, base: str) -> dict[str, str]:
    """The variables in which the bots of tests, and those of `peers/`, look for both."""
    return {"BOT_TOKEN": token, "TOKEN": token, "API_ROOT": base, "BASE": base}
