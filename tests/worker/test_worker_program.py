"""What a program finds in its environment."""

from __future__ import annotations

from trioworkers.protocol.frames import Program
from trioworkers.worker.program import environment_of


def variables(environ, own=None, preload=""):
    return environment_of(Program(["x"], "/", own or {}, "/settings", preload), environ)


def test_no_proxy_stands_before_the_endpoint():
    """What the user has excepted stays excepted, by whichever of the two names a library reads."""
    expected = {"NO_PROXY": "a,b,127.0.0.1", "no_proxy": "a,b,127.0.0.1"}
    assert variables({"NO_PROXY": "a,b"}) == expected
    assert variables({}, {"no_proxy": "a,b"}) == expected
    both = variables({"NO_PROXY": "a", "no_proxy": "b"})
    assert both == {"NO_PROXY": "a,127.0.0.1", "no_proxy": "b,127.0.0.1"}


def test_a_bots_own_variables_win():
    """Over those of the daemon."""
    assert variables({"A": "1", "B": "1"}, {"A": "2"}) == {
        "A": "2",
        "B": "1",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }


def test_preloads_come_before_the_users_own():
    """A folder may have spaces, quotes and backslashes; Node.js reads the variable as a shell would."""
    found = variables({"NODE_OPTIONS": "--no-warnings"}, {"PYTHONPATH": "lib"}, '/a "b\\c')
    assert found["NODE_OPTIONS"] == r'--require "/a \"b\\c/redirect.cjs" --no-warnings'
    assert found["PYTHONPATH"] == '/a "b\\c:lib'
    found = variables({}, preload="/p")
    assert found["NODE_OPTIONS"] == '--require "/p/redirect.cjs"'
    assert found["PYTHONPATH"] == "/p"
