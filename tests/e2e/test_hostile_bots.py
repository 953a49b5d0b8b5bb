"""A bot that means harm, beside one that does not: the daemon, the other bot and all updates outlive it.

What runs as the same user cannot be kept from everything (docs/guarantees.md, "Not guaranteed"); it is kept
from what is tried here.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from fleet_project import ECHO, PATIENCE, Project, until, workers_of, zygote_of

from trioworkers.testing import Telegram, serve_telegram

if TYPE_CHECKING:
    import trio

MARK = "a-hostile-bots-child"
HOSTILE = """
import os, signal, socket, subprocess, sys, time
import msgspec
from trioworkers.protocol.frames import Called, Calling, Heartbeat, Outcome

def encode(frame):
    body = msgspec.json.encode(frame)
    return len(body).to_bytes(4, "little") + body

def channel():
    # the first socket that the process was given
    for number in range(3, 64):
        if os.path.exists(f"/proc/self/fd/{number}") and "socket:" in os.readlink(f"/proc/self/fd/{number}"):
            return socket.socket(fileno=os.dup(number))

def say(data):
    end = channel()
    end.setblocking(True)
    end.settimeout(5)
    try:
        end.sendall(data)
    except OSError:
        pass

def descend(*, own_environment):
    # twice forked, in a session of its own, deaf to TERM
    code = "import os, signal, time; signal.signal(15, 1); os.fork() and os._exit(0); os.setsid()"
    code += "; time.sleep(300)"
    environ = dict(os.environ) if own_environment else {}
    for _ in range(15):
        subprocess.Popen([sys.executable, "-c", code, "MARK"], env=environ, start_new_session=True)
    time.sleep(1)

async def handle(update, bot):
    if update.attempt == 0:
        DEED
    await bot.send_message(chat_id=update.chat_id, text=f"hostile {update.attempt}")
"""
DEEDS = {
    "kills its parent": "os.kill(os.getppid(), signal.SIGKILL)",
    "stops its parent and ends": "os.kill(os.getppid(), signal.SIGSTOP); os._exit(0)",
    "signals its parent": "[os.kill(os.getppid(), number) for number in (1, 2, 10, 12, 15)]",
    "leaves processes behind": "descend(own_environment=True); os._exit(0)",
    "leaves unmarked processes behind": "descend(own_environment=False); os._exit(0)",
    "claims the outcomes of other deliveries": (
        "say(b''.join(encode(Outcome(number, 'done')) for number in range(2, 500)))"
    ),
    "tells calls of other deliveries": (
        "say(b''.join(encode(frame) for number in range(2, 500) for frame in"
        " (Calling(number, 'sendMessage 1 x 1'), Called(number, 'sendMessage 1 x 1', made=True,"
        " answer=msgspec.Raw(b'{}')))))"
    ),
    "announces a huge frame": "say(b'\\xff' * 4 + b'x' * 1000)",
    "floods with heartbeats": "say(encode(Heartbeat(1)) * 20_000)",
    "writes to all descriptors": (
        "[os.write(n, b'garbage') for n in range(3, 64) if os.path.exists(f'/proc/self/fd/{n}')"
        " and 'socket:' in os.readlink(f'/proc/self/fd/{n}')]"
    ),
    "puts null in all descriptors' place": (
        "[os.dup2(os.open('/dev/null', os.O_RDWR), n) for n in range(64)]"
    ),
    "changes its environment and mask": (
        "os.environ.clear(); os.umask(0); os.chdir('/'); open('/proc/self/comm', 'w').write('tw-zygote')"
    ),
}


@pytest.mark.parametrize("deed", DEEDS.values(), ids=DEEDS)
async def test_a_hostile_bot_harms_no_other(
    project: Project, world: Telegram, nursery: trio.Nursery, deed: str
) -> None:
    """The other bot answers, all of its updates are done once; nothing of the hostile one stays."""
    base = await nursery.start(serve_telegram, world)
    mark = f"{MARK}-{os.getpid()}"
    hostile, good = world.add_bot("hostile"), world.add_bot("good")
    project.module("hostile", HOSTILE.replace("DEED", deed).replace("MARK", mark))
    project.module("echo", ECHO)
    quick = {"restart": {"initial": 0, "per_hour": 1000}, "retry": {"initial": "10ms", "max": "50ms"}}
    bots = {
        bot.username: {"token": bot.token, "handler": handler, "handler_timeout": "10s", **quick}
        for bot, handler in ((hostile, "hostile:handle"), (good, "echo:handle"))
    }
    project.write(base, bots)
    daemon = await project.start().ready()
    alice = world.add_user("Alice")
    alice.send(hostile, "hello")
    for number in range(20):
        alice.send(good, str(number))
        assert (await alice.expect(good, timeout=PATIENCE))["text"] == str(number)
    assert (await alice.expect(hostile, timeout=PATIENCE))["text"] in ("hostile 0", "hostile 1")
    await until(lambda: project.tally(good)["done"] == 20)
    assert [message["text"] for message in world.sent(good, alice.id)] == [str(n) for n in range(20)]
    await until(lambda: not marked(mark))
    assert await daemon.stop() == 0
    assert not marked(mark)
    nursery.cancel_scope.cancel()


def marked(mark: str) -> list[int]:
    """The processes that have that mark among their arguments."""
    return [
        process.pid for process in psutil.process_iter(["cmdline"]) if mark in (process.info["cmdline"] or ())
    ]


async def test_a_worker_is_given_no_descriptor_of_others(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """No socket that a worker has open is also the daemon's, the zygote's or another worker's."""
    base = await nursery.start(serve_telegram, world)
    tables = {name: {"token": world.add_bot(name).token, "handler": "echo:handle"} for name in ("one", "two")}
    project.write(base, tables)
    daemon = await project.start().ready()
    pid = daemon.process.pid
    held = [sockets_of(process) for process in (pid, zygote_of(pid), *workers_of(pid))]
    assert len(held) == 4
    assert all(held)
    assert len(set().union(*held)) == sum(map(len, held))
    assert await daemon.stop() == 0
    nursery.cancel_scope.cancel()


def sockets_of(pid: int) -> set[str]:
    """The sockets that a process has open."""
    links = {os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    return {link for link in links if link.startswith("socket:")}
