"""The Bot API calls of one handling, so that a second one repeats none that succeeded.

Before a call is made its key goes to a recorder, and afterwards its answer. A worker's recorder sends both
to the daemon. The key has left the process before the call does, so that a worker which is killed leaves no
unrecorded call behind; that it is durable is not waited for. The answer leaves with the next write, which
costs less, and not at all where the handling is done with it; where an earlier handling has called
something, it leaves at once, as that one may have ended before its next write. The channel keeps their
order, so the calls of an update are recorded before it ends in any other way. When it is handled again,
what was answered is not called a second time. What was begun and has no answer may or may not have been
made: it is made again, and marked.

A key is the method, the chat, a digest of the parameters, and which one it is of those that have all
three the same: tasks of a handling run side by side, in another order each time, so a mere count would
give one message's answer to another, and then neither would have been sent. A call that failed gives its
number back: the handler that tries it again means the same message, in the next handling, too.
"""

from __future__ import annotations

from enum import Enum
from hashlib import blake2b
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import trio

from trioworkers.botapi.errors import BotApiError, TransportError
from trioworkers.botapi.files import InputFile
from trioworkers.botapi.parameters import split_files, unencodable
from trioworkers.protocol.frames import KEY_LENGTH, cut
from trioworkers.records import shown_call

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from trioworkers.protocol.frames import Recorded

    Ready = Callable[[], Awaitable[None]]
    Make = Callable[[Callable[[], Awaitable[None]]], Awaitable[msgspec.Raw]]

MOST_KEPT = 16 * 2**20  # bytes of keys and answers of one update; what is beyond is called each time
CHAT_LENGTH, ONCE_LENGTH = 64, 200  # characters
SOME_TIME = 1e9  # Unix seconds; from there timedeltas count in digests, the same in each handling
REMEMBER = "remember"  # in the place of a method, in keys of remembered values
FORGOTTEN = msgspec.Raw(b"null")  # in the place of a value, each of which is wrapped in a list


class CallRecorder(Protocol):
    """Where the calls of one handling are recorded."""

    async def begin(self, key: str) -> None:
        """Record that a call is about to be made; return once the end of this process cannot hide it."""

    def made(self, key: str, answer: msgspec.Raw) -> None:
        """Record the answer of a call."""

    def not_made(self, key: str) -> None:
        """Record that a call that was begun is known not to have been made."""

    async def flush(self) -> None:
        """Return once the end of this process cannot hide what was recorded."""


class Calls:
    """The recorded calls of one handling.

    Args:
        recorded: what earlier handlings called.
        recorder: where the calls of this one are recorded.
        most: bytes that are kept of them.
    """

    def __init__(self, recorded: Sequence[Recorded], recorder: CallRecorder, most: int = MOST_KEPT) -> None:
        self._most = most
        self._answers = {
            call.key: call.answer for call in recorded if call.answered and not _is_forgotten(call)
        }
        self._unmade = dict.fromkeys(self._answers)
        self._kept = sum(len(key) + len(bytes(answer)) for key, answer in self._answers.items())
        self._counts: dict[str, int] = {}
        self._given_back: dict[str, list[int]] = {}
        self._under_way: dict[str, trio.Event | None] = {}  # with who waits for its end
        self._again = bool(recorded)
        self._recorder: CallRecorder | None = recorder

    async def make(
        self,
        method: str,
        params: Mapping[str, Any],
        make: Make,
        *,
        once: str | None,
        ready: Ready | None = None,
    ) -> msgspec.Raw:
        """The recorded answer of this call, or what `make` returns, which is then recorded.

        `make` is given what it has to await before it repeats a try that may have succeeded. `ready` is
        awaited before the call is recorded as begun: while it waits, it is known not to have been made.

        Raises:
            Exception: what `make` raised. Then it is not recorded, but for a failure on the way or one
                of the server's (5xx), after which it may have been made.
            TypeError: `once` is no text, or something in `params` cannot be sent.
            trio.BrokenResourceError: the daemon is gone; it was not made.
        """
        if once is not None:
            return await self._make(once_key(method, once), make, ready)
        same = same_key(method, params)
        if given_back := self._given_back.get(same):
            number = heappop(given_back)
        else:
            number = self._counts[same] = self._counts.get(same, 0) + 1
        try:
            return await self._make(f"{same} {number}", make, ready)
        except BaseException:
            heappush(self._given_back.setdefault(same, []), number)
            raise

    async def remember(self, name: str, make: Make) -> msgspec.Raw:
        """The recorded value of this name, or what `make` returns, which is then recorded.

        It is recorded before the calls that follow it, so that none of them is on record without it.

        Raises:
            Exception: what `make` raised. Then nothing is recorded but that it was begun.
            TypeError: the name is no text.
        """
        return await self._make(once_key(REMEMBER, name), make)

    def forget(self, name: str) -> None:
        """Forget the value of this name: it is made anew when it is asked for again, in this handling or a
        later one. Idempotent.

        Raises:
            TypeError: the name is no text.
        """
        key = once_key(REMEMBER, name)
        if self._answers.pop(key, None) is not None and self._recorder is not None:
            self._recorder.made(key, FORGOTTEN)  # a record can be replaced, and not taken back

    async def _make(self, key: str, make: Make, ready: Ready | None = None) -> msgspec.Raw:
        self._unmade.pop(key, None)
        while key in self._under_way:  # of two tasks that name one call the second waits for the first
            end = self._under_way[key]
            if end is None:
                end = self._under_way[key] = trio.Event()
            await end.wait()
        if key in self._answers:
            return self._answers[key]
        if self._recorder is None or self._kept > self._most:
            return await make(_unrecorded)
        self._under_way[key] = None
        try:
            if ready is not None:
                await ready()
            return await self._recorded(key, make)
        finally:
            over = self._under_way.pop(key)
            if over is not None:
                over.set()

    async def _recorded(self, key: str, make: Make) -> msgspec.Raw:
        async def begin() -> None:
            if self._recorder is not None:
                await self._recorder.begin(key)

        await begin()
        try:
            answer = await make(begin)
        except Exception as error:
            if self._recorder is not None and not _may_have_been_made(error):
                self._recorder.not_made(key)
            raise
        self._answers[key] = answer
        self._kept += len(key) + len(bytes(answer))
        if self._recorder is not None:
            self._recorder.made(key, answer)
            if self._again:  # a handler that ends its process at once would make it again in every handling
                await self._recorder.flush()
        return answer

    def unmade(self) -> list[str]:
        """The recorded calls that were not made this time, as people read them."""
        return [shown_call(key) for key in self._unmade]

    def close(self) -> None:
        """The handling has its outcome: tasks that outlive it are no part of it, and are not recorded."""
        self._recorder = None


