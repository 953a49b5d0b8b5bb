"""A PostgreSQL server of the tests' own: Debian's programs, an unprivileged user, a folder of its own."""

from __future__ import annotations

import atexit
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import closing, contextmanager, suppress
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parts[-2]))
SETTINGS = {
    "fsync": "off",  # a server that is killed loses nothing by it: the pages are the kernel's
    "full_page_writes": "off",
    "max_connections": "40",
    "shared_buffers": "32MB",
    "max_wal_size": "64MB",
    "autovacuum": "off",
    "log_min_messages": "fatal",
    "deadlock_timeout": "100ms",
}
OF_SMALL_DISK: dict[str, Any] = {"min_wal_size": "32MB", "max_wal_size": "32MB"}
LIFELINE = 'cat; [ -e "$1/postmaster.pid" ] && kill -QUIT "$(head -n 1 "$1/postmaster.pid")"; rm -rf "$2"'


def program(name: str) -> str | None:
    """Where a program of the server is; None: nowhere on this machine."""
    if PROGRAMS:
        return str(PROGRAMS[-1] / name)
    return shutil.which(name)


class Server:
    """Started by :meth:`start`; killed with its folder by :meth:`close`.

    Args:
        parent: where its folder is made.
        copied: the server of which it is a standby.
        environ: variables of its own.
        settings: of the server, beside those of all tests.
    """

    def __init__(
        self,
        parent: Path | None = None,
        copied: Server | None = None,
        environ: Mapping[str, str] | None = None,
        **settings: str,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="trioworkers-pg-", dir=parent))
        self.data = self.folder / "data"
        self._settings = SETTINGS | settings
        self._environ = {**os.environ, **(environ or {})}
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._user = self._find_user()
        if self._user is not None:
            os.chown(self.folder, self._user.pw_uid, self._user.pw_gid)
        self._numbers = count(1)
        self._process: subprocess.Popen[bytes] | None = None
        # however the process of the tests ends, the server ends with it
        self._lifeline = subprocess.Popen(
            ["/bin/sh", "-c", LIFELINE, "sh", str(self.data), str(self.folder)],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        folder = ("-D", str(self.data), "-U", "tests")
        if copied is None:
            self._run("initdb", *folder, "-A", "trust", "-N", "-E", "UTF8", "--locale=C.UTF-8")
        else:
            at = ("-h", str(copied.folder), "-p", str(copied.port))
            self._run("pg_basebackup", *folder, *at, "-R", "-c", "fast", "-N")

    @staticmethod
    def _find_user() -> pwd.struct_passwd | None:
        """Whom to run as: PostgreSQL refuses to run as root."""
        if os.geteuid() != 0:
            return None
        try:
            return pwd.getpwnam("postgres")
        except KeyError:
            return pwd.getpwnam("nobody")

    def as_user(self) -> dict[str, Any]:
        """As whom its programs run, for subprocess."""
        if self._user is None:
            return {}
        return {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}

    def _run(self, name: str, *arguments: str) -> None:
        command = [program(name) or name, *arguments]
        subprocess.run(command, check=True, capture_output=True, cwd=self.folder, **self.as_user())

    def start(self) -> None:
        """Start it, and return once it accepts connections."""
        settings = [f"--{name}={value}" for name, value in self._settings.items()]
        command = [
            *(program("postgres") or "postgres", "-D", str(self.data), "-k", str(self.folder)),
            *("-p", str(self.port), "-c", "listen_addresses=127.0.0.1", *settings),
        ]  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, env=self._environ, stdout=log, stderr=log, **self.as_user()
            )
        until = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(self.admin()).close()
            except psycopg.OperationalError as error:
                if time.monotonic() > until or self._process.poll() is not None:
                    said = (self.folder / "log").read_text()
                    raise AssertionError(said) from error
                time.sleep(0.02)
            else:
                return

    def copy(self) -> Server:
        """Make a standby of this server, and start it."""
        standby = Server(copied=self)
        standby.start()
        return standby

    def require_standby(self) -> None:
        """From now on each commit waits for a standby; the standby itself has no such rule."""
        with psycopg.connect(self.admin(), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            connection.execute("SELECT pg_reload_conf()")

    def cut_off(self) -> None:
        """Let a standby hear nothing more of its primary; return when it does not."""
        with psycopg.connect(self.admin(), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET primary_conninfo = ''")
            connection.execute("SELECT pg_reload_conf()")
            until = time.monotonic() + 30
            while connection.execute("SELECT FROM pg_stat_wal_receiver").fetchone() is not None:
                assert time.monotonic() < until
                time.sleep(0.02)

    def promote(self) -> None:
        """Let a standby take over; return once it takes writes."""
        self._run("pg_ctl", "promote", "-D", str(self.data), "-w")

    def kill(self) -> None:
        """End it and all its processes at once, as a crash does (the rest of them follow the first)."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGQUIT)
        self._process.wait(60)

    def stop(self) -> None:
        """Shut it down, ending connections."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGINT)
        self._process.wait(60)

    def close(self) -> None:
        """Kill it, and remove its folder."""
        if self._process is not None and self._process.poll() is None:
            self.kill()
        assert self._lifeline.stdin is not None
        self._lifeline.stdin.close()
        self._lifeline.wait(120)  # disks that others are busy with remove slowly

    def admin(self, database: str = "postgres") -> str:
        """The address for the server's owner."""
        return f"postgresql://tests@/{database}?host={self.folder}&port={self.port}"

    def database(self) -> str:
        """Make an empty database; return its name."""
        name = f"inbox{next(self._numbers)}"
        with psycopg.connect(self.admin(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} STRATEGY = FILE_COPY")
        return name


@contextmanager
def small_disk() -> Iterator[Path]:
    """A folder on a disk of 160 MB, which the server's user may enter; without root it skips the test."""
    folder = Path(tempfile.mkdtemp(prefix="trioworkers-disk-"))
    mount = ["/bin/mount", "-t", "tmpfs", "-o", "size=160m,mode=0755", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        folder.rmdir()
        pytest.skip("a disk can be mounted by root only")
    try:
        yield folder
    finally:
        subprocess.run(["/bin/umount", "--lazy", str(folder)], check=True)
        folder.rmdir()


def fill(disk: Path) -> Path:
    """Leave no room on a disk; return the file that takes it."""
    ballast = disk / "ballast"
    with suppress(OSError), ballast.open("wb") as file:
        while True:
            file.write(bytes(1 << 16))
    return ballast


def needs_postgres() -> None:
    """Skip the test where there is no server to start; in CI it fails instead."""
    if program("initdb") is None:
        assert "CI" not in os.environ, "PostgreSQL is missing"
        pytest.skip("needs PostgreSQL's server")


def own_server() -> Iterator[Server]:
    """A server that a test may stop and kill: make a fixture of this, as `pytest.fixture(own_server)`."""
    needs_postgres()
    with closing(Server()) as server:
        server.start()
        yield server


@lru_cache(maxsize=1)
def postgres_server() -> Server:
    """The server that tests of this process share. Whoever stops it starts it again."""
    server = Server()
    server.start()
    atexit.register(server.close)
    return server
