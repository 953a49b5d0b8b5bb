"""The webhook's listener in a whole daemon: its sockets, its certificate, its ends."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING

import httpx
import pytest
import trio
from fleet_project import ECHO, Daemon, Project, alive, until, workers_of
from test_disk import disk, fill
from unix_listener import listen_unix
from webhook_project import SECRET_HEADER, Hooked

from trioworkers.testing import Telegram, serve_telegram

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["disk"]
WAITING = """
import os, time
while not os.path.exists("go"):
    time.sleep(0.02)
"""


@pytest.fixture
async def hooked(project: Project, world: Telegram, nursery: trio.Nursery) -> Hooked:
    return Hooked(project, world, await nursery.start(serve_telegram, world))


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate for localhost that nobody vouches for, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command")
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-nodes", "-days", "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, "-keyout", key, "-out", cert], check=True, capture_output=True)
    return cert, key


def has_done(hooked: Hooked, goal: int) -> bool:
    return hooked.project.tally(hooked.bots["one"])["done"] >= goal


def none_alive(pids: list[int]) -> bool:
    return not any(map(alive, pids))


async def test_a_daemon_killed_amid_deliveries_loses_nothing(
    project: Project, hooked: Hooked, nursery: trio.Nursery
) -> None:
    """Three SIGKILLs: Telegram delivers again what it heard no 200 for, each update is handled once."""
    daemon = await project.start().ready()
    await hooked.registered()
    for _ in range(3):
        goal = project.tally(hooked.bots["one"])["done"] + 20
        hooked.say(10)
        await until(partial(has_done, hooked, goal))
        workers = workers_of(daemon.process.pid)
        daemon.process.kill()
        await daemon.wait()
        await until(partial(none_alive, workers))
        daemon = await project.start().ready()
    await hooked.all_answered(repeats=True)
    assert len(hooked.registrations()) == 1
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_full_disk_is_told_to_telegram(
    project: Project, hooked: Hooked, nursery: trio.Nursery, disk: Path
) -> None:
    """503 with Retry-After, and not one update more than there is room for; all of them once there is."""
    hooked.fleet |= {"log_dir": "logs", "runtime_dir": "run"}
    hooked.write()
    project.control = project.folder / "run" / "control.sock"
    daemon = await project.start().ready()
    bot = await hooked.registered()
    assert bot.webhook is not None
    hooked.say(2)
    await hooked.all_answered()
    filler = fill(disk)
    hooked.say(2)
    await until(lambda: project.events("inbox.full"))
    answer = await hooked.post(bot.webhook.secret)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert bot.webhook.last_error is not None
    assert "503" in bot.webhook.last_error[1]
    filler.unlink()
    await hooked.all_answered()
    assert (await hooked.stats())["bots"]["one"]["refused"]["not accepting"] > 0
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_term_under_deliveries_ends_in_time_and_loses_nothing(
    project: Project, hooked: Hooked, nursery: trio.Nursery
) -> None:
    """Also with connections that are idle, half a request, and a peer that asks and never reads."""
    daemon = await project.start().ready()
    await hooked.registered()
    with contextlib.ExitStack() as stack:
        peers = [
            stack.enter_context(socket.create_connection(("127.0.0.1", hooked.port), timeout=5))
            for _ in range(5)
        ]
        peers[0].sendall(b"POST /webhook/one HTTP/1.1\r\nHost: x\r\nContent-Le")
        peers[1].setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                peers[1].send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
        peers[2].sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        await trio.to_thread.run_sync(peers[2].recv, 1000)
        hooked.say(50)
        await until(lambda: project.tally(hooked.bots["one"])["done"] >= 20)
        assert await daemon.stop() == 0
    assert project.events("daemon.stopped")[-1]["level"] == "info"
    daemon = await project.start().ready()
    await hooked.all_answered()
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_self_signed_certificate_is_uploaded_and_replaced_while_running(
    project: Project, hooked: Hooked, nursery: trio.Nursery
) -> None:
    """Telegram gets the new one as soon as it meets it; nobody restarts anything."""
    cert, key = certificate(project.folder, "first")
    hooked.webhook |= {
        "tls_cert": cert.name,
        "tls_key": key.name,
        "public_url": f"https://localhost:{hooked.port}",
    }
    hooked.write()
    daemon = await project.start().ready()
    bot = await hooked.registered()
    assert bot.webhook is not None
    assert bot.webhook.certificate == cert.read_bytes()
    hooked.say(3)
    await hooked.all_answered()
    for old, new in zip((cert, key), certificate(project.folder, "second"), strict=True):
        new.replace(old)
    with contextlib.suppress(httpx.TransportError):  # whoever connects meets the new one
        await trio.sleep(1.0)  # files are looked at once a second
        async with httpx.AsyncClient() as client:
            await client.get(f"https://localhost:{hooked.port}/health")
    await until(lambda: bot.webhook and bot.webhook.certificate == cert.read_bytes())
    hooked.say(3)
    await hooked.all_answered()
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_restart_takes_deliveries_before_the_worker_is_ready(
    project: Project, hooked: Hooked, nursery: trio.Nursery
) -> None:
    """Of a bot whose webhook was set before; one that is new here is asked to come back."""
    daemon = await project.start().ready()
    bot = await hooked.registered()
    assert bot.webhook is not None
    assert await daemon.stop() == 0
    project.module("echo", WAITING + ECHO)
    hooked.tables["new"] = hooked.tables["one"] | {"token": hooked.world.add_bot("new").token}
    hooked.write()
    hooked.say(3)
    daemon = project.start()

    async def answered() -> bool:
        with contextlib.suppress(httpx.TransportError):
            return (await hooked.post("any", bot="new")).status_code == 503
        return False

    await until(answered)
    await until(lambda: project.tally(bot)["accepted"] == 30)
    assert (await daemon.bot("one"))["state"] == "starting"
    (project.folder / "go").touch()
    await hooked.all_answered()
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_unix_socket_takes_deliveries_from_a_proxy(
    project: Project, hooked: Hooked, nursery: trio.Nursery
) -> None:
    """Of whatever user, as proxies are others; it is gone afterwards."""
    path = project.folder / "hook.sock"
    hooked.webhook["bind"] = f"unix:{path}"
    hooked.write()
    daemon = await project.start().ready()
    assert path.stat().st_mode & 0o777 == 0o666

    async def proxy(stream: trio.SocketStream) -> None:
        async def copy(source: trio.SocketStream, target: trio.SocketStream) -> None:
            async for data in source:
                await target.send_all(data)

        with contextlib.suppress(trio.BrokenResourceError, OSError, BaseExceptionGroup):
            async with await trio.open_unix_socket(path) as upstream, trio.open_nursery() as both:
                both.start_soon(copy, upstream, stream)
                await copy(stream, upstream)
                both.cancel_scope.cancel()

    await nursery.start(trio.serve_tcp, proxy, hooked.port)
    await hooked.registered()
    hooked.say(5)
    await hooked.all_answered()
    assert await daemon.stop() == 0
    assert not path.exists()
    nursery.cancel_scope.cancel()


SLOW = """
import pathlib, trio

