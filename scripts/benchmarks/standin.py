"""The stand-in Bot API of these measurements, in a process of its own: `standin.py BOTS`.

It prints a line of JSON with its address and the bots' tokens. For each order that it reads, a line of
JSON, it lets people write to the bots, and prints what became of that (see `standing.py`). One thread, bare
epoll: a request costs it some 10 µs, where the simulator of `trioworkers.testing`, which judges every call,
takes 200, as much as a bot. What it uses itself is part of each answer.
"""

from __future__ import annotations

import json
import os
import random
import resource
import select
import socket
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.standin_api import Answers, BotApi
from benchmarks.standin_http import NotUnderstoodError, take_request

CHATS = 100
READ_SIZE = 64 * 1024
LONGEST_WAIT = 1.0


class Connection:
    """A client's connection, with what it has sent and what it has not read yet."""

    def __init__(self, line: socket.socket, epoll: select.epoll) -> None:
        self._line, self._epoll = line, epoll
        self._read, self._unsent = bytearray(), b""
        self._closing = False

    def receive(self, api: BotApi) -> bool:
        """Take in what has come, and answer it; False once the connection is over."""
        try:
            data = self._line.recv(READ_SIZE)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self._read += data
        while data and (request := take_request(self._read)) is not None:
            self._closing = request.close
            api.handle(time.perf_counter(), request.token, request.method, request.parameters, self.reply)
        return bool(data)

    def reply(self, data: bytes) -> None:
        """Send, now or as soon as the client reads; to one that has left, nothing."""
        if self._line.fileno() < 0:
            return
        self._unsent += data
        self.flush()

    def flush(self) -> None:
        """Send what is left."""
        try:
            sent = self._line.send(self._unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._unsent = b""
            return  # its end is about to be read
        self._unsent = self._unsent[sent:]
        if self._unsent:
            self._epoll.modify(self._line.fileno(), select.EPOLLIN | select.EPOLLOUT)
        elif sent and self._closing:
            self._line.shutdown(socket.SHUT_WR)

    def drained(self) -> None:
        """Send what was left, and wait for nothing but requests once all is sent."""
        self.flush()
        if not self._unsent and self._line.fileno() >= 0:
            self._epoll.modify(self._line.fileno(), select.EPOLLIN)

    def close(self) -> None:
        self._line.close()


@dataclass
class Order:
    """What is wanted: so many updates, beginning with the bot `first`; at once, or `rate` in a second.

    Attributes:
        word: how their texts begin.
        patience: seconds without an answer, all being sent, after which the rest counts as lost.
        updates: none waits until every bot has polled.
    """

    updates: int
    first: int = 0
    rate: float = 0.0
    word: str = "hello"
    patience: float = 30.0


class Course:
    """An order that is carried out.

    Arrivals at a rate are independent of each other, as people are: exponential gaps, the same each time.
    """

    def __init__(self, order: Order, api: BotApi) -> None:
        api.answers = Answers()
        self._order, self._api = order, api
        self._dice = random.Random(1)  # noqa: S311 - the same arrivals for whoever is measured
        self._began = self._moved = self._due = time.perf_counter()
        self._cpu = time.process_time()
        self._said = self._seen = 0

    def due(self) -> float | None:
        """When the next update comes; None after the last."""
        return self._due if self._said < self._order.updates else None

    def go_on(self, now: float) -> None:
        """Let people write what is due."""
        told = set()
        while self._said < self._order.updates and self._due <= now:
            told.add(self._api.say(now, self._order.first + self._said, self._order.word.encode()))
            self._said += 1
            if self._order.rate:
                self._due += self._dice.expovariate(self._order.rate)
        for place in told:
            self._api.tell(place)

    def outcome(self, now: float) -> str | None:
        """The line to print, once there is nothing more to wait for."""
        order, answers = self._order, self._api.answers
        answered = len(answers.latencies)
        if not order.updates:
            all_poll = self._api.polling == len(self._api.tokens)
            over = all_poll or now - self._began >= order.patience
            return json.dumps({"polling": self._api.polling}) if over else None
        if self._said < order.updates or answered > self._seen:
            self._seen, self._moved = answered, now
        if answered < order.updates and now - self._moved < order.patience:
            return None
        document = asdict(answers)
        cpu = time.process_time() - self._cpu
        return json.dumps({**document, "seconds": now - self._began, "cpu": cpu, "updates": order.updates})


def main(bots: int) -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    api, epoll = BotApi(bots, CHATS), select.epoll()
    connections: dict[int, Connection] = {}
    course: Course | None = None
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        listener.setblocking(False)
        epoll.register(listener, select.EPOLLIN)
        epoll.register(sys.stdin, select.EPOLLIN)
        base = f"http://127.0.0.1:{listener.getsockname()[1]}"
        print(json.dumps({"base": base, "tokens": api.tokens}), flush=True)
        while True:
            for descriptor, event in epoll.poll(_wait(api, course)):
                if descriptor == listener.fileno():
                    _accept(listener, epoll, connections)
                elif descriptor == sys.stdin.fileno():
                    line = os.read(descriptor, READ_SIZE)  # an order is one line, and one at a time
                    if not line:
                        return
                    course = Course(Order(**json.loads(line)), api)
                else:
                    _serve(connections, descriptor, event, api)
            now = time.perf_counter()
            api.expire(now)
            if course is not None:
                course.go_on(now)
                if (told := course.outcome(now)) is not None:
                    course = None
                    print(told, flush=True)


def _wait(api: BotApi, course: Course | None) -> float:
    """Seconds until something has to be done unasked."""
    times = [api.next_deadline(), course.due() if course else None]
    first = min((at for at in times if at is not None), default=float("inf"))
    return max(0.0, min(LONGEST_WAIT, first - time.perf_counter()))


def _accept(listener: socket.socket, epoll: select.epoll, connections: dict[int, Connection]) -> None:
    try:
        while True:
            line, _ = listener.accept()
            line.setblocking(False)
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            epoll.register(line, select.EPOLLIN)
            connections[line.fileno()] = Connection(line, epoll)
    except BlockingIOError:
        pass


def _serve(connections: dict[int, Connection], descriptor: int, event: int, api: BotApi) -> None:
    connection = connections[descriptor]
    if event & select.EPOLLOUT:
        connection.drained()
    if not event & ~select.EPOLLOUT:
        return
    try:
        going = connection.receive(api)
    except (NotUnderstoodError, KeyError, ValueError) as error:
        print(f"the stand-in does not understand a request: {error!r}", file=sys.stderr)
        going = False
    if not going:
        del connections[descriptor]
        connection.close()


if __name__ == "__main__":
    main(int(sys.argv[1]))
