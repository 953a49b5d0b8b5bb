"""Passes calls on under `quiet`, where a pause in the calls about an update is its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from trioworkers.gateway.recorded import relay_recorded
from trioworkers.gateway.relay import look_at, relay

if TYPE_CHECKING:
    from trioworkers.gateway.local_bot import LocalBot
    from trioworkers.gateway.messages import RequestHead
    from trioworkers.gateway.programs import ProgramConnection
    from trioworkers.gateway.targets import Target


async def relay_heard(bot: LocalBot, head: RequestHead, target: Target, program: ProgramConnection) -> bool:
    """Pass a call on; return whether the connection goes on.

    A call about one update in hand, and no other, is recorded, or answered from the record of before.

    Raises:
        OSError, trio.ClosedResourceError: the program is gone.
        MessageError: it sent what is no request.
    """
    params = await look_at(head, target, program)
    if head.waits:
        head = replace(head, waits=False)
    with bot.calling(target.name, params) as handling:
        if handling is None:
            return await relay(bot, head, target, program)
        with bot.speaking.one():
            return await relay_recorded(bot, handling, head, target, program)