async def handle(update, bot):
    pathlib.Path("begun").touch()
    while not pathlib.Path("go").exists():
        await trio.sleep(0.01)
    await bot.send_message(chat_id=update.chat_id, text=update.text)
"""


async def test_deliveries_while_a_stop_drains_are_asked_to_come_again(
    project: Project, hooked: Hooked, nursery: trio.Nursery
) -> None:
    """Refused with 503 and Retry-After, by a listener that stands until the last handler has returned."""
    project.module("echo", SLOW)
    daemon = await project.start().ready()
    bot = await hooked.registered()
    assert bot.webhook is not None
    hooked.say(1)
    await until(lambda: project.tally(bot)["accepted"] == len(hooked.people))
    await until((project.folder / "begun").exists)
    daemon.process.send_signal(signal.SIGTERM)
    await until(lambda: project.events("daemon.stopping"))
    for _ in range(3):  # each on a connection of its own
        answer = await hooked.post(bot.webhook.secret, hooked.update(2**30))
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        await trio.sleep(0.1)
    (project.folder / "go").touch()
    assert await daemon.wait() == 0
    assert project.tally(bot)["accepted"] == len(hooked.people)  # nothing that was refused
    daemon = await project.start().ready()
    await hooked.all_answered()
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


class Handed(Daemon):
    """A daemon that gets a listening socket as systemd hands it over (sd_listen_fds(3))."""

    def __init__(self, project: Project, listener: socket.socket, name: str = "webhook") -> None:
        self.project = project
        project.daemons.append(self)
        handing = f'export LISTEN_PID=$$; exec "$@" 3<&{listener.fileno()}'
        command = [sys.executable, "-m", "trioworkers.cli", "-c", str(project.file), "run"]
        with open(project.log, "ab") as log:
            self.process = subprocess.Popen(
                ["/bin/bash", "-c", handing, "handing", *command],
                stdout=log,
                stderr=log,
                cwd=project.folder,
                env=project.environ | {"LISTEN_FDS": "1", "LISTEN_FDNAMES": name},
                pass_fds=[listener.fileno()],
            )


async def test_a_socket_that_is_handed_over_refuses_nobody_during_a_restart(
    project: Project, hooked: Hooked, nursery: trio.Nursery
) -> None:
    """Whoever connects while no daemon runs is answered by the next one."""
    answers: list[int] = []
    with socket.create_server(("127.0.0.1", hooked.port), backlog=512) as listener:
        daemon = await Handed(project, listener).ready()
        bot = await hooked.registered()
        assert bot.webhook is not None
        secret = bot.webhook.secret

        async def knock() -> None:
            while True:  # a connection that is refused raises
                url = f"http://127.0.0.1:{hooked.port}/webhook/one"
                headers = {SECRET_HEADER: secret, "Connection": "close"}
                async with httpx.AsyncClient(timeout=60) as client:
                    answer = await client.post(url, content=hooked.update(), headers=headers)
                answers.append(answer.status_code)
                await trio.sleep(0.02)

        async def answered() -> None:
            count = len(answers)
            await until(lambda: 200 in answers[count:])

        nursery.start_soon(knock)
        for _ in range(2):
            hooked.say(3)
            await answered()
            assert await daemon.stop() == 0
            hooked.say(3)
            daemon = await Handed(project, listener).ready()
        await answered()
        assert set(answers) <= {200, 503}
        await until(lambda: project.tally(bot)["done"] == 10 * 12 + 1)
        assert hooked.world.pending(bot) == 0
        assert await daemon.stop() == 0
        nursery.cancel_scope.cancel()


async def test_sockets_of_another_name_are_told_of(
    project: Project, hooked: Hooked, nursery: trio.Nursery
) -> None:
    """They are not used for the webhook, which binds its own."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        daemon = await Handed(project, other, "trioworkers.socket").ready()
        (told,) = project.events("webhook.refused")
        assert "handed over as trioworkers.socket" in told["reason"]
        hooked.say(1)
        await hooked.all_answered()
        assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_an_address_that_is_in_use_ends_the_start(
    project: Project, hooked: Hooked, nursery: trio.Nursery
) -> None:
    """Exit code 75 and one line that names it."""
    with socket.create_server(("127.0.0.1", hooked.port)):
        ended = await trio.to_thread.run_sync(project.run, "run")
    assert ended.returncode == 75
    line = ended.stderr.splitlines()[-1]
    assert f"cannot listen on 127.0.0.1:{hooked.port}: address already in use; [webhook] bind" in line
    assert "Traceback" not in ended.stderr
    nursery.cancel_scope.cancel()


