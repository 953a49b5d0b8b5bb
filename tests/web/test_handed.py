"""Sockets handed over by systemd, in a process that gets them as systemd gives them."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys

import pytest

from trioworkers.web.handed import handed_over

CHILD = """
import json, os, sys
os.environ["LISTEN_PID"] = str(os.getpid()) if sys.argv[1] == "ours" else "1"
from trioworkers.web.handed import handed_over
found = handed_over(os.environ)
told = {name: [s.getsockname()[1] for s in sockets] for name, sockets in found.items()}
inherited = [os.get_inheritable(s.fileno()) for sockets in found.values() for s in sockets]
print(json.dumps([told, inherited]))
"""


def hand_over(sockets, names, whose="ours", count=None):
    """What a child finds that gets `sockets` from descriptor 3 on."""
    high = [fcntl.fcntl(item, fcntl.F_DUPFD, 100) for item in sockets]  # none is where another has to come
    shell = "".join(f" {3 + index}<&{number} {number}<&-" for index, number in enumerate(high))
    environ = {**os.environ, "LISTEN_FDS": str(len(sockets) if count is None else count)}
    if names is not None:
        environ["LISTEN_FDNAMES"] = names
    try:
        done = subprocess.run(
            ["/bin/bash", "-c", f'exec "$@" {shell}', "bash", sys.executable, "-c", CHILD, whose],
            pass_fds=high, env=environ, check=True, capture_output=True,
        )  # fmt: skip
    finally:
        for number in high:
            os.close(number)
    return json.loads(done.stdout)


@pytest.fixture
def sockets():
    made = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    yield made
    for item in made:
        item.close()


def test_sockets_come_by_their_names(sockets):
    """Several of one name are several; none is handed on to what we start."""
    ports = [item.getsockname()[1] for item in sockets]
    told, inherited = hand_over(sockets, "webhook:api:webhook")
    assert told == {"webhook": [ports[0], ports[2]], "api": [ports[1]]}
    assert inherited == [False] * 3


def test_without_names_they_are_unknown(sockets):
    """As systemd itself calls them."""
    told, _ = hand_over(sockets[:1], None)
    assert told == {"unknown": [sockets[0].getsockname()[1]]}


def test_what_is_meant_for_another_process_is_not_ours(sockets):
    """LISTEN_PID says whose they are."""
    assert hand_over(sockets, "webhook", whose="another")[0] == {}


def test_what_does_not_listen_is_left_alone(sockets):
    """A descriptor that is no listening socket, or not there at all."""
    with socket.socket() as silent:
        told, _ = hand_over([silent, sockets[0]], "a:b", count=9)
    assert told == {"b": [sockets[0].getsockname()[1]]}


@pytest.mark.parametrize(
    "environ", [{}, {"LISTEN_PID": "x"}, {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "-1"}]
)
def test_nothing_handed_over(environ):
    """The usual case."""
    assert handed_over(environ) == {}
