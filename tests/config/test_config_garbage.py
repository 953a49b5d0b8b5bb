# ruff: noqa: E501 - a malformed text and its kind stand on one line
"""Whatever stands in the files and in the environment: a fleet or problems, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trioworkers.config import FleetFileError, load_fleet


def read(folder, text, environ=None, **files):
    """Reads a fleet; passes over problems, and over nothing else."""
    for name, content in {"fleet.toml": text, **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    try:
        load_fleet(folder / "fleet.toml", environ or {})
    except FleetFileError as error:
        assert error.problems  # noqa: PT017 - either outcome is right


WORDS = st.sampled_from(
    [
        "fleet",
        "bots",
        "defaults",
        "api",
        "webhook",
        "plugins",
        "token",
        "handler",
        "retry",
        "env",
        "file",
        "x",
        "1:a",
    ]
)
TOML_VALUES = st.recursive(
    st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["a:b", "1:a", "poll", "50s", "1MB", "unix:", "[]:1", "https://[", "a:\0"])
    | st.dates(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)
KNOWN = st.sampled_from(
    ["name", "state_dir", "shard", "bind", "token", "secret", "public_url", "url", "handler", "settings", "retry",
     "rate_limit", "allowed_updates", "poll_timeout", "trusted_proxies", "max_body", "python_path", "api_base"]
)  # fmt: skip
FLEETS = st.dictionaries(
    st.sampled_from(["fleet", "api", "webhook", "store", "cluster", "log", "defaults", "limits", "plugins"])
    | WORDS,
    TOML_VALUES | st.dictionaries(KNOWN, TOML_VALUES, max_size=5),
    max_size=5,
)
QUIET = [HealthCheck.function_scoped_fixture]


@settings(max_examples=400, deadline=None, suppress_health_check=QUIET)
@given(
    tables=FLEETS, bots=st.dictionaries(WORDS, st.dictionaries(KNOWN, TOML_VALUES, max_size=5), max_size=3)
)
def test_no_toml_raises_anything_else(tmp_path, tables, bots):
    """Whatever TOML says, reading it gives a fleet or problems."""
    import tomli_w

    try:
        text = tomli_w.dumps({**tables, **({"bots": bots} if bots else {})})
    except UnicodeEncodeError:
        return
    read(tmp_path, text.encode(errors="replace"))


@settings(max_examples=400, deadline=None, suppress_health_check=QUIET)
@given(raw=st.binary(max_size=300) | st.text("[]{}=\"'\n.,abot1#: \\", max_size=120).map(str.encode))
def test_no_bytes_raise_anything_else(tmp_path, raw):
    """Whatever the bytes, reading them gives a fleet or problems."""
    read(tmp_path, raw, **{"fleet.d/x.toml": raw})


@settings(max_examples=100, deadline=None, suppress_health_check=QUIET)
@given(
    environ=st.dictionaries(
        st.sampled_from(["BOT_MODE", "WEBHOOK_HOST", "WEBHOOK_PORT", "WEBHOOK_SECRET", "STATE_DIRECTORY", "T",
                         "WEBHOOK_SSL_CERT", "CREDENTIALS_DIRECTORY", "TRIOWORKERS_API_TOKEN"]),
        st.text(max_size=12) | st.sampled_from(["http://[", "h:99999", "\udcff", "a\0b", "//h"]),
    )
)  # fmt: skip
def test_no_environment_raises_anything_else(tmp_path, environ):
    """Whatever the environment says, reading gives a fleet or problems."""
    text = '[bots.a]\ntoken = { env = "T" }\nhandler = "a:b"\n[bots.b]\ntoken = { credential = "c" }\nhandler = "a:b"\n'
    read(tmp_path, text, environ)
    read(tmp_path, "", environ)


@pytest.mark.parametrize(
    "text",
    [
        "a." * 3000 + "b=1",
        "[" + "a." * 3000 + "b]",
        "a=" + "{a=" * 900,
        "a=" + "[" * 900 + "]" * 900,
        "x = = 1\n" * 5000,
    ],
)
def test_large_nonsense_is_read_in_bounded_time_and_depth(tmp_path, text):
    """Neither recursion nor a square of the length makes reading fail."""
    read(tmp_path, text)
