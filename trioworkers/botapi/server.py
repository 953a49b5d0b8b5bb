"""Where a bot's Bot API server is, and how it is reached."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Server:
    """A Bot API server, as one bot uses it.

    Attributes:
        base: its address, `https://api.telegram.org` or another, without a slash at its end.
        proxy: the address of the proxy by which it is reached, with its credentials; empty for none.
        local_files: the folder in which a server with `--local` keeps files, which are read from there.
        is_test: the bot lives in the test environment (https://core.telegram.org/bots/webapps#testing-mini-apps).
    """

    base: str
    proxy: str = field(default="", repr=False)
    is_test: bool = False
    local_files: str = ""
