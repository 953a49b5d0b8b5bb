"""The Bot API methods that send places, contacts, dice, games and checklists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trioworkers.testing.answers import bad_request
from trioworkers.testing.methods.reading import format_text, read_keyboard, say
from trioworkers.testing.params import read_integer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trioworkers.testing.bots import SimBot
    from trioworkers.testing.params import Params
    from trioworkers.testing.world import World

FOREVER = 0x7FFFFFFF  # live_period of a location that is live until it is stopped
LIVE_PERIODS = (60, 86_400)  # seconds
DICE = {"🎲": 6, "🎯": 6, "🎳": 6, "🏀": 5, "⚽": 5, "🎰": 64}


def read_float(value: object) -> float:
    """A number; 0 for what is none, as Telegram reads it."""
    try:
        return float(value) if isinstance(value, (int, float, str)) else 0.0
    except ValueError:
        return 0.0


def read_location(values: Mapping[str, Any]) -> dict[str, Any]:
    """The Location of a call or of an inline result.

    Raises:
        Refused: it is not on this globe, or a number is out of its bounds.
    """
    latitude, longitude = read_float(values.get("latitude")), read_float(values.get("longitude"))
    accuracy = read_float(values.get("horizontal_accuracy") or 0)
    if not -90 <= latitude <= 90 or not -180 <= longitude <= 180:
        raise bad_request("wrong latitude or longitude specified")
    if not 0 <= accuracy <= 1500:
        raise bad_request("wrong horizontal accuracy specified")
    location: dict[str, Any] = {"latitude": latitude, "longitude": longitude}
    if accuracy:
        location["horizontal_accuracy"] = accuracy
    period, heading, radius = (
        read_integer(values.get(name) or 0) for name in ("live_period", "heading", "proximity_alert_radius")
    )
    if period:
        if period != FOREVER and not LIVE_PERIODS[0] <= period <= LIVE_PERIODS[1]:
            raise bad_request("wrong live location period specified")
        location["live_period"] = period
        if not 0 <= heading <= 360:
            raise bad_request("wrong live location heading specified")
        if not 0 <= radius <= 100_000:
            raise bad_request("wrong live location proximity alert radius specified")
        location |= {"heading": heading} if heading else {}
        location |= {"proximity_alert_radius": radius} if radius else {}
    return location


def read_venue(values: Mapping[str, Any]) -> dict[str, Any]:
    """The Venue of a call or of an inline result."""
    venue = {
        "location": read_location({"latitude": values.get("latitude"), "longitude": values.get("longitude")})
    }
    names = ("title", "address", "foursquare_id", "foursquare_type", "google_place_id", "google_place_type")
    return venue | {name: str(values[name]) for name in names if values.get(name)}


def read_contact(values: Mapping[str, Any]) -> dict[str, Any]:
    """The Contact of a call or of an inline result."""
    names = ("phone_number", "first_name", "last_name", "vcard")
    return {name: str(values[name]) for name in names if values.get(name)}


def send_location(world: World, bot: SimBot, params: Params) -> object:
    """sendLocation; one with a `live_period` can be moved by editMessageLiveLocation."""
    return _send(world, bot, params, {"location": read_location(params.values)})


def send_venue(world: World, bot: SimBot, params: Params) -> object:
    """sendVenue; the message has a location, too."""
    venue = read_venue(params.values)
    return _send(world, bot, params, {"venue": venue, "location": venue["location"]})


def send_contact(world: World, bot: SimBot, params: Params) -> object:
    """sendContact."""
    return _send(world, bot, params, {"contact": read_contact(params.values)})


def send_dice(world: World, bot: SimBot, params: Params) -> object:
    """sendDice: the world's dice decide."""
    emoji = params.text("emoji").removesuffix("\ufe0f") or "🎲"
    if emoji not in DICE:
        raise bad_request("wrong dice emoji specified")
    return _send(world, bot, params, {"dice": {"emoji": emoji, "value": world.dice.randint(1, DICE[emoji])}})


def send_game(world: World, bot: SimBot, params: Params) -> object:
    """sendGame; any short name is a game of the bot's."""
    name = params.text("game_short_name")
    photo = [{"file_id": f"game-{name}", "file_unique_id": f"g-{name}", "width": 640, "height": 360}]
    game = {"title": name, "description": f"The game {name}", "photo": photo}
    return _send(world, bot, params, {"game": game})


def send_checklist(world: World, bot: SimBot, params: Params) -> object:
    """sendChecklist."""
    return _send(world, bot, params, {"checklist": read_checklist(world, params)})


def read_checklist(world: World, params: Params) -> dict[str, Any]:
    """The Checklist of an InputChecklist.

    Raises:
        Refused: it has no title or tasks, too many of them, or two with one id.
    """
    given = params.json("checklist", "checklist")
    title, entities = format_text(
        world, str(given["title"]), str(given.get("parse_mode") or ""), given.get("title_entities")
    )
    if not title:
        raise bad_request("checklist title must be non-empty")
    tasks: list[dict[str, Any]] = []
    for task in given["tasks"]:
        text, inside = format_text(
            world, str(task["text"]), str(task.get("parse_mode") or ""), task.get("text_entities")
        )
        made = {"id": read_integer(task["id"]), "text": text}
        tasks.append({**made, "text_entities": inside} if inside else made)
    if not 1 <= len(tasks) <= 30 or len({task["id"] for task in tasks}) < len(tasks):
        raise bad_request("TODO_ITEMS_INVALID")
    checklist: dict[str, Any] = {"title": title, "tasks": tasks}
    if entities:
        checklist["title_entities"] = entities
    flags = ("others_can_add_tasks", "others_can_mark_tasks_as_done")
    return checklist | {name: True for name in flags if given.get(name)}


def _send(world: World, bot: SimBot, params: Params, content: dict[str, Any]) -> object:
    chat = world.find_chat(bot, params)
    return say(world, bot, params, chat, {**content, **read_keyboard(params, chat)})
