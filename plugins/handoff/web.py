"""Handoffs over HTTP: the desk of those who do not work in a Telegram group.

Transcripts hold what users wrote: they are shown to whoever has the API's token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NotRequired

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from quart import Blueprint, Response, g, request
from trioworkers_plugins.handoff.actions import Actions, RefusedError
from trioworkers_plugins.handoff.core import UnknownBotError
from trioworkers_plugins.handoff.media import TYPES, MediaError
from trioworkers_plugins.handoff.pieces import STAMP
from trioworkers_plugins.handoff.state import State  # noqa: TC002 - pydantic reads it

from trioworkers.described import Description, TypedDict, described

if TYPE_CHECKING:
    from trioworkers_plugins.handoff.route import Running

    from trioworkers.plugin_types import PluginDaemon

LARGEST_PAGE = 500
LONGEST_WAIT = 25.0  # seconds; less than what proxies allow
EXPECTED = "the operator who has the dialog, or an empty text for nobody"
Answer = tuple[dict[str, Any], int]
REFUSED = {
    404: "there is no such dialog or bot",
    409: "the state of the dialog does not allow it",
    503: "handoffs are off, or not read yet",
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


class HandoffList(TypedDict):
    handoffs: list[HandoffRow]
    version: int


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
    """The routes under `/api/handoffs`."""
    routes = Blueprint("handoffs", __name__, url_prefix="/api/handoffs")

    def actions() -> Actions:
        if running.core is None or running.to_users is None:
            raise RefusedError(503, "handoffs are off, or not read yet: see [plugins.handoff]")
        return Actions(running.core, running.to_users)

    def done(action: str, id: str) -> None:
        bot, _, chat = id.rpartition(":")
        daemon.action(f"handoff.{action}", bot=bot, by=g.get("by", "api"), dialog=f"{bot}/{chat}")

    @routes.errorhandler(RefusedError)
    async def refused(error: RefusedError) -> Answer:
        return {"error": str(error)}, error.status

    @routes.errorhandler(UnknownBotError)
    async def unknown(error: UnknownBotError) -> Answer:
        return {"error": str(error)}, 404

    @routes.get("")
    @described(Description("List dialogs without a bot", HandoffList, query=QueueAsked, refusals=REFUSED))
    async def page() -> dict[str, Any]:
        asked = _read(QueueAsked, request.args.to_dict())
        actions().look_up_names()
        if asked.wait and running.core is not None:
            await running.core.bulletin.wait(asked.since, asked.wait)
        found, core = actions(), running.core
        return {"handoffs": found.rows(), "version": 0 if core is None else core.bulletin.number}

    @routes.post("")
    @described(Description("Ask for an operator", HandoffRow, body=StartAsked, refusals=REFUSED))
    async def start() -> dict[str, Any]:
        asked = await _body(StartAsked)
        row = await actions().start(asked.bot, asked.chat_id, "api", asked.reason)
        done("start", row["id"])
        return row

    @routes.get("/<id>")
    @described(
        Description("Show a dialog and a page of it", HandoffDetails, query=PageAsked, refusals=REFUSED)
    )
    async def one(id: str) -> dict[str, Any]:
        asked = _read(PageAsked, request.args.to_dict())
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
    async def release(id: str) -> dict[str, Any]:
        asked = await _body(ReleaseAsked)
        row = await actions().release(actions().place(id), asked.expected)
        done("release", id)
        return row

    @routes.post("/<id>/take")
    @described(Description("Give a dialog to an operator", HandoffRow, body=TakeAsked, refusals=REFUSED))
    async def take(id: str) -> dict[str, Any]:
        asked = await _body(TakeAsked)
        row = await actions().take(actions().place(id), asked.operator, asked.expected)
        done("take", id)
        return row

    @routes.post("/<id>/ban")
    @described(Description("Let nobody answer the user", HandoffRow, body=OperatorAsked, refusals=REFUSED))
    async def ban(id: str) -> dict[str, Any]:
        asked = await _body(OperatorAsked)
        row = await actions().ban(actions().place(id), asked.operator)
        done("ban", id)
        return row

    @routes.post("/<id>/unban")
    @described(
        Description("Let the bot answer the user again", HandoffRow, body=OperatorAsked, refusals=REFUSED)
    )
    async def unban(id: str) -> dict[str, Any]:
        asked = await _body(OperatorAsked)
        row = await actions().unban(actions().place(id), asked.operator)
        done("unban", id)
        return row

    @routes.post("/<id>/say")
    @described(Description("Say something to the user", HandoffSaid, body=SayAsked, refusals=REFUSED))
    async def say(id: str) -> dict[str, Any]:
        asked = await _body(SayAsked)
        answer = await actions().say(
            actions().place(id), asked.operator, asked.text, key=asked.key, expected=asked.expected
        )
        if "repeated" not in answer:
            done("say", id)
        return answer

    @routes.post("/<id>/note")
    @described(Description("Note something in the transcript", HandoffRow, body=WordsAsked, refusals=REFUSED))
    async def note(id: str) -> dict[str, Any]:
        asked = await _body(WordsAsked)
        row = await actions().note(actions().place(id), asked.operator, asked.text)
        done("note", id)
        return row

    return routes


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
