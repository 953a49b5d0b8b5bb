"""How Bot API methods name the files that they send, and the method that fetches them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trioworkers.testing.answers import bad_request
from trioworkers.testing.params import Upload, read_integer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trioworkers.testing.bots import SimBot
    from trioworkers.testing.files import StoredFile
    from trioworkers.testing.params import Params
    from trioworkers.testing.world import World

DOWNLOAD_LIMIT = 20 << 20  # bytes, Bot API: getFile; a local server has none
ONLY_UPLOADED = frozenset({"video_note", "live_photo"})  # Bot API: sending these by URL is not supported
_NUMBERS = ("duration", "width", "height", "length")
_TEXTS = ("performer", "title", "emoji")
_NAMES = {"voice": "VoiceNote", "video_note": "VideoNote", "live_photo": "LivePhoto"}


def read_file(world: World, bot: SimBot, params: Params, kind: str, value: str | None = None) -> StoredFile:
    """The file that a call sends: an upload, `attach://<name>`, a file_id, or a URL of `world.web`.

    Raises:
        Refused: there is none, or Telegram could not use it.
    """
    what = kind.replace("_", " ")
    if value is None:
        if kind in params.files:
            return world.files.put(bot, kind, params.files[kind])
        value = params.text(kind)
    if not value:
        raise bad_request(f"there is no {what} in the request")
    if value.startswith("attach://"):
        upload = params.files.get(value.removeprefix("attach://"))
        if upload is None:
            raise bad_request(f"there is no {what} in the request")
        return world.files.put(bot, kind, upload)
    if value.startswith(("http://", "https://")):
        return _fetch(world, bot, kind, value)
    stored = world.files.by_id(bot, value)
    if stored is None:
        raise bad_request("wrong file identifier/HTTP URL specified")
    if stored.kind != kind:
        have, want = (_NAMES.get(one, one.title()) for one in (stored.kind, kind))
        raise bad_request(f"can't use file of type {have} as {want}")
    return stored


def _fetch(world: World, bot: SimBot, kind: str, url: str) -> StoredFile:
    content = world.web.get(url)
    if content is None or kind in ONLY_UPLOADED:
        raise bad_request(
            "failed to get HTTP URL content" if content is None else "wrong type of the web page content"
        )
    name = url.rpartition("/")[2].partition("?")[0]
    return world.files.put(bot, kind, Upload(name, "", content))


def read_media(
    world: World, bot: SimBot, params: Params, kind: str, values: Mapping[str, Any], name: str | None = None
) -> dict[str, Any]:
    """The fields of a message that carries a file, with what the bot tells of it.

    Args:
        world: keeps the files.
        bot: who sends it.
        params: of the call, with its uploads.
        kind: of the file.
        values: where duration, size and the like are: the parameters, or an InputMedia.
        name: what the InputMedia says of its file; None for a parameter of its own.
    """
    stored = read_file(world, bot, params, kind, name)
    details: dict[str, Any] = {key: read_integer(values[key]) for key in _NUMBERS if values.get(key)}
    details |= {key: str(values[key]) for key in _TEXTS if values.get(key)}
    thumbnail = str(values.get("thumbnail") or "thumbnail").removeprefix("attach://")
    if thumbnail in params.files and kind not in {"photo", "voice", "sticker"}:
        details["thumbnail"] = world.files.put(bot, "photo", params.files[thumbnail]).sizes()[0]
    allowed = _allowed(kind)
    stored = world.files.tell_details(stored, {key: one for key, one in details.items() if key in allowed})
    return stored.in_message()


def _allowed(kind: str) -> frozenset[str]:
    own = {
        "audio": {"duration", "performer", "title"},
        "voice": {"duration"},
        "video": {"duration", "width", "height"},
        "animation": {"duration", "width", "height"},
        "video_note": {"duration", "length"},
        "sticker": {"emoji"},
    }
    return frozenset(own.get(kind, set()) | {"thumbnail"})


def get_file(world: World, bot: SimBot, params: Params) -> object:
    """getFile."""
    stored = world.files.by_id(bot, params.text("file_id"))
    if stored is None:
        raise bad_request("invalid file_id" if params.text("file_id") else "file_id not specified")
    if len(stored.content) > DOWNLOAD_LIMIT and not world.local:
        raise bad_request("file is too big")
    return stored.describe()
