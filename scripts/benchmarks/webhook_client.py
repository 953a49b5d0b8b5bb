"""The client of `bench webhook`: `PORT BOTS CONNECTIONS SECONDS`; prints how many deliveries were answered.

Bare sockets and epoll: whatever it costs is taken from the servers, which share the machine. Each connection
has one delivery in flight. Anything but a 200 ends it with an error.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time

CHATS = 1000
BODY = (
    '{"update_id":%d,"message":{"message_id":%d,"date":1700000000,'
    '"chat":{"id":%d,"type":"private","first_name":"Alice"},'
    '"from":{"id":%d,"is_bot":false,"first_name":"Alice","language_code":"en"},"text":"' + "x" * 400 + '"}}'
)
HEAD = (
    "POST /webhook/bot%d HTTP/1.1\r\nHost: bots.example.org\r\nContent-Length: %d\r\n"
    "Content-Type: application/json\r\nConnection: keep-alive\r\nAccept-Encoding: gzip, deflate\r\n"
    "X-Telegram-Bot-Api-Secret-Token: secret\r\n\r\n"
)


def main() -> None:
    port, bots, connections, seconds = int(sys.argv[1]), *map(int, sys.argv[2:4]), float(sys.argv[4])
    poll = select.epoll()
    lines: dict[int, tuple[socket.socket, int]] = {}
    number = 0

    def post(line: socket.socket, bot: int) -> None:
        nonlocal number
        number += 1
        chat = 1 + number % CHATS
        body = BODY % (number, number, chat, chat)
        line.sendall((HEAD % (bot, len(body)) + body).encode())

    for index in range(connections):
        line = socket.create_connection(("127.0.0.1", port))
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        lines[line.fileno()] = (line, index % bots)
        poll.register(line.fileno(), select.EPOLLIN)
    began = time.perf_counter()
    done = 0
    for line, bot in lines.values():
        post(line, bot)
    while (passed := time.perf_counter() - began) < seconds:
        for descriptor, _ in poll.poll(1):
            line, bot = lines[descriptor]
            answer = line.recv(4096)
            if not answer.startswith(b"HTTP/1.1 200"):
                raise SystemExit(answer.decode("latin-1") or "the server hung up")
            done += 1
            post(line, bot)
    print(json.dumps({"done": done, "seconds": passed}))


main()
