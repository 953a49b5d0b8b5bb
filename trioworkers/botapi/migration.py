"""Which parameter of a call is the group that has become a supergroup. Pure.

Telegram's refusal names the new id only (https://core.telegram.org/bots/api#responseparameters). The old one
is known by its range: ids of groups are negative and have at most twelve digits, ids of users are positive,
those of supergroups and channels begin with -100 and have thirteen
(https://core.telegram.org/api/bots/ids#bot-api-dialog-ids).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from trioworkers.botapi.parameters import opened

if TYPE_CHECKING:
    from trioworkers.botapi.errors import BotApiError

SMALLEST_GROUP: Final = -999_999_999_999
LARGEST_ID: Final = 2**52  # https://core.telegram.org/bots/api#chat: "at most 52 significant bits"


def new_chat(error: BotApiError) -> int | None:
    """The supergroup that a refusal names; None if it names none, or not in a way that can be followed."""
    new = error.parameters.get("migrate_to_chat_id")
    return new if isinstance(new, int) and not isinstance(new, bool) and abs(new) < LARGEST_ID else None


def old_chats(params: Mapping[str, Any]) -> list[int]:
    """The ids in a call that the refusal may be about: those of groups, each once, in their order.

    A call that names none is about a group that cannot be seen here (one within a text of JSON, say). Then
    no chat is taken for it: the message would go to somebody else.
    """
    return [chat for chat in dict.fromkeys(_chats(params)) if SMALLEST_GROUP <= chat < 0]


def moved(params: Mapping[str, Any], old: int, new: int) -> dict[str, Any]:
    """The parameters with `new` wherever a chat's id is `old`, at any depth; those given are left alone."""
    return {name: _moved(name, value, old, new) for name, value in params.items()}


def _chats(given: object, name: str = "") -> list[int]:
    given = opened(given)
    if isinstance(given, Mapping):
        return [chat for key, value in given.items() for chat in _chats(value, str(key))]
    if isinstance(given, list | tuple):
        return [chat for value in given for chat in _chats(value)]
    chat = _chat_id(name, given)
    return [] if chat is None else [chat]


def _moved(name: str, given: Any, old: int, new: int) -> Any:
    given = opened(given)
    if isinstance(given, Mapping):
        return {key: _moved(str(key), value, old, new) for key, value in given.items()}
    if isinstance(given, list | tuple):
        return [_moved("", value, old, new) for value in given]
    if _chat_id(name, given) != old:
        return given
    return str(new) if isinstance(given, str) else new


def _chat_id(name: str, value: object) -> int | None:
    """The id of a chat: as a number, or as a text, which Telegram takes, too; None for anything else."""
    if not name.endswith("chat_id"):
        return None
    if isinstance(value, str):
        digits = value.removeprefix("-")
        return int(value) if digits.isascii() and digits.isdigit() and len(digits) < 17 else None
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else None
