"""What an update may be at most, looked at before anything decodes it.

A server that sends updates decides how long their decoding takes, and decoding holds up all bots: a million
keys in one update are a million objects, 420 ms of the daemon's loop. Decoders keep the interpreter to
themselves until they are done, so that a thread of its own is no remedy for one large step. Bounds are
checked by counting bytes, which takes a hundredth of that time.

Telegram's updates stay far below these bounds: they have some hundred values, and a getUpdates answer is cut
near 4 MiB. How deep an update nests is not bounded here: one that is too deep for a decoder is kept as an
update that nobody can decode, see :mod:`trioworkers.arrivals`.
"""

from __future__ import annotations

LARGEST_UPDATE = 4 * 2**20  # bytes
MOST_VALUES = 50_000  # members and items in an update, all its levels together: 10 ms of decoding
FEW = MOST_VALUES  # bytes, which cannot hold more values than that


class UpdateBoundsError(ValueError):
    """An update is larger than any that Telegram sends. The message names no content."""


def check_bounds(body: bytes | memoryview) -> None:
    """Raise :class:`UpdateBoundsError` where an update, as JSON, exceeds a bound.

    Commas and brackets within texts are counted as well, so that values may be overestimated. Takes 2 µs for
    each kB of a body that is longer than `FEW`.
    """
    size = len(body)
    if size <= FEW:
        return
    if size > LARGEST_UPDATE:
        message = f"an update of {size} bytes, expected at most {LARGEST_UPDATE}"
        raise UpdateBoundsError(message)
    text = bytes(body)
    commas_and_brackets = text.count(b",") + text.count(b"[") + text.count(b"{")
    if max(commas_and_brackets, text.count(b'"') // 4) > MOST_VALUES:
        message = f"an update of more than {MOST_VALUES} values"
        raise UpdateBoundsError(message)
