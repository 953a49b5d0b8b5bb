"""What a method's parameters have to be, made from the table; each call is checked against it.

Telegram reads plain parameters leniently (a number that cannot be read is 0, a boolean that cannot be read
is false), and so does the simulator; nested objects are checked with all that is inside. See :mod:`.typed`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from trioworkers.testing.answers import Refused, bad_request
from trioworkers.testing.typed import Malformed, check_inside, check_object, is_structured, wrong_type

if TYPE_CHECKING:
    from trioworkers.testing.facts import Method
    from trioworkers.testing.params import Params

QUERY_TOO_OLD = "query is too old and response timeout expired or query ID is invalid"
FILES = ("photo", "live_photo", "audio", "document", "video", "animation", "voice", "video_note", "sticker")

_MISSING = {
    "chat_id": "chat_id is empty",
    "text": "message text is empty",
    "message_id": "message identifier is not specified",
    "message_ids": "message identifiers are not specified",
    "user_id": "invalid user_id specified",
    "sender_chat_id": "invalid sender_chat_id specified",
    "latitude": "latitude is empty",
    "longitude": "longitude is empty",
    "action": "wrong parameter action in request",
    "question": "poll question must be non-empty",
    "options": "can't parse options JSON object",
    "file_id": "file_id not specified",
    "callback_query_id": QUERY_TOO_OLD,
    "inline_query_id": QUERY_TOO_OLD,
    "shipping_query_id": QUERY_TOO_OLD,
    "pre_checkout_query_id": QUERY_TOO_OLD,
    "message_thread_id": "invalid message thread identifier specified",
    "title": "title must be non-empty",
    "results": "expected an Array of InlineQueryResult",
    "commands": "expected an Array of BotCommand",
    **{kind: f"there is no {kind.replace('_', ' ')} in the request" for kind in FILES},
}
"""Telegram's words for a required parameter that is absent; `_missing` has those for all others."""

_TOPIC_NAMES = ("createForumTopic", "editGeneralForumTopic")
_MAY_MISS = {
    "setWebhook": {"url"},
    "createForumTopic": {"name"},
    "sendInvoice": {"title"},
    "createInvoiceLink": {"title"},
}
"""Required by the table, but a call without it means something, or the method itself has the words."""

_JSON_NAMES = {
    "link_preview_options": "link preview options",
    "reaction": "reaction types",
    "shipping_options": "shipping options",
    "results": "inline query results",
    "scope": "BotCommandScope",
    "entities": "entities",
    "message_ids": "message identifiers",
}
_ARRAYS = {
    "MessageEntity": "MessageEntity",
    "LabeledPrice": "labeled prices",
    "ShippingOption": "shipping options",
    "InputMediaAudio": "InputMedia",
}
_PARTS = {
    "LabeledPrice": "labeled price",
    "ShippingOption": "shipping option",
    "ChatPermissions": "chat permissions",
    "InlineQueryResult": "inline query result",
    "InputMediaAudio": "InputMedia",
    "LinkPreviewOptions": "",
}
_READ_BY_METHODS = frozenset(
    ["reply_markup", "reply_parameters", "allowed_updates", "message_ids", "media", "suggested_tip_amounts"]
)
"""The methods read these themselves: they have rules beyond the table, or Telegram forgives what is wrong."""


class Form:
    """The parameters of one method.

    Attributes:
        required: those without which Telegram refuses the call.
    """

    __slots__ = ("_plain", "_types", "name", "required")

    def __init__(self, name: str, method: Method) -> None:
        self.name = name
        may_miss = _MAY_MISS.get(name, set())
        self.required = tuple(
            one for one, value in method.parameters.items() if value.required and one not in may_miss
        )
        self._types = {one: value.types for one, value in method.parameters.items()}
        self._plain = frozenset(
            one for one, types in self._types.items() if not is_structured(types) or one in _READ_BY_METHODS
        )

    def check(self, params: Params) -> list[str]:
        """Check a call; the names that the method does not have are returned.

        Raises:
            Refused: a required parameter is absent, or a nested object is not what the table says.
        """
        values = params.values
        for name in self.required:
            value = values.get(name)
            if (value is None or value == "") and name not in params.files:
                raise bad_request(_missing(self.name, name))
        plain = self._plain
        others = [name for name in values if name not in plain]
        return self._check_others(params, others) if others else others

    def _check_others(self, params: Params, names: list[str]) -> list[str]:
        unknown: list[str] = []
        for name in names:
            value = params.values[name]
            if name not in self._types:
                unknown.append(name)
            elif value is not None and value != "":
                self._check_nested(name, value, params)
        return unknown

    def _check_nested(self, name: str, value: object, params: Params) -> None:
        words = _JSON_NAMES.get(name, name)
        if isinstance(value, str):
            try:
                value = msgspec.json.decode(value)
            except msgspec.DecodeError:
                raise bad_request(f"can't parse {words} JSON object") from None
            params.decoded[name] = value
        fitting = [kind for kind in self._types[name] if not wrong_type(kind, value)]
        if not fitting:
            raise _unlike(self._types[name][0], words)
        error: Refused | None = None
        for kind in fitting:
            try:
                _check_kind(kind, value)
            except Refused as refused:
                error = error or refused
            else:
                return
        assert error is not None  # noqa: S101 - at least one was tried
        raise error


def _unlike(kind: str, words: str) -> Refused:
    if kind.startswith("Array of "):
        inner = kind.removeprefix("Array of ")
        return bad_request(f"expected an Array of {_ARRAYS.get(inner, inner)}")
    return bad_request(f"object expected as {words.replace('_', ' ')}")


def _check_kind(kind: str, value: Any) -> None:
    inner = kind.removeprefix("Array of ")
    items = value if kind.startswith("Array of ") else [value]
    for item in items:
        try:
            if inner == "InputPollOption" and isinstance(item, str):
                continue  # options were plain strings once, and Telegram still takes them
            if wrong := wrong_type(inner, item):
                raise Malformed(
                    "expected an Object" if wrong.endswith("Object") else f"expected a value {wrong}"
                )
            if inner[0].isupper() and isinstance(item, dict):
                check_object(inner, item)
            else:
                check_inside(inner, item)
        except Malformed as error:
            part = _PARTS.get(inner, inner)
            words = f"can't parse {part}: {error.words}" if part else error.words[0].lower() + error.words[1:]
            raise bad_request(words) from None


def _missing(method: str, name: str) -> str:
    if name == "name" and method in _TOPIC_NAMES:
        return "title must be non-empty"
    return _MISSING.get(name, f'parameter "{name}" is required')
