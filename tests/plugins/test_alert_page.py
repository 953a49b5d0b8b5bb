"""The page about alerts says what the code does."""

from __future__ import annotations

import pytest
from documents import DOCS, anchors, code, page, rows
from trioworkers_plugins.alerts import Settings
from trioworkers_plugins.alerts.kinds import KINDS, NAMES

from trioworkers.config.units import parse_duration


def test_the_settings_are_on_the_page():
    """Each key with its default, and no other."""
    table = {code(key)[0]: default for key, default, _ in rows("alerts.md", "alert settings")}
    assert table.keys() == Settings.model_fields.keys()
    model = Settings(bot="ops", chat=1)
    for key, default in table.items():
        if key in ("bot", "chat"):
            continue
        if key == "alerts":
            assert (default, model.alerts) == ("all", NAMES)
        elif not default:
            assert getattr(model, key) is None
        else:
            text = code(default)[0]
            value = parse_duration(text.strip('"')) if '"' in text else int(text)
            assert getattr(model, key) == value


def test_the_alerts_are_on_the_page():
    """In the order of the settings' default."""
    assert tuple(code(row[0])[0] for row in rows("alerts.md", "alert kinds")) == NAMES


def test_every_alert_has_its_section():
    """The runbook's table names it, and both that and the link in a message lead to a section."""
    table = {
        code(name)[0]: link.partition("(#")[2][:-1] for name, link in rows("runbook.md", "alert sections")
    }
    assert table == {name: kind.section for name, kind in KINDS.items()}
    assert {kind.section for kind in KINDS.values()} <= {*anchors(DOCS / "runbook.md")}


def test_every_section_has_its_three_parts():
    """What it means, where to look, what to do."""
    for section in page("runbook.md").split("\n### ")[1:]:
        parts = [part for part in ("**Meaning.**", "**Look.**", "**Do.**") if section.count(part) == 1]
        assert len(parts) == 3, section.partition("\n")[0]


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({}, "expected a URL, or a bot and a chat"),
        ({"bot": "ops"}, "needs chat beside it"),
        ({"chat": 1}, "needs bot beside it"),
        ({"url": "ftp://x"}, "expected an http or https address"),
        ({"url": "http://u:p@x/"}, "expected an http or https address"),
        ({"url": "http://x/", "docs": "docs/"}, "expected an http or https address"),
        ({"url": "http://x/", "alerts": ["nonsense"]}, "bot_failed"),
    ],
)
def test_wrong_settings_are_refused(table, problem):
    """In words, without what was written."""
    with pytest.raises(ValueError, match=problem) as caught:
        Settings.model_validate(table)
    assert "u:p" not in str(caught.value)
