"""What a daemon keeps beside updates: in files of its state directory, or in a store on a server.

On a server it is the same for every machine that runs bots of the fleet: a bot stays paused wherever it runs,
and Telegram's deliveries carry one secret. It lies among the values of plugins, under a name that no plugin
has.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trioworkers.config import Secret
from trioworkers.folders import kept_token
from trioworkers.inbox.store import ANY, PutValue, StoreError
from trioworkers.nursery.paused import PausedBots, StoredPausedBots
from trioworkers.transport.registration import Digests, StoredDigests

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trioworkers.inbox.inbox import Inbox

PLUGIN = "/fleet"  # no name of a module
PAUSED, DIGEST, SECRET = "paused/", "webhook/", "webhook-secret"
MOST = 1_000_000  # bots


@dataclass(frozen=True, slots=True)
class FleetState:
    """What a daemon keeps beside updates.

    Attributes:
        paused: which bots are.
        secret: what Telegram's deliveries carry, where the fleet file names nothing.
        digests: of the webhooks that are set.
    """

    paused: PausedBots
    secret: Secret
    digests: Digests


def state_in_files(folder: Path) -> FleetState:
    """The state in files of the state directory.

    Raises:
        StoreRefusedError: it cannot be read which bots are paused.
        OSError, PermissionError: a file cannot be read or made.
    """
    return FleetState(
        paused=PausedBots(folder / "paused.json"),
        secret=kept_token(folder / "webhook-secret"),
        digests=Digests(folder / "webhooks.json"),
    )


async def state_in_store(inbox: Inbox, clock: Callable[[], float]) -> FleetState:
    """The state in the inbox's store, as it is there now.

    Raises:
        StoreError: it cannot be read, or the secret not be made.
    """

    async def put(key: str, value: bytes | None) -> None:
        try:
            await inbox.put(PutValue(PLUGIN, key, value, None, ANY, clock()))
        except StoreError as error:
            raise OSError(str(error)) from error

    async def put_paused(bot_id: int, paused: bool) -> None:
        await put(f"{PAUSED}{bot_id}", b"" if paused else None)

    async def put_digest(bot_id: int, digest: str | None) -> None:
        await put(f"{DIGEST}{bot_id}", None if digest is None else digest.encode())

    made = secrets.token_urlsafe(32).encode()
    await inbox.put(PutValue(PLUGIN, SECRET, made, None, None, clock()))  # unless there is one
    secret = await inbox.value(PLUGIN, SECRET)
    paused = await inbox.values(PLUGIN, PAUSED, "", MOST)
    digests = await inbox.values(PLUGIN, DIGEST, "", MOST)
    return FleetState(
        paused=StoredPausedBots((int(key.removeprefix(PAUSED)) for key, _ in paused), put_paused),
        secret=Secret((secret or made).decode()),
        digests=StoredDigests(
            {int(key.removeprefix(DIGEST)): value.decode() for key, value in digests}, put_digest
        ),
    )
