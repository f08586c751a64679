"""Whole runs in virtual time: the real runner, scheduler and store, a provider that plays from memory."""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
import trio.testing

import engine
from engine.store import inline
from schemas.record import check_line

DAY_0 = 1_780_000_000.0
"""Some wall moment; the wall clock of a test runs along with its virtual one."""


@pytest.fixture
def anyio_backend() -> Any:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


def config(images: int, **changes: Any) -> dict[str, Any]:
    """A small run that does not wait for a disk."""
    base: dict[str, Any] = {
        "generation": {"num_images": images},
        "output": {"durability": "none"},
        "logging": {"log_to_file": False},
    }
    for key, value in changes.items():
        base.setdefault(key, {}).update(value)
    return base


def options(provider: Any, seed: int = 0) -> dict[str, Any]:
    """What makes a run deterministic."""
    return {
        "provider": provider,
        "offload": inline,
        "rng": random.Random(seed),
        "wall": lambda: DAY_0 + anyio.current_time(),
    }


async def run(out: Path, provider: Any, images: int = 20, seed: int = 0, more: Any = None, **changes: Any) -> Any:
    """One session to its end."""
    return await engine.run(config(images, **changes), out=out, **options(provider, seed), **(more or {}))


def lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a log, every one of them whole."""
    if not path.exists():
        return []
    raw = path.read_bytes().splitlines()
    assert all(check_line(line) for line in raw), f"{path} has a damaged line"
    return [json.loads(line) for line in raw]


def check_invariants(out: Path) -> None:
    """What must hold of any run directory at any time."""
    for log in ("images", "metadata"):
        final = Counter[str]()
        attempts: dict[str, list[int]] = defaultdict(list)
        for line in lines(out / "log" / f"{log}.jsonl"):
            final[line["job"]] += line["final"]
            attempts[line["job"]].append(line["attempt"])
            if line["status"] == "ok" and log == "images":
                assert (out / line["asset"]["path"]).stat().st_size == line["asset"]["size_bytes"]
        assert all(n <= 1 for n in final.values()), "a job was settled twice"
        for numbers in attempts.values():
            assert numbers == sorted(set(numbers)), f"attempts out of order: {numbers}"


@pytest.fixture
def runs() -> SimpleNamespace:
    return SimpleNamespace(
        config=config, options=options, run=run, lines=lines, check_invariants=check_invariants, day_0=DAY_0
    )
