"""One worker alone: what an update costs it in CPU, and what it keeps of memory.

The other ends are as cheap as Python allows, and in a process of their own, so that the worker has a core
to itself: a Bot API that answers each request with the same bytes, and a daemon that delivers a chat's next
update when the outcome of the last one came. The worker is forked from a real zygote.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from benchmarks.fleet import HANDLER
from benchmarks.inbox import BODY
from benchmarks.processes import cpu
from trioworkers.protocol.frames import Configure, Deliver, Drain, Frame, FromWorker, Outcome, Ready, Retune
from trioworkers.protocol.orders import (
    Prepare,
    Start,
    Started,
    Warm,
    decode_answer,
    encode,
    handed_over,
    rights,
)

SAID = b'{"ok":true,"result":{"message_id":7,"date":1,"chat":{"id":1,"type":"private"},"text":"hello"}}'
ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.18.0\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\nConnection: keep-alive\r\n"
    b"Strict-Transport-Security: max-age=31536000; includeSubDomains; preload\r\n\r\n%s" % (len(SAID), SAID)
)
ROUNDS = 3


def run(at_once: list[int], updates: int) -> None:
    """Print a line for each number of chats that write at the same time."""
    print(f"{updates} updates of {len(BODY)} bytes to a forked echo bot, calls recorded; median of {ROUNDS}")
    print("its calls are marked in shared memory, or each is reported to the daemon before it is made")
    print(f"{'chats':>5}  {'calls':>8}  {'CPU, µs':>8}  {'updates':>9}  {'one after all, µs':>18}  own MB")
    print(f"{'':>5}  {'':>8}  {'':>8}  {'':>9}  {'':>18}  {'before':>6}  {'after':>6}")
    for chats in at_once:
        for marks in (True, False):
            row = measure(chats, updates, marks=marks)
            one = f"{'marked' if marks else 'reported':>8}  {row.cpu:>8.0f}  {row.rate:>7,.0f}/s"
            one += f"  {row.alone:>18.0f}"
            print(f"{chats:>5}  {one}  {row.fresh_memory:>6.1f}  {row.worked_memory:>6.1f}", flush=True)


@dataclass
class Row:
    """CPU and time of an update in µs, `alone` when nothing else is under way; memory of its own in MB."""

    cpu: float
    rate: float
    alone: float
    fresh_memory: float
    worked_memory: float


def measure(chats: int, updates: int, *, marks: bool) -> Row:
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix="bench-") as folder:
        (Path(folder) / "echo.py").write_text(HANDLER)
        listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        base = f"http://127.0.0.1:{listener.getsockname()[1]}"
        zygote, ours, pid, channel = _start(base)
        loop = Loop(listener, channel)
        try:
            loop.send(_configure(base, folder, f"{folder}/marks" if marks else ""))
            loop.until(lambda: loop.ready)
            time.sleep(0.3)
            fresh = own(pid)
            loop.work(min(20 * chats, updates), chats)
            rounds = []
            for _ in range(ROUNDS):
                used, began = cpu(pid), time.perf_counter()
                loop.work(updates, chats)
                rounds.append((cpu(pid) - used, time.perf_counter() - began))
            alone = []
            for _ in range(200):
                time.sleep(0.002)
                began = time.perf_counter()
                loop.work(1, 1)
                alone.append(time.perf_counter() - began)
            return Row(
                1e6 * median(used for used, _ in rounds) / updates,
                updates / median(took for _, took in rounds),
                1e6 * median(alone),
                fresh,
                own(pid),
            )
        finally:
            loop.send(Drain())
            channel.close()
            ours.close()
            zygote.wait()
            listener.close()


def _start(base: str) -> tuple[subprocess.Popen[bytes], socket.socket, int, socket.socket]:
    """A zygote, our end of its socket, and a worker of it: its process number and its channel."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        zygote = subprocess.Popen(
            [sys.executable, "-P", "-m", "trioworkers.worker", "zygote", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
        )
    ours.send(encode(Prepare("fork", base)))
    assert isinstance(decode_answer(ours.recv(65536)), Warm)
    channel, end = socket.socketpair()
    with end:
        ours.sendmsg([encode(Start(1))], rights(end.fileno(), sys.stderr.fileno()))
    said, ancillary, _, _ = ours.recvmsg(65536, 256)
    started = decode_answer(said)
    assert isinstance(started, Started)
    for descriptor in handed_over(ancillary):
        os.close(descriptor)
    return zygote, ours, started.pid, channel


def own(pid: int) -> float:
    """What a process has of memory for itself alone, MB; a PSS of one that shares with few shows little."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in rollup if line.startswith("Private_")) / 1024


def _configure(base: str, folder: str, marks: str) -> Configure:
    tuning = Retune({}, 90.0, 45.0, 300.0, "info")
    return Configure("bench", 42, "42:SECRET", base, "echo:handle", [folder], 16, tuning, marks=marks)


class Loop:
    """The Bot API's connections and the daemon's end of the channel, on one epoll."""

    def __init__(self, listener: socket.socket, channel: socket.socket) -> None:
        self.ready = False
        self._listener, self._channel = listener, channel
        self._sockets: dict[int, socket.socket] = {}
        self._incoming = b""
        self._epoll = select.epoll()
        for one in (listener, channel):
            self._epoll.register(one.fileno(), select.EPOLLIN)
        self._decode = msgspec.json.Decoder(FromWorker).decode
        self._number = 0
        self._left = self._due = 0

    def send(self, *frames: Frame) -> None:
        bodies = [msgspec.json.encode(frame) for frame in frames]
        self._channel.sendall(b"".join([len(body).to_bytes(4, "little") + body for body in bodies]))

    def work(self, updates: int, chats: int) -> None:
        """Deliver so many updates, one after the other in each chat, until all are done."""
        self._left, self._due = updates, max(0, updates - chats)
        self.send(*[self._next() for _ in range(updates - self._due)])
        self.until(lambda: self._left == 0)

    def until(self, done: Any) -> None:
        """Go on until `done()`."""
        listener, channel, sockets = self._listener.fileno(), self._channel.fileno(), self._sockets
        while not done():
            for descriptor, _ in self._epoll.poll():
                if descriptor == channel:
                    self._take_in()
                elif descriptor == listener:
                    one, _ = self._listener.accept()
                    sockets[one.fileno()] = one
                    self._epoll.register(one.fileno(), select.EPOLLIN)
                elif sockets[descriptor].recv(65536):
                    sockets[descriptor].send(ANSWER)
                else:
                    self._epoll.unregister(descriptor)
                    sockets.pop(descriptor).close()

    def _next(self) -> Deliver:
        self._number += 1
        return Deliver(self._number, 0, False, msgspec.Raw(BODY), [])

    def _take_in(self) -> None:
        data = self._incoming + self._channel.recv(65536)
        start = 0
        due = []
        while len(data) - start >= 4:
            end = start + 4 + int.from_bytes(data[start : start + 4], "little")
            if end > len(data):
                break
            frame = self._decode(data[start + 4 : end])
            start = end
            if isinstance(frame, Outcome):
                assert frame.result == "done", frame
                self._left -= 1
                if self._due:
                    self._due -= 1
                    due.append(self._next())
            elif isinstance(frame, Ready):
                self.ready = True
        self._incoming = data[start:]
        if due:
            self.send(*due)
