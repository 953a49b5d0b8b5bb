"""What the exceptions of a handler mean for its update."""

from __future__ import annotations

from trioworkers.botapi.errors import BotApiError, TransportError
from trioworkers.errors import Dead, Drop, Retry, describe, leaves
from trioworkers.handling.bot import WaitsTooLong
from trioworkers.protocol.frames import ERROR_LENGTH, LONGEST_AFTER, Outcome, cut

WORDS = 2000  # characters that are kept of what a handler says of an update
DESCRIPTION = 200  # of what Telegram says with a 403; its own are short, another server's need not be


def outcome_of(delivery: int, error: BaseException) -> Outcome:
    """What an exception of a handler means for its update.

    Exceptions in groups, as nurseries raise them, count by the gravest: `Dead`, then `Retry`, then
    `Drop`; anything else asks for a retry. 403 is final: who blocked the bot does not hear it later.
    """
    causes = leaves(error)
    for cause in causes:
        if isinstance(cause, Dead):
            return Outcome(delivery, "dead", error="the handler said so", words=_plain(cause.reason))
        if isinstance(cause, BotApiError) and cause.error_code == 403:
            refusal = f"{cause.method[:DESCRIPTION]}: 403 {cause.description[:DESCRIPTION]}"
            return Outcome(delivery, "dead", error=cut(refusal, ERROR_LENGTH))
    for cause in causes:
        if isinstance(cause, Retry):
            after = None if cause.after is None else min(max(0.0, float(cause.after)), LONGEST_AFTER)
            counted = not isinstance(cause, WaitsTooLong)
            return Outcome(delivery, "retry", after=after, counted=counted, error="the handler said so")
    if all(isinstance(cause, Drop) for cause in causes):
        return Outcome(delivery, "drop", error="the handler said so", words=_plain(causes[0]))
    return Outcome(delivery, "retry", error=cut(_in_words(error), ERROR_LENGTH))


def _plain(words: object) -> str:
    """What a handler gave as its words, which may be anything (`raise Dead(error)`), as text for a frame."""
    try:
        return cut(str(words), WORDS)
    except Exception:
        return cut(type(words).__name__, WORDS)


def _in_words(error: BaseException) -> str:
    first = leaves(error)[0]
    if isinstance(first, BotApiError):
        return f"BotApiError {first.method} {first.error_code}"
    if isinstance(first, TransportError):
        return f"TransportError {first.method}: {first.what}"
    return describe(error)
