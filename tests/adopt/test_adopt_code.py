"""How bots are found in code: each library, each way to run it, each way to name its token."""

from __future__ import annotations

import pytest

from trioworkers.adopt.javascript import read_javascript
from trioworkers.adopt.program import last_words, program_of
from trioworkers.adopt.python_code import read_python

TELEGRAF = 'import { Telegraf } from "telegraf";\n'
GRAMMY = 'import { Bot } from "grammy";\n'
AIOGRAM = "import os\nfrom aiogram import Bot, Dispatcher\n"

JAVASCRIPT = {
    "const { Telegraf: T } = require('telegraf');\nnew T(process.env['A_TOKEN']).launch()": (
        "poll",
        "A_TOKEN",
    ),
    "import telegraf from 'telegraf';\nnew telegraf.Telegraf(process.env.A).launch()": ("poll", "A"),
    TELEGRAF + "const { A_TOKEN: t = '' } = process.env;\nnew Telegraf(t).launch()": ("poll", "A_TOKEN"),
    TELEGRAF + "new Telegraf(process.env.A!).launch({ webhook: { domain } })": ("poll", "A"),
    TELEGRAF + "const bot = new Telegraf(process.env.A)\napp.use(await bot.createWebhook({}))": (
        "webhook",
        "A",
    ),
    GRAMMY + "const env = cleanEnv(process.env, { BOT_TOKEN: str() })\nnew Bot(env.BOT_TOKEN).start()": (
        "poll",
        "BOT_TOKEN",
    ),
    'import { Bot } from "npm:grammy@1";\nnew Bot<C>(Deno.env.get("A") ?? "").start()': ("poll", "A"),
    GRAMMY + 'import { run } from "@grammyjs/runner";\nrun(new Bot(Bun.env.A))': ("runner", "A"),
    "@Module({ imports: [TelegrafModule.forRoot({ token: process.env.A })] })": ("poll", "A"),
    "// new Telegraf(1)\n" + TELEGRAF + "/* new Telegraf(2) */ new Telegraf(config.get('A')).launch()": (
        "poll",
        "A",
    ),
}
PYTHON = {
    AIOGRAM + "Bot(os.environ['A'])\nDispatcher().start_polling(b, handle_as_tasks=False)": ("serial", "A"),
    AIOGRAM + "T = os.getenv('A', '')\nBot(token=T)\nDispatcher().start_polling(b)": ("tasks", "A"),
    AIOGRAM + "import config\nBot(config.BOT_TOKEN)\ndp.start_polling(b)": ("tasks", "BOT_TOKEN"),
    AIOGRAM + "SimpleRequestHandler(Dispatcher(), Bot(os.environ['A']))": ("webhook", "A"),
    "import telebot\nfrom decouple import config\ntelebot.TeleBot(config('A')).polling()": ("threads", "A"),
    "from telebot.async_telebot import AsyncTeleBot as T\nfrom os import environ\n"
    "T(environ['A']).infinity_polling()": ("asyncio", "A"),
    "import os\nfrom telegram.ext import Application\n"
    "Application.builder().token(os.environ['A']).concurrent_updates(8).build().run_polling()": (
        "concurrent",
        "A",
    ),
    "import os\nfrom telegram.ext import Updater\nUpdater(os.environ.get('A')).start_polling()": (
        "serial",
        "A",
    ),
    "import os\nimport telegram.ext as e\n"
    "e.ApplicationBuilder().token(os.environ['A']).build().run_webhook()": (
        "webhook",
        "A",
    ),
}


@pytest.mark.parametrize("code", JAVASCRIPT)
def test_a_bot_in_javascript(tmp_path, code):
    """Its mode, and the variable of its token; what is commented out is not there."""
    file = tmp_path / "bot.ts"
    file.write_text(code)
    (bot,) = read_javascript(file)
    assert (bot.how, bot.token.name) == JAVASCRIPT[code]


@pytest.mark.parametrize("code", PYTHON)
def test_a_bot_in_python(tmp_path, code):
    """Its mode, and the variable of its token."""
    file = tmp_path / "bot.py"
    file.write_text(code)
    (bot,) = read_python(file, tmp_path)
    assert (bot.how, bot.token.name) == PYTHON[code]


@pytest.mark.parametrize(
    "words",
    [
        ["node", "src/bot.js"],
        ["node", "--import", "tsx", "src/bot.js", "--port", "1"],
        ["sh", "-c", "npx prisma migrate deploy && exec node src/bot.js 2>&1"],
        ["npm", "start"],
        ["yarn"],
        ["npm", "run", "deep"],
        ["dotenv", "--", "node", "src/bot"],
        ["./start.sh"],
        ["bash", "start.sh"],
        ["/usr/bin/env", "NODE_ENV=production", "node", "src/bot.js"],
        ["tsx", "dist/bot.js"],
    ],
)
def test_the_file_behind_a_command(tmp_path, words):
    """Wrappers, shells and package managers are looked through, and built files lead to their sources."""
    (tmp_path / "src").mkdir()
    for name in ("bot.js", "bot.ts"):
        (tmp_path / "src" / name).write_text("")
    (tmp_path / "package.json").write_text(
        '{"scripts": {"start": "npm run build && node src/bot.js", "deep": "npm start"}}'
    )
    (tmp_path / "start.sh").write_text("#!/bin/sh\nset -e\nnode src/bot.js > log.txt\n")
    program = program_of(words, tmp_path)
    assert program.language == "javascript"
    assert program.entry is not None
    assert program.entry.stem == "bot"


def test_scripts_that_call_each_other_come_to_an_end(tmp_path):
    """A script that starts itself, a file that imports itself."""
    (tmp_path / "package.json").write_text('{"scripts": {"start": "npm start"}}')
    assert program_of(["npm", "start"], tmp_path).entry is None
    (tmp_path / "a.js").write_text("require('./b')")
    (tmp_path / "b.js").write_text("require('./a')")
    assert read_javascript(tmp_path / "a.js") == []


def test_the_last_command_of_a_line_is_the_one():
    """Redirections and what runs before it are left out; what is not a line of words is none."""
    assert last_words("a; b 'c d' >> log 2>&1") == ["b", "c d"]
    assert last_words("a 'b") == []