async def test_a_unix_socket_of_another_daemon_ends_the_start(
    project: Project, hooked: Hooked, nursery: trio.Nursery
) -> None:
    """Exit code 75, too, and the socket stays its owner's."""
    path = project.folder / "hook.sock"
    hooked.webhook["bind"] = f"unix:{path}"
    hooked.write()
    with listen_unix(path, key="test"):
        ended = await trio.to_thread.run_sync(project.run, "run")
        assert path.exists()
    assert ended.returncode == 75
    assert f"another daemon listens on {path}" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr
    nursery.cancel_scope.cancel()


async def test_a_bad_certificate_ends_the_start(
    project: Project, hooked: Hooked, nursery: trio.Nursery
) -> None:
    """Exit code 78 and one line that names the files."""
    for name in ("cert.pem", "key.pem"):
        (project.folder / name).write_text("none")
    hooked.webhook |= {"tls_cert": "cert.pem", "tls_key": "key.pem"}
    hooked.write()
    ended = await trio.to_thread.run_sync(project.run, "run")
    assert ended.returncode == 78
    line = ended.stderr.splitlines()[-1]
    assert "webhook.tls_cert" in line
    assert "cert.pem and its key" in line
    assert "Traceback" not in ended.stderr
    nursery.cancel_scope.cancel()


async def test_an_address_in_use_at_a_reload_is_tried_until_it_is_free(
    project: Project, hooked: Hooked, nursery: trio.Nursery
) -> None:
    """Told, with nothing registered that nobody would listen to; the daemon goes on meanwhile."""
    hooked.tables["one"]["transport"] = "poll"
    hooked.write()
    daemon = await project.start().ready()
    with socket.create_server(("127.0.0.1", hooked.port)):
        hooked.tables["one"]["transport"] = "webhook"
        hooked.write()
        told = await until(lambda: len(project.events("webhook.refused")) >= 2)
        assert told
        assert {event.get("bot") for event in project.events("webhook.refused")} == {None, "one"}
        for event in project.events("webhook.refused"):
            assert "address already in use" in event["reason"]
        assert hooked.registrations() == []
        hooked.say(2)
        os.kill(daemon.process.pid, signal.SIGHUP)
        await until(lambda: len(project.events("reload.applied")) == 2)
    await hooked.all_answered()
    assert len(hooked.registrations()) == 1
    assert (await daemon.bot("one"))["transport"] == "webhook"
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


async def test_a_certificate_that_is_gone_hinders_no_reload(
    project: Project, hooked: Hooked, nursery: trio.Nursery
) -> None:
    """The one that was read goes on; the daemon lives."""
    cert, key = certificate(project.folder, "first")
    hooked.webhook |= {
        "tls_cert": cert.name,
        "tls_key": key.name,
        "public_url": f"https://localhost:{hooked.port}",
    }
    hooked.write()
    daemon = await project.start().ready()
    await hooked.registered()
    cert.unlink()
    hooked.webhook["max_body"] = 100_000
    hooked.write()
    await until(lambda: project.events("reload.applied"))
    hooked.say(2)
    await hooked.all_answered()
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()
