"""Bots that ran under PM2, moved by `trioworkers adopt`: real libraries, real processes."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fleet_project import PATIENCE

from trioworkers.testing import Telegram, serve_telegram

if TYPE_CHECKING:
    import trio
    from fleet_project import Project

ROOT = Path(__file__).parents[2]
BOTS = ROOT / "tests" / "libraries" / "bots"
LIBRARIES = ROOT / ".tools" / "libraries"
ECOSYSTEM = """const path = require("path");
const libraries = "%(libraries)s";
const common = { API_ROOT: "https://api.telegram.org" };
module.exports = {
  apps: [
    {
      name: "shop",
      script: "telegraf.js",
      cwd: path.join(__dirname, "shop"),
      env: { ...common, BOT_TOKEN: process.env.SHOP_TOKEN, NODE_PATH: `${libraries}/node_modules` },
    },
    {
      name: "city",
      script: "city/aiogram_bot.py",
      interpreter: "%(python)s",
      args: "serial",
      env: { ...common, BOT_TOKEN: process.env.CITY_TOKEN, PYTHONPATH: `${libraries}/python` },
    },
    { name: "site", script: "site.js", instances: 2 },
  ],
};
"""

pytestmark = pytest.mark.skipif(
    not (LIBRARIES / "installed").exists() and not os.environ.get("CI"),
    reason="scripts/test fetches the libraries",
)


async def test_two_bots_of_a_pm2_file_answer_under_trioworkers(
    project: Project, world: Telegram, nursery: trio.Nursery
) -> None:
    """Adopted, written, checked and run: both answer as before, and their code is what it was."""
    base = await nursery.start(serve_telegram, world)
    shop, city, alice = world.add_bot("shop"), world.add_bot("city"), world.add_user("Alice")
    for source, folder in (("telegraf.js", "shop"), ("aiogram_bot.py", "city")):
        (project.folder / folder).mkdir()
        shutil.copy(BOTS / source, project.folder / folder)
    (project.folder / "site.js").write_text("require('http').createServer().listen(8080)\n")
    file = project.folder / "ecosystem.config.js"
    file.write_text(ECOSYSTEM % {"libraries": LIBRARIES, "python": sys.executable})
    project.write(base, {})
    shown = project.run("adopt", str(file))
    assert "[bots" not in project.file.read_text().replace("[bots]", "")
    written = project.run("adopt", str(file), "--write")
    assert (shown.returncode, written.returncode) == (0, 0), written.stderr
    assert project.file.read_text().endswith(f"\n{shown.stdout}")
    assert "site: not moved" in shown.stderr
    missing = project.run("check")
    assert missing.returncode == 78
    assert "the environment variable SHOP_TOKEN" in missing.stderr
    project.environ |= {"SHOP_TOKEN": shop.token, "CITY_TOKEN": city.token}
    assert project.run("check").returncode == 0
    daemon = await project.start().ready()
    for number in range(3):
        for bot in (shop, city):
            await alice.say(bot, f"m{number}")
            assert (await alice.expect(bot, timeout=PATIENCE))["text"] == f"echo m{number}"
    assert await daemon.stop() == 0
    assert len(world.calls_of("sendMessage")) == 6
    nursery.cancel_scope.cancel()
