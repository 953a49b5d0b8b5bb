"""Bots from an HTTP endpoint that knows them all, with their tokens: a bot-instances API.

    [plugins.bot_source]
    url = "https://bots.example.org/instances"
    token = { env = "BOTS_API_TOKEN" }

The last good answer is kept in `<state_dir>/bot_source.json` (mode 0600), so that a start without the API
works; tokens go nowhere else. Nothing is kept in memory: each question begins with that file.

An API can be wrong in two ways. Rows that are wrong are left out alone, by whoever reads the fleet. An answer
that lacks more than `most_removed` of the bots known so far is not believed as a whole: an empty list is what
many APIs answer by accident, and it would stop everything.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import httpx
import msgspec
import trio
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from trioworkers import hookimpl
from trioworkers.config import Fleet
from trioworkers.config.declare import REQUIRED, Number, live
from trioworkers.config.messages import faults
from trioworkers.config.units import Seconds
from trioworkers.config.values import expected
from trioworkers.plugin_types import Bots
from trioworkers.private import write_private

NAME = "bot_source"
REQUIRES_TABLE = True
LARGEST = 16 * 1024 * 1024  # bytes of an answer
Row = dict[str, Any]


def _address(text: str) -> str:
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc
    except ValueError:
        good = False
    if not good or parts.fragment:
        raise expected("an http or https address without user and fragment")
    return text


class Settings(BaseModel):
    """`[plugins.bot_source]`."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True)

    url: Annotated[str, AfterValidator(_address)] = live(
        REQUIRED, "answers with the bots, as JSON", repr=False
    )
    token: Any = live(None, "a secret, sent as `Authorization: Bearer …`", repr=False)
    interval: Seconds = live("60s", "how often it is asked", ge=1)
    timeout: Seconds = live("10s", "how long an answer may take", gt=0, le=25)
    items: str = live("", "the key of the answer that holds the bots; empty: the answer does")
    name: str = live("name", "the key of a row that holds the bot's name")
    keys: dict[str, str] = live({}, "the row's key for each key of a bot; empty: a row has the keys of a bot")
    most_removed: Number = live(0.5, "the share of the known bots that one answer may lack", ge=0, le=1)

    @property
    def shape(self) -> list[Any]:
        """What an answer's meaning depends on: another one makes the kept ETag worthless."""
        return [self.url, self.items, self.name, self.keys]


class Kept(msgspec.Struct, frozen=True):
    """The last good answer, as it lies on disk."""

    shape: list[Any] = []
    etag: str | None = None
    rows: dict[str, Row] = {}


class AnswerError(Exception):
    """The API gave no answer that can be used; the message quotes nothing of it."""


@hookimpl
async def trioworkers_bots(fleet: Fleet) -> Bots:
    """Ask the API; answer with what it says, or with what it said last."""
    if NAME not in fleet.plugins:
        return Bots({})
    file = fleet.state_dir / f"{NAME}.json"
    kept, problems = _read(file)
    try:
        settings = Settings.model_validate(fleet.plugins[NAME])
    except ValidationError as error:
        told = [
            str(fleet.problem_at(("plugins", NAME, *path), message))
            for path, message, _ in faults(Settings, error)
        ]
        return Bots(kept.rows or None, ask_again=None, problems=(*problems, *told))
    known = bool(kept.rows)
    try:
        answer = await _ask(settings, _headers(fleet, settings, kept))
        if answer is not None:
            fresh, told = _believed(settings, kept, *answer)
            problems += told
            if fresh != kept:
                await trio.to_thread.run_sync(write_private, file, msgspec.json.encode(fresh))
            kept = fresh
    except AnswerError as error:
        problems.append(f"{error}, {len(kept.rows)} bots stay as they were")
    except OSError as error:
        problems.append(f"{file}: cannot be written: {(error.strerror or 'unknown error').lower()}")
    # with nothing known, nothing answered is no reason to remove what may run: the file may be lost
    tables = kept.rows if kept.rows or known else None
    return Bots(tables, ask_again=settings.interval, problems=tuple(problems))


def _read(file: Path) -> tuple[Kept, list[str]]:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Kept), []
    except FileNotFoundError:
        return Kept(), []
    except (OSError, msgspec.MsgspecError, ValueError) as error:
        return Kept(), [f"{file}: cannot be read: {type(error).__name__}"]


