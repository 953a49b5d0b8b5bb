"""Bots that were added by command are on all nodes, those that were away included."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
from played_cluster import PlayedCluster, World

from trioworkers.cluster.added_bots import AddedBots
from trioworkers.config import FleetFileError, draft_bot
from trioworkers.inbox.inbox import open_inbox
from trioworkers.inbox.memory import MemoryStore
from trioworkers.inbox.store import StoreError, StoreUnreachableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    from trioworkers.config.dynamic import Draft
    from trioworkers.inbox.inbox import Inbox


def now() -> float:
    return 1000.0


class Node:
    """A node with a folder of files; what its reloads were asked for."""

    def __init__(self, world: World, name: str, inbox: Inbox, folder: Path) -> None:
        self.folder = folder / name
        (self.folder / "fleet.d").mkdir(parents=True)
        self.refuses: set[str] = set()
        self.runs = 0
        cluster: Any = PlayedCluster(world, name, name)
        self.added = AddedBots(cluster, inbox, self.folder, self, now)

    async def run(self, *, drafts: Iterable[Draft] = (), by: str = "a request") -> None:
        await trio.lowlevel.checkpoint()
        self.runs += 1
        drafts = list(drafts)
        if self.refuses & {draft.file.stem for draft in drafts}:
            raise FleetFileError([])
        for draft in drafts:
            draft.commit()

    async def add(self, name: str, **table: Any) -> None:
        draft_bot(self.folder, name, table).commit()
        await self.added.share(name)

    async def remove(self, name: str) -> None:
        (self.folder / "fleet.d" / f"{name}.toml").unlink()
        await self.added.share(name)

    def files(self) -> dict[str, str]:
        return {path.stem: path.read_text() for path in (self.folder / "fleet.d").iterdir()}


@pytest.fixture
async def inbox() -> AsyncIterator[Inbox]:
    async with open_inbox(MemoryStore()) as inbox:
        yield inbox


async def until_same(*nodes: Node) -> None:
    with trio.fail_after(5):
        while len({str(sorted(node.files().items())) for node in nodes}) > 1:  # noqa: ASYNC110 - threads
            await trio.sleep(0.01)


async def test_what_one_node_adds_changes_and_removes_all_have(
    inbox: Inbox, nursery: trio.Nursery, tmp_path: Path
) -> None:
    """With the same files, by a reload; a node that comes later has them at its start."""
    world = World()
    a, b = Node(world, "a", inbox, tmp_path), Node(world, "b", inbox, tmp_path)
    for node in (a, b):
        nursery.start_soon(node.added.serve)
    await trio.testing.wait_all_tasks_blocked(0.05)
    await a.add("shop", token="1:x", settings={"greeting": "hi"})
    await until_same(a, b)
    assert 'greeting = "hi"' in b.files()["shop"]
    await b.add("shop", token="2:y")
    await b.add("help", token="3:z")
    await until_same(a, b)
    assert sorted(a.files()) == ["help", "shop"]
    late = Node(world, "late", inbox, tmp_path)
    await a.remove("shop")
    nursery.start_soon(late.added.serve)
    await until_same(a, b, late)
    assert sorted(late.files()) == ["help"]
    runs = a.runs
    await a.added._look()  # nothing is left to do
    assert a.runs == runs
    nursery.cancel_scope.cancel()


async def test_a_change_that_could_not_be_shared_is_shared_later(
    inbox: Inbox, nursery: trio.Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not undone by what the database still has."""
    world = World()
    a, b = Node(world, "a", inbox, tmp_path), Node(world, "b", inbox, tmp_path)
    await a.add("shop", token="1:x")
    await a.add("help", token="2:y")
    await b.added._look()
    with monkeypatch.context() as broken:
        broken.setattr(inbox, "put", refused)
        for change in (a.add("shop", token="3:z"), a.remove("help"), a.add("new", token="4:z")):
            with pytest.raises(StoreError):
                await change
    await a.added._look()
    await b.added._look()
    assert sorted(b.files()) == ["new", "shop"]
    assert "3:z" in b.files()["shop"]
    assert a.files() == b.files()
    assert a.runs == 0


async def refused(_: object) -> bool:
    await trio.lowlevel.checkpoint()
    raise StoreUnreachableError("away")


async def test_a_file_from_before_the_cluster_is_shared(
    inbox: Inbox, nursery: trio.Nursery, tmp_path: Path
) -> None:
    """Files that somebody else has written there are not."""
    world = World()
    a, b = Node(world, "a", inbox, tmp_path), Node(world, "b", inbox, tmp_path)
    draft_bot(a.folder, "shop", {"token": "1:x"}).commit()
    (a.folder / "fleet.d" / "own.toml").write_text("[bots.own]\n")
    nursery.start_soon(a.added.serve)
    await trio.testing.wait_all_tasks_blocked(0.05)
    nursery.start_soon(b.added.serve)
    with trio.fail_after(5):
        while not b.files():  # noqa: ASYNC110 - a thread writes it
            await trio.sleep(0.01)
    assert list(b.files()) == ["shop"]
    nursery.cancel_scope.cancel()


async def test_a_bot_that_a_node_refuses_keeps_no_other_from_it(
    inbox: Inbox, nursery: trio.Nursery, tmp_path: Path
) -> None:
    """As one whose token's file is not on its machine; nothing of it is written there."""
    world = World()
    a, b = Node(world, "a", inbox, tmp_path), Node(world, "b", inbox, tmp_path)
    b.refuses = {"bad"}
    await a.add("bad", token={"file": "/nowhere"})
    await a.add("good", token="1:x")
    nursery.start_soon(b.added.serve)
    with trio.fail_after(5):
        while not b.files():  # noqa: ASYNC110 - a thread writes it
            await trio.sleep(0.01)
    await trio.testing.wait_all_tasks_blocked(0.05)
    assert list(b.files()) == ["good"]
    nursery.cancel_scope.cancel()
