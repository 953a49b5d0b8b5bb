"""The settings of a bot with a backend, as its worker reads them."""

from __future__ import annotations

import os

import pytest

from trioworkers.handlers.settings import BackendSettings, SettingsError, read_settings

SECRET = "0123456789abcdef"
URL = "https://mind.example.org/updates?v=1"


def problems(**settings):
    with pytest.raises(SettingsError) as caught:
        read_settings(settings)
    return caught.value.problems


@pytest.mark.parametrize(
    ("timeout", "seconds"), [(None, 30), (5, 5), (0.5, 0.5), ("250ms", 0.25), ("45s", 45), ("2m", 120)]
)
def test_good_settings_are_read(timeout, seconds):
    """An address, a secret and a time, which may be left out."""
    given = {"url": URL, "secret": SECRET} | ({} if timeout is None else {"timeout": timeout})
    assert read_settings(given) == BackendSettings(URL, SECRET.encode(), seconds)


def test_all_problems_are_named_at_once():
    """Each with its key, what was expected, and no value."""
    assert problems(url="ftp://x", timeout="soon", retries=3) == (
        "settings.retries: unexpected key, expected url, secret, timeout",
        "settings.secret: expected a string, or a table with one of the keys env, file and credential",
        'settings.timeout: expected more than 0 seconds and at most an hour, as a number or such as "30s"',
        "settings.url: expected an http or https address without user and fragment",
    )


@pytest.mark.parametrize(
    "url",
    ["x.org", "http://", "http://u:p@x/", "http://x/#a", "http://x/a b", "http://[::1/", "http://x:99999/"],
)
def test_a_wrong_address_is_refused(url):
    """Whatever is no plain address of a service; what it is is not repeated."""
    (problem,) = problems(url=url, secret=SECRET)
    assert problem.startswith("settings.url: ")
    assert "u:p" not in problem


@pytest.mark.parametrize("timeout", [0, -1, True, "0s", "2h", float("inf"), float("nan"), [], "1"])
def test_a_wrong_time_is_refused(timeout):
    """Not more than nothing, or more than an hour."""
    (problem,) = problems(url=URL, secret=SECRET, timeout=timeout)
    assert problem.startswith("settings.timeout: expected more than 0")


def test_a_secret_comes_from_a_file(tmp_path, monkeypatch):
    """Relative to the working directory, without the line break at its end."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret").write_text(SECRET + "\n")
    assert read_settings({"url": URL, "secret": {"file": "secret"}}).secret == SECRET.encode()


def test_a_secret_comes_from_a_credential_of_systemd(tmp_path, monkeypatch):
    """A file of that name below $CREDENTIALS_DIRECTORY, and nothing outside of it."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "mind").write_text(SECRET)
    (tmp_path / "other").write_text(SECRET)
    assert read_settings({"url": URL, "secret": {"credential": "mind"}}).secret == SECRET.encode()
    (problem,) = problems(url=URL, secret={"credential": "../other"})
    assert problem == "settings.secret: expected the name of a credential after credential"


def test_a_secret_comes_from_the_environment(monkeypatch):
    """Of the worker: variables that the fleet file itself names are not in it."""
    monkeypatch.setenv("MIND_SECRET", SECRET)
    assert read_settings({"url": URL, "secret": {"env": "MIND_SECRET"}}).secret == SECRET.encode()


@pytest.mark.parametrize(
    ("secret", "reason"),
    [
        ("short", "expected a secret of at least 16 characters"),
        ({}, "expected a string, or a table with one of the keys env, file and credential"),
        ({"vault": SECRET}, "expected a string, or a table with one of the keys env, file and credential"),
        ({"env": 3}, "expected a string after env"),
        ({"env": "ABSENT_SECRET"}, "the environment variable that env names is not set in the worker"),
        ({"credential": "x"}, "the environment variable CREDENTIALS_DIRECTORY is not set"),
        ({"file": "absent"}, "the file is not a regular file"),
        ({"file": "fifo"}, "the file is not a regular file"),
        ({"file": "large"}, "the file is larger than 65536 bytes"),
    ],
)
def test_a_wrong_secret_is_refused(tmp_path, monkeypatch, secret, reason):
    """In words that name its source, never what was found there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "large").write_bytes(b"x" * 70_000)
    assert problems(url=URL, secret=secret) == (f"settings.secret: {reason}",)


def test_the_secret_is_not_shown():
    """Neither by the settings' repr, nor by an error."""
    assert SECRET not in repr(BackendSettings(URL, SECRET.encode()))
    with pytest.raises(SettingsError) as caught:
        read_settings({"url": SECRET, "secret": SECRET})
    assert SECRET not in str(caught.value)
