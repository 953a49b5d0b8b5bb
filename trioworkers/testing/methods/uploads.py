"""How Bot API methods name the files that they send, and the method that fetches them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trioworkers.testing.answers import bad_request

if TYPE_CHECKING:
    from trioworkers.testing.bots import SimBot
    from trioworkers.testing.files import StoredFile
    from trioworkers.testing.params import Params
    from trioworkers.testing.world import World

DOWNLOAD_LIMIT = 20 << 20  # bytes, Bot API: getFile; a local server has none


def read_file(world: World, bot: SimBot, params: Params, kind: str, value: str | None = None) -> StoredFile:
    """The file that a call sends: an upload, `attach://<name>`, or a file_id.

    Raises:
        Refused: there is none, or Telegram could not use it.
    """
    if value is None:
        if kind in params.files:
            return world.files.put(bot, kind, params.files[kind])
        value = params.text(kind)
    if not value:
        raise bad_request(f"there is no {kind} in the request")
    if value.startswith("attach://"):
        upload = params.files.get(value.removeprefix("attach://"))
        if upload is None:
            raise bad_request(f"there is no {kind} in the request")
        return world.files.put(bot, kind, upload)
    if value.startswith(("http://", "https://")):
        raise bad_request("failed to get HTTP URL content")
    stored = world.files.by_id(bot, value)
    if stored is None:
        raise bad_request("wrong file identifier/HTTP URL specified")
    if stored.kind != kind:
        raise bad_request(f"can't use file of type {stored.kind.title()} as {kind.title()}")
    return stored


def get_file(world: World, bot: SimBot, params: Params) -> object:
    """getFile."""
    stored = world.files.by_id(bot, params.text("file_id"))
    if stored is None:
        raise bad_request("invalid file_id" if params.text("file_id") else "file_id not specified")
    if len(stored.content) > DOWNLOAD_LIMIT and not world.local:
        raise bad_request("file is too big")
    return stored.describe()