async def _unrecorded() -> None:
    """A call that is not recorded may be repeated as it likes."""


def _may_have_been_made(error: Exception) -> bool:
    """No answer, or a server that broke, perhaps only after the message was on its way (502, 504)."""
    return isinstance(error, TransportError) or (isinstance(error, BotApiError) and error.error_code >= 500)


def once_key(method: str, once: str) -> str:
    """The key of a call that has a name: it is one call, whatever its parameters.

    Raises:
        TypeError: the name is no text.
    """
    if not isinstance(once, str):
        message = f"once: expected a text, got {type(once).__name__}"
        raise TypeError(message)
    if len(once) > ONCE_LENGTH:  # cut off it would be another one's name, whose message would be lost
        once = blake2b(once.encode(errors="surrogatepass"), digest_size=32).hexdigest()
    return cut(f"once {method[:CHAT_LENGTH]} {once}", KEY_LENGTH)


def _is_forgotten(call: Recorded) -> bool:
    return bytes(call.answer) == bytes(FORGOTTEN) and call.key.startswith(f"once {REMEMBER} ")


def same_key(method: str, params: Mapping[str, Any]) -> str:
    """What calls of the same method, chat and parameters have in common.

    Raises:
        TypeError, ValueError: something in the parameters cannot be sent.
    """
    chat = params.get("chat_id", "-")
    shown = str(chat.value if isinstance(chat, Enum) else chat)[:CHAT_LENGTH].replace(" ", "_")
    return cut(f"{method[:CHAT_LENGTH]} {shown} {_digest(params)}", KEY_LENGTH)


# parameters as they are given, not as they are sent: a timedelta is the same in each handling, the moment
# that it stands for is not
_encode = msgspec.json.Encoder(order="sorted", enc_hook=lambda value: _file_digest(value)).encode


def _digest(params: Mapping[str, Any]) -> str:
    """16 hexadecimal digits that tell parameters apart; those that are None are not sent and do not count.

    Raises:
        TypeError, ValueError: something in them cannot be sent.
    """
    given = {name: value for name, value in params.items() if value is not None}
    try:
        try:
            encoded = _encode(given)
        except (TypeError, RecursionError):  # something that only the walk knows, or cannot be sent
            plain, files = split_files(given, lambda: SOME_TIME)
            encoded = _encode(plain | {name: file.identity() for name, file in files.items()})
    except UnicodeEncodeError:
        raise unencodable(given) from None
    return blake2b(encoded, digest_size=8).hexdigest()


def _file_digest(value: object) -> str:
    if isinstance(value, InputFile):
        return value.identity()
    raise TypeError(type(value).__name__)
