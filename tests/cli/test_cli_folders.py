"""What the daemon owns on disk: made for it alone, refused when it is not."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from trioworkers.folders import AlreadyRunningError, kept_token, locked, make_folder

if TYPE_CHECKING:
    from pathlib import Path


def test_a_folder_is_made_for_ourselves(tmp_path: Path) -> None:
    """Mode 0700, whatever the umask."""
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o700, 0o750, 0o755, 0o500])
def test_a_folder_that_others_can_read_is_taken(tmp_path: Path, mode: int) -> None:
    """Logs may be read by a group."""
    folder = tmp_path / "logs"
    folder.mkdir()
    folder.chmod(mode)
    make_folder(folder)
    assert folder.stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o1777])
def test_a_folder_that_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    """With the command that mends it."""
    folder = tmp_path / "run"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(PermissionError, match=f"chmod go-w {folder}$"):
        make_folder(folder)


def test_a_folder_that_others_can_replace_is_refused(tmp_path: Path) -> None:
    """Also where only a folder far above is open to all; the sticky bit makes that safe, as in /tmp."""
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "link").symlink_to(tmp_path / "open" / "a")
    for path in (tmp_path / "open" / "a" / "state", tmp_path / "link" / "state"):
        with pytest.raises(PermissionError, match=f"chmod o-w {tmp_path / 'open'}$"):
            make_folder(path)
    (tmp_path / "open").chmod(0o1777)
    make_folder(tmp_path / "open" / "a" / "state")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give something away")
def test_what_another_user_planted_is_refused(tmp_path: Path) -> None:
    """A folder that was made before us, and a link that leads into one of our own."""
    (tmp_path / "ours").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("ours")
    (tmp_path / "theirs").mkdir(mode=0o755)
    make_folder(tmp_path / "link")
    for name, what in (("link", "link"), ("theirs", "folder")):
        os.chown(tmp_path / name, 12345, 12345, follow_symlinks=False)
        with pytest.raises(PermissionError, match=f"{name} is a {what} of another user"):
            make_folder(tmp_path / name)


def test_a_lock_has_one_holder(tmp_path: Path) -> None:
    """The second is told which process; after the first it is free."""
    path = tmp_path / "daemon.lock"
    with locked(path, "runs"), pytest.raises(AlreadyRunningError, match=rf"runs \(pid {os.getpid()}\)"):
        locked(path, "runs").__enter__()
    with locked(path, "runs"):
        pass


def test_a_token_is_made_once(tmp_path: Path) -> None:
    """Mode 0600; the next start reads the same; nothing else is left."""
    path = tmp_path / "api-token"
    token = kept_token(path).reveal()
    assert len(token) > 30
    assert path.stat().st_mode & 0o777 == 0o600
    assert kept_token(path).reveal() == token
    assert list(tmp_path.iterdir()) == [path]


def test_an_empty_token_is_made_anew(tmp_path: Path) -> None:
    """A crash between two writes of another program leaves no open door."""
    path = tmp_path / "api-token"
    path.touch(mode=0o600)
    assert kept_token(path).reveal()


def test_a_planted_file_never_becomes_the_token(tmp_path: Path) -> None:
    """What lies there under a name that was once used is neither written nor renamed."""
    planted = tmp_path / "api-token.new"
    planted.touch()
    planted.chmod(0o666)
    kept_token(tmp_path / "api-token")
    assert planted.read_text() == ""
    assert (tmp_path / "api-token").stat().st_mode & 0o777 == 0o600


def test_a_symbolic_link_is_no_token(tmp_path: Path) -> None:
    """Whoever made it knows what it leads to."""
    (tmp_path / "known").write_text("known")
    (tmp_path / "known").chmod(0o600)
    (tmp_path / "api-token").symlink_to("known")
    with pytest.raises(PermissionError, match="symbolic link"):
        kept_token(tmp_path / "api-token")


def test_a_pipe_is_no_token(tmp_path: Path) -> None:
    """It is refused at once, not waited for."""
    os.mkfifo(tmp_path / "api-token", 0o600)
    with pytest.raises(PermissionError, match="expected a file of our own"):
        kept_token(tmp_path / "api-token")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_token_that_others_can_open_is_refused(tmp_path: Path, mode: int) -> None:
    """It may be known, or not be ours."""
    path = tmp_path / "api-token"
    path.write_text("known")
    path.chmod(mode)
    with pytest.raises(PermissionError, match="delete it"):
        kept_token(path)
