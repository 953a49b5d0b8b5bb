"""The Bot API methods that answer queries: of pressed buttons, and of what is typed behind a bot's name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trioworkers.testing.answers import bad_request

if TYPE_CHECKING:
    from trioworkers.testing.bots import SimBot
    from trioworkers.testing.params import Params
    from trioworkers.testing.world import World

QUERY_LIFETIME = 150.0  # seconds; as long as the update itself is kept
QUERY_TOO_OLD = "query is too old and response timeout expired or query ID is invalid"


def answer_callback_query(world: World, bot: SimBot, params: Params) -> object:
    """answerCallbackQuery: once, and in time."""
    _answer_query(world, bot, params, params.text("callback_query_id"))
    return True


def answer_inline_query(world: World, bot: SimBot, params: Params) -> object:
    """answerInlineQuery: once, and in time."""
    if not isinstance(params.json("results", "inline query results"), list):
        raise bad_request("expected an Array of InlineQueryResult")
    _answer_query(world, bot, params, params.text("inline_query_id"))
    return True


def _answer_query(world: World, bot: SimBot, params: Params, query_id: str) -> None:
    owner, asked_at = world.queries.get(query_id, (0, 0.0))
    if owner != bot.id or world.clock() > asked_at + QUERY_LIFETIME:
        raise bad_request(QUERY_TOO_OLD)
    del world.queries[query_id]
    world.query_answers[query_id] = dict(params.values)
