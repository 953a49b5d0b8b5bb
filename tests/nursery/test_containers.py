"""What a container, a release and an umask around the daemon mean for its processes."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import test_zygote  # type: ignore[import-not-found] # beside this one, as pytest sees it

from trioworkers.descriptors import DescriptorsError, check_pidfds
from trioworkers.folders import make_folder
from trioworkers.nursery.zygote import open_zygote
from trioworkers.protocol.orders import Prepare

FIRST = """
import os, subprocess, sys, time
import trio
from trioworkers.nursery.zygote import Zygote
from trioworkers.worker.remains import children_of

STRANGER = (
    "import os, sys\\nif os.fork():\\n    os._exit(0)\\nos.setsid()\\n"
    "if os.fork():\\n    os._exit(0)\\nprint('left', flush=True)"
)

async def main():
    assert os.getpid() == 1
    own = subprocess.Popen(["true"])
    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()
        nursery.start_soon(Zygote("run", print).serve_left_behind, scope)
        for _ in range(5):
            stranger = [sys.executable, "-c", STRANGER]
            await trio.to_thread.run_sync(lambda: subprocess.run(stranger, check=True))
        with trio.fail_after(30):
            while children_of(1) != [own.pid]:
                await trio.sleep(0.1)
        await trio.sleep(2.5)
        scope.cancel()
    assert children_of(1) == [own.pid], "a plugin's is its own to wait for"
    assert own.wait() == 0

trio.run(main)
"""


def test_the_first_process_of_a_container_reaps_strangers(tmp_path: Path) -> None:
    """What probes and shells leave comes to it, and would fill the table of processes."""
    unshare = shutil.which("unshare")
    if os.geteuid() or unshare is None:
        pytest.skip("only root may make a namespace of processes")
    script = tmp_path / "first.py"
    script.write_text(FIRST)
    command = [unshare, "--pid", "--fork", "--mount-proc", sys.executable, "-P", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if "unshare failed" in done.stderr:
        pytest.skip("namespaces are forbidden here")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("way", ["fork", "spawn"])
async def test_each_worker_enters_its_folder_anew(tmp_path: Path, way: Any) -> None:
    """A deploy points a link to a new release and deletes the old one, in which the zygote began."""
    bench = test_zygote.Bench(tmp_path / "current")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        source = test_zygote.QUIET + "import os\nprint(os.getcwd(), oct(os.umask(0)), flush=True)\n"
        (tmp_path / name / "says.py").write_text(source)
    bench.folder.symlink_to(tmp_path / "one")
    path = (str(bench.folder),)
    prepare = Prepare(way, "http://127.0.0.1:9", (), path, str(bench.folder), 0o027)
    environ = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    run = secrets.token_hex(16)
    async with open_zygote(prepare, run=run, folder=bench.folder, environ=environ, emit=bench.emit) as zygote:
        async with bench.worker(zygote, "says") as worker:
            assert await worker.line() == f"{tmp_path / 'one'} 0o27"
        bench.folder.unlink()
        bench.folder.symlink_to(tmp_path / "two")
        shutil.rmtree(tmp_path / "one")
        async with bench.worker(zygote, "says") as worker:
            assert await worker.line() == f"{tmp_path / 'two'} 0o27"


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOSYS])
def test_a_container_that_forbids_pidfds_is_told_so(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """An old seccomp profile, or an old Linux; not a traceback of the first worker's."""

    def forbidden(pid: int, flags: int = 0) -> int:
        raise OSError(number, os.strerror(number))

    check_pidfds()
    monkeypatch.setattr(os, "pidfd_open", forbidden)
    with pytest.raises(DescriptorsError, match=r"^pidfd_open: .*, expected a Linux of 5\.3 .*seccomp"):
        check_pidfds()


def as_nobody(code: str) -> str:
    """What a process of another user than root prints."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        user=65534,
    )
    return done.stdout + done.stderr


def test_a_volume_that_all_may_write_has_room_for_a_folder_of_ours(request: pytest.FixtureRequest) -> None:
    """An emptyDir is root's and 0777: the daemon makes its own folder there; it cannot change the volume."""
    if os.geteuid():
        pytest.skip("only root may become another user")
    # not below pytest's folder, which other users cannot enter
    volume = Path(tempfile.mkdtemp()) / "volume"
    volume.parent.chmod(0o755)
    volume.mkdir()
    volume.chmod(0o777)
    request.addfinalizer(lambda: shutil.rmtree(volume.parent))
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom trioworkers.folders import make_folder\n"
        "try:\n    make_folder(Path({!r}))\n    print('made')\n"
        "except PermissionError as error:\n    print(error)\n"
    )
    assert as_nobody(code.format(str(volume / "state"))) == "made\n"
    assert (volume / "state").stat().st_uid == 65534
    advice = as_nobody(code.format(str(volume)))
    assert advice.endswith(f"expected a folder of our own: name a folder below it, as {volume}/volume\n")
    with pytest.raises(PermissionError, match=f"chmod o-w {volume}$"):
        make_folder(volume / "of_root")


@pytest.mark.parametrize("way", ["fork", "spawn"])
async def test_a_worker_is_chosen_before_the_daemon_when_memory_runs_out(tmp_path: Path, way: Any) -> None:
    """And so is what it starts; the zygote, which starts workers, is not."""
    bench = test_zygote.Bench(tmp_path)
    says = "print(open('/proc/self/oom_score_adj').read().strip(), flush=True)\n"
    bench.module("says", f"{test_zygote.QUIET}{says}")
    own = int(Path("/proc/self/oom_score_adj").read_text())
    async with bench.zygote(way) as zygote, bench.worker(zygote, "says") as worker:
        assert int(await worker.line()) == min(1000, own + 500)
        assert int(Path(f"/proc/{bench.told[0][1]['pid']}/oom_score_adj").read_text()) == own
