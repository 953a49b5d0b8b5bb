"""The refusals that handlers catch by name: subclasses of BotApiError, and which answer is which.

The words are those of https://github.com/tdlib/telegram-bot-api/blob/master/telegram-bot-api/Client.cpp and
of https://core.telegram.org/api/errors, which come through in capitals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from trioworkers.botapi.errors import BotApiError

if TYPE_CHECKING:
    from collections.abc import Mapping


class BadRequest(BotApiError):
    """400: the call is wrong as it is. The subclasses say what is wrong, where handlers ask for it."""


class NotModified(BadRequest):
    """An edit would change nothing."""


class QueryTooOld(BadRequest):
    """A callback, inline, shipping or pre-checkout query was answered too late, or was answered before."""


class ChatNotFound(BadRequest):
    """There is no such chat, or the bot has never met it."""


class UserNotFound(BadRequest):
    """There is no such user, or the user is not in the chat."""


class MessageNotFound(BadRequest):
    """The message to edit, delete, copy, forward or reply to does not exist (any more)."""


class MessageLocked(BadRequest):
    """The message exists, and cannot be edited, deleted, copied or forwarded: by its age, kind or owner."""


class MessageEmpty(BadRequest):
    """There is nothing to send."""


class MessageTooLong(BadRequest):
    """The text or the caption is too long."""


class CannotParse(BadRequest):
    """The formatting of a text (`parse_mode`, `entities`) cannot be read."""


class CannotFetch(BadRequest):
    """Telegram cannot fetch the file or page of an address."""


class NotEnoughRights(BadRequest):
    """The bot lacks a right in the chat."""


class TopicNotFound(BadRequest):
    """The topic of a forum does not exist (any more)."""


class TopicClosed(BadRequest):
    """The topic of a forum is closed."""


class GroupUpgraded(BadRequest):
    """The group has become a supergroup, and the call could not be made with its new id by itself."""


class Unauthorized(BotApiError):
    """401: the token is refused."""


class Forbidden(BotApiError):
    """403: the bot may not do this to this user or chat."""


class BotBlocked(Forbidden):
    """The user has blocked the bot."""


class UserDeactivated(Forbidden):
    """The user's account does not exist any more."""


class BotKicked(Forbidden):
    """The bot was removed from the chat, is not a member of it, or the chat was deleted."""


class NotFound(BotApiError):
    """404: there is no such method, or the token is none."""


class Conflict(BotApiError):
    """409: another program uses the token at the same time."""


class TooLarge(BotApiError):
    """413: the request, with its files, is too large."""


class TooManyRequests(BotApiError):
    """429: Telegram asks to wait; calls wait by themselves, so that handlers rarely see it."""


class ServerError(BotApiError):
    """5xx: Telegram's server failed, also when it was asked again; the call may have been made."""


_OF_CODES: Final[dict[int, type[BotApiError]]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: TooLarge,
    429: TooManyRequests,
}

_OF_WORDS: Final[tuple[tuple[type[BotApiError], tuple[str, ...]], ...]] = (
    (
        NotModified,
        (
            "message is not modified",
            "message_not_modified",
            "chat description is not modified",
            "chat_not_modified",
        ),
    ),
    (QueryTooOld, ("query is too old", "query_id_invalid")),
    (ChatNotFound, ("chat not found", "chat_id_invalid", "peer_id_invalid", "channel_invalid")),
    (
        UserNotFound,
        (
            "user not found",
            "user_id_invalid",
            "participant_id_invalid",
            "user_not_participant",
            "member not found",
        ),
    ),
    (
        MessageNotFound,
        (
            "message to edit not found",
            "message to delete not found",
            "message to reply not found",
            "message to be replied not found",
            "message to forward not found",
            "message to copy not found",
            "message to pin not found",
            "message to unpin not found",
            "message to react not found",
            "message with poll to stop not found",
            "message not found",
            "message_id_invalid",
            "message identifier is not specified",
        ),
    ),
    (
        MessageLocked,
        (
            "message can't be edited",
            "message can't be deleted",
            "message can't be copied",
            "message can't be forwarded",
            "message_delete_forbidden",
            "message_edit_time_expired",
            "message_author_required",
        ),
    ),
    (
        MessageEmpty,
        ("message text is empty", "message_empty", "message must be non-empty", "text must be non-empty"),
    ),
    (
        MessageTooLong,
        (
            "message is too long",
            "message_too_long",
            "message caption is too long",
            "media_caption_too_long",
            "caption is too long",
        ),
    ),
    (
        CannotParse,
        (
            "can't parse entities",
            "can't parse message text",
            "can't parse caption",
            "entities_too_long",
            "entity_bounds_invalid",
            "unsupported parse_mode",
        ),
    ),
    (
        CannotFetch,
        (
            "failed to get http url content",
            "wrong type of the web page content",
            "webpage_curl_failed",
            "webpage_media_empty",
            "wrong http url specified",
            "can't upload file by url",
        ),
    ),
    (
        NotEnoughRights,
        (
            "not enough rights",
            "need administrator rights",
            "have no rights",
            "chat_admin_required",
            "chat_write_forbidden",
            "right_forbidden",
            "bot is not an administrator",
        ),
    ),
    (TopicNotFound, ("message thread not found", "topic_deleted", "topic_id_invalid", "topic_not_found")),
    (TopicClosed, ("topic_closed",)),
    (GroupUpgraded, ("group chat was upgraded", "group chat was migrated")),
    (BotBlocked, ("bot was blocked by the user", "user_is_blocked")),
    (UserDeactivated, ("user is deactivated", "input_user_deactivated")),
    (
        BotKicked,
        (
            "bot was kicked",
            "bot is not a member",
            "the group chat was deleted",
            "the supergroup was deleted",
            "the channel was deleted",
            "user_banned_in_channel",
        ),
    ),
)
"""How descriptions begin after `Bad Request: ` or `Forbidden: `, in lower case. Quotes come later in them."""

_BY_CODE: Final = {
    code: [(kind, words) for kind, words in _OF_WORDS if issubclass(kind, base)]
    for code, base in _OF_CODES.items()
}


def refusal(
    method: str, error_code: int, description: str, parameters: Mapping[str, Any] | None = None
) -> BotApiError:
    """The error for an answer of Telegram, of the class that its code and description belong to."""
    kind = _OF_CODES.get(error_code, ServerError if error_code >= 500 else BotApiError)
    said = description[:200].lower()
    said = said.partition(": ")[2] if said.startswith(("bad request: ", "forbidden: ")) else said
    for narrower, words in _BY_CODE.get(error_code, ()):
        if said.startswith(words):
            kind = narrower
            break
    else:
        if error_code == 400 and parameters and "migrate_to_chat_id" in parameters:
            kind = GroupUpgraded
    return kind(method, error_code, description, parameters)
