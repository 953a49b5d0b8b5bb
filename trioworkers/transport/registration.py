"""Registration: a bot's webhook at Telegram, set when something differs and watched from then on.

Telegram never shows the secret, so a digest of what was last registered is kept on disk: without it, every
start would have to set every webhook anew. Nothing here ever drops what is pending.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import msgspec
import trio

from trioworkers.botapi.errors import BotApiError, TransportError
from trioworkers.botapi.files import InputFile
from trioworkers.botapi.quoted import without_quotes
from trioworkers.config.values import UPDATE_KINDS
from trioworkers.masking import mask_tokens
from trioworkers.shortage import in_thread
from trioworkers.transport.poll import TokenRefusedError
from trioworkers.transport.refusals import is_token_refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from trioworkers.botapi.client import BotApi

WATCH_EVERY = 30.0  # seconds, with jitter: what `auto` decides by is a minute
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 3600.0  # seconds between registrations that fail or do not last, doubled
UNASKED = frozenset({"chat_member", "message_reaction", "message_reaction_count"})  # not in the default
LARGEST_INFO = 64 * 1024  # bytes of a WebhookInfo; Telegram's have 1 kB
ERROR_LENGTH = 200  # characters of what Telegram says of a delivery


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a bot's webhook should be.

    `certificate`: PEM of a self-signed one, to be uploaded; None for one that Telegram can verify by itself.
    """

    url: str
    secret: str
    allowed_updates: Sequence[str] = ()
    max_connections: int = 40
    certificate: bytes | None = None

    def digest(self) -> str:
        """Tells one registration from another, and nothing of the secret: that has 256 bits."""
        parts = (self.url, self.secret, sorted(self.allowed_updates), self.max_connections)
        said = json.dumps(parts).encode() + b"\0" + (self.certificate or b"")
        return hashlib.sha256(said).hexdigest()


Number = Annotated[int, msgspec.Meta(ge=0, le=2**53)]  # what any clock and any counter can work with


class WebhookInfo(msgspec.Struct, frozen=True):
    """https://core.telegram.org/bots/api#webhookinfo. Dates are Unix seconds."""

    url: str = ""
    has_custom_certificate: bool = False
    pending_update_count: Number = 0
    last_error_date: Number | None = None
    last_error_message: str | None = None
    last_synchronization_error_date: Number | None = None
    max_connections: int = 40
    allowed_updates: list[str] = []

    def document(self) -> dict[str, Any]:
        """What a status tells of it; Telegram's words cleaned and cut."""
        said = self.last_error_message
        return {
            "pending": self.pending_update_count,
            "last_error_at": self.last_error_date,
            "last_error": None if said is None else clean(said),
            "last_synchronization_error_at": self.last_synchronization_error_date,
        }


def clean(said: str) -> str:
    """A server's words, fit for a log: printable, short, without anything like a token."""
    return mask_tokens("".join(filter(str.isprintable, said)))[:ERROR_LENGTH]


def differs(
    info: WebhookInfo, wanted: Wanted, kept: str | None, kinds: Collection[str] | None = None
) -> str | None:
    """Why the webhook has to be set, or None when it is as it should be.

    `kept`: the digest of what was registered last. `kinds`: which kinds of updates the server kept of those
    that were registered; None: not known yet, it should have kept all.
    """
    if not info.url:
        return "no webhook is set"
    if info.url != wanted.url:
        return "another address is set"
    if kept != wanted.digest():
        return "the settings changed"
    if info.has_custom_certificate != (wanted.certificate is not None):
        return "another certificate is set"
    if info.max_connections != wanted.max_connections:
        return "another max_connections is set"
    if set(info.allowed_updates) != set(wanted.allowed_updates if kinds is None else kinds):
        return "other allowed_updates are set"
    return None


def ignored_kinds(wanted: Collection[str], kept: Collection[str]) -> list[str]:
    """The kinds of updates that a server does not know, by what it kept of those that were registered.

    A server shows no kinds where it kept its default (all but three), and where it knows none of them.
    """
    if not kept and set(wanted) == set(UPDATE_KINDS) - UNASKED:
        return []
    return sorted(set(wanted) - set(kept))


