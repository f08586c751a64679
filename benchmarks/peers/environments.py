"""An environment per peer, outside the repository, from its pinned requirements."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).parent / "requirements"


def cache_folder() -> Path:
    """Where environments lie unless told otherwise."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "groundswell" / "peers"


def python_of(name: str, cache: Path) -> str:
    """The interpreter of a peer's environment, made now if it is missing or its requirements have changed.

    groundswell has none: it runs with the interpreter of the harness. Raises `RuntimeError` with the
    installer's last words where it fails.
    """
    if name == "groundswell":
        return sys.executable
    requirements = REQUIREMENTS / f"{name}.txt"
    folder = cache / name
    interpreter, made_of = folder / "bin" / "python", folder / "made_of.txt"
    if made_of.exists() and made_of.read_text() == requirements.read_text():
        return str(interpreter)
    print(f"installing {name} into {folder}", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    if uv := shutil.which("uv"):
        _do([uv, "venv", "-q", "--python", sys.executable, str(folder)])
        _do([uv, "pip", "install", "-q", "--python", str(interpreter), "-r", str(requirements)])
    else:
        _do([sys.executable, "-m", "venv", str(folder)])
        _do([str(interpreter), "-m", "pip", "install", "-q", "-r", str(requirements)])
    made_of.write_text(requirements.read_text())
    return str(interpreter)


def _do(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    if done.returncode:
        raise RuntimeError(done.stderr.strip()[-500:])
