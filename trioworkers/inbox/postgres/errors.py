"""What an error of PostgreSQL means for a store.

Codes: https://www.postgresql.org/docs/15/errcodes-appendix.html. Only a server's primary message is shown,
and none of those that quote values; never the detail, which shows keys.
"""

from __future__ import annotations

import psycopg

from trioworkers.inbox.store import (
    StoreError,
    StoreFencedError,
    StoreForbiddenError,
    StoreFullError,
    StoreRejectedError,
    StoreUnreachableError,
)

FENCES = "mark_node_fkey", "bot_owner_fkey"  # what names a life that has ended
FENCED = "another daemon has taken over the store from this one"
# the first five, two or three characters of a code; the longest that fits counts
KINDS: dict[str, type[StoreError]] = {
    "08": StoreUnreachableError,  # connection exception
    "25006": StoreUnreachableError,  # read-only transaction: a standby; another host may take writes
    "57P01": StoreUnreachableError,  # shut down, crashed, starting, dropped, idle for too long
    "57P02": StoreUnreachableError,
    "57P03": StoreUnreachableError,
    "57P04": StoreUnreachableError,
    "57P05": StoreUnreachableError,
    "25P03": StoreUnreachableError,  # idle in a transaction for too long: we stood still
    "53300": StoreUnreachableError,  # too many connections
    "28": StoreUnreachableError,  # invalid authorization
    "3D000": StoreUnreachableError,  # no such database
    "53100": StoreFullError,  # disk full
    "42501": StoreForbiddenError,  # insufficient privilege
    "22": StoreRejectedError,  # data exception
    "23": StoreRejectedError,  # integrity constraint, of a trigger or a constraint that somebody added
    "54": StoreRejectedError,  # program limit exceeded
}
RIGHTS = ", expected a role that owns the schema trioworkers and all in it"
QUOTES = ("22", "23")  # classes whose primary message may quote a value


def store_error(what: str, error: psycopg.Error) -> StoreError:
    """The store's error for one of PostgreSQL; its message shows no password and nothing that is stored."""
    code = error.sqlstate
    if code is None:
        if isinstance(error, psycopg.DataError):
            return StoreRejectedError(f"{what}: a value in it cannot be stored")
        if isinstance(error, psycopg.ProgrammingError):  # of the address: its message may quote a password
            return StoreUnreachableError(f"{what}: store.url is not an address that libpq understands")
        return StoreUnreachableError(f"{what}: {first_line(error)}")
    if code == "23503" and error.diag.constraint_name in FENCES:
        return StoreFencedError(FENCED)
    kind = next((KINDS[code[:size]] for size in (5, 2) if code[:size] in KINDS), StoreError)
    said = type(error).__name__ if code.startswith(QUOTES) else first_line(error)
    hint = RIGHTS if kind is StoreForbiddenError else ""
    return kind(f"{what}: {said} ({code}){hint}")


def first_line(error: psycopg.Error) -> str:
    """What a server or libpq says, in one line: hosts, ports, users and databases, never a password."""
    if error.diag.message_primary is not None:
        return error.diag.message_primary
    first, *others = str(error).splitlines() or [type(error).__name__]
    tried = [line.removeprefix("- ") for line in others if line.startswith("- ")]  # of several hosts
    return "; ".join(tried) or first
