"""Until when workers may call, in a mapped file: what the daemon writes, workers of all times read."""

from __future__ import annotations

import json
import subprocess
import sys
from math import inf
from typing import TYPE_CHECKING

import pytest
import trio

from trioworkers.botapi.client import BotApi
from trioworkers.botapi.errors import TransportError
from trioworkers.botapi.server import Server
from trioworkers.gateway.upstream import Upstream
from trioworkers.http.patience import Patience
from trioworkers.lease_page import LeaseGate, LeasePage, boottime

if TYPE_CHECKING:
    from pathlib import Path

READER = """
import json, sys, trio
from trioworkers.lease_page import LeaseGate
gate = LeaseGate(sys.argv[1])
print("open", flush=True)
sys.stdin.readline()
print(json.dumps(gate._deadline[0]), flush=True)
"""


async def is_open(gate: LeaseGate) -> bool:
    with trio.move_on_after(0.12) as limit:
        await gate.wait()
    return not limit.cancelled_caught


async def test_a_call_waits_while_the_lease_does_not_hold(tmp_path: Path) -> None:
    """It goes on when the lease is renewed; what never held does not."""
    page = LeasePage(str(tmp_path / "lease"))
    gate = LeaseGate(page.path())
    assert not await is_open(gate)
    page.write(boottime() + 60)
    assert await is_open(gate)
    page.write(boottime() - 1)
    assert not await is_open(gate)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(gate.wait)
        await trio.sleep(0.1)
        page.write(boottime() + 60)
    page.write(-inf)
    assert not await is_open(gate)


def test_another_process_sees_what_is_written(tmp_path: Path) -> None:
    """Without a word on any channel."""
    page = LeasePage(str(tmp_path / "lease"))
    words = [sys.executable, "-c", READER, page.path()]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None
        assert reader.stdout.readline() == "open\n"
        page.write(12.5)
        reader.stdin.write("\n")
        reader.stdin.flush()
        assert json.loads(reader.stdout.readline()) == 12.5


async def test_workers_from_before_and_after_the_file_was_removed_see_the_same(tmp_path: Path) -> None:
    """It is made again for the next worker, with what was written last."""
    page = LeasePage(str(tmp_path / "lease"))
    page.write(boottime() + 60)
    before = LeaseGate(page.path())
    (tmp_path / "lease").unlink()
    after = LeaseGate(page.path())
    assert await is_open(after)
    page.write(-inf)
    assert not await is_open(before)
    assert not await is_open(after)
    assert (tmp_path / "lease").stat().st_mode & 0o777 == 0o600


async def test_no_request_is_made_past_the_gate() -> None:
    """Neither by a client whose gate refuses, nor for a program: nothing even listens at that address."""

    async def closed() -> None:
        raise TransportError("request", "this daemon's lease has ended")

    async with BotApi("http://127.0.0.1:9", "1:a") as api:
        api.gate = closed
        with pytest.raises(TransportError, match="lease has ended"):
            await api.request("getMe", {})


async def test_no_connection_is_given_to_a_program_past_the_lease() -> None:
    """Also where connecting took until then."""
    may_call = True
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    upstream = Upstream(Server(f"http://127.0.0.1:{port}"), "1:a", Patience(), lambda: may_call)
    upstream.take_back(await upstream.take(), is_kept=True, is_to_blame=False)
    may_call = False
    with pytest.raises(Exception, match="may not call for the bot any more"):
        await upstream.take()
    upstream.close()
    await listeners[0].aclose()
