"""Projects as people have them: files by their paths. Tokens are of the right shape, and of no bot."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SECRETS = [f"{number}12345678:AA{'Hk-_9x' * 6}" for number in range(1, 6)]
PASSWORD = "pass-word-of-nobody"

PM2 = {
    "ecosystem.config.js": f"""require("dotenv").config();
// the shop and all that belongs to it
const common = {{ autorestart: true, max_memory_restart: "300M" }};
module.exports = {{
  apps: [
    {{ name: "shop-bot", script: "src/bot.js", ...common,
      env: {{ BOT_TOKEN: process.env.SHOP_TOKEN, NODE_ENV: "production",
        DATABASE_URL: "postgres://shop:{PASSWORD}@db/shop" }},
      env_staging: {{ NODE_ENV: "staging" }} }},
    {{ name: "digest", script: "npm", args: "start", cwd: "./digest", cron_restart: "0 4 * * *",
      env: {{ TELEGRAM_TOKEN: "{SECRETS[1]}", LOCALE: "de" }} }},
    {{ name: "old bot", script: "./legacy/index.js", instances: "max", exec_mode: "cluster" }},
    {{ name: "site", script: "server.js", env: {{ PORT: 3000 }} }},
    {{ name: "clicks", script: "clicks/main.py", interpreter: "python3" }},
    {{ name: "hooks", script: "hooks.js" }},
    {{ name: "copy", script: "src/bot.js", env: {{ BOT_TOKEN: process.env.SHOP_TOKEN }} }},
  ],
}};
""",
    "node_modules/dotenv/index.js": "exports.config = () => { process.env.FROM_DOTENV = 'x'; };\n",
    "package.json": '{"dependencies": {"telegraf": "^4.16.3", "express": "^4.19.0"}}\n',
    ".env": f"# of the shop\nSHOP_TOKEN={SECRETS[0]}\n",
    "src/bot.js": """const { Telegraf } = require("telegraf");
const config = require("./config");
// const old = new Telegraf("never used");
const bot = new Telegraf(config.telegram.token, { handlerTimeout: 9e4 });
bot.launch();
""",
    "src/config.js": "module.exports = { telegram: { token: process.env.BOT_TOKEN }, port: 3000 };\n",
    "digest/package.json": '{"scripts": {"start": "node dist/main.js"}, "dependencies": {"grammy": "^1.21.1",'
    ' "@grammyjs/runner": "^2.0.3"}}\n',
    "digest/src/main.ts": """import { Bot, type Context } from "grammy";
import { run, sequentialize } from "@grammyjs/runner";
import { settings } from "./settings.js";

const bot = new Bot<Context>(settings.token);
bot.use(sequentialize((ctx) => String(ctx.chat?.id)));
run(bot);
""",
    "digest/src/settings.ts": """import assert from "node:assert";
export const settings: { token: string } = { token: process.env["TELEGRAM_TOKEN"]! };
""",
    "legacy/index.js": """var TelegramBot = require('node-telegram-bot-api');
var token = '"""
    + SECRETS[2]
    + """';
var bot = new TelegramBot(token, {polling: true});
""",
    "server.js": "const express = require('express');\nexpress().listen(process.env.PORT);\n",
    "clicks/main.py": """import os
from telebot import TeleBot

bot = TeleBot(os.environ["CLICKS_TOKEN"], threaded=False)
bot.infinity_polling()
""",
    "hooks.js": """import { Bot, webhookCallback } from "grammy";
const bot = new Bot(process.env.HOOKS_TOKEN);
express().use(webhookCallback(bot, "express"));
""",
}

SUPERVISOR = {
    "supervisord.conf": """[supervisord]
logfile=/var/log/supervisord.log

[include]
files = conf.d/*.conf

[program:welcome]
command=/usr/bin/env python3 -m welcome   ; the package
directory=%(here)s/welcome_bot
user=bots
environment=BOT_TOKEN="%(ENV_WELCOME_TOKEN)s",LOG_LEVEL="INFO",GREETING="hello, you"

[program:city]
command=python3 city.py --city %(process_num)d
process_name=%(program_name)s_%(process_num)02d
numprocs=2
directory=%(here)s/city
environment=TOKEN="%(ENV_CITY_TOKEN)s"
autorestart=false
""",
    "conf.d/quiz.conf": f"""[program:quiz]
command = python3 quiz.py
directory = %(here)s/quiz
numprocs = 3
environment = API_TOKEN='{SECRETS[0]}'

[program:broken]
command = python3 "quiz.py
""",
    "welcome_bot/welcome/__init__.py": "",
    "welcome_bot/welcome/__main__.py": """import asyncio
from aiogram import Bot, Dispatcher
from .config import load_settings

async def main():
    settings = load_settings()
    bot = Bot(token=settings.bot_token.get_secret_value(), default=None)
    await Dispatcher().start_polling(bot, handle_as_tasks=False)

asyncio.run(main())
""",
    "welcome_bot/welcome/config.py": """from pydantic import SecretStr
from pydantic_settings import BaseSettings

class Settings(BaseSettings):
    bot_token: SecretStr
    admin: int = 0

def load_settings():
    return Settings()
""",
    "welcome_bot/requirements.txt": "# pinned\naiogram==3.4.1\npydantic-settings\n",
    "city/city.py": """import os
import telegram.ext as ext

app = ext.Application.builder().token(os.getenv("TOKEN", "")).concurrent_updates(True).build()
app.run_polling()
""",
    "city/pyproject.toml": """[project]
name = "city"
dependencies = [
  "python-telegram-bot[rate-limiter]>=21",
]
""",
    "quiz/quiz.py": "import telebot, os\nbot = telebot.TeleBot(os.environ.get('API_TOKEN'))\nbot.polling()\n",
}

