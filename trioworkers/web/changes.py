"""Changes of the fleet by request: a reload, and bots added, replaced and removed."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import trio
from pydantic import Field
from quart import Blueprint, g

from trioworkers.config import FleetFileError, NotDynamicError, draft_bot, draft_removal
from trioworkers.config.toml import Source, read_source
from trioworkers.described import Description, described
from trioworkers.nearest import nearest
from trioworkers.reload import ShortError
from trioworkers.reload_history import MOST
from trioworkers.shortage import in_thread, words_of
from trioworkers.web.acts import emit_action
from trioworkers.web.answers import PlanDocument, ReloadPage
from trioworkers.web.asked import LARGEST_ID, Asked, RequestRefusedError, read_body, read_query

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping

    from trioworkers.config import Draft, Fleet, Plan
    from trioworkers.events import Events
    from trioworkers.reload_history import ReloadHistory


class Reloads(Protocol):
    """What reads the fleet anew and applies what changed."""

    @property
    def fleet(self) -> Fleet:
        """The fleet in force."""

    @property
    def history(self) -> ReloadHistory:
        """The last reloads."""

    async def run(self, *, drafts: Iterable[Draft] = (), dry: bool = False, by: str = "a request") -> Plan:
        """Reload; FleetFileError when the new fleet is refused."""


class ReloadAsked(Asked):
    """The body of `POST /api/reload`."""

    dry_run: bool = Field(False, description="true or false")


class HistoryAsked(Asked):
    """The query of `GET /api/reloads`."""

    limit: int = Field(20, ge=1, le=MOST, description=f"a number from 1 to {MOST}")
    before: int | None = Field(None, ge=1, le=LARGEST_ID, description="the number of a reload")


class BotAsked(Asked):
    """The body of `POST /api/bots`."""

    name: str = Field(description="the bot's name")
    bot: dict[str, Any] = Field(description="a table of the keys of a bot")


class TokenAsked(Asked):
    """The body of `PUT /api/bots/<name>`."""

    token: str | dict[str, str] = Field(
        description='a token, or a table that names its source, as {"file": "…"}', repr=False
    )


REFUSED = {
    409: "what is asked for stands in the way of what is there",
    422: "the fleet is refused: all its problems",
    500: "a file cannot be written or read",
}
REFUSED_BY_TELEGRAM = "Telegram refuses this token, expected one of @BotFather's"
NO_BOT = {404: "this daemon runs no bot of that name"}


def change_routes(
    reloads: Reloads,
    events: Events,
    refuses_token: Callable[[Fleet, str], Awaitable[bool]],
    share: Callable[[str], Awaitable[None]] | None = None,
) -> Blueprint:
    """`POST /api/reload`, `GET /api/reloads`, `POST /api/bots`, `PUT` and `DELETE /api/bots/<name>`.

    Each change answers with the plan that was carried out. A fleet that is refused is 422, with its problems.
    So is a token that Telegram refuses, for which `refuses_token` asks: nothing is written then. `share` lets
    other nodes of the cluster change the bot, too.
    """
    routes = Blueprint("changes", __name__)
    turn = trio.StrictFIFOLock()  # what a change is decided by holds until it is done

    @routes.post("/api/reload")
    @described(Description("Read the fleet anew", PlanDocument, body=ReloadAsked, refusals=REFUSED))
    async def reload() -> dict[str, Any]:
        asked = await read_body(ReloadAsked)
        with _refusals():
            plan = await reloads.run(dry=asked.dry_run, by=g.by)
        if not asked.dry_run:
            emit_action(events, "reload")
        return plan.document()

    @routes.get("/api/reloads")
    @described(Description("The last reloads, newest first", ReloadPage, query=HistoryAsked))
    async def history() -> dict[str, Any]:
        asked = read_query(HistoryAsked)
        page, next_ = reloads.history.documents(asked.limit, asked.before)
        return {"reloads": page, "next": next_}

    @routes.post("/api/bots")
    @described(Description("Add a bot", PlanDocument, body=BotAsked, refusals=REFUSED))
    async def add() -> dict[str, Any]:
        asked = await read_body(BotAsked)
        async with turn:
            if asked.name in reloads.fleet.bots:
                raise RequestRefusedError(409, f'there is a bot "{asked.name}" already')
            return await change("bots.add", asked.name, asked.bot)

    @routes.put("/api/bots/<name>")
    @described(
        Description("Give a bot another token", PlanDocument, body=TokenAsked, refusals=NO_BOT | REFUSED)
    )
    async def put(name: str) -> dict[str, Any]:
        asked = await read_body(TokenAsked)
        async with turn:
            table = await in_thread(_own_table, reloads.fleet, name)
            return await change("bots.token", name, {**table, "token": asked.token})

    @routes.delete("/api/bots/<name>")
    @described(Description("Remove a bot that was added", PlanDocument, refusals=NO_BOT | REFUSED))
    async def remove(name: str) -> dict[str, Any]:
        async with turn:
            await in_thread(_own_table, reloads.fleet, name)
            return await change("bots.remove", name, None)

    async def change(action: str, name: str, table: Mapping[str, Any] | None) -> dict[str, Any]:
        fleet = reloads.fleet
        with _refusals():
            draft = await in_thread(_draft, fleet, name, table)
            if table is not None:
                await see_known(await reloads.run(drafts=[draft], dry=True), name)
            plan = await reloads.run(drafts=[draft], by=g.by)
        emit_action(events, action, name)
        if share is not None:
            await share(name)
        return plan.document()

    async def see_known(plan: Plan, name: str) -> None:
        if name in plan.fleet.bots and await refuses_token(plan.fleet, name):
            raise FleetFileError([plan.fleet.problem_at(("bots", name, "token"), REFUSED_BY_TELEGRAM)])

    return routes


def _own_table(fleet: Fleet, name: str) -> Mapping[str, Any]:
    """The table of a bot that was added by command, as it stands in its file; for a thread.

    Raises:
        RequestRefusedError: there is no such bot, it stands elsewhere, or its file is gone or cannot be read:
            what somebody did to it by hand is not overwritten.
    """
    if name not in fleet.bots:
        near = nearest(name, fleet.bots)
        hint = f", did you mean {near}" if near else ""
        raise RequestRefusedError(404, f"this daemon runs no bot of that name{hint}")
    try:
        draft_removal(fleet, name)
    except NotDynamicError as error:
        raise RequestRefusedError(409, str(error)) from None
    file = Path(fleet.origin(name))
    if not os.path.lexists(file):
        raise RequestRefusedError(409, f"the file {file} is gone: write it again, or reload")
    source = read_source(file)
    if not isinstance(source, Source):
        raise RequestRefusedError(422, "\n".join(map(str, source)))
    bots = source.tables.get("bots")
    table = bots.get(name) if isinstance(bots, dict) else None
    if not isinstance(table, dict):
        raise RequestRefusedError(409, f"{file} does not have [bots.{name}] any more: correct it, or reload")
    return table


def _draft(fleet: Fleet, name: str, table: Mapping[str, Any] | None) -> Draft:
    """The draft of a bot's table, or of its removal; for a thread, since a table may be large.

    Raises:
        RequestRefusedError: the bot is a new one, and there is a file already, with other bots perhaps.
        FleetFileError, NotDynamicError: as for :func:`draft_bot` and :func:`draft_removal`.
    """
    if table is None:
        return draft_removal(fleet, name)
    draft = draft_bot(fleet.state_dir, name, table)
    if name not in fleet.bots and os.path.lexists(draft.file):
        raise RequestRefusedError(409, f"{draft.file} is there already, expected no file of that name")
    return draft


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn what keeps a fleet from being changed into the answer to the request."""
    try:
        yield
    except ShortError as error:
        raise RequestRefusedError(503, str(error)) from None
    except FleetFileError as error:
        raise RequestRefusedError(422, "\n".join(str(problem) for problem in error.problems)) from None
    except NotDynamicError as error:
        raise RequestRefusedError(409, str(error)) from None
    except OSError as error:
        if error.filename is None:  # no thread or descriptor can be had now
            raise RequestRefusedError(503, words_of(error)) from None
        raise RequestRefusedError(500, f"{error.filename}: {error.strerror}") from None
