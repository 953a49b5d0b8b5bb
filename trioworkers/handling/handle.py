"""One handling from its begin to its outcome, in a worker or in the daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from trioworkers.errors import leaves
from trioworkers.handling.bot import Handling
from trioworkers.handling.fence import HandlingFence
from trioworkers.handling.outcome import outcome_of
from trioworkers.protocol.frames import MOST_UNMADE, Outcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trioworkers.handling.calls import Calls


async def handle(
    run: Callable[[Handling], Awaitable[None]],
    calls: Calls | None,
    time_limit: float,
    delivery: int = 0,
    fence: HandlingFence | None = None,
) -> Outcome:
    """Run a handler and return what becomes of its update; whatever the handler raises becomes an outcome.

    Cancelled from outside, it has no outcome.

    Args:
        run: the handler with its update; it is given the handling's time and calls.
        calls: its recorded calls; None when they are not recorded. What is called after its end is not.
        time_limit: seconds that it may take; waits that Telegram asks for do not count.
        delivery: the number that the outcome bears.
        fence: by which it can be cut off; its outcome is `fenced` then.
    """
    if fence is None:
        fence = HandlingFence()
    scope = trio.CancelScope(deadline=trio.current_time() + time_limit)
    handling = Handling(scope, calls, fence, delivery or fence)
    try:
        with scope:
            fence.guard(scope)
            if not fence.is_cut:  # else it does not even begin
                await run(handling)
    except BaseException as error:
        if any(isinstance(leaf, trio.Cancelled) for leaf in leaves(error)):
            raise  # not ours: the scope has taken its own out
        return Outcome(delivery, "fenced") if fence.is_cut else outcome_of(delivery, error, handling.stood)
    finally:
        if calls is not None:
            calls.close()
    if fence.is_cut:  # also when it took no notice of that
        return Outcome(delivery, "fenced")
    if scope.cancelled_caught:
        late = f"took longer than {time_limit:g} s"
        return Outcome(delivery, "retry", error=late, stood=handling.stood)
    unmade = [] if calls is None else calls.unmade()[:MOST_UNMADE]
    return Outcome(delivery, "done", unmade=unmade)
