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

import trio

from trioworkers.config import Secret
from trioworkers.folders import kept_token
from trioworkers.gateway.update_ids import BLOCK, StoredUpdateIds, UpdateIds, read_ends
from trioworkers.inbox.store import ANY, FLEET, PutValue, StoreError
from trioworkers.nursery.paused import PausedBots, StoredPausedBots
from trioworkers.private import write_private
from trioworkers.transport.registration import Digests, StoredDigests

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping
    from pathlib import Path

    from trioworkers.inbox.inbox import Inbox

PAUSED, DIGEST, IDS, SECRET = "paused/", "webhook/", "update-ids/", "webhook-secret"
IDS_FILE = "update-ids.json"
AGAIN = 0.5  # seconds until a store that cannot be reached is tried again
MOST = 1_000_000  # bots


@dataclass(frozen=True, slots=True)
class FleetState:
    """What a daemon keeps beside updates.

    Attributes:
        paused: which bots are.
        secret: what Telegram's deliveries carry, where the fleet file names nothing.
        digests: of the webhooks that are set.
        ids: of the updates that programs see.
        arrive: reads anew what other nodes may have changed of these bots, which this one is about to run. It
            waits for a store that cannot be reached.
        serve: keeps the store up to date, until cancelled.
    """

    paused: PausedBots
    secret: Secret
    digests: Digests
    ids: UpdateIds
    arrive: Callable[[Collection[int]], Awaitable[None]]
    serve: Callable[[], Awaitable[None]]


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
        ids=UpdateIds(folder / IDS_FILE),
        arrive=_arrived,
        serve=trio.sleep_forever,
    )


async def _arrived(bot_ids: Collection[int]) -> None:
    """Files have no other writer."""


async def state_in_store(
    inbox: Inbox, clock: Callable[[], float], folder: Path, bot_ids: Collection[int]
) -> FleetState:
    """The state in the inbox's store, as it is there now.

    Args:
        inbox: with the store.
        clock: Unix seconds.
        folder: of the state, with the update ids of an earlier version.
        bot_ids: the bots that this daemon is about to run.

    Raises:
        StoreError: it cannot be read, or the secret not be made.
        OSError: a file cannot be read.
    """
    earlier = read_ends(folder / IDS_FILE)

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
    paused, digests, ids = StoredPausedBots((), put_paused), StoredDigests({}, put_digest), StoredUpdateIds()

    async def look() -> None:
        found = await inbox.values(FLEET, PAUSED, "", MOST)
        paused.replace(int(key.removeprefix(PAUSED)) for key, _ in found)
        found = await inbox.values(FLEET, DIGEST, "", MOST)
        digests.replace({int(key.removeprefix(DIGEST)): value.decode() for key, value in found})

    async def reserve(bot_ids: Collection[int]) -> None:
        found = await inbox.values(FLEET, IDS, "", MOST)
        ends = earlier | {int(key.removeprefix(IDS)): int(value) for key, value in found}
        for bot_id in ends.keys() & set(bot_ids):
            await put(f"{IDS}{bot_id}", str(ends[bot_id] + BLOCK).encode())
            ids.begin(bot_id, ends[bot_id])

    async def arrive(bot_ids: Collection[int]) -> None:
        while True:
            try:
                await look()
                return await reserve(bot_ids)
            except (StoreError, OSError):  # emitted as the store's trouble
                await trio.sleep(AGAIN)

    async def serve() -> None:
        while True:
            await ids.noted.wait()
            for bot_id, end in list(ids.unwritten.items()):
                try:
                    await put(f"{IDS}{bot_id}", str(end).encode())
                except OSError:
                    await trio.sleep(AGAIN)
                else:
                    if ids.unwritten[bot_id] == end:
                        del ids.unwritten[bot_id]
            if not ids.unwritten:
                ids.noted = trio.Event()

    await look()
    await reserve(bot_ids)
    return FleetState(paused, Secret((secret or made).decode()), digests, ids, arrive, serve)


def read_files(folder: Path) -> Mapping[str, bytes]:
    """The state in files of the state directory, as a store keeps it.

    Raises:
        StoreRefusedError, OSError, PermissionError: as for :func:`state_in_files`.
    """
    state: dict[str, bytes] = {f"{PAUSED}{bot_id}": b"" for bot_id in PausedBots(folder / "paused.json").ids}
    digests = Digests(folder / "webhooks.json").all
    state |= {f"{DIGEST}{bot_id}": digest.encode() for bot_id, digest in digests.items()}
    state |= {f"{IDS}{bot_id}": str(end).encode() for bot_id, end in read_ends(folder / IDS_FILE).items()}
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
    ends = {key.removeprefix(IDS): int(value) for key, value in state.items() if key.startswith(IDS)}
    write_private(folder / "webhooks.json", json.dumps(digests).encode())
    if ends:
        write_private(folder / IDS_FILE, json.dumps(ends).encode())
    if SECRET in state:
        write_private(folder / "webhook-secret", state[SECRET])