COMPOSE = {
    "docker-compose.yml": f"""x-bot: &bot
  restart: unless-stopped
  env_file: [common.env]
services:
  support:
    <<: *bot
    build: ./support
    environment:
      - BOT_TOKEN=${{SUPPORT_TOKEN:?}}
      - REDIS_URL=redis://redis:6379/0
    depends_on: [redis]
    deploy: {{resources: {{limits: {{memory: 256M}}}}}}
  alerts:
    build: {{context: alerts, dockerfile: docker/Dockerfile}}
    command: ["python", "/app/alerts.py"]
    environment:
      TOKEN_FILE: /run/secrets/alerts_token
    secrets: [alerts_token]
  promo:
    build: promo
    scale: 4
    environment: {{PROMO_TOKEN: "{SECRETS[3]}"}}
  redis:
    image: redis:7
  web:
    build: web
    ports: ["80:80"]
secrets:
  alerts_token:
    file: ./secrets/alerts.txt
""",
    "common.env": f"TZ=Europe/Vienna\nSENTRY_DSN=https://{PASSWORD}@sentry.example/1\n",
    ".env": f"SUPPORT_TOKEN={SECRETS[0]}\n",
    "secrets/alerts.txt": f"{SECRETS[1]}\n",
    "support/Dockerfile": """FROM node:20 AS build
RUN npm ci
FROM node:20
WORKDIR /app
COPY . .
CMD ["node", "index.mjs"]
""",
    "support/package.json": '{"dependencies": {"node-telegram-bot-api": "0.66.0"}}',
    "support/index.mjs": """import TelegramBot from "node-telegram-bot-api";
const { BOT_TOKEN: token } = process.env;
export const bot = new TelegramBot(token, {
  polling: true,
});
""",
    "alerts/docker/Dockerfile": "FROM python:3.12\nWORKDIR /app\nENTRYPOINT []\n",
    "alerts/requirements.txt": "pyTelegramBotAPI~=4.20\n",
    "alerts/alerts.py": """import os
from pathlib import Path
from telebot.async_telebot import AsyncTeleBot

bot = AsyncTeleBot(open(os.environ["TOKEN_FILE"]).read().strip())
bot.polling()
""",
    "promo/Dockerfile": "FROM node:20\nWORKDIR /srv\nCMD node promo.js\n",
    "promo/promo.js": """import { Telegraf } from "telegraf";
new Telegraf(process.env.PROMO_TOKEN).launch();
""",
    "web/Dockerfile": 'FROM python:3.12\nCMD ["uvicorn", "web:app"]\n',
}

FOLDERS = {
    "one/package.json": '{"main": "bot.js", "dependencies": {"node-telegram-bot-api": "^0.61.0"}}',
    "one/bot.js": """const Bot = require("node-telegram-bot-api");
const bot = new Bot(require("./config.json").token, { polling: { interval: 300 } });
""",
    "one/config.json": f'{{\n  "token": "{SECRETS[0]}"\n}}\n',
    "two/requirements.txt": "python-telegram-bot==20.8\npython-dotenv\n",
    "two/.env": f"TG_BOT_TOKEN='{SECRETS[1]}'\n",
    "two/bot.py": """import os
from dotenv import load_dotenv
from telegram.ext import ApplicationBuilder

load_dotenv()
TOKEN = os.getenv("TG_BOT_TOKEN")
if __name__ == "__main__":
    application = ApplicationBuilder().token(TOKEN).build()
    application.run_polling()
""",
    "two/tools/make.py": "print('not a bot')\n",
    "three/pyproject.toml": '[project]\nname = "three"\ndependencies = ["aiogram>=3"]\n',
    "three/.venv/pyvenv.cfg": "",
    "three/.venv/bin/python": "",
    "three/three/__init__.py": "",
    "three/three/__main__.py": """from aiogram import Bot, Dispatcher
from aiogram.utils.web_app import safe_parse_webapp_init_data
import asyncio
with open("token.txt") as f:
    pass
bot = Bot(open("token.txt").read())
asyncio.run(Dispatcher().start_polling(bot))
""",
    "three/token.txt": f"{SECRETS[2]}\n",
    "four/go.mod": "module four\nrequire gopkg.in/telebot.v3 v3.2.1\n",
    "notes/readme.txt": "nothing\n",
}

ALL = {"pm2": PM2, "supervisor": SUPERVISOR, "compose": COMPOSE, "folders": FOLDERS}


def write_example(folder: Path, name: str) -> Path:
    """Write an example into a folder, and return the path to adopt."""
    for path, text in ALL[name].items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder
