"""What a daemon holds on disk comes back: folders, lock, sockets and small files; unless another has them."""

from __future__ import annotations

import shutil
import socket
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.lowlevel

from trioworkers import holdings as module
from trioworkers.folders import AlreadyRunningError, Lock
from trioworkers.holdings import GONE_AFTER, Holdings, Keepsakes
from trioworkers.web.sockets import UnixSocket, serve_held

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def state(tmp_path):
    state = tmp_path / "state"
    for folder in (state, state / "run", state / "fleet.d"):
        folder.mkdir(mode=0o700)
    return state


@pytest.fixture
def held(state, request):
    """A lock, a socket and small files in a state folder, seen once; a parameter: the largest kept."""
    with (
        closing(Lock(state / "daemon.lock", "runs")) as lock,
        closing(UnixSocket(state / "run" / "control.sock", key="k")) as control,
    ):
        (state / "paused.json").write_text("[1]")
        (state / "fleet.d" / "two.toml").write_text("[bots.two]")
        files = [state / "paused.json", state / "webhooks.json", state / "run" / "api-token"]
        kept = Keepsakes(files, state / "fleet.d", getattr(request, "param", module.LARGEST))
        folders = [state, state / "run", state / "logs", state / "fleet.d"]
        holdings = Holdings(folders, lock, kept, [control])
        holdings.reclaim()
        yield holdings, lock, control


def connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


@pytest.mark.parametrize("keep_folders", [False, True])
def test_everything_comes_back(state, held, keep_folders):
    """As it was, for us alone, and only we have the lock."""
    holdings, lock, control = held
    if keep_folders:
        for path in state.rglob("*"):
            if not path.is_dir():
                path.unlink()
    else:
        shutil.rmtree(state)
    assert lock.is_lost()
    assert control.is_lost()
    holdings.reclaim()
    assert (state / "paused.json").read_text() == "[1]"
    assert (state / "paused.json").stat().st_mode & 0o777 == 0o600
    assert (state / "fleet.d" / "two.toml").read_text() == "[bots.two]"
    assert not (state / "webhooks.json").exists()
    assert (state / "logs").is_dir()
    assert connects(control.path)
    assert not lock.is_lost()
    with pytest.raises(AlreadyRunningError):
        Lock(state / "daemon.lock", "runs")
    before = control.listener
    holdings.reclaim()
    assert control.listener is before


def test_nothing_is_put_where_another_daemon_is(state, held):
    """It has the new lock: our files would be taken for its own."""
    holdings, _, control = held
    shutil.rmtree(state)
    state.mkdir(mode=0o700)
    with closing(Lock(state / "daemon.lock", "runs")):
        for _ in range(2):
            with pytest.raises(AlreadyRunningError):
                holdings.reclaim()
        assert [path.name for path in state.iterdir()] == ["daemon.lock"]
    holdings.reclaim()
    assert (state / "paused.json").read_text() == "[1]"
    assert connects(control.path)


def test_a_folder_that_others_can_write_is_not_used(state, held):
    """A deploy made it, with its own idea of permissions; the reason says what to do."""
    holdings, lock, _ = held
    shutil.rmtree(state)
    state.mkdir()
    state.chmod(0o777)
    with pytest.raises(PermissionError, match="chmod go-w"):
        holdings.reclaim()
    assert lock.is_lost()
    state.chmod(0o700)
    holdings.reclaim()
    assert (state / "paused.json").exists()


def test_what_is_changed_on_purpose_stays_changed(state, held):
    """A file of its own that is removed while the lock is there was removed by somebody who meant it."""
    holdings, _, _ = held
    (state / "fleet.d" / "two.toml").unlink()
    (state / "paused.json").write_text("[2]")
    for _ in range(GONE_AFTER):
        holdings.reclaim()
    shutil.rmtree(state)
    holdings.reclaim()
    assert (state / "paused.json").read_text() == "[2]"
    assert list((state / "fleet.d").iterdir()) == []


