"""The bytes that frames travel as.

A frame is four bytes of length, little-endian, and that many bytes of JSON. JSON because an update
travels in it as the bytes that Telegram sent (`msgspec.Raw`); a length because those may hold line
breaks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from trioworkers.protocol.frames import (
    FRAME_LIMIT,
    MOST_CALLED,
    MOST_OF_WORKER,
    FrameError,
    FromWorker,
    ToWorker,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from trioworkers.protocol.frames import Frame

CALLED = b'["Called",'  # how a frame of that kind begins

_encode = msgspec.json.Encoder().encode


def packed(frame: Frame) -> bytes:
    """The bytes that `frame` travels as."""
    body = _encode(frame)
    return len(body).to_bytes(4, "little") + body


# all channels share these: to make one takes apart all kinds of frames
_SHARED = [(union, msgspec.json.Decoder(union).decode) for union in (FromWorker, ToWorker)]


def _decoder(incoming: Any) -> Callable[[bytes], Any]:
    """What decodes a frame of this union; by identity, as to compare unions takes them apart, too."""
    for union, decode in _SHARED:
        if union is incoming:
            return decode
    return msgspec.json.Decoder(incoming).decode


class FrameReader:
    """Takes frames out of bytes, however these arrive.

    Args:
        incoming: the union of frames that may come.
        limit: bytes of a frame.
    """

    def __init__(self, incoming: Any, limit: int = FRAME_LIMIT) -> None:
        self._limit = limit
        self._decode = _decoder(incoming)
        self._most = MOST_OF_WORKER if incoming is FromWorker else limit  # but for answers
        self._kept = bytearray()
        self._needed = 0  # bytes, to get any further than what is kept

    def feed(self, data: bytes) -> list[Any]:
        """The frames that are complete with `data`.

        Raises:
            FrameError: this is not a valid frame; nothing after it can be understood.
        """
        if self._kept:
            self._kept += data
            if len(self._kept) < self._needed:
                return []
            data = bytes(self._kept)
            self._kept.clear()
        frames: list[Any] = []
        start, size = 0, len(data)
        self._needed = 4
        while size - start >= 4:
            length = int.from_bytes(data[start : start + 4], "little")
            if length > self._limit:
                message = f"a frame of {length} bytes"
                raise FrameError(message)
            if length > self._most:
                if size - start < 4 + len(CALLED):  # its kind has not come yet
                    self._needed = 4 + len(CALLED)
                    break
                if length > MOST_CALLED or not data.startswith(CALLED, start + 4):
                    message = f"a frame of {length} bytes from a worker"
                    raise FrameError(message)
            end = start + 4 + length
            if end > size:
                self._needed = end - start
                break
            try:
                frames.append(self._decode(data[start + 4 : end]))
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                message = f"not a valid frame: {type(error).__name__}"
                raise FrameError(message) from None
            start = end
        if start < size:
            self._kept += data[start:]
        return frames
