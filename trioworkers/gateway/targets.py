"""What the target of a request names: a bot, a method or a file. Pure.

The target is taken apart as it stands, and put together again with another token in it: what was decoded and
encoded again would no longer be what the bot asked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from urllib.parse import unquote_to_bytes

# a base with a slash at its end gives two at the beginning; a proxy is asked with the whole address
_TARGET = re.compile(
    rb"(?:https?://[^/?#]*)?/+(?P<file>file/)?bot(?P<token>[^/?#]+)(?P<test>/test)?/(?P<rest>[^#]*)",
    re.IGNORECASE,
)
LOCAL = frozenset(("getupdates", "setwebhook", "deletewebhook", "getwebhookinfo", "close", "logout"))
"""Methods that are answered here, in lower case: the daemon alone fetches a bot's updates."""
_METHOD = re.compile(rb"[A-Za-z]{1,64}")


@dataclass(frozen=True)
class Target:
    """A target that names a bot.

    Attributes:
        token: what stands in the token's place, decoded.
        is_file: a file is asked for.
        is_test: it names the test environment itself.
        rest: what follows, as it stands: the method or the file's path, and the query.
    """

    token: bytes
    is_file: bool
    is_test: bool
    rest: bytes

    @cached_property
    def name(self) -> str:
        """The method's name; empty for files, and where there is none."""
        name = self.rest.partition(b"?")[0].rstrip(b"/")
        return name.decode() if not self.is_file and _METHOD.fullmatch(name) else ""

    @cached_property
    def method(self) -> str:
        """The same in lower case: capitals mean nothing to the Bot API server."""
        return self.name.lower()

    @cached_property
    def query(self) -> bytes:
        """The query, without its question mark."""
        return self.rest.partition(b"?")[2]

    def at(self, path: bytes, token: str, *, is_test: bool) -> bytes:
        """The same target at a server: below `path`, with the real token. `is_test`: the bot lives there."""
        return b"%s%s/bot%s%s/%s" % (
            path,
            b"/file" if self.is_file else b"",
            token.encode(),
            b"/test" if self.is_test or is_test else b"",
            self.rest,
        )


@lru_cache(256)  # most calls of a bot have one of a few
def read_target(target: bytes) -> Target | None:
    """Return what a target names; None: no bot."""
    match = _TARGET.fullmatch(target)
    if match is None:
        return None
    return Target(
        unquote_to_bytes(match["token"]), match["file"] is not None, match["test"] is not None, match["rest"]
    )
