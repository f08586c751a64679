"""The public surface is a list, and it is what it says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import engine

ROOT = Path(__file__).parents[1]


def test_every_public_name_is_there_and_documented() -> None:
    for name in engine.__all__:
        assert getattr(engine, name).__doc__, f"engine.{name} has no docstring"
    assert sorted(engine.__all__) == dir(engine)


def test_importing_the_package_or_asking_for_help_loads_nothing_heavy() -> None:
    code = "import sys, engine, engine.cli.main as m; m.call(['--version']); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"polars", "google.genai", "aiohttp", "numpy", "PIL", "pydantic"} & set(loaded)
