"""How keys of the fleet file are declared: with a default, a meaning, and what a change of them touches."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

ReloadClass = Literal["live", "worker", "daemon"]
REQUIRED: Any = ...
_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum"}


class _Declare(Protocol):
    def __call__(self, default: Any, about: str, **constraints: Any) -> Any: ...


def _key(reload: ReloadClass) -> _Declare:
    def declare(default: Any, about: str, **constraints: Any) -> Any:
        # Bounds are repeated for the schema: pydantic leaves them out where a string is read to a number.
        bounds = {_BOUNDS[name]: bound for name, bound in constraints.items() if name in _BOUNDS}
        extra: dict[str, Any] = {"x-reload": reload, **bounds}
        return Field(default, description=about, json_schema_extra=extra, **constraints)

    return declare


live = _key("live")
per_worker = _key("worker")
per_daemon = _key("daemon")

Text = Annotated[str, Field(strict=True)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]


def at_key(key: str, problem: str) -> PydanticCustomError:
    """Returns the error of one key that belongs to another of its table.

    Rules between keys are validators of the later key, which see those before it that are right: rules of
    the whole table would be looked at only once all else in it is right.
    """
    return PydanticCustomError("at_key", "{problem}", {"problem": problem, "key": key})


class Table(BaseModel):
    """A table of the fleet file."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        validate_default=True,
        arbitrary_types_allowed=True,
    )
