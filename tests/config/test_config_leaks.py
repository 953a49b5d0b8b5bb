# ruff: noqa: E501 - a malformed text and its kind stand on one line
"""No text about a fleet shows a secret of it, however malformed the file is."""

from __future__ import annotations

import traceback

import pytest

from trioworkers.config import FleetFileError, load_fleet

CANARY = "123456:zeisig-Zeisig_ZEISIG-zeisig_zeisig"  # a canary, under a name that no traceback quotes
BOT = '[bots.echo]\ntoken = "123:abc"\nhandler = "echo:handle"\n'

QUOTED = f'"{CANARY}"'
LEAKS = [
    *(
        BOT.replace('"123:abc"', value)
        for value in (
            f'"{CANARY} "', f'["{CANARY}"]', CANARY, f'"{CANARY}', f"'{CANARY}\n", f'{{ env = "{CANARY}" }}',
            f'{{ file = "{CANARY}" }}', f'{{ credential = "{CANARY}" }}', f'{{ "{CANARY}" = 1 }}',
            f'{{ env = "{CANARY}", file = "{CANARY}" }}', f'{{ env = ["{CANARY}"] }}', '{ env = "X" }',
        )
    ),
    BOT + f'"{CANARY}" = 1\n',
    BOT + f"{CANARY} = 1\n",
    *(BOT + f"{key} = {QUOTED}\n" for key in ("transport", "poll_timeout", "rate_limit", "settings", "retry", "enabled")),
    BOT + f"allowed_updates = [{QUOTED}]\n",
    BOT.replace('"echo:handle"', QUOTED),
    f'[bots.{QUOTED}]\n',
    f'[bots.{QUOTED}]\n[bots.{QUOTED}]\n',
    f'[bots.a]\ntoken = {QUOTED}\nhandler = "a:b"\n[bots.b]\ntoken = {QUOTED}\nhandler = "a:b"\n',
    f"[bots.a]\ntoken = {QUOTED}\n",
    f"token = {QUOTED}\n",
    f"[fleet]\ntoken = {QUOTED}\n",
    *(f"[{table}]\n{key} = {QUOTED}\n" for table, key in (
        ("fleet", "shard"), ("fleet", "api_base"), ("api", "bind"), ("api", "metrics_public"),
        ("webhook", "secret"), ("webhook", "public_url"), ("webhook", "max_body"), ("store", "url"), ("log", "level"),
    )),
    f"[api]\ntoken = \"{CANARY} \"\n",
    "[webhook]\nsecret = { env = 'X' }\n",
    f"[store]\nurl = \"mysql://u:{CANARY}@h\"\n",
    f"[plugins]\nx = {QUOTED}\n",
    f"bots = {QUOTED}\n",
]  # fmt: skip


@pytest.mark.parametrize("text", LEAKS)
def test_no_problem_shows_a_secret(tmp_path, text):
    """Whatever is malformed around a token, no text of the error contains it."""
    with pytest.raises(FleetFileError) as caught:
        load_fleet_text(tmp_path, text)
    error = caught.value
    shown = "".join(traceback.format_exception(error)) + repr(error) + repr(error.problems)
    assert "zeisig" not in shown.lower()
    assert error.__context__ is None
    assert str(error) == "\n".join(map(str, error.problems))


def load_fleet_text(folder, text):
    (folder / "fleet.toml").write_text(text)
    return load_fleet(folder / "fleet.toml", {"X": CANARY + " "})


def test_no_good_fleet_shows_a_secret(tmp_path):
    """Neither repr, str, JSON nor a later problem of a fleet contains a secret of it."""
    fleet = load_fleet_text(
        tmp_path,
        f'[api]\ntoken = "{CANARY}"\n[webhook]\nsecret = "zeisig"\n[store]\nurl = "postgresql://u:zeisig@h/d"\n'
        f'[bots.a]\ntoken = "{CANARY}"\nhandler = "a:b"\nsettings = {{ key = "zeisig" }}\n[plugins.p]\nkey = "zeisig"\n',
    )
    shown = [repr(fleet), str(fleet), f"{fleet}", repr(fleet.bots), repr(fleet.webhook), str(fleet.store)]
    shown += [fleet.api.model_dump_json(), fleet.webhook.model_dump_json(), fleet.store.model_dump_json()]
    shown.append(fleet.bots["a"].model_dump_json(exclude={"settings"}))
    shown.append(str(fleet.problem_at(("bots", "a", "token"), f"refused {CANARY}")))
    assert all("zeisig" not in text.lower() for text in shown)
