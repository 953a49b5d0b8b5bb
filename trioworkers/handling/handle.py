"""One handling from its begin to its outcome, in a worker or in the daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from trioworkers.errors import leaves, own_place_of
from trioworkers.handling.bot import Handling
from trioworkers.handling.fence import HandlingFence
from trioworkers.handling.outcome import outcome_of
from trioworkers.protocol.frames import ERROR_LENGTH, MOST_UNMADE, Outcome, cut

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trioworkers.handling.calls import Calls


async def handle(
    run: Callable[[Handling], Awaitable[None]],
    calls: Calls | None,
    time_limit: float,
    delivery: int = 0,
    fence: HandlingFence | None = None,
    failed: Callable[[Outcome, BaseException], None] | None = None,
) -> Outcome:
    """Run a handler and return what becomes of its update; whatever the handler raises becomes an outcome.

    Cancelled from outside, it has no outcome.

    Args:
        run: the handler with its update; it is given the handling's time and calls.
        calls: its recorded calls; None when they are not recorded. What is called after its end is not.
        time_limit: seconds that it may take; waits that Telegram asks for do not count.
        delivery: the number that the outcome bears.
        fence: by which it can be cut off; its outcome is `fenced` then.
        failed: is given the outcome of a handler that raised or took too long, and what was raised: of one
            that took too long, what ended it, by which one sees where it was.
    """
    if fence is None:
        fence = HandlingFence()
    scope = trio.CancelScope(deadline=trio.current_time() + time_limit)
    handling = Handling(scope, calls, fence, delivery or fence)
    ended: BaseException | None = None
    try:
        with scope:
            fence.guard(scope)
            if not fence.is_cut:  # else it does not even begin
                try:
                    await run(handling)
                except BaseException as error:
                    ended = error if scope.cancel_called else None
                    raise
    except BaseException as error:
        if any(isinstance(leaf, trio.Cancelled) for leaf in leaves(error)):
            raise  # not ours: the scope has taken its own out
        if fence.is_cut:
            return Outcome(delivery, "fenced")
        outcome = outcome_of(delivery, error, handling.stood)
        if failed is not None:
            failed(outcome, error)
        return outcome
    finally:
        if calls is not None:
            calls.close()
    if fence.is_cut:  # also when it took no notice of that
        return Outcome(delivery, "fenced")
    if scope.cancelled_caught:
        late = f"took longer than {time_limit:g} s{'' if ended is None else own_place_of(ended)}"
        outcome = Outcome(delivery, "retry", error=cut(late, ERROR_LENGTH), stood=handling.stood, late=True)
        if failed is not None and ended is not None:
            failed(outcome, ended)
        del ended  # its traceback holds this frame, and all of the handler's
        return outcome
    unmade = [] if calls is None else calls.unmade()[:MOST_UNMADE]
    return Outcome(delivery, "done", unmade=unmade)
