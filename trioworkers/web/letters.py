"""Dead letters over HTTP: to page through, to look at, to handle again, to forget.

No text of a message is shown but for `payload=1`. What is done is told as `control.action`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError
from quart import Blueprint

from trioworkers.arrivals import read_update
from trioworkers.config.units import Seconds  # noqa: TC001 - pydantic reads it
from trioworkers.described import Description, described
from trioworkers.inbox.store import StoreError
from trioworkers.nearest import nearest
from trioworkers.records import decode_body, shown_call, trace_id
from trioworkers.web.acts import emit_action
from trioworkers.web.answers import Letter, LetterPage, Purged, Replayed
from trioworkers.web.asked import LARGEST_ID, Asked, RequestRefusedError, read_body, read_query

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from trioworkers.events import Events
    from trioworkers.inbox.inbox import Inbox
    from trioworkers.records import DeadLetter, RecordedCall

LARGEST_PAGE = 500  # letters: some milliseconds of the writer's time and of the loop's
MOST_IDS = 10_000
SHOWN_MISSING = 5
REFUSED = {404: "there is no such bot or dead letter", 503: "the store cannot be read or written now"}


class PageAsked(Asked):
    """The query of `GET /api/dlq`."""

    bot: str | None = Field(None, description="the name of a bot, or the id of one that is gone")
    limit: int = Field(100, ge=1, le=LARGEST_PAGE, description=f"a number from 1 to {LARGEST_PAGE}")
    after: int = Field(0, ge=0, le=LARGEST_ID, description="the id of a dead letter, or 0")


class LetterAsked(Asked):
    """The query of `GET /api/dlq/<id>`."""

    payload: Literal["0", "1"] = Field("0", description="0 or 1")


class Chosen(Asked):
    """Which dead letters: exactly one of three ways to say it."""

    more: ClassVar[str] = ""

    ids: tuple[int, ...] | None = Field(
        None, min_length=1, max_length=MOST_IDS, description=f"1 to {MOST_IDS:,} ids of dead letters"
    )
    bot: str | None = Field(None, description="the name of a bot, or the id of one that is gone")
    all: Literal[True] | None = Field(None, description="true, or absent")

    @property
    def ways(self) -> int:
        """How many ways were used."""
        return sum(way is not None for way in (self.ids, self.bot, self.all))

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.ways != 1:
            raise PydanticCustomError(
                "rule", "expected exactly one of ids, bot and all{more}", {"more": self.more}
            )
        if any(not 0 < id_ <= LARGEST_ID for id_ in self.ids or ()):
            raise PydanticCustomError("rule", "ids: expected numbers from 1 to 2^63 - 1")
        return self


class PurgeAsked(Chosen):
    """Which dead letters are forgotten; `older_than` narrows the choice, and may stand alone."""

    more: ClassVar[str] = ", or older_than"

    older_than: Seconds | None = Field(
        None, ge=0, description='seconds, or a string such as "45s", "5m", "1h" or "30d"'
    )

    @property
    def ways(self) -> int:
        return super().ways or int(self.older_than is not None)


def letter_routes(inbox: Inbox, bots: Callable[[], Mapping[str, int]], events: Events) -> Blueprint:
    """The routes under `/api/dlq`.

    `bots`: the ids of the bots that this daemon runs, by name. What is of no such bot is shown and can be
    purged, but not replayed: nobody would ever handle it.
    """
    routes = Blueprint("dlq", __name__, url_prefix="/api/dlq")

    def names() -> dict[int, str]:
        return {bot_id: name for name, bot_id in bots().items()}

    @routes.get("")
    @described(
        Description("A page of dead letters, oldest first", LetterPage, query=PageAsked, refusals=REFUSED)
    )
    async def page() -> dict[str, Any]:
        asked = read_query(PageAsked)
        bot_id = None if asked.bot is None else _bot_id(asked.bot, bots())
        found = await inbox.dead_letters(bot_id=bot_id, after=asked.after, limit=asked.limit + 1)
        letters, known = found[: asked.limit], names()
        return {
            "letters": [_row(letter, known) for letter in letters],
            "next": letters[-1].id if len(found) > asked.limit else None,
        }

    @routes.get("/<int:id>")
    @described(Description("Show a dead letter", Letter, query=LetterAsked, refusals=REFUSED))
    async def letter(id: int) -> dict[str, Any]:
        asked = read_query(LetterAsked)
        letters = await inbox.dead_letters(ids=[id], limit=1) if id <= LARGEST_ID else ()
        if not letters:
            raise RequestRefusedError(404, f"no dead letter {id}")
        found = letters[0]
        calls = await inbox.recorded_calls(id)
        payload = {"payload": _payload(found)} if asked.payload == "1" else {}
        return {
            **_row(found, names()),
            **_details(found),
            "calls": [_call(call) for call in calls],
            **payload,
        }

    @routes.post("/replay")
    @described(
        Description(
            "Handle dead letters again",
            Replayed,
            body=Chosen,
            refusals={**REFUSED, 409: "this daemon does not run their bot"},
        )
    )
    async def replay() -> dict[str, int]:
        asked = await read_body(Chosen)
        own = bots()
        if asked.ids is not None:
            _all_run(set((await _owners(inbox, asked.ids)).values()), own)
            work = inbox.replay(ids=asked.ids)
        elif asked.bot is not None:
            bot_id = _bot_id(asked.bot, own)
            _all_run({bot_id}, own)
            work = inbox.replay(bot_id=bot_id)
        else:
            work = replay_each(own.values())
        return {"replayed": await done("dlq.replay", asked.bot, work)}

    async def replay_each(bot_ids: Iterable[int]) -> int:
        return sum([await inbox.replay(bot_id=bot_id) for bot_id in bot_ids])

    @routes.post("/purge")
    @described(Description("Delete dead letters for good", Purged, body=PurgeAsked, refusals=REFUSED))
    async def purge() -> dict[str, int]:
        asked = await read_body(PurgeAsked)
        if asked.ids is not None:
            await _owners(inbox, asked.ids)
        bot_id = None if asked.bot is None else _bot_id(asked.bot, bots())
        died_by = None if asked.older_than is None else time.time() - asked.older_than
        work = inbox.purge(ids=asked.ids, bot_id=bot_id, died_by=died_by)
        return {"purged": await done("dlq.purge", asked.bot, work)}

    async def done(action: str, bot: str | None, work: Awaitable[int]) -> int:
        reason = "cut off: who asked has left, or the daemon stops"
        count = None
        try:
            count = await work
        except StoreError as error:
            reason = str(error)
            raise
        finally:
            if count is None:  # some may have been
                emit_action(events, action, bot, level="error", reason=reason)
            else:
                emit_action(events, action, bot, count=count)
        return count

    return routes


def _bot_id(name: str, bots: Mapping[str, int]) -> int:
    """The id of the bot of that name, or the id itself: letters outlive their bot's name."""
    if name in bots:
        return bots[name]
    if name.isascii() and name.isdecimal() and len(name) < len(str(LARGEST_ID)):
        return int(name)
    near = nearest(name, bots)
    hint = f", did you mean {near}" if near else ""
    raise RequestRefusedError(404, f"this daemon runs no bot of that name{hint}")