def _headers(fleet: Fleet, settings: Settings, kept: Kept) -> dict[str, str]:
    headers = {"Accept": "application/json"}
    if settings.token is not None:
        try:
            headers["Authorization"] = f"Bearer {fleet.secret(settings.token).reveal()}"
        except ValueError as error:
            problem = fleet.problem_at(("plugins", NAME, "token"), str(error))
            raise AnswerError(str(problem)) from None
    if kept.etag is not None and kept.shape == settings.shape:
        headers["If-None-Match"] = kept.etag
    return headers


async def _ask(settings: Settings, headers: dict[str, str]) -> tuple[object, str | None] | None:
    """Return the answer's JSON and ETag; None when nothing changed since the last one."""
    where = urlsplit(settings.url).netloc
    try:
        with trio.fail_after(settings.timeout):
            # redirects are not followed: the token is for this host
            async with (
                httpx.AsyncClient(timeout=None) as client,  # noqa: S113 - see the scope above
                client.stream("GET", settings.url, headers=headers) as response,
            ):
                if response.status_code == 304 and "If-None-Match" in headers:
                    return None
                if response.status_code != 200:
                    message = f"{where} answered with status {response.status_code}"
                    raise AnswerError(message)
                raw = bytearray()
                async for chunk in response.aiter_bytes():
                    # to its end all the same: leaving it would leave httpx's generators unclosed
                    if len(raw) <= LARGEST:
                        raw += chunk
                if len(raw) > LARGEST:
                    message = f"{where} answered with more than {LARGEST // 2**20} MB"
                    raise AnswerError(message)
                return msgspec.json.decode(raw), response.headers.get("ETag")
    except trio.TooSlowError:
        message = f"{where} did not answer within {settings.timeout:g} s"
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        kind = "no JSON" if isinstance(error, msgspec.MsgspecError | UnicodeError) else type(error).__name__
        message = f"{where} gave no answer: {kind}"
    except RecursionError:
        message = f"{where} gave no answer: nested too deeply"
    raise AnswerError(message)


def _believed(settings: Settings, kept: Kept, answer: object, etag: str | None) -> tuple[Kept, list[str]]:
    """Return an answer as it is to be kept, and what is wrong with some rows.

    Raises:
        AnswerError: it is not a list or table of bots, or lacks too many of those that are known.
    """
    if settings.items:
        answer = answer.get(settings.items) if isinstance(answer, dict) else None
    if not isinstance(answer, list | dict):
        raise AnswerError("the answer holds no list and no table of bots")
    rows: dict[str, Row] = {}
    problems: list[str] = []
    for number, (name, row) in enumerate(_rows(settings, answer)):
        if not isinstance(row, dict):
            problems.append(f"row {number}: expected an object")
        elif not isinstance(name, str):
            problems.append(f"row {number}: expected a name as a string in its key {settings.name}")
        elif name in rows:
            problems.append(f"row {number}: a name that another row has, too, expected each bot once")
        else:
            rows[name] = table = _table(settings, row)
            if name in kept.rows and not _has_token(table):
                # not kept as it came: after a restart this bot would be gone
                rows[name] = kept.rows[name]
                problems.append(f"row {number}: expected a token as a string, the bot stays as it was")
    lost = len(kept.rows.keys() - rows.keys())
    if lost > settings.most_removed * len(kept.rows):
        message = f"the answer lacks {lost} of {len(kept.rows)} known bots, which is more than most_removed"
        raise AnswerError(message)
    return Kept(settings.shape, etag, rows), problems


def _rows(settings: Settings, answer: list[Any] | dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    if isinstance(answer, dict):
        yield from answer.items()
    else:
        for row in answer:
            yield (row.get(settings.name) if isinstance(row, dict) else None), row


def _has_token(table: Row) -> bool:
    token = table.get("token")
    return isinstance(token, str) and token.partition(":")[0].isdecimal() and ":" in token


def _table(settings: Settings, row: Row) -> Row:
    """Return a row as a bot's table; null is what TOML writes by leaving the key out."""
    if settings.keys:
        row = {key: row[theirs] for key, theirs in settings.keys.items() if theirs in row}
    return {
        key: value
        for key, value in row.items()
        if value is not None and (settings.keys or key != settings.name)
    }
