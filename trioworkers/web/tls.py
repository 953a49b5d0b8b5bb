"""A certificate from files, taken anew when they change; and whether it has to be uploaded to Telegram."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import trio

from trioworkers.errors import TrioworkersError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LOOK_EVERY = 1.0  # seconds
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


class CertificateError(TrioworkersError):
    """The files hold no certificate with its key; the message says which files and why."""


class Certificate:
    """Gives each new connection the context of the certificate that the files hold now.

    Connections keep the context that they began with, so that none is dropped by a change. Files that are no
    pair, as they are for a moment while they are replaced, change nothing: `trouble` hears of them, once, and
    they are looked at again. `renewed` hears that there is another one. `every`: seconds between two looks.

    Raises:
        CertificateError: there is none to begin with.
    """

    def __init__(
        self,
        cert: Path,
        key: Path,
        trouble: Callable[[CertificateError], None] = lambda _: None,
        renewed: Callable[[], None] = lambda: None,
        every: float = LOOK_EVERY,
    ) -> None:
        self._every = every
        self._cert = cert
        self._key = key
        self._trouble = trouble
        self._renewed = renewed
        self._told: str | None = None
        self._seen = self._look()
        self._context, self._upload = self._load()
        self._next_look = 0.0

    def context(self) -> ssl.SSLContext:
        """The context for a connection that begins now. Looks at the files, once a second at most."""
        now = trio.current_time()
        if now >= self._next_look:
            self._next_look = now + self._every
            self._renew()
        return self._context

    def _renew(self) -> None:
        found = self._look()
        if found == self._seen:
            return
        try:
            self._context, self._upload = self._load()
        except CertificateError as error:
            if str(error) != self._told:
                self._told = str(error)
                self._trouble(error)
        else:
            self._seen = found  # from before it was loaded: a change in between is seen the next time
            self._told = None
            self._renewed()

    def upload(self) -> bytes | None:
        """What setWebhook wants of a self-signed certificate: itself, without the key and the chain."""
        return self._upload

    def _look(self) -> list[tuple[int, int, int] | None]:
        found: list[tuple[int, int, int] | None] = []
        for path in (self._cert, self._key):
            try:
                stat = path.stat()
            except OSError:
                found.append(None)
            else:
                found.append((stat.st_mtime_ns, stat.st_size, stat.st_ino))
        return found

    def _load(self) -> tuple[ssl.SSLContext, bytes | None]:
        """The context, and what has to be uploaded."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
        context.set_alpn_protocols(["http/1.1"])
        try:
            # a password that is asked for on the terminal would stop everything
            context.load_cert_chain(self._cert, self._key, password=_no_password)
            pem = _first(self._cert.read_text("ascii", "replace"))
            uploads = pem is not None and is_self_signed(ssl.PEM_cert_to_DER_cert(pem))
        except (OSError, ssl.SSLError, ValueError) as error:
            raise _unusable(self._cert, error) from None
        return context, f"{pem}\n".encode() if uploads else None


def _no_password() -> str:
    message = "the key is encrypted"
    raise ValueError(message)


def _unusable(path: Path, error: Exception) -> CertificateError:
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or "no certificate and key in PEM").lower().replace("_", " ")
    else:
        reason = ((isinstance(error, OSError) and error.strerror) or str(error)).lower()
    return CertificateError(f"webhook.tls_cert: {path} and its key: {reason}")


def _first(text: str) -> str | None:
    start, end = text.find(_BEGIN), text.find(_END)
    return text[start : end + len(_END)] if 0 <= start < end else None


def is_self_signed(der: bytes) -> bool:
    """Whether a certificate names itself as its issuer. False for what is none.

    RFC 5280, section 4.1: Certificate { tbsCertificate { [0] version, serialNumber, signature, issuer,
    validity, subject, … } … }, each an element of DER.
    """
    try:
        (_, certificate), *_ = _elements(der)
        (_, signed), *_ = _elements(certificate)
        fields = [value for tag, value in _elements(signed) if tag != 0xA0]
        return fields[2] == fields[4]
    except (IndexError, ValueError):
        return False


def _elements(der: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(der):
        tag, length = der[at], der[at + 1]
        at += 2
        if length & 0x80:
            digits = length & 0x7F
            length = int.from_bytes(der[at : at + digits], "big")
            at += digits
        yield tag, der[at : at + length]
        at += length