async def _owners(inbox: Inbox, ids: Sequence[int]) -> dict[int, int]:
    """The bot id of each of these dead letters.

    Raises:
        RefusedError: 404, when one is missing: nothing is done to the others then.
    """
    owners: dict[int, int] = {}
    for start in range(0, len(ids), LARGEST_PAGE):
        chosen = ids[start : start + LARGEST_PAGE]
        letters = await inbox.dead_letters(ids=chosen, limit=LARGEST_PAGE)
        owners.update((letter.id, letter.bot_id) for letter in letters)
    missing = sorted(set(ids) - owners.keys())
    if missing:
        more = f" and {len(missing) - SHOWN_MISSING:,} more" if len(missing) > SHOWN_MISSING else ""
        raise RequestRefusedError(404, f"no dead letter {', '.join(map(str, missing[:SHOWN_MISSING]))}{more}")
    return owners


def _all_run(bot_ids: set[int], bots: Mapping[str, int]) -> None:
    """Refuse bots that this daemon does not run: nobody would handle what is replayed to them."""
    strange = sorted(bot_ids - set(bots.values()))
    if strange:
        message = (
            f"this daemon does not run the bot with the id {strange[0]}: nobody would handle its updates"
        )
        raise RequestRefusedError(409, message)


def _row(letter: DeadLetter, names: Mapping[int, str]) -> dict[str, Any]:
    return {
        "id": letter.id,
        "bot": names.get(letter.bot_id),
        "bot_id": letter.bot_id,
        "chat_id": _chat_id(letter),
        "update_id": letter.update_id,
        "trace_id": trace_id(letter.bot_id, letter.update_id),
        "kind": letter.kind,
        "reason": letter.reason,
        "attempts": letter.attempts,
        "died_at": letter.died_at,
    }


def _chat_id(letter: DeadLetter) -> int | None:
    """The chat, where there is one. The key, which may be of none, stands in for a body that is not whole."""
    try:
        return read_update(letter.body).chat_id
    except ValueError:
        chat = letter.key.partition("/")[0]
        return int(chat) if chat.removeprefix("-").isdecimal() else None


def _details(letter: DeadLetter) -> dict[str, Any]:
    history = [
        {"at": attempt.at, "error": attempt.error, "unknown": list(attempt.unknown)}
        for attempt in letter.history
    ]
    return {"accepted_at": letter.accepted_at, "damaged": letter.damaged, "history": history}


def _call(call: RecordedCall) -> dict[str, Any]:
    method, _, chat = shown_call(call.key).partition(" ")
    state = "maybe twice" if call.repeated else "unknown" if call.answer is None else "made"
    return {"method": method, "chat_id": chat or None, "at": call.at, "state": state}


def _payload(letter: DeadLetter) -> Any:
    """The update as Telegram sent it; text when it is not whole any more."""
    try:
        return decode_body(letter.body)
    except (ValueError, RecursionError):
        return letter.body.decode(errors="replace")
