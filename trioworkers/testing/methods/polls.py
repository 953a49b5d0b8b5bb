"""The Bot API methods of polls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trioworkers.testing.answers import bad_request
from trioworkers.testing.ledger import SimPoll
from trioworkers.testing.markup.entities import utf16_length
from trioworkers.testing.methods.media import read_params
from trioworkers.testing.methods.reading import find_message, format_text, read_keyboard, say
from trioworkers.testing.params import read_integer

if TYPE_CHECKING:
    from trioworkers.testing.bots import SimBot
    from trioworkers.testing.params import Params
    from trioworkers.testing.world import World

QUESTION_LIMIT = 300  # UTF-16 units
OPTION_LIMIT = 100
EXPLANATION_LIMIT = 200
MOST_OPTIONS = 12


def _read_part(world: World, values: dict[str, Any], name: str) -> dict[str, Any]:
    text, entities = format_text(
        world,
        str(values.get(name) or ""),
        str(values.get(f"{name}_parse_mode") or ""),
        values.get(f"{name}_entities"),
    )
    return {name: text, f"{name}_entities": entities} if entities else {name: text}


def _read_options(world: World, given: object) -> list[dict[str, Any]]:
    if not isinstance(given, list):
        raise bad_request("expected an Array of String as options")
    options: list[dict[str, Any]] = []
    for number, one in enumerate(given):
        option = _read_part(world, {"text": one} if isinstance(one, str) else one, "text")
        if not option["text"]:
            raise bad_request("poll options must be non-empty")
        if utf16_length(option["text"]) > OPTION_LIMIT:
            raise bad_request(f"poll options length must not exceed {OPTION_LIMIT}")
        options.append({"persistent_id": str(number), **option, "voter_count": 0})
    if len(options) < 2:
        raise bad_request("poll must have at least 2 option")
    if len(options) > MOST_OPTIONS:
        raise bad_request(f"poll can't have more than {MOST_OPTIONS} options")
    return options


def _read_quiz(world: World, params: Params, options: int) -> dict[str, Any]:
    values = read_params(params)
    correct = params.json("correct_option_ids", "correct_option_ids")
    if correct is None and "correct_option_id" in values:
        correct = [read_integer(values["correct_option_id"])]
    ids = [read_integer(one) for one in correct] if isinstance(correct, list) else []
    if not ids or not all(0 <= one < options for one in ids):
        raise bad_request("wrong correct option ID specified")
    quiz: dict[str, Any] = {"correct_option_ids": ids}
    if values.get("explanation"):
        quiz |= _read_part(world, values, "explanation")
        if utf16_length(quiz["explanation"]) > EXPLANATION_LIMIT:
            raise bad_request("MESSAGE_TOO_LONG")
    return quiz


def send_poll(world: World, bot: SimBot, params: Params) -> object:
    """sendPoll; users vote by `SimUser.vote`."""
    chat = world.find_chat(bot, params)
    values = read_params(params)
    question = _read_part(world, values, "question")
    if not question["question"]:
        raise bad_request("poll question must be non-empty")
    if utf16_length(question["question"]) > QUESTION_LIMIT:
        raise bad_request(f"poll question length must not exceed {QUESTION_LIMIT}")
    options = _read_options(world, values["options"] if not isinstance(values["options"], str) else None)
    kind = params.text("type") or "regular"
    if kind not in {"regular", "quiz"}:
        raise bad_request("unsupported poll type specified")
    poll: dict[str, Any] = {
        "id": str(world.dice.randrange(10**17, 10**18)),
        **question,
        "options": options,
        "total_voter_count": 0,
        "is_closed": params.flag("is_closed"),
        "is_anonymous": params.flag("is_anonymous", True),
        "type": kind,
        "allows_multiple_answers": params.flag("allows_multiple_answers") and kind == "regular",
        "allows_revoting": params.flag("allows_revoting", kind == "regular"),
        "members_only": params.flag("members_only"),
    }
    if kind == "quiz":
        poll |= _read_quiz(world, params, len(options))
    period, close_date = params.integer("open_period"), params.integer("close_date")
    if period:
        poll["open_period"] = period
        close_date = int(world.clock()) + period
    if close_date:
        poll["close_date"] = close_date
    message = say(world, bot, params, chat, {"poll": poll, **read_keyboard(params, chat)})
    world.polls[poll["id"]] = SimPoll(bot, chat, message, closes_at=close_date)
    return message


def stop_poll(world: World, bot: SimBot, params: Params) -> object:
    """stopPoll: answers with the final Poll; the keyboard goes unless it is sent again."""
    chat = world.find_chat(bot, params)
    message = find_message(chat, params, "message with poll to stop")
    poll = message.get("poll")
    if poll is None or message["from"]["id"] != bot.id or "forward_origin" in message:
        raise bad_request(
            "poll can't be stopped" if poll is not None else "message with poll to stop not found"
        )
    keyboard = read_keyboard(params, chat)
    if poll["is_closed"]:
        raise bad_request("poll has already been closed")
    poll["is_closed"] = True
    message.pop("reply_markup", None)
    message.update(keyboard)
    chat.changed.fire()
    return poll
