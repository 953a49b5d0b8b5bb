"""What a route of the HTTP API takes and answers, noted at the route itself.

`GET /api/openapi.json` is made from these notes when somebody asks for it. Noting them costs the start of the
daemon nothing: whatever makes schemas is imported only then.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

if sys.version_info >= (3, 12):
    from typing import TypedDict  # quart-schema knows no other from here on
else:
    from typing_extensions import TypedDict  # pydantic takes no other up to here

__all__ = ["JSON", "NOTE", "Description", "TypedDict", "described"]

F = TypeVar("F", bound=Callable[..., Any])
NOTE = "trioworkers_description"
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Description:
    """What is noted of a route.

    Attributes:
        summary: what it does, in a few words.
        answer: what it answers when it succeeds: a type that pydantic knows, or `bytes` for a file; None for
            an empty body.
        media: the kind of that answer, or the kinds that it may have.
        status: the status of that answer.
        also: further statuses of such an answer, each with when it is given; a redirection has no body.
        query: the model of the query.
        body: the model of the body.
        body_media: the kind of the body.
        refusals: the statuses of errors, each with when it is given; those of all routes are left out.
        refusal_media: the kind of these errors.
    """

    summary: str
    answer: Any = None
    media: str | tuple[str, ...] = JSON
    status: int = 200
    also: Mapping[int, str] = field(default_factory=dict)
    query: type | None = None
    body: type | None = None
    body_media: str = JSON
    refusals: Mapping[int, str] = field(default_factory=dict)
    refusal_media: str = JSON


def described(description: Description) -> Callable[[F], F]:
    """Note the description at a route; to stand below `@routes.get(…)`."""

    def note(function: F) -> F:
        setattr(function, NOTE, description)
        return function

    return note


def description_of(function: Callable[..., Any]) -> Description | None:
    """What is noted at a route."""
    found: Description | None = getattr(function, NOTE, None)
    return found
