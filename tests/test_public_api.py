"""The public surface is a list, and it is what it says."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import engine
from engine.runtime.pipeline import RunOptions

ROOT = Path(__file__).parents[1]


def test_every_public_name_is_there_and_documented() -> None:
    for name in engine.__all__:
        assert getattr(engine, name).__doc__, f"engine.{name} has no docstring"
    assert sorted(engine.__all__) == dir(engine)


def test_the_one_liner_takes_the_options_of_the_block() -> None:
    options = set(inspect.signature(engine.open_run).parameters) - {"out", "config"}
    assert set(RunOptions.__annotations__) == options


def test_using_the_library_leaves_the_process_as_it_was() -> None:
    code = """
import logging, os, signal, sys, warnings
def seen():
    hooks = sys.excepthook, sys.unraisablehook, [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    return dict(os.environ), list(logging.root.handlers), logging.root.level, hooks, os.getcwd(), os.umask(0o22)
before = seen()
import engine
for name in engine.__all__:
    getattr(engine, name)
assert seen() == before, (before, seen())
"""
    subprocess.run([sys.executable, "-c", code], check=True, env={"PATH": os.environ["PATH"]})


@pytest.mark.parametrize("config", [42, ["generation"], b"config.yaml"])
async def test_a_configuration_of_another_type_is_named(config: Any) -> None:
    with pytest.raises(engine.ConfigError, match="give a RunConfig, a mapping, or the path of a YAML file"):
        await engine.run(config)


async def test_stages_may_be_a_text(tmp_path: Path) -> None:
    few = {"generation": {"num_images": 2}, "output": {"durability": "none"}}
    summary = await engine.run(few, tmp_path / "r", provider=engine.ScriptedProvider(), stages="image")
    assert (summary.images.ok, summary.metadata.asked) == (2, 0)
    with pytest.raises(engine.ConfigError, match="stages is images; choose from image, metadata"):
        await engine.run(few, tmp_path / "r", provider=engine.ScriptedProvider(), stages="images")


def test_importing_the_package_or_asking_for_help_loads_nothing_heavy() -> None:
    code = "import sys, engine, engine.cli.main as m; m.call(['--version']); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"polars", "google.genai", "aiohttp", "numpy", "PIL", "pydantic"} & set(loaded)
