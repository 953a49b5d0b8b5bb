"""What a daemon keeps beside updates: in files of its state directory, or in a store on a server.

On a server it is the same for every machine that runs bots of the fleet: a bot stays paused wherever it runs,
and Telegram's deliveries carry one secret. It lies among the values of plugins, under a name that no plugin
has.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trioworkers.config import Secret
from trioworkers.folders import kept_token
from trioworkers.inbox.store import ANY, FLEET, PutValue, StoreError
from trioworkers.nursery.paused import PausedBots, StoredPausedBots
from trioworkers.private import write_private
from trioworkers.transport.registration import Digests, StoredDigests

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from trioworkers.inbox.inbox import Inbox

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
            await inbox.put(PutValue(FLEET, key, value, None, ANY, clock()))
        except StoreError as error:
            raise OSError(str(error)) from error

    async def put_paused(bot_id: int, paused: bool) -> None:
        await put(f"{PAUSED}{bot_id}", b"" if paused else None)

    async def put_digest(bot_id: int, digest: str | None) -> None:
        await put(f"{DIGEST}{bot_id}", None if digest is None else digest.encode())

    made = secrets.token_urlsafe(32).encode()
    await inbox.put(PutValue(FLEET, SECRET, made, None, None, clock()))  # unless there is one
    secret = await inbox.value(FLEET, SECRET)
    paused = await inbox.values(FLEET, PAUSED, "", MOST)
    digests = await inbox.values(FLEET, DIGEST, "", MOST)
    return FleetState(
        paused=StoredPausedBots((int(key.removeprefix(PAUSED)) for key, _ in paused), put_paused),
        secret=Secret((secret or made).decode()),
        digests=StoredDigests(
            {int(key.removeprefix(DIGEST)): value.decode() for key, value in digests}, put_digest
        ),
    )


def read_files(folder: Path) -> Mapping[str, bytes]:
    """The state in files of the state directory, as a store keeps it.

    Raises:
        StoreRefusedError, OSError, PermissionError: as for :func:`state_in_files`.
    """
    state: dict[str, bytes] = {f"{PAUSED}{bot_id}": b"" for bot_id in PausedBots(folder / "paused.json").ids}
    digests = Digests(folder / "webhooks.json").all
    state |= {f"{DIGEST}{bot_id}": digest.encode() for bot_id, digest in digests.items()}
    if (path := folder / "webhook-secret").exists():
        state[SECRET] = kept_token(path).reveal().encode()
    return state


def write_files(folder: Path, state: Mapping[str, bytes]) -> None:
    """Put what a store kept into files of the state directory, in the place of what is there.

    Raises:
        OSError: a file cannot be written.
    """
    paused = sorted(int(key.removeprefix(PAUSED)) for key in state if key.startswith(PAUSED))
    digests = {
        key.removeprefix(DIGEST): value.decode() for key, value in state.items() if key.startswith(DIGEST)
    }
    write_private(folder / "paused.json", json.dumps(paused).encode())
    write_private(folder / "webhooks.json", json.dumps(digests).encode())
    if SECRET in state:
        write_private(folder / "webhook-secret", state[SECRET])
