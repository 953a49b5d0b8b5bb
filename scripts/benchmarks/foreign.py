"""What others wrote and we are measured beside: installed here, in exact versions, into `.bench`."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / ".bench"
NODE = ["pm2@7.0.4", "telegraf@4.16.3", "node-telegram-bot-api@0.67.0"]
PYTHON = ["aiogram==3.31.0", "supervisor==4.3.0"]


def node_modules() -> Path:
    """The folder with PM2 and the bot libraries of Node; wants node and npm."""
    folder = FOLDER / "node"
    if not _is_installed(folder, NODE):
        folder.mkdir(parents=True, exist_ok=True)
        npm = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), *NODE]
        subprocess.run(npm, check=True, stdout=sys.stderr)
        _record(folder, NODE)
    return folder / "node_modules"


def python() -> Path:
    """The interpreter of an environment with supervisord and aiogram."""
    folder = FOLDER / "python"
    interpreter = folder / "bin" / "python"
    if not _is_installed(folder, PYTHON):
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([str(interpreter), "-m", "pip", "install", "-qq", *PYTHON], check=True)
        _record(folder, PYTHON)
    return interpreter


def _is_installed(folder: Path, packages: list[str]) -> bool:
    file = folder / "installed"
    if file.exists() and file.read_text().split() == packages:
        return True
    print(f"installing {', '.join(packages)} into {folder}, this once", file=sys.stderr)
    return False


def _record(folder: Path, packages: list[str]) -> None:
    (folder / "installed").write_text("\n".join(packages))
