"""Values and bytes that nobody should send, made by seeded chance, for the tests that send them all the same.

`ROUNDS=20000 SEED=7 scripts/test PATH` tries more of them, and others.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

ROUNDS = int(os.environ.get("ROUNDS", "300"))
SEED = int(os.environ.get("SEED", "15"))
ODD: list[Any] = [
    *(None, True, -1, 0, 2**31, 2**63, 1.5, "", "x", [], {}, [[]], {"id": {}}, "\ud7ff", "1" * 300),
    {"retry_after": 10**30},
]
BROKEN = [
    *(
        b"NaN",
        b"1e999",
        b"9" * 400,
        b'"\\ud800"',
        b'"\xff"',
        b"[" * 3000,
        b"{",
        b"}",
        b'"',
        b"\0",
        b"\xef\xbb\xbf",
    ),
    *(b",", b'{"ok":true,"ok":false}', b"<html>", b"\\", b"/**/"),
]


def mutated(dice: random.Random, value: Any, odd: Sequence[Any] = ODD) -> Any:
    """A value with some of what is in it replaced, or left out."""
    if dice.random() < 0.15:
        return dice.choice(odd)
    if isinstance(value, dict):
        return {key: mutated(dice, one, odd) for key, one in value.items() if dice.random() < 0.95}
    return [mutated(dice, one, odd) for one in value] if isinstance(value, list) else value


def damaged(dice: random.Random, data: bytes, broken: Sequence[bytes] = BROKEN) -> bytes:
    """Bytes of which a few were changed; half of the time none."""
    body = bytearray(data)
    for _ in range(dice.choice([0, 0, 1, 2])):
        at = dice.randrange(len(body) + 1)
        match dice.randrange(4):
            case 0:
                body[at : at + 1] = dice.randbytes(1)
            case 1:
                del body[at : at + dice.randrange(20)]
            case 2:
                body[at:at] = dice.choice(broken)
            case _:
                body[at:at] = body[max(0, at - 30) : at]
    return bytes(body)
