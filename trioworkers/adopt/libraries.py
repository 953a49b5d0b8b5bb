"""The libraries that bots are written with, how each is run, and what that means for `acknowledge`."""

from __future__ import annotations

import re
from dataclasses import dataclass

TOKEN = re.compile(r"[0-9]{3,19}:[A-Za-z0-9_-]{3,256}")  # where a token is expected
SPEAKS = re.compile(r"(?:[A-Z][A-Z0-9]*_)*TOKEN(?:_[A-Z0-9]+)*")  # a name in code that a variable has, too
UNMISTAKABLE = re.compile(r"(?<![0-9A-Za-z_])[0-9]{6,19}:[A-Za-z0-9_-]{30,256}(?![A-Za-z0-9_-])")
"""What nobody writes who does not mean a token. Telegram's have 8 to 10 digits, and 35 characters."""


@dataclass(frozen=True, slots=True)
class Mode:
    """A library, and how it is run.

    Attributes:
        library: its name, as its package is called.
        words: how it is run, for people.
        acknowledge: the setting that is true for it.
        concurrency: the setting, where it has to be another than the default.
        obstacle: why it cannot be moved as it is.
        note: what is to be known.
    """

    library: str
    words: str
    acknowledge: str = "receipt"
    concurrency: int | None = None
    obstacle: str | None = None
    note: str | None = None


WEBHOOK = (
    "it sets a webhook: let it poll, or set the webhook to http://127.0.0.1:PORT, and write its table by hand"
)
ADDRESS = "its requests are not redirected: give its library the address in TRIOWORKERS_API_BASE"
POLLS = 'if the event gateway.unprobed shows: acknowledge = "poll" is true for it'
SERIAL = 'if the event gateway.unprobed shows: acknowledge = "poll" and concurrency = 1 are true for it'
MODES = {
    ("telegraf", "poll"): Mode("telegraf", "polling", "auto", note=POLLS),
    ("grammy", "poll"): Mode("grammy", "polling, bot.start()", "auto", note=SERIAL),
    ("grammy", "runner"): Mode("grammy", "polling, @grammyjs/runner", "auto"),
    ("grammy", "sequentialize"): Mode("grammy", "polling, @grammyjs/runner with sequentialize", "auto"),
    ("node-telegram-bot-api", "poll"): Mode("node-telegram-bot-api", "polling", "auto"),
    ("aiogram", "tasks"): Mode("aiogram", "polling, handlers as tasks", "auto"),
    ("aiogram", "serial"): Mode("aiogram", "polling, handle_as_tasks=False", "auto", note=SERIAL),
    ("python-telegram-bot", "serial"): Mode("python-telegram-bot", "polling", "auto"),
    ("python-telegram-bot", "concurrent"): Mode("python-telegram-bot", "polling, concurrent_updates", "auto"),
    ("pyTelegramBotAPI", "threads"): Mode("pyTelegramBotAPI", "polling, handlers in threads", "auto"),
    ("pyTelegramBotAPI", "serial"): Mode("pyTelegramBotAPI", "polling, threaded=False", "auto", note=SERIAL),
    ("pyTelegramBotAPI", "asyncio"): Mode("pyTelegramBotAPI", "polling, AsyncTeleBot", "auto"),
}


def mode_of(library: str, how: str) -> Mode:
    """Return what is known of a library that is run in this way; `webhook` of any library is an obstacle."""
    if how == "webhook":
        return Mode(library, "webhook", obstacle=WEBHOOK)
    return MODES.get((library, how)) or Mode(library, how)


NODE = {
    "telegraf": "telegraf",
    "grammy": "grammy",
    "node-telegram-bot-api": "node-telegram-bot-api",
}
"""Packages of npm, and the library that each is."""

PYTHON = {
    "aiogram": "aiogram",
    "python-telegram-bot": "python-telegram-bot",
    "pytelegrambotapi": "pyTelegramBotAPI",
}
"""Packages of PyPI in their normal form, and the library that each is."""

OTHERS = {
    "go.mod": {
        "gopkg.in/telebot": "telebot (Go)",
        "github.com/tucnak/telebot": "telebot (Go)",
        "telegram-bot-api": "telegram-bot-api (Go)",
        "github.com/go-telegram/bot": "go-telegram/bot (Go)",
        "PaulSonOfLars/gotgbot": "gotgbot (Go)",
        "github.com/mymmrac/telego": "telego (Go)",
    },
    "Cargo.toml": {"teloxide": "teloxide (Rust)", "frankenstein": "frankenstein (Rust)"},
    "composer.json": {
        "longman/telegram-bot": "longman/telegram-bot (PHP)",
        "irazasyed/telegram-bot-sdk": "telegram-bot-sdk (PHP)",
        "nutgram/nutgram": "nutgram (PHP)",
        "telegram-bot/api": "telegram-bot/api (PHP)",
    },
    "pom.xml": {
        "telegrambots": "TelegramBots (Java)",
        "java-telegram-bot-api": "java-telegram-bot-api (Java)",
    },
    "build.gradle": {
        "telegrambots": "TelegramBots (Java)",
        "java-telegram-bot-api": "java-telegram-bot-api (Java)",
    },
    "Gemfile": {"telegram-bot": "telegram-bot (Ruby)"},
}
"""For programs of other languages: the file that names what they are made of, and what to look for there."""
