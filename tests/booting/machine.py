"""A container with a systemd of its own: booted by systemd-nspawn, entered by nsenter."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

BOOT = 30.0  # seconds
MASKED = ("systemd-firstboot.service", "systemd-networkd-wait-online.service")
"""What would ask somebody, or wait for the network, which is private here."""
ENTER = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup")


class Machine:
    """A booted container.

    Attributes:
        root: its root, as seen from outside.
    """

    def __init__(self, root: Path, leader: int) -> None:
        self.root = root
        self._leader = leader

    @classmethod
    @contextmanager
    def booted(cls, pristine: Path, binds: Mapping[str, Path]) -> Iterator[Machine]:
        """Boot a copy of a root, and power it off in the end. `binds`: what is mounted, read-only."""
        scratch = Path(tempfile.mkdtemp(prefix="tw-machine-", dir="/var/tmp"))  # too large for a tmpfs
        root, console = scratch / "root", scratch / "console"
        subprocess.run(["cp", "-a", "--reflink=auto", str(pristine), str(root)], check=True)  # noqa: S607
        (root / "etc/machine-id").write_text("uninitialized\n")
        for unit in MASKED:
            (root / "etc/systemd/system" / unit).symlink_to("/dev/null")
        command = [
            "setpriv",
            "--pdeathsig",
            "TERM",
            "systemd-nspawn",
            "--quiet",
            "--register=no",
            "--keep-unit",
            "--private-network",
        ]
        command += ["--console=pipe", f"--machine=tw-{os.getpid()}", f"--directory={root}"]
        command += [f"--bind-ro={outside}:{inside}" for inside, outside in binds.items()]
        with console.open("wb") as output:
            nspawn = subprocess.Popen(
                [*command, "--boot"], stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        try:
            machine = cls(root, _leader(nspawn, console))
            machine.until(
                lambda: (
                    machine.run("systemctl", "is-system-running").stdout.strip() in ("running", "degraded")
                )
            )
            yield machine
        finally:
            _end(nspawn)
            shutil.rmtree(scratch)

    def run(self, *words: str, check: bool = False, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a command as root inside; `check`: it has to succeed."""
        environ = {"PATH": "/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin", "LANG": "C.UTF-8", "HOME": "/root"}
        done = subprocess.run(
            ["/usr/bin/nsenter", "-t", str(self._leader), *ENTER, "--root", "--wd", *words],
            capture_output=True,
            text=True,
            env=environ,
            check=False,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
        )
        assert not check or done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def out(self, *words: str) -> str:
        """What a command writes that has to succeed."""
        return self.run(*words, check=True).stdout.strip()

    @contextmanager
    def started(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """A command that runs inside, with pipes for input and output; what is left of it is killed."""
        with self._entered((*ENTER, "--root", "--wd"), words) as process:
            yield process

    @contextmanager
    def started_outside(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """Likewise a command of the outer system that has the network of this one."""
        with self._entered(("--net",), words) as process:
            yield process

    @contextmanager
    def _entered(self, options: tuple[str, ...], words: tuple[str, ...]) -> Iterator[subprocess.Popen[str]]:
        with subprocess.Popen(
            ["/usr/bin/nsenter", "-t", str(self._leader), *options, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                yield process
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file inside, in one step."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_name(f".{file.name}.new")
        new.write_text(text)
        new.chmod(mode)
        new.replace(file)

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.out("systemctl", "show", "--value", "-p", name, unit)

    def journal(self, unit: str, since: str = "") -> list[dict[str, Any]]:
        """The lines of a unit's journal, oldest first; `since`: those behind this cursor."""
        words = ["journalctl", "-u", unit, "-o", "json", "--no-pager"]
        words += [f"--after-cursor={since}"] if since else []
        self.out("journalctl", "--sync")
        return [json.loads(line) for line in self.out(*words).splitlines()]

    def cursor(self) -> str:
        """The journal's end now."""
        self.out("journalctl", "--sync")
        last = self.out("journalctl", "-n", "1", "-o", "json", "--no-pager")
        return str(json.loads(last)["__CURSOR"])

    def until(self, condition: Callable[[], Any], seconds: float = BOOT) -> Any:
        """Wait until a condition is true; return its value."""
        deadline = time.monotonic() + seconds
        while True:
            value = condition()
            if value:
                return value
            assert time.monotonic() < deadline, f"it did not come true in {seconds} s"
            time.sleep(0.1)


def _leader(nspawn: subprocess.Popen[bytes], console: Path) -> int:
    """The first process inside, once it is systemd."""
    deadline = time.monotonic() + BOOT
    while time.monotonic() < deadline and nspawn.poll() is None:
        for child in _children(nspawn):
            try:
                if Path(f"/proc/{child}/comm").read_text() == "systemd\n":
                    return child
            except OSError:
                continue
        time.sleep(0.05)
    why = (
        f"it ended with {nspawn.returncode}" if nspawn.poll() is not None else f"it did not boot in {BOOT} s"
    )
    message = (
        f"systemd-nspawn cannot boot a systemd on this machine: {why}\n{console.read_text(errors='replace')}"
    )
    raise AssertionError(message)


def _end(nspawn: subprocess.Popen[bytes]) -> None:
    """Pull the plug: the end of its first process is the end of all others, and nothing is kept."""
    for child in _children(nspawn):
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    try:
        nspawn.wait(timeout=10)
    except subprocess.TimeoutExpired:
        nspawn.kill()
        nspawn.wait()


def _children(process: subprocess.Popen[bytes]) -> list[int]:
    try:
        return [*map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split())]
    except OSError:
        return []
