"""A running daemon is found without any file of its own, and a second one with its bots is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
import trio

from trioworkers.folders import AlreadyRunningError
from trioworkers.service import claim as module
from trioworkers.service.claim import Claim, Told, ask_claim, find_claims, see_no_other

if TYPE_CHECKING:
    from collections.abc import Callable

OTHER = """
import sys, trio
from pathlib import Path
from trioworkers.service.claim import Claim
claim = Claim(Path(sys.argv[1]), Path(sys.argv[2]))
print("claimed", flush=True)
said = {"control": "/c", "log_dir": "/l", "bots": [1, 2]}
if len(sys.argv) > 3:
    trio.run(trio.sleep_forever)
trio.run(claim.serve, lambda: said)
"""


@pytest.fixture
def other():
    """Starts other processes that have a claim."""
    started: list[subprocess.Popen[str]] = []

    def start(file: Path, state: Path, *more: str) -> int:
        process = subprocess.Popen(
            [sys.executable, "-c", OTHER, str(file), str(state), *more], stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "claimed\n"
        return process.pid

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def file(tmp_path):
    (tmp_path / "fleet.toml").touch()
    return tmp_path / "fleet.toml"


@pytest.fixture
def open_folder():
    """A folder that every user can look into; pytest's are its own user's."""
    with TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def pids(file: Path) -> list[int]:
    return [claimed.pid for claimed in find_claims(file)]


def test_a_daemon_is_found_by_its_fleet_file_and_by_what_that_leads_to(file, tmp_path, other):
    """`current/fleet.toml` may lead to another release than at the daemon's start."""
    (tmp_path / "current.toml").symlink_to("fleet.toml")
    pid = other(tmp_path / "current.toml", tmp_path / "state")
    assert pids(file) == [pid]
    (tmp_path / "next.toml").touch()
    (tmp_path / "current.toml").unlink()
    (tmp_path / "current.toml").symlink_to("next.toml")
    assert pids(tmp_path / "current.toml") == [pid]
    assert pids(tmp_path / "next.toml") == []
    (claimed,) = find_claims(file)
    assert ask_claim(claimed) == Told(Path("/c"), Path("/l"), frozenset({1, 2}))


def test_a_claim_ends_with_its_process(file, tmp_path):
    """However it ends; and whoever closes it has none any more."""
    with closing(Claim(file, tmp_path / "state")):
        assert pids(file) == [os.getpid()]
    assert pids(file) == []


@pytest.mark.parametrize(
    ("bots", "refused"), [({2, 3}, True), ({3}, False), (set(), False)], ids=["one", "others", "none"]
)
def test_a_second_daemon_with_one_of_the_bots_is_refused(file, tmp_path, other, bots, refused):
    """With other tokens and folders it is not: one file serves several fleets by their environments."""
    pid = other(file, tmp_path / "theirs")
    with closing(Claim(file, tmp_path / "state")) as claim:
        for see in (claim.see_alone, lambda bots: see_no_other(file, bots)):
            if refused:
                with pytest.raises(AlreadyRunningError, match=rf"\(pid {pid}\); its control socket is /c"):
                    see(frozenset(bots))
            else:
                see(frozenset(bots))


def test_one_state_folder_has_one_daemon_whatever_its_bots_are(file, tmp_path, other):
    """Also when it is reached by another name."""
    (tmp_path / "state").mkdir()
    (tmp_path / "link").symlink_to("state")
    pid = other(tmp_path / "other.toml", tmp_path / "state")
    with (
        closing(Claim(file, tmp_path / "link")) as claim,
        pytest.raises(AlreadyRunningError, match=rf"another daemon runs on .*link \(pid {pid}\)"),
    ):
        claim.see_alone(frozenset())


def test_one_that_does_not_answer_is_taken_for_one_that_has_the_bots(file, tmp_path, other, monkeypatch):
    """It may be stopped, or held up by something."""
    monkeypatch.setattr(module, "PATIENCE", 0.1)
    pid = other(file, tmp_path / "theirs", "silent")
    with pytest.raises(AlreadyRunningError, match=rf"\(pid {pid}\)$"):
        see_no_other(file, frozenset({3}))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize(
    ("owner", "holder", "counts"),
    [(1001, 1002, False), (1002, 1002, True), (1001, 0, True), (1001, 61184, True)],
    ids=["stranger", "owner of the file", "root", "dynamic user"],
)
def test_a_stranger_keeps_no_daemon_from_starting(open_folder, owner, holder, counts):
    """Anybody can make such a socket; only users who may run this fleet count, and only they are answered."""
    file = open_folder / "fleet.toml"
    file.touch()
    os.chown(file, owner, owner)
    seen: list[Any] = []

    def as_user(uid: int, act: Callable[[], object]) -> None:
        pid = os.fork()
        if not pid:
            with suppress(BaseException):
                os.setresuid(uid, uid, uid)
                os._exit(0 if act() else 1)
            os._exit(2)
        seen.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    ready, go = os.pipe()
    holds = os.fork()
    if not holds:
        os.setresuid(holder, holder, holder)
        claim = Claim(file, open_folder / "theirs")
        os.write(go, b"x")
        trio.run(claim.serve, lambda: {"control": "/c", "log_dir": "/l", "bots": [1]})
    try:
        assert os.read(ready, 1) == b"x"
        as_user(1001, lambda: bool(pids(file)) is counts)
        as_user(1003, lambda: all(ask_claim(claimed) is None for claimed in find_claims(file)))
        as_user(0, lambda: [ask_claim(claimed) for claimed in find_claims(file)])
    finally:
        os.kill(holds, 9)
        os.waitpid(holds, 0)
        os.close(ready)
        os.close(go)
    assert Counter(seen) == Counter({0: 3})
