"""Workers that are played by tasks of this process, at the other end of a real channel."""

from __future__ import annotations

import os
import socket

import trio

from trioworkers.nursery.spawn import Exit
from trioworkers.protocol.channel import Channel
from trioworkers.protocol.frames import Configure, Retune, ToWorker

CONFIGURE = Configure("b", 7, "7:x", "http://x", "h:h", [], 4, Retune({}, 10.0, 60.0, 60.0, "error"))


class Process:
    """A worker that runs in this process: `life` is what it does."""

    pid = 1

    def __init__(self, channel, life, nursery):
        self.channel = Channel(channel, ToWorker)
        self.ended = trio.Event()
        self.scope = trio.CancelScope()
        nursery.start_soon(self.run, life)

    async def run(self, life):
        try:
            with self.scope:
                await life(self)
        finally:  # also when the test is over: somebody waits for it
            self.ended.set()
            self.channel.close()

    async def wait(self):
        await self.ended.wait()
        return Exit(0)

    def signal_group(self, number):
        self.scope.cancel()


class Makes:
    """Starts workers in this process; each takes the next of `lives`, the last for all that follow.

    `None` is a process for which the system has no room.
    """

    def __init__(self, nursery, *lives):
        self.nursery, self.lives, self.made = nursery, list(lives), 0
        self.processes: list[Process] = []

    async def start(self, channel, output):
        self.made += 1
        life = self.lives.pop(0) if len(self.lives) > 1 else self.lives[0]
        if life is None:
            raise OSError(11, os.strerror(11))
        self.processes.append(Process(socket.socket(fileno=os.dup(channel)), life, self.nursery))
        return self.processes[-1]
