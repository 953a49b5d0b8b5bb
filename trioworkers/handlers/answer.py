"""Reads a backend's answer: the Bot API calls that it asks for. Pure."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from trioworkers.botapi.errors import TransportError

BACKEND = "backend"  # in the place of a method, where errors name one
MOST_CALLS = 100
OF_THE_FLEET = frozenset(
    name.lower() for name in ("close", "deleteWebhook", "getUpdates", "logOut", "setWebhook")
)
"""How updates come is the daemon's: a backend may not turn it off."""


class BackendCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One call. `once`: its name among the calls of this update; without one, its place is its name."""

    method: Annotated[str, Meta(pattern=r"^[A-Za-z]{1,64}$")]
    params: dict[str, Any] = {}
    once: Annotated[str, Meta(min_length=1, max_length=200)] | None = None

    def as_json(self) -> list[Any]:
        """What :meth:`from_json` reads."""
        return [self.method, self.params, self.once]

    @classmethod
    def from_json(cls, record: list[Any]) -> BackendCall:
        """A call out of a recorded answer."""
        return cls(*record)


class _Answer(msgspec.Struct, frozen=True):
    calls: Annotated[list[BackendCall], Meta(max_length=MOST_CALLS)]


_decoder = msgspec.json.Decoder(Annotated[list[BackendCall], Meta(max_length=MOST_CALLS)] | _Answer)


def read_answer(body: bytes) -> list[BackendCall]:
    """Read the calls out of an answer: a list of them, or an object with this list as `calls`.

    An empty body asks for none.

    Raises:
        TransportError: it is something else. The message says where, and quotes nothing of it.
    """
    if not body.strip():
        return []
    try:
        answer = _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _wrong(_place(error)) from None
    calls = answer.calls if isinstance(answer, _Answer) else answer
    for place, call in enumerate(calls):
        if call.method.lower() in OF_THE_FLEET:
            message = f"call {place} of its answer is one that only the daemon may make"
            raise TransportError(BACKEND, message)
        if "once" in call.params:
            raise _wrong(f"$[{place}].params")
    return calls


def _place(error: Exception) -> str:
    """Where msgspec says that the mistake is; the rest of its message may quote the answer."""
    _, found, place = str(error).rpartition(" - at `")
    return place.rstrip("`") if found and isinstance(error, msgspec.ValidationError) else "$"


def _wrong(place: str) -> TransportError:
    return TransportError(BACKEND, f"its answer is not a list of calls, at {place}")
