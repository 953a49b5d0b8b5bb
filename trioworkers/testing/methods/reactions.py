"""The Bot API methods of reactions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trioworkers.testing.answers import bad_request
from trioworkers.testing.methods.reading import check_right, find_message

if TYPE_CHECKING:
    from trioworkers.testing.bots import SimBot
    from trioworkers.testing.params import Params
    from trioworkers.testing.world import World

_EMOJI = (
    "❤ 👍 👎 🔥 🥰 👏 😁 🤔 🤯 😱 🤬 😢 🎉 🤩 🤮 💩 🙏 👌 🕊 🤡 "
    "🥱 🥴 😍 🐳 ❤\u200d🔥 🌚 🌭 💯 🤣 ⚡ 🍌 🏆 💔 🤨 😐 🍓 🍾 💋 🖕 😈 "
    "😴 😭 🤓 👻 👨\u200d💻 👀 🎃 🙈 😇 😨 🤝 ✍ 🤗 🫡 🎅 🎄 ☃ 💅 🤪 🗿 "
    "🆒 💘 🙉 🦄 😘 💊 🙊 😎 👾 🤷\u200d♂ 🤷 🤷\u200d♀ 😡 "
)
EMOJI = frozenset(_EMOJI.split())
"""What a ReactionTypeEmoji may be (Bot API)."""

MOST_REACTIONS = 1  # of a bot to a message, Bot API: setMessageReaction


def check_reactions(reactions: list[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """The reactions that somebody sets, as Telegram keeps them.

    Raises:
        Refused: an emoji is no reaction, or there are too many of them.
    """
    kept = []
    for one in reactions:
        if one["type"] == "emoji":
            one = {**one, "emoji": str(one["emoji"]).replace("\ufe0f", "")}
            if one["emoji"] not in EMOJI:
                raise bad_request("REACTION_INVALID")
        elif one["type"] == "paid":
            raise bad_request("can't parse ReactionType: invalid reaction type specified")
        kept.append(one)
    if len(kept) > most:
        raise bad_request("REACTIONS_TOO_MANY")
    return kept


def set_message_reaction(world: World, bot: SimBot, params: Params) -> object:
    """setMessageReaction; without reactions the bot's own goes. Other bots are not told."""
    chat = world.find_chat(bot, params)
    message = find_message(chat, params, "message to react")
    reactions = check_reactions(params.json("reaction", "reaction types") or [], MOST_REACTIONS)
    chat.reactions[message["message_id"], bot.id] = reactions
    return True


def _remove(world: World, bot: SimBot, params: Params, message_id: int | None) -> bool:
    chat = world.find_chat(bot, params)
    if chat.kind != "private":
        check_right(chat, bot, "can_delete_messages", "not enough rights to delete reactions")
    actor = params.integer("user_id") or params.integer("actor_chat_id")
    for key in [key for key in chat.reactions if message_id in (None, key[0]) and actor in (0, key[1])]:
        del chat.reactions[key]
    return True


def delete_message_reaction(world: World, bot: SimBot, params: Params) -> object:
    """deleteMessageReaction: of one user, or of all."""
    message = find_message(world.find_chat(bot, params), params, "message to react")
    return _remove(world, bot, params, message["message_id"])


def delete_all_message_reactions(world: World, bot: SimBot, params: Params) -> object:
    """deleteAllMessageReactions: of one user, or of all, to all messages."""
    return _remove(world, bot, params, None)
