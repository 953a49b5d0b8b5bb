"""Changes of the fleet by request: a reload, and bots added, replaced and removed."""

from __future__ import annotations

import os
import tomllib
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import trio
from pydantic import Field
from quart import Blueprint, g

from trioworkers.config import FleetFileError, NotDynamicError, draft_bot, draft_removal
from trioworkers.web.asked import Asked, RequestRefusedError, read_body

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from trioworkers.config import Draft, Fleet, Plan
    from trioworkers.events import Events


class Reloads(Protocol):
    """What reads the fleet anew and applies what changed."""

    @property
    def fleet(self) -> Fleet:
        """The fleet in force."""

    async def run(self, *, drafts: Iterable[Draft] = (), dry: bool = False) -> Plan:
        """Reload; FleetFileError when the new fleet is refused."""


class ReloadAsked(Asked):
    """The body of `POST /api/reload`."""

    dry_run: bool = Field(False, description="true or false")


class BotAsked(Asked):
    """The body of `POST /api/bots`."""

    name: str = Field(description="the bot's name")
    bot: dict[str, Any] = Field(description="a table of the keys of a bot")


class TokenAsked(Asked):
    """The body of `PUT /api/bots/<name>`."""

    token: str | dict[str, str] = Field(
        description='a token, or a table that names its source, as {"file": "…"}', repr=False
    )


def change_routes(reloads: Reloads, events: Events) -> Blueprint:
    """`POST /api/reload`, `POST /api/bots`, `PUT` and `DELETE /api/bots/<name>`.

    Each answers with the plan that was carried out. A fleet that is refused is 422, with its problems.
    """
    routes = Blueprint("changes", __name__)
    turn = trio.StrictFIFOLock()  # what a change is decided by holds until it is done

    @routes.post("/api/reload")
    async def reload() -> dict[str, Any]:
        asked = await read_body(ReloadAsked)
        with _refusals():
            plan = await reloads.run(dry=asked.dry_run)
        if not asked.dry_run:
            events.emit("control.action", action="reload", by=g.by)
        return plan.document()

    @routes.post("/api/bots")
    async def add() -> dict[str, Any]:
        asked = await read_body(BotAsked)
        async with turn:
            if asked.name in reloads.fleet.bots:
                raise RequestRefusedError(409, f'there is a bot "{asked.name}" already')
            return await change("bots.add", asked.name, asked.bot)

    @routes.put("/api/bots/<name>")
    async def put(name: str) -> dict[str, Any]:
        asked = await read_body(TokenAsked)
        async with turn:
            table = _own_table(reloads.fleet, name)
            return await change("bots.token", name, {**table, "token": asked.token})

    @routes.delete("/api/bots/<name>")
    async def remove(name: str) -> dict[str, Any]:
        async with turn:
            _own_table(reloads.fleet, name)
            return await change("bots.remove", name, None)

    async def change(action: str, name: str, table: Mapping[str, Any] | None) -> dict[str, Any]:
        fleet = reloads.fleet
        with _refusals():
            draft = draft_removal(fleet, name) if table is None else _draft_bot(fleet, name, table)
            plan = await reloads.run(drafts=[draft])
        events.emit("control.action", name, action=action, by=g.by)
        return plan.document()

    return routes


def _own_table(fleet: Fleet, name: str) -> Mapping[str, Any]:
    """The table of a bot that was added by command, as it stands in its file.

    Raises:
        RefusedError: there is no such bot, or it stands elsewhere.
    """
    if name not in fleet.bots:
        near = get_close_matches(name, fleet.bots, 1)
        raise RequestRefusedError(
            404, f"there is no bot {name}" + (f", did you mean {near[0]}" if near else "")
        )
    try:
        draft_removal(fleet, name)
    except NotDynamicError as error:
        raise RequestRefusedError(409, str(error)) from None
    table: Mapping[str, Any] = tomllib.loads(Path(fleet.origin(name)).read_text())["bots"][name]
    return table


def _draft_bot(fleet: Fleet, name: str, table: Mapping[str, Any]) -> Draft:
    """The draft of a bot's table.

    Raises:
        RefusedError: the bot is a new one, and there is a file already, with other bots perhaps.
        FleetFileError: as for :func:`draft_bot`.
    """
    draft = draft_bot(fleet.state_dir, name, table)
    if name not in fleet.bots and os.path.lexists(draft.file):
        raise RequestRefusedError(409, f"{draft.file} is there already, expected no file of that name")
    return draft


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn what keeps a fleet from being changed into the answer to the request."""
    try:
        yield
    except FleetFileError as error:
        raise RequestRefusedError(422, "\n".join(str(problem) for problem in error.problems)) from None
    except NotDynamicError as error:
        raise RequestRefusedError(409, str(error)) from None
    except OSError as error:
        raise RequestRefusedError(500, f"{error.filename}: {error.strerror}") from None
