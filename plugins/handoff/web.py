"""Handoffs over HTTP: the desk of those who do not work in a Telegram group.

Transcripts hold what users wrote: they are shown to whoever has the API's token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NotRequired

import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from quart import Blueprint, Response, g, request
from trioworkers_plugins.handoff.actions import RefusedError
from trioworkers_plugins.handoff.media import TYPES, MediaError
from trioworkers_plugins.handoff.office import UnknownBotError
from trioworkers_plugins.handoff.pieces import STAMP
from trioworkers_plugins.handoff.state import State  # noqa: TC002 - pydantic reads it

from trioworkers.described import Description, TypedDict, described

if TYPE_CHECKING:
    from trioworkers_plugins.handoff.actions import Actions
    from trioworkers_plugins.handoff.route import Running

    from trioworkers.plugin_types import PluginDaemon

LARGEST_PAGE = 500
LONGEST_WAIT = 25.0  # seconds; less than what proxies allow
EXPECTED = "the operator who has the dialog, or an empty text for nobody"
Answer = tuple[dict[str, Any], int]
REFUSED = {
    404: "there is no such dialog or bot",
    409: "the state of the dialog does not allow it",
    503: "handoffs are off, or not read yet; or no node runs the bot at this moment",
}
NO_FILE = {
    404: "there is no such dialog, line or file",
    413: "the file is larger than 20 MB",
    502: "Telegram cannot be reached, or does not give the file",
    503: REFUSED[503],
    504: "Telegram takes too long to give the file",
}


class HandoffUser(TypedDict):
    name: str
    username: str | None


class HandoffRow(TypedDict):
    id: str
    bot: str | None
    chat_id: int
    state: State
    epoch: int
    reason: str
    operator: str | None
    name: str | None
    user: HandoffUser | None
    began: float
    since: float
    active: float | None
    unanswered: int
    waiting: int
    changed: int
    node: NotRequired[str]  # of a cluster; none while no node has answered about the bot


class HandoffNode(TypedDict):
    node: str
    life: str
    is_self: bool
    bots: int
    drains: bool
    silent_for: float
    version: str | None
    answers: bool


class HandoffList(TypedDict):
    handoffs: list[HandoffRow]
    version: int
    nodes: NotRequired[list[HandoffNode]]  # of a cluster


class HandoffFile(TypedDict):
    kind: str
    name: NotRequired[str]
    mime: NotRequired[str]
    size: NotRequired[int]


class HandoffLine(TypedDict):
    stamp: str
    at: float
    who: str
    epoch: int
    kind: str
    message_id: NotRequired[int]
    text: NotRequired[str]
    name: NotRequired[str]
    source: NotRequired[str]
    media: NotRequired[HandoffFile]


class HandoffDetails(HandoffRow):
    version: int
    sending: list[str]
    transcript: list[HandoffLine]
    next: NotRequired[str | None]  # of pages that go forward
    previous: NotRequired[str | None]  # of pages that go back


class HandoffSaid(TypedDict):
    delivered: bool | None
    reason: str | None
    repeated: NotRequired[bool]


class _Asked(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class StartAsked(_Asked):
    """The body of `POST /api/handoffs`."""

    bot: str = Field(description="the name of a bot")
    chat_id: int = Field(gt=0, description="the id of a private chat")
    reason: str = Field("", max_length=1000, description="a text of at most 1000 characters")


class OperatorAsked(_Asked):
    """The body of what an operator does."""

    operator: str = Field("operator", min_length=1, max_length=64, description="a name of 1 to 64 characters")


class TakeAsked(OperatorAsked):
    """The body of a take."""

    expected: str | None = Field(None, max_length=128, description=EXPECTED)


class WordsAsked(OperatorAsked):
    """The body of a note."""

    text: str = Field(min_length=1, max_length=4096, description="a text of 1 to 4096 characters")


class SayAsked(WordsAsked):
    """The body of what an operator says."""

    key: str = Field("", pattern="^[A-Za-z0-9-]{0,64}$", description="up to 64 letters, digits and hyphens")
    expected: str | None = Field(None, max_length=128, description=EXPECTED)


class ReleaseAsked(_Asked):
    """The body of a release."""

    expected: str | None = Field(None, max_length=128, description=EXPECTED)


class QueueAsked(_Asked):
    """The query of the list."""

    since: int = Field(0, ge=0, le=2**63 - 1, description="the version of a former answer")
    wait: float = Field(0.0, ge=0, le=LONGEST_WAIT, description=f"seconds from 0 to {LONGEST_WAIT:g}")


class PageAsked(_Asked):
    """The query of a transcript."""

    after: str = Field("", pattern="^[0-9]{0,17}$", description="the stamp of a line")
    before: str | None = Field(None, pattern="^[0-9]{1,17}$", description="the stamp of a line")
    limit: int = Field(200, ge=1, le=LARGEST_PAGE, description=f"a number from 1 to {LARGEST_PAGE}")


def handoff_routes(running: Running, daemon: PluginDaemon) -> Blueprint:
    """The routes under `/api/handoffs`. What concerns a bot is answered by the node that runs it."""
    routes = Blueprint("handoffs", __name__, url_prefix="/api/handoffs")

    def actions() -> Actions:
        if running.actions is None:
            raise RefusedError(503, "handoffs are off, or not read yet: see [plugins.handoff]")
        return running.actions

    def done(action: str, id: str) -> None:
        bot, _, chat = id.rpartition(":")
        daemon.action(f"handoff.{action}", bot=bot, by=g.get("by", "api"), dialog=f"{bot}/{chat}")

    async def elsewhere(id: str) -> Response | None:
        answer: Response | None = await daemon.nodes.answer_of_owner(id.rpartition(":")[0])
        return answer

    @routes.errorhandler(RefusedError)
    async def refused(error: RefusedError) -> Answer:
        return {"error": str(error)}, error.status

    @routes.errorhandler(UnknownBotError)
    async def unknown(error: UnknownBotError) -> Answer:
        return {"error": f"{error}: ask again"}, 503

    @routes.get("")
    @described(Description("List dialogs without a bot", HandoffList, query=QueueAsked, refusals=REFUSED))
    async def page() -> dict[str, Any]:
        asked = _read(QueueAsked, request.args.to_dict())
        actions().look_up_names()
        # a node that waits for changes asks when there are some, and hears of no other answer in time
        if asked.wait and running.homes is not None and not daemon.nodes.is_asking:
            await running.homes.office.bulletin.wait(asked.since, asked.wait)
        found, homes = actions(), running.homes
        number = 0 if homes is None else homes.office.bulletin.number
        own = {"handoffs": found.rows(), "version": number}
        everywhere = await daemon.nodes.all_rows(own, "handoffs", "id")
        if everywhere is None:
            return own
        missing = await found.rows_from_storage(everywhere.missing) if everywhere.missing else []
        known = {row["id"] for row in everywhere.rows}
        rows = [*everywhere.rows, *(row for row in missing if row["id"] not in known)]
        rows.sort(key=lambda row: row["began"])
        return {"handoffs": rows, "version": number, "nodes": everywhere.nodes}

    @routes.post("")
    @described(Description("Ask for an operator", HandoffRow, body=StartAsked, refusals=REFUSED))
    async def start() -> dict[str, Any] | Response:
        asked = await _body(StartAsked)
        if (answer := await elsewhere(f"{asked.bot}:")) is not None:
            return answer
        row = await actions().start(asked.bot, asked.chat_id, "api", asked.reason)
        done("start", row["id"])
        return row

    @routes.get("/<id>")
    @described(
        Description("Show a dialog and a page of it", HandoffDetails, query=PageAsked, refusals=REFUSED)
    )
    async def one(id: str) -> dict[str, Any] | Response:
        asked = _read(PageAsked, request.args.to_dict())
        office = None if running.homes is None else running.homes.office
        number = 0 if office is None else office.bulletin.number
        if (answer := await elsewhere(id)) is not None:
            return await _with_version(answer, number)
        place = actions().place(id)
        if asked.before is not None:
            return await actions().row_back(place, asked.before, asked.limit)
        return await actions().row(place, asked.after, asked.limit)

    @routes.get("/<id>/media/<stamp>")
    @described(Description("The file of a line of the transcript", bytes, TYPES, refusals=NO_FILE))
    async def media(id: str, stamp: str) -> Response:
        place = actions().place(id)
        if running.media is None or not stamp.isdecimal() or len(stamp) != STAMP:
            raise RefusedError(404, "this line has no file")
        try:
            file = await running.media.open(place, stamp)
        except MediaError as error:
            raise RefusedError(error.status, str(error)) from None
        response = Response(file, headers=file.headers)
        response.timeout = None  # the file has limits of its own
        return response

    @routes.post("/<id>/release")
    @described(Description("Give a dialog back to the bot", HandoffRow, body=ReleaseAsked, refusals=REFUSED))
    async def release(id: str) -> dict[str, Any] | Response:
        asked = await _body(ReleaseAsked)
        if (answer := await elsewhere(id)) is not None:
            return answer
        row = await actions().release(actions().place(id), asked.expected)
        done("release", id)
        return row

    @routes.post("/<id>/take")
    @described(Description("Give a dialog to an operator", HandoffRow, body=TakeAsked, refusals=REFUSED))
    async def take(id: str) -> dict[str, Any] | Response:
        asked = await _body(TakeAsked)
        if (answer := await elsewhere(id)) is not None:
            return answer
        row = await actions().take(actions().place(id), asked.operator, asked.expected)
        done("take", id)
        return row

    @routes.post("/<id>/ban")
    @described(Description("Let nobody answer the user", HandoffRow, body=OperatorAsked, refusals=REFUSED))
    async def ban(id: str) -> dict[str, Any] | Response:
        asked = await _body(OperatorAsked)
        if (answer := await elsewhere(id)) is not None:
            return answer
        row = await actions().ban(actions().place(id), asked.operator)
        done("ban", id)
        return row

    @routes.post("/<id>/unban")
    @described(
        Description("Let the bot answer the user again", HandoffRow, body=OperatorAsked, refusals=REFUSED)
    )
    async def unban(id: str) -> dict[str, Any] | Response:
        asked = await _body(OperatorAsked)
        if (answer := await elsewhere(id)) is not None:
            return answer
        row = await actions().unban(actions().place(id), asked.operator)
        done("unban", id)
        return row

    @routes.post("/<id>/say")
    @described(Description("Say something to the user", HandoffSaid, body=SayAsked, refusals=REFUSED))
    async def say(id: str) -> dict[str, Any] | Response:
        asked = await _body(SayAsked)
        if (answer := await elsewhere(id)) is not None:
            return answer
        said = await actions().say(
            actions().place(id), asked.operator, asked.text, key=asked.key, expected=asked.expected
        )
        if "repeated" not in said:
            done("say", id)
        return said

    @routes.post("/<id>/note")
    @described(Description("Note something in the transcript", HandoffRow, body=WordsAsked, refusals=REFUSED))
    async def note(id: str) -> dict[str, Any] | Response:
        asked = await _body(WordsAsked)
        if (answer := await elsewhere(id)) is not None:
            return answer
        row = await actions().note(actions().place(id), asked.operator, asked.text)
        done("note", id)
        return row

    return routes


async def _with_version(answer: Response, number: int) -> Response | dict[str, Any]:
    """What another node has answered, with this node's version, as the list has it."""
    if answer.status_code != 200:
        return answer
    shown: dict[str, Any] = msgspec.json.decode(await answer.get_data(as_text=False))
    return {**shown, "version": number}


async def _body(model: type[_Asked]) -> Any:
    raw = await request.get_data(as_text=False)
    try:
        return model.model_validate_json(raw or b"{}", strict=True)
    except ValidationError as error:
        raise _refusal(model, error) from None


def _read(model: type[_Asked], values: dict[str, str]) -> Any:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise _refusal(model, error) from None


def _refusal(model: type[_Asked], error: ValidationError) -> RefusedError:
    """What was expected; what was found is not repeated, since it may be what somebody wrote."""
    fields = model.model_fields
    names = [str(fault["loc"][0]) if fault["loc"] else "" for fault in error.errors(include_input=False)]
    told = [
        f"{name}: expected {fields[name].description}" if name in fields else "unknown key or not an object"
        for name in dict.fromkeys(names)
    ]
    return RefusedError(400, "; ".join(told))
