"""The tutorial, done as a newcomer would: files written, commands typed, each line on the phone read."""

from __future__ import annotations

import errno
import os
import queue
import re
import signal
import subprocess
import threading
import time
from contextlib import contextmanager
from http.cookiejar import CookieJar
from typing import TYPE_CHECKING
from urllib.request import HTTPCookieProcessor, build_opener

from benchmarks.ports import free_port
from documents import README, blocks, fenced, page

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LIMIT = 60.0  # seconds for each thing that is waited for
RUN = "trioworkers run --watch\n"
PHONE = "python phone.py\n"
DASHBOARD = "trioworkers dashboard\n"
LETTERS = "trioworkers dlq list\n"
CLEAN_UP = "rm -r state\n"
SUDO = """#!/bin/sh
# Stands for sudo: notes what it was asked for; tee only passes on what it reads.
printf '%s\\n' "$*" >>"$ASKED"
[ "$1" != tee ] || cat
"""


def wait_for(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def assert_shown(expected: str, shown: str) -> None:
    """An output is as the page shows it, where an ellipsis stands for anything."""
    parts = re.split(r" *… *", expected.strip())
    pattern = ".*".join(re.escape(part) for part in parts)
    assert re.fullmatch(pattern, shown.strip(), re.DOTALL), f"expected:\n{expected}\nshown:\n{shown}"


class Newcomer:
    """Somebody with the page and some terminals. What the page shows is asserted on the way."""

    def __init__(self, folder: Path, python: Path) -> None:
        self.folder = folder
        self.shown = ""  # by the last command
        self.asked = folder.parent / "asked"
        self._log = folder.parent / "output"
        self._phone: subprocess.Popen[bytes] | None = None
        self._daemon: subprocess.Popen[bytes] | None = None
        self._lines: queue.Queue[str] = queue.Queue()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._port = str(free_port())
        tools = folder.parent / "tools"
        tools.mkdir()
        (tools / "sudo").write_text(SUDO)
        (tools / "sudo").chmod(0o755)
        kept = {name: value for name, value in os.environ.items() if name in ("LANG", "LC_ALL", "HOME")}
        path = f"{python.parent}:{tools}:{os.environ['PATH']}"
        self._environ = {**kept, "PATH": path, "ASKED": str(self.asked)}

    def do(self, language: str, block: str) -> None:
        """Do what the next block of the page says."""
        if language in ("python", "toml"):
            self._write(block)
        elif language == "sh":
            self._type(block)
        elif block.startswith(("> ", "tea: ", "Write to")):
            self._talk(block)
        else:
            assert_shown(block.replace(":3001/", ":"), self.shown)

    def end(self) -> None:
        """Kill what still runs."""
        for process in (self._phone, self._daemon):
            if process is not None:
                process.kill()
                process.wait()
        if self._phone is not None and self._phone.stdin is not None:
            self._listener.join()
            self._phone.stdin.close()

    def _write(self, block: str) -> None:
        head = re.match(r"# shop/(\S+)\n", block)
        assert head, f"a file without its name:\n{block}"
        text = block.replace("8081", self._port)
        if head[1] == "fleet.toml":
            text += '\n[api]\nbind = "127.0.0.1:0"\n'
        replaced, applied = self._count("worker.exited"), self._count("reload.applied")
        (self.folder / head[1]).write_text(text)
        if self._daemon is not None and head[1] == "fleet.toml":
            wait_for(lambda: self._count("reload.applied") > applied, "the fleet file was not read")
        if self._daemon is not None and head[1] == "tea.py":
            wait_for(lambda: self._count("worker.exited") > replaced, "the worker was not replaced")

    def _type(self, block: str) -> None:
        if block == PHONE:
            self._start_phone()
        elif block == RUN:
            self._stop_daemon()
            self._start_daemon()
        elif block == DASHBOARD:
            self._open_dashboard()
        else:
            if block == LETTERS:  # the page has its reader wait for this
                wait_for(lambda: self._count("update.retried") and self._count("update.dead"), "none is dead")
            if block == CLEAN_UP:
                self._stop_daemon()
                self._hang_up()
            command = ["bash", "-e", "-o", "pipefail", "-c", block]
            result = self._run(command)
            self.shown = result.stdout
            assert result.returncode == 0, f"{block}\n{result.stdout}"

    def _run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT,
            check=False,
        )

    def _start_phone(self) -> None:
        self._phone = subprocess.Popen(
            ["python", "phone.py"],  # noqa: S607 - as it is typed
            cwd=self.folder,
            env=self._environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._listener.start()

    def _listen(self) -> None:
        assert self._phone is not None
        assert self._phone.stdout is not None
        with self._phone.stdout as output:
            for line in output:
                self._lines.put(line.decode().rstrip("\n").rpartition("\r")[2])

    def _talk(self, block: str) -> None:
        assert self._phone is not None
        assert self._phone.stdin is not None
        for line in block.splitlines():
            if line.startswith("> "):
                self._phone.stdin.write(line.removeprefix("> ").encode() + b"\n")
                self._phone.stdin.flush()
            else:
                assert self._heard() == line

    def _heard(self) -> str:
        try:
            return self._lines.get(timeout=LIMIT)
        except queue.Empty:
            raise AssertionError("the phone shows nothing more") from None

    def _hang_up(self) -> None:
        assert self._phone is not None
        assert self._phone.stdin is not None
        self._phone.stdin.close()
        assert self._phone.wait(LIMIT) == 0
        self._listener.join()
        assert [*self._lines.queue] == ["> "], "the phone showed more than the page does"

    def _start_daemon(self) -> None:
        ready = self._count("daemon.ready")
        with open(self._log, "ab") as log:
            self._daemon = subprocess.Popen(
                RUN.split(), cwd=self.folder, env=self._environ, stdout=log, stderr=log
            )
        wait_for(lambda: self._count("daemon.ready") > ready, "the daemon did not start")

    def _stop_daemon(self) -> None:
        if self._daemon is not None:
            self._daemon.send_signal(signal.SIGINT)
            assert self._daemon.wait(LIMIT) == 0
            self._daemon = None

    def _count(self, event: str) -> int:
        return self._log.read_text().count(f'"event": "{event}"') if self._log.exists() else 0

    def _open_dashboard(self) -> None:
        """The link is printed on a terminal only; it signs a browser in."""
        master, terminal = os.openpty()
        with subprocess.Popen(
            DASHBOARD.split(), cwd=self.folder, env=self._environ, stdout=terminal, stderr=terminal
        ):
            os.close(terminal)
            self.shown = _read_all(master).replace("\r\n", "\n")
        browser = build_opener(HTTPCookieProcessor(CookieJar()))
        with browser.open(self.shown.split()[0]) as answer:
            assert "<title>trioworkers" in answer.read().decode()


def _read_all(master: int) -> str:
    """What a terminal was given until its last writer left, which is EIO here (tty_ioctl(4) has no EOF)."""
    shown = b""
    with os.fdopen(master, "rb", buffering=0) as terminal:
        try:
            while part := terminal.read(4096):
                shown += part
        except OSError as error:
            if error.errno != errno.EIO:
                raise
    return shown.decode()


@contextmanager
def newcomer(folder: Path, python: Path):
    somebody = Newcomer(folder, python)
    try:
        yield somebody
    finally:
        somebody.end()


def test_every_block_of_the_tutorial_works_in_its_order(fresh, tmp_path):
    """Files as they are shown, commands as they are printed, each line on the phone, each output."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (_, install), *steps = fenced(page("tutorial.md"))
    (known,) = [block for block in blocks(README.read_text(), "sh") if "pip install" in block]
    assert install.startswith(known), "the environment is made as the README says; here it is `fresh`"
    with newcomer(folder, fresh) as somebody:
        for language, block in steps:
            somebody.do(language, block)
            if os.getuid() == 0 and "api_base" not in block and block.startswith("# shop/fleet.toml"):
                os.chown(folder / "fleet.toml", 65534, 65534)  # root's fleet has another unit
        told, _, name = somebody.asked.read_text().splitlines()[0].rpartition("/")
        assert told == "tee /etc/systemd/system"
        assert somebody.asked.read_text().splitlines()[1:] == [
            "systemctl daemon-reload",
            f"systemctl enable --now {name}",
        ]
        unit = (folder / "unit.txt").read_text()
        assert f"ExecStart={fresh.parent}/trioworkers -c {folder}/fleet.toml run\n" in unit
