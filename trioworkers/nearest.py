"""Which known name a misspelt one was probably meant to be, at a bounded price.

difflib compares each pair of names letter by letter: one name with ten thousand others takes a tenth of a
second, and who writes a file or a request chooses how many there are.
"""

from __future__ import annotations

from difflib import get_close_matches
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST = 64  # characters of a name that is compared
MOST = 200  # names that it is compared with: 2 ms
_APART = 4  # characters by which they differ in length at most


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the name among `known` that is most like `name`; None if none is, or `name` is very long.

    Of many names, those that begin alike are compared first.
    """
    if not 0 < len(name) <= LONGEST:
        return None
    fitting = [one for one in known if abs(len(one) - len(name)) <= _APART]
    if len(fitting) > MOST:
        fitting = list(islice((one for one in fitting if one[:1] == name[:1]), MOST))
    near = get_close_matches(name, fitting, n=1)
    return near[0] if near else None
