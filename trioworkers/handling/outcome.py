"""What the exceptions of a handler mean for its update.

An outcome's `error` goes to logs and events: it holds types, codes and places. Its `words` go to the dead
letter, which is read by those who may read the update itself: there is what Telegram or the handler said.
"""

from __future__ import annotations

from trioworkers.botapi.errors import BotApiError, TransportError
from trioworkers.errors import Dead, Drop, Retry, describe, leaves, own_place_of
from trioworkers.handling.bot import WaitsTooLong
from trioworkers.handling.failure import METHOD, in_words
from trioworkers.protocol.frames import ERROR_LENGTH, LONGEST_AFTER, Outcome, cut

WORDS = 2000  # characters that are kept of what a handler says of an update


def outcome_of(delivery: int, error: BaseException, stood: float = 0.0) -> Outcome:
    """What an exception of a handler means for its update. `stood`: seconds for which its time stood still.

    Exceptions in groups, as nurseries raise them, count by the gravest: `Dead` and refusals of Telegram that
    cannot heal, then `Retry`, then `Drop`; anything else asks for a retry.
    """
    causes = leaves(error)
    for cause in causes:
        if isinstance(cause, Dead):
            return Outcome(delivery, "dead", error="the handler said so", words=_plain(cause.reason))
        if isinstance(cause, BotApiError) and not cause.heals:
            return Outcome(delivery, "dead", error=_refused(cause), words=_in_full(cause))
    for cause in causes:
        if isinstance(cause, Retry):
            after = None if cause.after is None else min(max(0.0, float(cause.after)), LONGEST_AFTER)
            counted = not isinstance(cause, WaitsTooLong)
            said = "the handler said so"
            return Outcome(delivery, "retry", after=after, counted=counted, error=said, stood=stood)
    if all(isinstance(cause, Drop) for cause in causes):
        return Outcome(delivery, "drop", error="the handler said so", words=_plain(causes[0]))
    first = causes[0]
    if isinstance(first, BotApiError):
        return Outcome(delivery, "retry", error=_refused(first), words=_in_full(first), stood=stood)
    if isinstance(first, TransportError):
        return Outcome(delivery, "retry", error=cut(in_words(error), ERROR_LENGTH), stood=stood)
    return Outcome(delivery, "retry", error=cut(describe(error), ERROR_LENGTH), stood=stood)


def _refused(error: BotApiError) -> str:
    """A refusal by its class, method, code and place, for logs: its description may quote a user."""
    said = f"{type(error).__name__} {error.method[:METHOD]} {error.error_code}{own_place_of(error)}"
    return cut(said, ERROR_LENGTH)


def _in_full(error: BotApiError) -> str:
    """A refusal in Telegram's words, for the dead letter, without what they quote."""
    return cut(in_words(error), WORDS)


def _plain(words: object) -> str:
    """What a handler gave as its words, which may be anything (`raise Dead(error)`), as text for a frame."""
    try:
        return cut(str(words), WORDS)
    except Exception:
        return cut(type(words).__name__, WORDS)
