"""What is compared: each product runs the same three bots, set up as its manual says, with its defaults.

A contender is started, killed and reconfigured in its own way. Its processes are found by a mark in their
environment, so that those are found, too, which nobody looks after any more.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import tomli_w
from benchmarks import foreign

if TYPE_CHECKING:
    from collections.abc import Mapping

BOTS = Path(__file__).with_name("bots")
MARK = "COMPARE_RUN"
PATIENCE = 30.0  # seconds for a command of a product
STOPPING = 10.0


@dataclass
class Contender:
    """A product with three bots in a folder.

    Attributes:
        folder: where it works; empty at first.
        base: the address of the simulated Bot API.
        tokens: of the bots, by name.
        crash: "no", "at once" or "soon": whether the bots end by themselves, and when.
        settings: of each bot, what a trial changes.
    """

    folder: Path
    base: str
    tokens: Mapping[str, str]
    crash: str = "no"
    settings: dict[str, str] = field(default_factory=dict)
    supervises = True
    is_killable = True  # its supervisor

    @property
    def mark(self) -> str:
        return f"{MARK}={self.folder}"

    def environment(self, name: str) -> dict[str, str]:
        """Return the variables of a bot."""
        return {
            MARK: str(self.folder),
            "COMPARE_BOT": name,
            "TOKENS": self.tokens[name],
            "BASE": self.base,
            "STARTS": str(self.folder / f"{name}.starts"),
            "CRASH": self.crash,
            "GREETING": self.settings.get(name, "hi"),
        }

    def starts(self, name: str) -> int:
        """Return how often a bot's process began to work."""
        path = self.folder / f"{name}.starts"
        return len(path.read_text()) if path.exists() else 0

    def processes(self) -> dict[str, set[int]]:
        """Return the processes of the bots, by the bots' names."""
        found: dict[str, set[int]] = {name: set() for name in self.tokens}
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                variables = process.environ()
                bot, is_ours = variables.get("COMPARE_BOT"), variables.get(MARK) == str(self.folder)
                if bot is not None and is_ours and process.status() != psutil.STATUS_ZOMBIE:
                    found[bot].add(process.pid)
        return found

    def start(self) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        raise NotImplementedError

    def supervisor(self) -> int:
        """Return the process that looks after the bots."""
        raise NotImplementedError

    def apply(self) -> int:
        """Make changed settings take effect, as the manual says; return the exit code of the command."""
        raise NotImplementedError

    def spoil(self) -> None:
        """Write something into the configuration that it cannot be read with."""
        raise NotImplementedError

    def clean(self) -> None:
        """End whatever is left."""
        for pids in self.processes().values():
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


class Trioworkers(Contender):
    """The daemon of this checkout; hangs are looked for after 5 s instead of 5 minutes."""

    def start(self) -> None:
        self._write()
        variables = os.environ | {MARK: str(self.folder)}
        command = [*self._command("run")]
        with (self.folder / "daemon.log").open("ab") as log:
            self._daemon = subprocess.Popen(command, env=variables, stderr=log, stdout=log)

    def _command(self, verb: str) -> list[str]:
        return [sys.executable, "-m", "trioworkers.cli", "-c", str(self.folder / "fleet.toml"), verb]

    def _write(self) -> None:
        bots = {
            name: {
                "token": token,
                "settings": {
                    "starts": str(self.folder / f"{name}.starts"),
                    "crash": self.crash,
                    "greeting": self.settings.get(name, "hi"),
                },
            }
            for name, token in self.tokens.items()
        }
        tables = {
            "fleet": {"api_base": self.base, "python_path": [str(BOTS)]},
            "limits": {"max_workers_per_core": max(20, len(self.tokens))},
            "api": {"bind": "127.0.0.1:0"},
            "defaults": {
                "handler": "ours:handle",
                "poll_timeout": 10,
                "heartbeat_interval": 1,
                "hang_timeout": 5,
            },
            "bots": bots,
        }
        (self.folder / "fleet.toml").write_text(tomli_w.dumps(tables))

    def processes(self) -> dict[str, set[int]]:
        """Workers are named by the status; without a daemon, whatever has the mark counts for each bot."""
        result = subprocess.run([*self._command("status"), "--json"], capture_output=True, check=False)
        if result.returncode == 0:
            rows = json.loads(result.stdout)["workers"]
            return {row["bot"]: {row["pid"]} - {None} for row in rows}
        left = set()
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.environ().get(MARK) == str(self.folder) and process.status() != "zombie":
                    left.add(process.pid)
        return {name: set(left) for name in self.tokens}

    def stop(self) -> None:
        self._daemon.terminate()
        self._daemon.wait()

    def supervisor(self) -> int:
        return self._daemon.pid

    def apply(self) -> int:
        if self.settings:
            self._write()
        return subprocess.run(self._command("reload"), capture_output=True, check=False).returncode

    def spoil(self) -> None:
        (self.folder / "fleet.toml").write_text("[bots\n")


class Pm2(Contender):
    """PM2 with an ecosystem file and bots on Node.js."""

    script = "telegraf.js"

    def start(self) -> None:
        self._write()
        self._pm2("start", str(self.folder / "ecosystem.json"))

    def _write(self) -> None:
        modules = str(foreign.node_modules())
        apps: list[dict[str, Any]] = [
            {"name": name, "script": str(BOTS / self.script), "cwd": str(self.folder), "vizion": False}
            | {"env": self.environment(name) | {"NODE_PATH": modules}}
            for name in self.tokens
        ]
        (self.folder / "ecosystem.json").write_text(json.dumps({"apps": apps}))

    def _pm2(self, *words: str) -> int:
        command = [str(foreign.node_modules() / ".bin" / "pm2"), *words]
        variables = os.environ | {"PM2_HOME": str(self.folder / "pm2")}
        return subprocess.run(
            command, env=variables, capture_output=True, check=False, timeout=PATIENCE
        ).returncode

    def stop(self) -> None:
        self._pm2("kill")

    def supervisor(self) -> int:
        return int((self.folder / "pm2" / "pm2.pid").read_text())

    def apply(self) -> int:
        if self.settings:
            self._write()
        only = ["--only", ",".join(self.settings)] if self.settings else []  # without it all are replaced
        return self._pm2("reload", str(self.folder / "ecosystem.json"), *only)

    def spoil(self) -> None:
        (self.folder / "ecosystem.json").write_text('{"apps": [')


