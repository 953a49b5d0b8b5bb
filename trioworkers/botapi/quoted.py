"""Telegram's description of a refusal without what it quotes. Pure.

A description is Telegram's own text, but some quote the call that was refused (`Unsupported start tag "…" at
byte offset 7`), and so what a user wrote. What is quoted is cut out as a whole, from the first quotation mark
to the last: a user may write quotation marks, too.
"""

from __future__ import annotations

import re
from typing import Final

from trioworkers.masking import mask_tokens

MOST: Final = 200  # characters that are kept; Telegram's own are short, another server's need not be
READ: Final = 4000  # characters that are looked at; a mark that comes later closes nothing
CUT: Final = "…"

_harmless = re.compile(
    # one character, which has to be escaped; the name of a field, which the server knows from its own list
    r"[^\"'`“”«»‘’]*(?:can't [^\"'`“”«»‘’]*)?"
    r"(?:character '[^\w\s]' is reserved and must be escaped with the preceding '\\'"
    r"|field \"[a-z_]{1,40}\" must be (?:of type \w+|of a \w+ type))",
    re.IGNORECASE,
)
# an apostrophe within a word (can't, doesn't) is no quotation mark
_marks = re.compile(r"[\"“”„«»`‘]|(?<!\w)['’]|['’](?!\w)")
_addresses = re.compile(r"\b[a-z][a-z0-9+.-]{0,30}://\S+|(?<!\w)@\w+", re.IGNORECASE)


def without_quotes(description: str) -> str:
    """The first line of a description, with `…` for what it quotes, and for addresses and names in it.

    At most 200 characters of it. What looks like a token is masked: a proxy or another server may name one.
    """
    said = description[:READ].partition("\n")[0].partition("\r")[0].strip()
    if not _harmless.fullmatch(said):
        found = list(_marks.finditer(said))
        if found:
            begin, end = found[0].start(), found[-1].end() if len(found) > 1 else len(said)
            said = said[:begin] + CUT + said[end:]
        said = _addresses.sub(CUT, said)
    said = mask_tokens(said)
    return said if len(said) <= MOST else said[:MOST] + CUT