class Digests:
    """The digests of the last registrations, by bot id, in a file of ours (mode 0600)."""

    def __init__(self, path: Path) -> None:
        """What cannot be read is as if nothing was kept: webhooks are set once more."""
        self._path = path
        self._digests: dict[str, str] = {}
        self._writing = trio.Lock()
        with suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError):
            self._digests = msgspec.json.decode(path.read_bytes(), type=dict[str, str])

    @property
    def all(self) -> Mapping[str, str]:
        """All of them, by bot id."""
        return self._digests

    def get(self, bot_id: int) -> str | None:
        """The digest of the bot's last registration."""
        return self._digests.get(str(bot_id))

    async def put(self, bot_id: int, digest: str | None) -> None:
        """Keep a digest; None: the bot has no webhook any more.

        Raises:
            OSError: it could not be written; it counts until the end of this process.
        """
        if self.get(bot_id) == digest:
            return
        if digest is None:
            del self._digests[str(bot_id)]
        else:
            self._digests[str(bot_id)] = digest
        await self._keep(bot_id, digest)

    async def _keep(self, bot_id: int, digest: str | None) -> None:
        async with self._writing:
            await in_thread(self._write, json.dumps(self._digests))

    def _write(self, text: str) -> None:
        fresh = self._path.with_name(f".{self._path.name}-{secrets.token_hex(4)}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(text)
            fresh.replace(self._path)
        except OSError:
            fresh.unlink(missing_ok=True)
            raise


class StoredDigests(Digests):
    """The digests of the last registrations, kept in a store that several machines may use.

    Args:
        digests: those that the store has, by bot id.
        put: puts one into the store, or removes it; it raises OSError when it cannot.
    """

    def __init__(self, digests: Mapping[int, str], put: Callable[[int, str | None], Awaitable[None]]) -> None:
        self._digests: dict[str, str] = {}
        self._put = put
        self.replace(digests)

    def replace(self, digests: Mapping[int, str]) -> None:
        """The store has these now, by bot id."""
        self._digests = {str(bot_id): digest for bot_id, digest in digests.items()}

    async def _keep(self, bot_id: int, digest: str | None) -> None:
        await self._put(bot_id, digest)


class RegistrationEvents(Protocol):
    """What is told of a registration, and what decides by it."""

    def registered(self, secret: str, reason: str | None) -> None:
        """The webhook is set with this secret: just now because of `reason`, or still (None)."""

    def refused(self, reason: str, pause: float) -> None:
        """It could not be set, or looked at; tried again in `pause` seconds."""

    def observed(self, info: WebhookInfo) -> None:
        """What Telegram says of a webhook that is set as it should be."""

    def ignored(self, kinds: Sequence[str]) -> None:
        """The server does not know these kinds of updates, and will not deliver any."""


@dataclass(frozen=True, slots=True)
class Registry:
    """What the registrations of all bots share.

    Attributes:
        digests: what was registered last.
        turn: waits for a bot's turn in the fleet's rate of registrations.
    """

    digests: Digests
    turn: Callable[[], Awaitable[None]]


class Registration:
    """Keeps one bot's webhook set. `serve` runs until it is cancelled, and leaves it set.

    Args:
        api: the bot's own connection.
        bot_id: whose digest is kept.
        wanted: what the webhook should be now; `changed` lets it be looked at again at once.
        registry: what is shared with the registrations of other bots.
        events: who hears of it.

    Attributes:
        is_set: whether the webhook was as wanted when it was last set or looked at.
    """

    def __init__(
        self,
        api: BotApi,
        bot_id: int,
        wanted: Callable[[], Wanted],
        registry: Registry,
        events: RegistrationEvents,
        rng: random.Random | None = None,
    ) -> None:
        self._api = api
        self._bot_id = bot_id
        self._wanted = wanted
        self._registry = registry
        self._events = events
        self._rng = rng or random.Random()  # noqa: S311 - jitter
        self.is_set = False
        self._was_set: Wanted | None = None  # just now, and not looked at since
        self._kinds: Collection[str] | None = None  # those that the server kept of what was set
        self._changed = trio.Event()
        self._attempts = 0  # registrations since the webhook was last found as it should be

    def changed(self) -> None:
        """Look at once whether the webhook is as wanted."""
        self._changed.set()

    async def serve(self) -> None:
        """Set the webhook when it differs, and look after it, until cancelled.

        Raises:
            TokenRefusedError: the token was refused (401, or 404 for one that is malformed).
        """
        while True:
            pause = WATCH_EVERY * self._rng.uniform(0.8, 1.2)
            self._changed = trio.Event()
            try:
                again = await self._look()
            except (BotApiError, TransportError) as error:
                pause = self._pause()
                self._events.refused(_in_words(error), pause)
            else:
                if again:  # soon, to see that it lasts; less and less soon if it does not, again and again
                    pause = self._pause()
            with trio.move_on_after(pause):
                await self._changed.wait()
                self._attempts = 0

    async def delete(self) -> None:
        """Delete the webhook; what is pending stays pending, for polling.

        Raises:
            TokenRefusedError: the token was refused.
            BotApiError, TransportError: it may still be set.
        """
        self.is_set = False
        try:
            await self._api.call("deleteWebhook", {})
        except BotApiError as error:
            raise _token_refused(error) or error from None
        await self._keep(None)

    async def _look(self) -> bool:
        """Whether the webhook had to be set."""
        wanted = self._wanted()
        info = await self._info()
        digest = self._registry.digests.get(self._bot_id)
        reason = differs(info, wanted, digest, self._kinds)
        if reason is not None and self._was_set == wanted:
            # the first look after it was set: a server may not know a kind, and would be asked for ever
            reason = differs(info, wanted, digest, info.allowed_updates)
            if reason is None:
                self._kinds = info.allowed_updates
                if ignored := ignored_kinds(wanted.allowed_updates, info.allowed_updates):
                    self._events.ignored(ignored)
        self._was_set = None
        if reason is None:
            self._attempts = 0
            self.is_set = True
            self._events.registered(wanted.secret, None)
            self._events.observed(info)
            return False
        self.is_set = False
        await self._registry.turn()
        await self._set(wanted)
        self.is_set = True
        self._was_set, self._kinds = wanted, None
        await self._keep(wanted.digest())
        self._events.registered(wanted.secret, reason)
        return True

    async def _info(self) -> WebhookInfo:
        try:
            answer = await self._api.call("getWebhookInfo", {})
        except BotApiError as error:
            raise _token_refused(error) or error from None
        try:
            if len(answer) <= LARGEST_INFO:
                return msgspec.json.decode(answer, type=WebhookInfo)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            pass
        raise TransportError("getWebhookInfo", "an answer that is no WebhookInfo")

    async def _set(self, wanted: Wanted) -> None:
        certificate = wanted.certificate
        params = {
            "url": wanted.url,
            "secret_token": wanted.secret,
            "allowed_updates": list(wanted.allowed_updates),  # none named: Telegram's default again
            "max_connections": wanted.max_connections,
            "certificate": None if certificate is None else InputFile(certificate, "certificate.pem"),
        }
        try:
            await self._api.call("setWebhook", params)
        except BotApiError as error:
            raise _token_refused(error) or error from None

    async def _keep(self, digest: str | None) -> None:
        with suppress(OSError):  # the next start sets it once more, which changes nothing for anybody
            await self._registry.digests.put(self._bot_id, digest)

    def _pause(self) -> float:
        bound = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self._attempts, 12))
        self._attempts += 1
        return self._rng.uniform(bound / 2, bound)


def error_age(info: WebhookInfo, now: float | None = None) -> float | None:
    """Seconds since the last delivery error that Telegram reports; None without one. `now`: Unix seconds."""
    if info.last_error_date is None:
        return None
    return max(0.0, (time.time() if now is None else now) - info.last_error_date)


def _token_refused(error: BotApiError) -> TokenRefusedError | None:
    return TokenRefusedError() if is_token_refused(error) else None


def _in_words(error: BotApiError | TransportError) -> str:
    if isinstance(error, BotApiError):
        return f"{error.method}: {error.error_code} {clean(without_quotes(error.description))}"
    return f"{error.method}: {error.what}"
