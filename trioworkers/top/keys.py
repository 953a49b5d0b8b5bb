"""The keys of a terminal: bytes in, names out. Pure."""

from __future__ import annotations

import codecs

SEQUENCES = {
    b"\x1b[A": "up", b"\x1b[B": "down", b"\x1b[C": "right", b"\x1b[D": "left",
    b"\x1bOA": "up", b"\x1bOB": "down", b"\x1bOC": "right", b"\x1bOD": "left",
    b"\x1b[5~": "pageup", b"\x1b[6~": "pagedown",
    b"\x1b[H": "home", b"\x1b[F": "end", b"\x1bOH": "home", b"\x1bOF": "end",
    b"\x1b[1~": "home", b"\x1b[4~": "end", b"\x1b[7~": "home", b"\x1b[8~": "end",
}  # fmt: skip
"""Of xterm and what behaves like it: the VT100's cursor keys, in both of its modes."""
PLAIN = {
    "\r": "enter",
    "\n": "enter",
    "\x7f": "backspace",
    "\x08": "backspace",
    "\x03": "ctrl-c",
    "\t": "down",
}
ESCAPE = 0x1B


class Keys:
    """Splits what a terminal sends into keys.

    A lone escape may be the key, or the beginning of a sequence whose rest is not here yet; whoever reads
    calls :meth:`rest` when nothing has come for a moment.
    """

    def __init__(self) -> None:
        self._held = b""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    @property
    def is_waiting(self) -> bool:
        """Whether there is the beginning of something."""
        return bool(self._held)

    def feed(self, data: bytes) -> list[str]:
        """The names of the keys in `data`; sequences that are not known are left out."""
        data, self._held = self._held + data, b""
        keys: list[str] = []
        while data:
            if data[0] != ESCAPE:
                end = data.find(b"\x1b")
                part, data = (data, b"") if end < 0 else (data[:end], data[end:])
                keys += [
                    PLAIN.get(one, one)
                    for one in self._decoder.decode(part)
                    if one in PLAIN or one.isprintable()
                ]
                continue
            size = _sequence(data)
            if size == 0:
                self._held = data
                break
            name = "escape" if size == 1 else SEQUENCES.get(data[:size])
            keys += [name] if name else []
            data = data[size:]
        return keys

    def rest(self) -> list[str]:
        """Nothing more has come: what is held was the key itself."""
        held, self._held = self._held, b""
        return ["escape"] if held else []


def _sequence(data: bytes) -> int:
    """The length of the escape sequence at the beginning; 0: it is not whole; 1: it is a lone escape."""
    if len(data) == 1:
        return 0
    if data[1:2] not in (b"[", b"O"):
        return 1
    for place, byte in enumerate(data[2:], 2):
        if 0x40 <= byte <= 0x7E:  # the final byte of a control sequence, ECMA-48, section 5.4
            return place + 1
    return 0
