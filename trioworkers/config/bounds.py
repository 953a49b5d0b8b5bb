"""What a TOML text may hold before it is read: tomllib takes the square of a key's parts, in time and memory.

A key of 20,000 parts, 40 kB, takes it 9 s and 4 GB. So keys are counted first, in one pass that knows
strings and comments from keys and takes time in proportion to the text, whatever it is.
"""

from __future__ import annotations

import re

DEEPEST = 32  # parts of a key: far beyond any sensible settings
_PART = r"""(?:[A-Za-z0-9_-]++|"(?:[^"\\\n]|\\.)*+"?+|'[^'\n]*+'?+)"""
_DOT = r"[ \t]*+\.[ \t]*+"
# Each alternative takes all that it has begun, also what has no end: nothing is looked at twice.
_TOKEN = re.compile(
    rf'''
    """(?:[^"\\]|\\(?s:.)|"(?!""))*+(?:"""|\Z|\\)
    | \'\'\'(?:[^']|'(?!\'\'))*+(?:\'\'\'|\Z)
    | {_PART}(?:{_DOT}{_PART}){{0,{DEEPEST - 1}}}+(?P<more>{_DOT}{_PART})?+
    | \#[^\n]*+
    ''',
    re.VERBOSE,
)


def too_deep_key(text: str) -> tuple[int, int] | None:
    """Return line and column of the first key with more than `DEEPEST` parts, both from 1; None if there is
    none."""
    if text.count(".") < DEEPEST:
        return None
    for token in _TOKEN.finditer(text):
        if token["more"] is not None:
            at = token.start()
            return text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
    return None
