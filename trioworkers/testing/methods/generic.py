"""Methods of which the simulator knows no more than the table: calls are checked, answers are made up.

An answer has the right type, and names the bot, the chat and the time of the call where it has such fields.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trioworkers.testing.facts import bot_api
from trioworkers.testing.methods.reading import read_keyboard
from trioworkers.testing.params import read_integer
from trioworkers.testing.shapes import example

if TYPE_CHECKING:
    from trioworkers.testing.bots import SimBot
    from trioworkers.testing.params import Params
    from trioworkers.testing.world import World


def answer(world: World, bot: SimBot, method: str, params: Params) -> object:
    """The result of a call that is only checked.

    Raises:
        Refused: the chat that it names is unknown, or its keyboard is not one that Telegram takes.
    """
    chat = None
    if params.values.get("chat_id") not in (None, "") and "business_connection_id" not in params:
        chat = world.find_chat(bot, params)
    read_keyboard(params, chat)
    result = example(bot_api().methods[method].returns)
    if isinstance(result, dict):
        _fill_in(world, bot, params, result)
    return result


def _fill_in(world: World, bot: SimBot, params: Params, result: dict[str, Any]) -> None:
    now = int(world.clock())
    user_id = read_integer(params.values.get("user_id", 0))
    for name, value in result.items():
        if name == "chat" and "chat_id" in params:
            user = read_integer(params.values["chat_id"])
            result[name] = world.chat_of(bot, user).brief if user in world.groups else value
        elif name == "user":
            result[name] = world.account(user_id) or bot.brief
        elif name.endswith("date") and isinstance(value, int):
            result[name] = now
        elif isinstance(value, str) and isinstance(params.values.get(name), str):
            result[name] = params.values[name]
