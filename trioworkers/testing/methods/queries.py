"""The Bot API methods that answer queries: of pressed buttons, of inline mode, of web apps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trioworkers.testing.answers import bad_request
from trioworkers.testing.forms import QUERY_TOO_OLD
from trioworkers.testing.markup.entities import utf16_length
from trioworkers.testing.markup.links import BadLink, check_link
from trioworkers.testing.methods.results import content_of

if TYPE_CHECKING:
    from trioworkers.testing.bots import SimBot
    from trioworkers.testing.params import Params
    from trioworkers.testing.world import World

QUERY_LIFETIME = 150.0  # seconds; as long as the update itself is kept
ALERT_LIMIT = 200  # characters, Bot API: answerCallbackQuery
MOST_RESULTS = 50
OFFSET_LIMIT = 64  # bytes
PREPARED_LIFETIME = 86_400  # seconds


def answer_callback_query(world: World, bot: SimBot, params: Params) -> object:
    """answerCallbackQuery: once, and in time."""
    if utf16_length(params.text("text")) > ALERT_LIMIT:
        raise bad_request("MESSAGE_TOO_LONG")
    url = params.text("url")
    if url:
        try:
            check_link(url)
        except BadLink:
            raise bad_request("URL_INVALID") from None
    _answer_query(world, bot, params, params.text("callback_query_id"))
    return True


def answer_inline_query(world: World, bot: SimBot, params: Params) -> object:
    """answerInlineQuery: once, and in time; a user may then send one of the results."""
    query_id = params.text("inline_query_id")
    results = params.json("results", "inline query results")
    if len(results) > MOST_RESULTS:
        raise bad_request("too many inline query results specified")
    if len(params.text("next_offset").encode()) > OFFSET_LIMIT:
        raise bad_request("NEXT_OFFSET_INVALID")
    ids = [str(result["id"]) for result in results]
    if len(set(ids)) < len(ids):
        raise bad_request("RESULT_ID_DUPLICATE")
    button = params.json("button", "inline query results button")
    if button and not (bool(button.get("web_app")) ^ bool(button.get("start_parameter"))):
        raise bad_request("inline query results button must have exactly one of web_app and start_parameter")
    contents = {one["id"]: content_of(world, bot, one) for one in results}
    _answer_query(world, bot, params, query_id)
    world.inline_results[query_id] = (bot.id, contents)
    return True


def answer_web_app_query(world: World, bot: SimBot, params: Params) -> object:
    """answerWebAppQuery: the message is sent at once, and can be edited by its inline id."""
    content = content_of(world, bot, params.json("result", "result"))
    _answer_query(world, bot, params, params.text("web_app_query_id"))
    return {"inline_message_id": world.add_inline_message(bot, content)}


def answer_guest_query(world: World, bot: SimBot, params: Params) -> object:
    """answerGuestQuery: as answerWebAppQuery, for a bot that was called as a guest."""
    content = content_of(world, bot, params.json("result", "result"))
    _answer_query(world, bot, params, params.text("guest_query_id"))
    return {"inline_message_id": world.add_inline_message(bot, content)}


def save_prepared_inline_message(world: World, bot: SimBot, params: Params) -> object:
    """savePreparedInlineMessage: for a user of a Mini App, who sends it later."""
    if world.account(params.integer("user_id")) is None:
        raise bad_request("USER_ID_INVALID")
    content = content_of(world, bot, params.json("result", "result"))
    prepared = str(world.dice.randrange(10**12))
    world.prepared_messages[prepared] = (bot.id, content)
    return {"id": prepared, "expiration_date": int(world.clock()) + PREPARED_LIFETIME}


def _answer_query(world: World, bot: SimBot, params: Params, query_id: str) -> None:
    owner, asked_at = world.queries.get(query_id, (0, 0.0))
    if owner != bot.id or world.clock() > asked_at + QUERY_LIFETIME:
        raise bad_request(QUERY_TOO_OLD)
    del world.queries[query_id]
    world.query_answers[query_id] = dict(params.values)
