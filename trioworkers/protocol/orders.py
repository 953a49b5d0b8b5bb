"""What the daemon and the process that starts workers for it say to each other.

One message for each datagram of a `SOCK_SEQPACKET` pair, which keeps descriptors with their message: an
order to start brings the worker's channel and output, the answer to it a pidfd. Answers carry the number
of their order.
"""

from __future__ import annotations

import array
import socket
from typing import Any, Literal

import msgspec

SIZE = 64 * 1024  # bytes of the longest message


class Prepare(msgspec.Struct, tag=True, frozen=True):
    """To the zygote, first of all.

    `way`: fork workers from itself, or spawn each as a fresh interpreter. `preload`: modules to import
    before the first fork, looked for in `python_path` last. `folder`: the working directory of workers, which
    each enters anew, since another one may have got its name; `umask`: theirs. None: as the zygote's.
    `scratch`: a folder that the zygote may make and remove while it warms up; empty: none.
    """

    way: Literal["fork", "spawn"]
    api_base: str
    preload: tuple[str, ...] = ()
    python_path: tuple[str, ...] = ()
    folder: str | None = None
    umask: int | None = None
    scratch: str = ""


class Start(msgspec.Struct, tag=True, frozen=True):
    """To the zygote, with two descriptors: start a worker on this channel, with this output."""

    number: int


class Reap(msgspec.Struct, tag=True, frozen=True):
    """To the zygote: this worker has ended; let its process number go and say how it did."""

    number: int
    pid: int


class Ping(msgspec.Struct, tag=True, frozen=True):
    """To the zygote: answer, if you can."""

    number: int


class Warm(msgspec.Struct, tag=True, frozen=True):
    """From the zygote: workers can be started."""


class ZygoteUnfit(msgspec.Struct, tag=True, frozen=True):
    """From the zygote, before it exits: workers cannot be started like this."""

    problem: str


class Started(msgspec.Struct, tag=True, frozen=True):
    """From the zygote, with the worker's pidfd."""

    number: int
    pid: int


class NotStarted(msgspec.Struct, tag=True, frozen=True):
    """From the zygote: the system refused, with this error number."""

    number: int
    errno: int


class Reaped(msgspec.Struct, tag=True, frozen=True):
    """From the zygote. `code`: the exit code, or a signal's number below zero; None when it is unknown."""

    number: int
    code: int | None


class Pong(msgspec.Struct, tag=True, frozen=True):
    """From the zygote: it can."""

    number: int


Order = Prepare | Start | Reap | Ping
Answer = Warm | ZygoteUnfit | Started | NotStarted | Reaped | Pong

encode = msgspec.json.Encoder().encode
decode_order = msgspec.json.Decoder(Order).decode
decode_answer = msgspec.json.Decoder(Answer).decode


def rights(*descriptors: int) -> list[tuple[int, int, Any]]:
    """The ancillary data that hands `descriptors` over (unix(7), SCM_RIGHTS); they stay the sender's, too."""
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []


def handed_over(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    """The descriptors in what `recvmsg` received, now the caller's to close."""
    found = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return list(found)
