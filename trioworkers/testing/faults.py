"""What goes wrong on purpose.

A :class:`Fault` says how one answer is spoilt, a :class:`Rule` which calls it meets and how often;
the server obeys. Whether the call takes effect is part of each fault, since that is the question
a client has to live with.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from trioworkers.testing import answers

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

    from trioworkers.testing.bots import SimBot

PROXY_PAGE = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n"
    b"<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx/1.18.0</center>\r\n"
    b"</body>\r\n</html>\r\n"
)


@dataclass(frozen=True, slots=True)
class Fault:
    """How an answer is spoilt; the functions of this module make the usual ones.

    Attributes:
        executes: whether the call takes effect.
        status: HTTP status of `body`; without a body the true answer is sent (if it executes).
        delay: seconds before anything is sent, after the call took effect.
        cut: the share of the body that is sent before the connection is closed; None for all.
        pace: bytes a second; None for all at once.
        end: what becomes of the connection: `close` and `half-close` send no answer at all.
    """

    executes: bool = False
    status: int = 200
    body: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "application/json"
    delay: float = 0.0
    cut: float | None = None
    pace: float | None = None
    end: Literal["keep", "close", "half-close"] = "keep"


def error(code: int, description: str, parameters: Mapping[str, Any] | None = None) -> Fault:
    """Refuse with any code and words; nothing takes effect. A `retry_after` goes into a header, too."""
    body = answers.encode_refusal(answers.Refused(code, description, parameters))
    retry_after = (parameters or {}).get("retry_after")
    headers = (("Retry-After", str(retry_after)),) if retry_after is not None else ()
    return Fault(status=code, body=body, headers=headers)


def too_many_requests(retry_after: int) -> Fault:
    """429 with `parameters.retry_after` (seconds) and the header."""
    return error(429, f"Too Many Requests: retry after {retry_after}", {"retry_after": retry_after})


def server_error(code: int = 500) -> Fault:
    """500 or 502 with a JSON body."""
    words = {500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable"}
    return error(code, words.get(code, "Internal Server Error"))


def unauthorized() -> Fault:
    """401, as for a revoked token."""
    return error(401, "Unauthorized")


def forbidden(reason: str = "bot was blocked by the user") -> Fault:
    """403 with that reason."""
    return error(403, f"Forbidden: {reason}")


def proxy_page(status: int = 502) -> Fault:
    """The HTML page of a proxy in between."""
    return Fault(status=status, body=PROXY_PAGE, content_type="text/html")


def broken_body(*, executes: bool = True) -> Fault:
    """200 with a complete body that is no JSON."""
    return Fault(executes=executes, body=b'{"ok":true,"result":{"message_id":')


def truncated_body(*, executes: bool = True) -> Fault:
    """200 and half of the announced body, then the connection is closed."""
    if executes:
        return Fault(executes=True, cut=0.5)
    return Fault(body=b'{"ok":true,"result":true}', cut=0.5)


def close_before() -> Fault:
    """The connection is closed without an answer; nothing took effect."""
    return Fault(end="close")


def close_after() -> Fault:
    """The connection is closed without an answer, but the call took effect."""
    return Fault(executes=True, end="close")


def half_close(*, executes: bool = False) -> Fault:
    """The server ends its side without an answer and goes on reading."""
    return Fault(executes=executes, end="half-close")


def hang(seconds: float, *, executes: bool = True) -> Fault:
    """The answer comes after so long; a call that did not take effect is never answered."""
    return Fault(executes=executes, delay=seconds, end="keep" if executes else "close")


def slow(bytes_per_second: float) -> Fault:
    """The call takes effect at once; its answer drips."""
    return Fault(executes=True, pace=bytes_per_second)


@dataclass(slots=True, eq=False)
class Rule:
    """Which calls a fault meets; None means any.

    Attributes:
        times: how many more calls it meets, None for all that come.
        probability: of meeting a call that fits; the dice are the world's.
        hits: how many it has met.
    """

    respond: Fault
    method: str | None = None
    bot_id: int | None = None
    chat_id: int | None = None
    times: int | None = 1
    probability: float = 1.0
    hits: int = field(default=0, init=False)


class Faults:
    """The rules in force; the first that fits decides."""

    def __init__(self, dice: Random) -> None:
        self._dice = dice
        self._rules: list[Rule] = []

    def add(
        self,
        *,
        respond: Fault,
        method: str | None = None,
        bot: SimBot | None = None,
        chat_id: int | None = None,
        times: int | None = 1,
        probability: float = 1.0,
    ) -> Rule:
        """Put a fault in force and return its rule, which counts its hits.

        Args:
            respond: what happens instead.
            method: of that method only, in any case.
            bot: of that bot only.
            chat_id: with that `chat_id` only.
            times: how often; None until :meth:`remove`.
            probability: thrown for each call that fits; only hits use up `times`.
        """
        name = method.lower() if method else None
        rule = Rule(respond, name, bot.id if bot else None, chat_id, times, probability)
        self._rules.append(rule)
        return rule

    def remove(self, rule: Rule) -> None:
        """Take a rule out of force; one that is spent already is ignored."""
        if rule in self._rules:
            self._rules.remove(rule)

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        self._rules.clear()

    def match(self, method: str, bot: SimBot, chat_id: object) -> Fault | None:
        """The fault that this call meets, if any; it counts as a hit."""
        if not self._rules:
            return None
        method = method.lower()
        for rule in self._rules:
            fits = (
                rule.method in (None, method)
                and rule.bot_id in (None, bot.id)
                and (rule.chat_id is None or str(rule.chat_id) == str(chat_id))
            )
            if not fits or (rule.probability < 1.0 and self._dice.random() >= rule.probability):
                continue
            rule.hits += 1
            if rule.times is not None:
                rule.times -= 1
                if rule.times <= 0:
                    self._rules.remove(rule)
            return rule.respond
        return None
