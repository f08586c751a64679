"""Real processes, the real SDK, real HTTP on loopback, real signals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from engine.simulator import Simulator
from schemas.record import check_line

CANARY = "AIzaCANARY" + "x" * 29


@pytest.fixture
def simulator() -> Iterator[Callable[..., Any]]:
    """Starts simulators in threads of this process."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(Simulator.in_thread(**{"picture": "tiny", **options}))


def environment(base_url: str | None = None) -> dict[str, str]:
    """An environment with nothing of the caller's but the path."""
    env = {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "LANG": "C.UTF-8",
        "PYTHONWARNINGS": "error::ResourceWarning",
    }
    if base_url is not None:
        env |= {"GOOGLE_GEMINI_BASE_URL": base_url, "GEMINI_API_KEY": CANARY}
    return env


def start(
    *words: str | Path, cwd: Path, base_url: str | None = None, more: dict[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """`groundswell …` as a process; `more` wins over the environment of the tests."""
    return subprocess.Popen(
        [sys.executable, "-m", "engine", *map(str, words)],
        cwd=cwd,
        env=environment(base_url) | (more or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    )


def call(*words: str | Path, cwd: Path, base_url: str | None = None, timeout_s: float = 50) -> SimpleNamespace:
    """`groundswell …` to its end: code, out, err."""
    process = start(*words, cwd=cwd, base_url=base_url)
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return SimpleNamespace(code=process.returncode, out=out.decode(), err=err.decode())


def configure(folder: Path, **sections: dict[str, Any]) -> Path:
    """A configuration file in `folder`/config."""
    path = folder / "config" / "generation_config.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(sections))
    return path


def wait_for(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Poll until something is so."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def lines(path: Path) -> list[dict[str, Any]]:
    """Whole lines of a log; each must be undamaged."""
    raw = path.read_bytes() if path.exists() else b""
    whole = raw[: raw.rfind(b"\n") + 1].splitlines()
    assert all(check_line(line) for line in whole)
    return [json.loads(line) for line in whole]


def count(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.fixture
def shell() -> SimpleNamespace:
    return SimpleNamespace(
        start=start,
        call=call,
        configure=configure,
        wait_for=wait_for,
        lines=lines,
        count=count,
        canary=CANARY,
        environment=environment,
    )