def test_what_is_removed_before_the_lock_is_not_forgotten(state, held):
    """`rm -rf` takes one after the other, and may be looked at in the midst of it."""
    holdings, _, _ = held
    shutil.rmtree(state / "fleet.d")
    holdings.reclaim()
    shutil.rmtree(state)
    holdings.reclaim()
    assert (state / "fleet.d" / "two.toml").exists()


def test_a_runtime_folder_that_is_removed_alone_comes_back(state, held):
    """With the socket and the API's token: whoever has that goes on."""
    holdings, _, control = held
    (state / "run" / "api-token").write_text("secret")
    holdings.reclaim()
    shutil.rmtree(state / "run")
    holdings.reclaim()
    assert connects(control.path)
    assert (state / "run" / "api-token").read_text() == "secret"


@pytest.mark.parametrize("held", [10], indirect=True)
def test_a_large_file_is_not_kept_in_memory(state, held):
    """Nothing of it comes back, rather than half of it or what it was before."""
    holdings, _, _ = held
    (state / "paused.json").write_text("[" + "1," * 100 + "1]")
    holdings.reclaim()
    shutil.rmtree(state)
    holdings.reclaim()
    assert not (state / "paused.json").exists()


async def test_it_is_reported_and_clients_find_the_new_socket(state, held, nursery):
    """Whoever was connected before is served to the end."""
    holdings, _, control = held
    told: list[Any] = []
    nursery.start_soon(holdings.serve, told.append, told.append, 0.01)
    stop = trio.Event()

    async def serve(listeners: Any, over: trio.Event, *, task_status: Any) -> None:
        (listener,) = listeners
        listener.setblocking(False)
        stream = trio.SocketListener(trio.socket.from_stdlib_socket(listener))

        async def echo(peer: trio.SocketStream) -> None:
            async with peer:
                async for said in peer:
                    await peer.send_all(said)

        async with trio.open_nursery() as own:
            await own.start(trio.serve_listeners, echo, [stream])
            task_status.started()
            await over.wait()
            await trio.lowlevel.checkpoint()
            own.cancel_scope.deadline = trio.current_time() + 1

    await nursery.start(serve_held, serve, control, stop)
    with trio.fail_after(20):
        first = await trio.open_unix_socket(str(control.path))
        await first.send_all(b"1")
        assert await first.receive_some() == b"1"
        shutil.rmtree(state, ignore_errors=True)  # something may be put back in the midst of it
        # what is put back in the midst of the removal may be removed again; the next look puts back the rest
        second = None
        while second is None or not any(str(control.path) in paths for paths in told):
            await trio.sleep(0.01)
            with suppress(OSError):
                second = second or await trio.open_unix_socket(str(control.path))
        await second.send_all(b"2")
        assert await second.receive_some() == b"2"
        await second.aclose()
        await first.aclose()
    assert {str(control.path), str(state / "daemon.lock")} <= {path for paths in told for path in paths}
    stop.set()


async def test_a_reason_is_reported_once(state, held, monkeypatch, nursery):
    """However long it lasts; and another one is another report."""
    holdings, _, _ = held
    restored: list[Any] = []
    lost: list[str] = []
    looks = 0
    reclaim = holdings.reclaim

    def counted() -> None:
        nonlocal looks
        looks += 1
        reclaim()

    monkeypatch.setattr(holdings, "reclaim", counted)
    shutil.rmtree(state)
    state.mkdir()
    state.chmod(0o777)
    nursery.start_soon(holdings.serve, restored.append, lost.append, 0.01)
    with trio.fail_after(20):
        while looks < 3:  # noqa: ASYNC110 - a thread looks
            await trio.sleep(0.01)
        state.chmod(0o700)
        while not restored:  # noqa: ASYNC110
            await trio.sleep(0.01)
    assert len(lost) == 1
    assert "chmod go-w" in lost[0]
