"""Bodies that came packed: gzip, as proxies and test tools send them; never more than is asked for."""

from __future__ import annotations

import zlib

from trioworkers.shortage import in_thread

ENCODINGS = {b"": False, b"identity": False, b"gzip": True, b"x-gzip": True}
"""Whether a body of this Content-Encoding is packed, RFC 9110 8.4.1; others are not known."""
_GZIP = 16 + zlib.MAX_WBITS  # with gzip's head and checksum
_RATIO = 1032  # how many bytes one byte can be, by zlib's documentation
_QUICK = 2**22  # bytes that the loop unpacks itself, in a few milliseconds; more is for a thread


class PackedError(ValueError):
    """A body is not one whole gzip member."""


class TooLargeError(ValueError):
    """A body is larger than allowed, unpacked."""


async def unpack(body: bytes, most: int) -> bytes:
    """Return a packed body as it was, with at most `most` bytes; in a thread if that may take long.

    Raises:
        PackedError: it is damaged, cut off, or something follows it.
        TooLargeError: it would be larger.
        NoThreadError: there is no thread.
    """
    if min(most, len(body) * _RATIO) <= _QUICK:
        return _unpack(body, most)
    return await in_thread(_unpack, body, most)


def _unpack(body: bytes, most: int) -> bytes:
    unpacking = zlib.decompressobj(_GZIP)
    try:
        plain = unpacking.decompress(body, most + 1)
    except zlib.error:
        raise PackedError from None
    if len(plain) > most:
        raise TooLargeError
    if not unpacking.eof or unpacking.unused_data:
        raise PackedError
    return plain
