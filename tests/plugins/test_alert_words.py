"""What people and Alertmanager's receivers read."""

from __future__ import annotations

import pytest
from trioworkers_plugins.alerts.book import Alert, Notice
from trioworkers_plugins.alerts.words import in_alertmanagers_format, in_words

AT = 1_700_000_000.0


def alert(subject, reason="restart budget spent", kind="bot_failed", ended=None):
    return Alert(kind, subject, reason, AT, AT, ended=ended, told=True)


def notice(*, fired=(), resolved=(), firing=None, kind="bot_failed", counts=None):
    firing = fired if firing is None else firing
    return Notice(
        kind,
        AT,
        tuple(fired),
        tuple(resolved),
        tuple(firing),
        counts or (len(fired), len(resolved), len(firing)),
    )


OVER = AT + 720

MESSAGES = [
    (notice(fired=[alert("support")]), "🔴 main: bot failed\nsupport: restart budget spent"),
    (notice(fired=[alert("support", "")]), "🔴 main: bot failed\nsupport"),
    (
        notice(fired=[alert("", "disk full", "inbox")], kind="inbox"),
        "🔴 main: updates cannot be stored\ndisk full",
    ),
    (
        notice(fired=[alert(f"b{n}", "x") for n in range(17)]),
        "🔴 main: bot failed\nb0: x\nb1: x\nb2: x\nb3: x\nb4: x\nand 12 more bots",
    ),
    (
        notice(fired=[alert(f"b{n}", "x") for n in range(6)], counts=(1000, 0, 1000)),
        "🔴 main: bot failed\nb0: x\nb1: x\nb2: x\nb3: x\nb4: x\nand 995 more bots",
    ),
    (notice(resolved=[alert("support", ended=OVER)]), "🟢 main: over: bot failed\nsupport: after 12 min"),
    (
        notice(fired=[alert("a", "x")], resolved=[alert("b", ended=OVER)], firing=[alert("a"), alert("c")]),
        "🔴 main: bot failed\na: x\n\n🟢 main: over: bot failed\nb: after 12 min\n\nStill so: 1 bots",
    ),
    (notice(firing=[alert("a", "x")]), "🔴 main: bot failed (still)\na: x"),
    (notice(resolved=[alert("", "x", "inbox_damaged", OVER)], kind="inbox_damaged"), None),
]


@pytest.mark.parametrize(("given", "text"), MESSAGES)
def test_a_message_to_the_chat(given, text):
    """What began, what is over and for how long it lasted; a few by name, the others as a number."""
    assert in_words(given, "main") == text


def test_alertmanagers_format():
    """All fields that its receivers know, the group's alerts, and which of them are over."""
    given = notice(
        fired=[alert("a", "x")],
        resolved=[alert("b", "y", ended=OVER)],
        firing=[alert("a", "x"), alert("c", "z")],
    )
    body = in_alertmanagers_format(given, 'the "main" one')
    alerts = body.pop("alerts")
    assert body == {
        "version": "4",
        "groupKey": '{}:{alertname="TrioworkersBotFailed", fleet="the \\"main\\" one"}',
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "trioworkers",
        "groupLabels": {"alertname": "TrioworkersBotFailed", "fleet": 'the "main" one'},
        "commonLabels": {
            "alertname": "TrioworkersBotFailed",
            "fleet": 'the "main" one',
            "severity": "critical",
        },
        "commonAnnotations": {"summary": "bot failed"},
        "externalURL": "",
    }
    assert [(one["labels"]["bot"], one["status"]) for one in alerts] == [
        ("a", "firing"),
        ("c", "firing"),
        ("b", "resolved"),
    ]
    assert alerts[2] == {
        "status": "resolved",
        "labels": {**body["commonLabels"], "bot": "b"},
        "annotations": {"summary": "bot failed", "description": "y"},
        "startsAt": "2023-11-14T22:13:20.000Z",
        "endsAt": "2023-11-14T22:25:20.000Z",
        "generatorURL": "",
        "fingerprint": alerts[2]["fingerprint"],
    }
    assert alerts[0]["endsAt"] == "0001-01-01T00:00:00Z"


def test_an_alert_keeps_its_fingerprint():
    """While it goes on, and when it is over; every other alert has another one."""

    def fingerprints(given):
        return [one["fingerprint"] for one in in_alertmanagers_format(given, "main")["alerts"]]

    begun = fingerprints(notice(fired=[alert("a", "x"), alert("b", "x")]))
    over = fingerprints(notice(resolved=[alert("a", "y", ended=OVER), alert("b", ended=OVER)]))
    other = fingerprints(notice(fired=[alert("a", "x", "token_refused")], kind="token_refused"))
    assert begun == over
    assert len({*begun, *other}) == 3


def test_a_group_that_is_over_is_resolved_and_says_how_many_it_left_out():
    """More alerts than a notice lists are counted."""
    body = in_alertmanagers_format(notice(resolved=[alert("a", ended=OVER)], counts=(0, 300, 0)), "main")
    assert (body["status"], body["truncatedAlerts"]) == ("resolved", 299)


def test_a_plugin_is_labelled_as_one():
    """Not as a bot."""
    body = in_alertmanagers_format(
        notice(fired=[alert("dedup", "x", "plugin_disabled")], kind="plugin_disabled"), "main"
    )
    assert body["alerts"][0]["labels"]["plugin"] == "dedup"


@pytest.mark.parametrize("docs", ["https://docs.example.org/bots", "https://docs.example.org/bots/"])
def test_a_message_links_to_what_to_do(docs):
    """While something is wrong; an end needs no remedy."""
    link = "https://docs.example.org/bots/runbook.html#botfailed"
    fired, over = notice(fired=[alert("support")]), notice(resolved=[alert("support", ended=OVER)])
    text = "🔴 main: bot failed\nsupport: restart budget spent"
    assert in_words(fired, "main", docs) == f"{text}\n\nWhat to do: {link}"
    assert in_words(over, "main", docs) == in_words(over, "main")
    body = in_alertmanagers_format(fired, "main", docs)
    assert body["commonAnnotations"] == {"summary": "bot failed", "runbook_url": link}
    assert body["alerts"][0]["annotations"]["runbook_url"] == link
