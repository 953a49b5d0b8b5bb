"""Who sent a request, as far as trusted proxies tell."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioworkers.transport.senders import find_sender, is_telegram

PROXIES = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8")]
THEIRS = "149.154.167.197"


@pytest.mark.parametrize(
    ("peer", "forwarded", "sender"),
    [
        (THEIRS, "", THEIRS),
        (THEIRS, "1.2.3.4", THEIRS),  # no proxy of ours: what it says of others counts for nothing
        ("1.2.3.4", THEIRS, "1.2.3.4"),
        ("10.0.0.1", THEIRS, THEIRS),
        ("10.0.0.1", f"{THEIRS}, 1.2.3.4", "1.2.3.4"),  # made up by whoever is left of the proxy's own entry
        ("10.0.0.1", f"1.2.3.4, {THEIRS}, 10.0.0.2", THEIRS),
        ("10.0.0.1", f"{THEIRS}:4711", THEIRS),
        ("10.0.0.1", "[2001:67c:4e8::1]:443", "2001:67c:4e8::1"),
        ("10.0.0.1", f"::ffff:{THEIRS}", THEIRS),
        ("fd00::1", THEIRS, THEIRS),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", f"{THEIRS}, unknown", None),
        ("10.0.0.1", f"{THEIRS},", None),
        (None, THEIRS, THEIRS),  # a Unix socket's other end is a proxy
        (None, "", None),
        ("nonsense", THEIRS, None),
    ],
)
def test_entries_are_counted_from_the_right(peer, forwarded, sender):
    """As long as they are trusted proxies' own; what cannot be read is nobody."""
    expected = None if sender is None else ipaddress.ip_address(sender)
    assert find_sender(peer, forwarded, PROXIES) == expected


@pytest.mark.parametrize("address", ["149.154.160.0", "149.154.175.255", "91.108.4.0", "91.108.7.255"])
def test_telegrams_networks(address):
    """Both, to their ends."""
    assert is_telegram(address, "", [])


@pytest.mark.parametrize("address", ["149.154.159.255", "149.154.176.0", "91.108.8.0", "::1", "1.2.3.4"])
def test_foreign_networks(address):
    """And not one further."""
    assert not is_telegram(address, "", [])


@given(st.text(), st.text())
def test_nothing_that_a_stranger_writes_makes_him_telegram(forwarded, peer):
    """A stranger's own address is at the right of whatever he wrote."""
    assert not is_telegram("10.0.0.1", f"{forwarded}, 1.2.3.4", PROXIES)
    assert not is_telegram("1.2.3.4", forwarded, PROXIES)
    is_telegram(peer, forwarded, PROXIES)
