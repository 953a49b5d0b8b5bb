"""Frames of the WebSocket protocol (RFC 6455, section 5.2), as a server sends them.

A server's frames are not masked, so the bytes of one message are the same for every client: they are made
once and written to all of them. This is why they are made here, and not by the web server for each client.
"""

from __future__ import annotations

PING = b"\x89\x00"
GOING_AWAY = 1001  # section 7.4.1
NOT_ACCEPTED = 1008  # policy violation
TRY_AGAIN = 1013  # in the registry of close codes, which RFC 6455 began


def text_frame(payload: bytes) -> bytes:
    """A whole text message. `payload`: UTF-8."""
    size = len(payload)
    if size < 126:
        return b"\x81" + size.to_bytes(1, "big") + payload
    if size < 2**16:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


def close_frame(code: int, reason: str) -> bytes:
    """The last frame of a stream. `reason`: at most 123 bytes."""
    payload = code.to_bytes(2, "big") + reason.encode()
    return b"\x88" + len(payload).to_bytes(1, "big") + payload
