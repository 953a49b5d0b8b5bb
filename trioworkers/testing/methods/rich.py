"""The Bot API methods of rich messages. Their markup is not parsed, but kept as one paragraph of text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trioworkers.testing.answers import bad_request
from trioworkers.testing.methods.reading import read_keyboard, say

if TYPE_CHECKING:
    from trioworkers.testing.bots import SimBot
    from trioworkers.testing.params import Params
    from trioworkers.testing.world import World


def read_rich_message(params: Params) -> dict[str, Any]:
    """The RichMessage of an InputRichMessage.

    Raises:
        Refused: it has not exactly one of `html` and `markdown`.
    """
    given = params.json("rich_message", "rich message")
    texts = [str(given[name]) for name in ("html", "markdown") if given.get(name)]
    if len(texts) != 1:
        raise bad_request("exactly one of html and markdown must be used in a rich message")
    message: dict[str, Any] = {"blocks": [{"type": "paragraph", "text": texts[0]}]}
    return message | ({"is_rtl": True} if given.get("is_rtl") else {})


def send_rich_message(world: World, bot: SimBot, params: Params) -> object:
    """sendRichMessage."""
    rich = read_rich_message(params)
    chat = world.find_chat(bot, params)
    return say(world, bot, params, chat, {"rich_message": rich, **read_keyboard(params, chat)})


def send_rich_message_draft(world: World, bot: SimBot, params: Params) -> object:
    """sendRichMessageDraft: kept in `world.drafts`, as sendMessageDraft does."""
    chat = world.find_chat(bot, params)
    if chat.kind != "private":
        raise bad_request("drafts can be sent to private chats only")
    chat.check_write(bot)
    if not params.integer("draft_id"):
        raise bad_request("draft identifier must be non-zero")
    world.drafts[bot.id, chat.id] = read_rich_message(params)["blocks"][0]["text"]
    return True