class Pm2Plain(Pm2):
    """The same with the other library."""

    script = "node-telegram-bot-api.js"


class Supervisord(Contender):
    """supervisord with a program for each bot, on aiogram."""

    def start(self) -> None:
        self._write()
        command = [str(foreign.python()), "-m", "supervisor.supervisord", "-c", str(self._path)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    @property
    def _path(self) -> Path:
        return self.folder / "supervisord.conf"

    def _write(self) -> None:
        lines = ["[supervisord]", "nodaemon=true", f"logfile={self.folder}/supervisord.log"]
        lines += [f"pidfile={self.folder}/supervisord.pid", f"childlogdir={self.folder}"]
        lines += ["[unix_http_server]", f"file={self.folder}/s.sock", "[supervisorctl]"]
        lines += [f"serverurl=unix://{self.folder}/s.sock", "[rpcinterface:supervisor]"]
        lines += ["supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface"]
        for name in self.tokens:
            variables = ",".join(f'{key}="{value}"' for key, value in self.environment(name).items())
            lines += [f"[program:{name}]", f"command={foreign.python()} {BOTS / 'aiogram_bot.py'}"]
            lines += ["autorestart=true", f"environment={variables}"]
        self._path.write_text("\n".join(lines) + "\n")

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()

    def supervisor(self) -> int:
        return self._process.pid

    def apply(self) -> int:
        if self.settings:
            self._write()
        command = [str(foreign.python()), "-m", "supervisor.supervisorctl", "-c", str(self._path), "update"]
        return subprocess.run(command, capture_output=True, check=False, timeout=PATIENCE).returncode

    def spoil(self) -> None:
        self._path.write_text("[supervisord\nwhat\n")


class Systemd(Contender):
    """A systemd that is booted in a container over this machine's /usr; a unit for each bot, on aiogram.

    Needs root and Debian's systemd-container. Nothing but the bots' folder is shared with the machine.
    """

    is_killable = False  # process 1: with it the machine ends

    def start(self) -> None:
        self._write()
        command = ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--directory=/"]
        command += ["--volatile=yes", f"--bind-ro={foreign.FOLDER.parent}", f"--bind={self.folder}"]
        command += [f"--bind={self.folder / 'units'}:/etc/systemd/system", "--console=pipe", "--boot"]
        command += ["systemd.firstboot=no", "systemd.unit=bots.target"]
        with (self.folder / "machine.log").open("ab") as log:
            self._machine = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _write(self) -> None:
        units = self.folder / "units"
        units.mkdir(exist_ok=True)
        wants = " ".join(f"{name}.service" for name in self.tokens)
        (units / "bots.target").write_text(f"[Unit]\nRequires=basic.target\nWants={wants}\n")
        for name in self.tokens:
            lines = ["[Service]", f"ExecStart={foreign.python()} {BOTS / 'aiogram_bot.py'}", "Restart=always"]
            lines += [f'Environment="{key}={value}"' for key, value in self.environment(name).items()]
            (units / f"{name}.service").write_text("\n".join(lines) + "\n")

    def _systemctl(self, *words: str) -> int:
        first = psutil.Process(self._machine.pid).children()[0].pid
        command = ["nsenter", f"--target={first}", "--mount", "--pid", "--uts", "--ipc", "systemctl", *words]
        return subprocess.run(command, capture_output=True, check=False, timeout=PATIENCE).returncode

    def stop(self) -> None:
        self._machine.terminate()
        self._machine.wait()

    def apply(self) -> int:
        names = list(self.settings or self.tokens)
        if self.settings:
            self._write()
        return self._systemctl("daemon-reload") or self._systemctl("restart", *names)

    def spoil(self) -> None:
        (self.folder / "units" / "one.service").write_text("[Service\nwhat\n")


class Aiogram(Contender):
    """aiogram alone: one process that polls for all three bots."""

    supervises = False

    def start(self) -> None:
        variables = {**os.environ, **self.environment(next(iter(self.tokens)))}
        variables["TOKENS"] = ",".join(self.tokens.values())
        command = [str(foreign.python()), str(BOTS / "aiogram_bot.py")]
        with (self.folder / "bot.log").open("ab") as log:
            self._process = subprocess.Popen(command, env=variables, stdout=log, stderr=log)

    def processes(self) -> dict[str, set[int]]:
        pids = {self._process.pid} if self._process.poll() is None else set()
        return {name: set(pids) for name in self.tokens}

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


CONTENDERS: dict[str, type[Contender]] = {
    "trioworkers": Trioworkers,
    "pm2-telegraf": Pm2,
    "pm2-node-telegram-bot-api": Pm2Plain,
    "supervisord-aiogram": Supervisord,
    "systemd-aiogram": Systemd,
    "aiogram": Aiogram,
}


def wait_until(condition: Any, seconds: float) -> float | None:
    """Return after how many seconds the condition held; None when it did not in that time."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        if condition():
            return time.monotonic() - began
        time.sleep(0.1)
    return None
