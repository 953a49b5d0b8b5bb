"""Certificates from files: served, replaced, and uploaded when nobody else vouches for them."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess

import pytest
import trio
from listening import SECRET, ListenerThread, Peer, request, update

from trioworkers.botapi.client import BotApi
from trioworkers.testing import Telegram, serve_telegram
from trioworkers.transport.registration import Digests, Registration, Registry, Wanted
from trioworkers.web.tls import Certificate, CertificateError, is_self_signed


def make(folder, name, *more):
    """A key and a certificate: for localhost, signed by itself unless `more` says otherwise."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command")
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-nodes", "-days", "2", "-subj", f"/CN={name}"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", key, "-out", cert, *more], check=True, capture_output=True)
    return cert, key


def issued(folder):
    """A certificate that another one signed, with its chain, as authorities give them."""
    ca, ca_key = make(folder, "authority")
    key, csr, cert = folder / "site.key", folder / "site.csr", folder / "site.pem"
    for command in (
        f"openssl req -new -newkey rsa:2048 -nodes -subj /CN=site -keyout {key} -out {csr}",
        f"openssl x509 -req -in {csr} -CA {ca} -CAkey {ca_key} -CAcreateserial -days 2 -out {cert}",
    ):
        subprocess.run(command.split(), check=True, capture_output=True)
    cert.write_text(cert.read_text() + ca.read_text())
    return cert, key


def served(peer):
    """The certificate that a server shows on a connection."""
    return peer.raw.getpeercert(binary_form=True)


def connect(listener):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    raw = socket.create_connection(("127.0.0.1", listener.port), timeout=20)
    return Peer(context.wrap_socket(raw))


def replace(source, target):
    """Put a file in another's place, as certbot and cert-manager do."""
    fresh = target.with_suffix(".fresh")
    fresh.write_bytes(source.read_bytes())
    os.replace(fresh, target)


def test_a_certificate_that_is_replaced_serves_new_connections(tmp_path):
    """Old ones go on; files that are no pair for a moment change nothing and are told once."""
    cert, key = make(tmp_path, "one")
    other_cert, other_key = make(tmp_path, "two")
    told: list[CertificateError] = []
    certificate = Certificate(cert, key, told.append, every=0.0)
    with ListenerThread(tls=certificate.context) as listener:
        old = connect(listener)
        before = served(old)
        replace(other_cert, cert)
        for _ in range(2):
            half = connect(listener)
            assert served(half) == before
            half.raw.close()
        assert len(told) == 1
        assert "key values mismatch" in str(told[0])
        replace(other_key, key)
        new = connect(listener)
        assert served(new) != before
        for number, peer in enumerate((old, new)):
            peer.send(request(update(number)))
            assert peer.status() == 200
            peer.raw.close()


def test_plain_bytes_to_a_tls_port_harm_nobody(tmp_path):
    """Nor does a peer that begins a handshake and leaves."""
    certificate = Certificate(*make(tmp_path, "one"))
    with ListenerThread(tls=certificate.context) as listener:
        for data in (request(update()), b"\x16\x03\x01\x02\x00\x01\x00", b""):
            with listener.peer() as peer:
                peer.send(data)
        peer = connect(listener)
        peer.send(request(update()))
        assert peer.status() == 200
        peer.raw.close()
        listener.until(lambda: listener.connections.open == 0)
        assert (listener.connections.broken, listener.errors) == (0, [])


def test_what_has_to_be_uploaded(tmp_path):
    """A certificate that signed itself, without the key that may stand beside it; no other one."""
    cert, key = make(tmp_path, "one")
    both = tmp_path / "both.pem"
    both.write_text(key.read_text() + cert.read_text())
    uploaded = Certificate(both, both).upload()
    assert uploaded is not None
    assert uploaded.startswith(b"-----BEGIN CERTIFICATE-----")
    assert b"PRIVATE" not in uploaded
    assert uploaded.decode().split() == cert.read_text().split()
    assert Certificate(*issued(tmp_path)).upload() is None


@pytest.mark.parametrize("der", [b"", b"0", b"\x30\x82", b"\x30\x03\x30\x01\x30", bytes(range(160, 224))])
def test_what_is_no_certificate_signed_nothing(der):
    """Nor does it raise."""
    assert not is_self_signed(der)


@pytest.mark.parametrize("content", ["", "no pem", None])
def test_files_without_a_certificate(tmp_path, content):
    """The message names the setting, the file and the reason."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    if content is not None:
        cert.write_text(content)
        key.write_text(content)
    with pytest.raises(CertificateError, match=r"^webhook\.tls_cert: .*cert\.pem and its key: \w+") as told:
        Certificate(cert, key)
    assert "\n" not in str(told.value)


def test_an_encrypted_key_is_refused(tmp_path):
    """Nobody is there to type its password."""
    cert, key = make(tmp_path, "one")
    locked = tmp_path / "locked.key"
    command = f"openssl ec -in {key} -aes256 -passout pass:x -out {locked}"
    subprocess.run(command.split(), check=True, capture_output=True)
    with pytest.raises(CertificateError, match="the key is encrypted"):
        Certificate(cert, locked)


async def test_telegram_delivers_to_a_self_signed_certificate(tmp_path, nursery):
    """Registered with its certificate, which the simulator then verifies."""
    certificate = Certificate(*make(tmp_path, "localhost"))
    world = Telegram(seed=1, repeat_guard=False)
    bot, alice = world.add_bot("echo"), world.add_user("Alice")
    base = await nursery.start(serve_telegram, world)
    with ListenerThread(tls=certificate.context) as listener:
        wanted = Wanted(
            f"https://127.0.0.1:{listener.port}/webhook/echo", SECRET, certificate=certificate.upload()
        )
        events = Events()
        async with BotApi(base, bot.token) as api:
            digests = Digests(tmp_path / "webhooks.json")
            registration = Registration(
                api, bot.id, lambda: wanted, Registry(digests, trio.lowlevel.checkpoint), events
            )
            nursery.start_soon(registration.serve)
            alice.send(bot, "hello")
            with trio.fail_after(20):
                while world.pending(bot):  # noqa: ASYNC110 - the other side of a socket has no event
                    await trio.sleep(0.005)
            nursery.cancel_scope.cancel()
        assert len(listener.accepted) == 1


class Events:
    """Hears what a registration tells."""

    def registered(self, secret, reason):
        """Nothing to do."""

    def ignored(self, kinds):
        """Nothing to do."""

    def refused(self, reason, pause):
        raise AssertionError(reason)

    def observed(self, info):
        """Nothing to do."""
