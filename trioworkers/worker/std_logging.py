"""What a bot logs through Python's own `logging`, as lines of its log.

It is the handler of last resort, for a bot that sets up none. Levels are those of `logging`: warnings and
above, unless the bot says otherwise. A bot that calls `logging.basicConfig` has its own way.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import TYPE_CHECKING

from trioworkers.handling.failure import failure_fields

if TYPE_CHECKING:
    from trioworkers.handling.log import BotLog, Traced

handled: ContextVar[Traced] = ContextVar("handled")
"""The update that is handled, in the tasks of its handling."""


class ToBotLog(logging.Handler):
    """Writes records to a bot's log, within a handling with the update's trace id.

    Attributes:
        log: the bot's log, with the settings in force.
    """

    def __init__(self, log: BotLog) -> None:
        super().__init__()
        self.log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record. An exception is shown by its type and traceback: what it says may be private."""
        try:
            says = record.getMessage()
        except Exception:  # its arguments do not fit; the words without them
            says = str(record.msg)
        update = handled.get(None)
        log = self.log if update is None else self.log.about(update)
        error = record.exc_info[1] if record.exc_info else None
        fields = {"logger": record.name, **({} if error is None else failure_fields(error))}
        if record.levelno >= logging.ERROR:
            log.error(says, **fields)
        elif record.levelno >= logging.WARNING:
            log.warning(says, **fields)
        elif record.levelno >= logging.INFO:
            log.info(says, **fields)
        else:
            log.debug(says, **fields)


def hear_logging(log: BotLog) -> None:
    """Let what is logged for which the bot has no handler go to its log."""
    former = logging.lastResort
    if isinstance(former, ToBotLog):  # of the rehearsal, say: a new one would copy 20 pages of the zygote's
        former.log = log
    else:
        logging.lastResort = ToBotLog(log)
