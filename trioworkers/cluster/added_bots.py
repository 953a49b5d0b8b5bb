"""Bots that were added by command, on all nodes of a cluster: their files of `fleet.d` are in the database.

A node that adds, changes or removes a bot puts its file there and tells the others, which apply it by a
reload that writes the same file. So a node that was away has all of them when it is back. A file that the
database does not know, as from before there was a cluster, is put there by the node that has it.
"""

from __future__ import annotations

import tomllib
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

import trio

from trioworkers.config import FleetFileError, draft_bot
from trioworkers.config.dynamic import HEAD, Draft
from trioworkers.inbox.store import ANY, FLEET, PutValue, StoreError
from trioworkers.shortage import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from trioworkers.cluster.port import Cluster
    from trioworkers.inbox.inbox import Inbox

TOPIC = "bots"
KEY = "bot/"  # before a bot's name; the value is its file, or empty once it was removed
LOOK_EVERY = 30.0  # seconds after which one looks for what no message announced
MOST = 100_000  # bots


class Reloads(Protocol):
    """What changes the fleet; see :class:`trioworkers.reload.Reload`."""

    async def run(self, *, drafts: Iterable[Draft] = (), by: str = "a request") -> Any: ...


class AddedBots:
    """Keeps the bots that were added by command the same on all nodes. :meth:`serve` once.

    Args:
        cluster: the cluster.
        inbox: with the database.
        state_dir: its `fleet.d` has the files.
        reloads: changes the fleet.
        clock: Unix seconds.
    """

    def __init__(
        self, cluster: Cluster, inbox: Inbox, state_dir: Path, reloads: Reloads, clock: Callable[[], float]
    ) -> None:
        self._cluster = cluster
        self._inbox = inbox
        self._state_dir = state_dir
        self._folder = state_dir / "fleet.d"
        self._reloads = reloads
        self._clock = clock
        self._looks = trio.Event()
        self._unshared: set[str] = set()  # bots that were changed here, and the database does not know it

    async def share(self, name: str) -> None:
        """Let the other nodes have a bot's file as it is here now, or remove theirs.

        Raises:
            StoreError: it is not known whether they will; this node tries it again until they do.
        """
        self._unshared.add(name)
        content = (await in_thread(self._read)).get(name, b"")
        await self._inbox.put(PutValue(FLEET, f"{KEY}{name}", content, None, ANY, self._clock()))
        self._unshared.discard(name)
        await self._cluster.tell(TOPIC, name)

    async def serve(self) -> None:
        """Apply what other nodes have shared, until cancelled."""
        self._cluster.listen(TOPIC, lambda _: self._looks.set())
        while True:
            self._looks = trio.Event()
            with suppress(StoreError, OSError):
                await self._look()
            with trio.move_on_after(LOOK_EVERY):
                await self._looks.wait()

    async def _look(self) -> None:
        for name in sorted(self._unshared):
            await self.share(name)
        found = await self._inbox.values(FLEET, KEY, "", MOST)
        shared = {key.removeprefix(KEY): value for key, value in found}
        here = await in_thread(self._read)
        for name in here.keys() - shared.keys():
            await self._inbox.put(PutValue(FLEET, f"{KEY}{name}", here[name], None, None, self._clock()))
        drafts = [*self._drafts(shared, here)]
        if not drafts:
            return
        try:
            await self._reloads.run(drafts=drafts, by="another node")
        except FleetFileError:  # which says so; one of them must not keep the others from this node
            for draft in drafts if len(drafts) > 1 else ():
                with suppress(FleetFileError):
                    await self._reloads.run(drafts=[draft], by="another node")

    def _drafts(self, shared: dict[str, bytes], here: dict[str, bytes]) -> Iterator[Draft]:
        for name, content in shared.items():
            if content == here.get(name, b""):
                continue
            if not content:
                yield Draft(self._folder / f"{name}.toml", None)
                continue
            with suppress(FleetFileError, ValueError, KeyError, TypeError):  # of a newer version, perhaps
                yield draft_bot(self._state_dir, name, tomllib.loads(content.decode())["bots"][name])

    def _read(self) -> dict[str, bytes]:
        """The files that commands have written here, by the names of their bots; for a thread."""
        files: dict[str, bytes] = {}
        for path in self._folder.glob("*.toml"):
            with suppress(FileNotFoundError):
                content = path.read_bytes()
                if content.startswith(HEAD.encode()):
                    files[path.stem] = content
        return files
