"""Clocks that jump, nights on which they are set, and observers whose disk is full: a run does not care."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import anyio
import pytest

import engine
from engine.errors import ProviderError
from engine.providers.scripted import ScriptedProvider
from schemas.outcome import ErrorKind

PACIFIC = ZoneInfo("America/Los_Angeles")


def jumping(*jumps: tuple[float, float], start: float) -> Callable[[], float]:
    """A wall clock that is set by so many seconds at each of these moments of the run."""

    def wall() -> float:
        now = anyio.current_time()
        return start + now + sum(by for at, by in jumps if now >= at)

    return wall


async def session(out: Path, runs: Any, provider: Any, wall: Callable[[], float], **limits: Any) -> Any:
    """One session of a run of 40 images, without texts, to its end."""
    config = runs.config(40, rate_limiting={"requests_per_minute": 60, "max_in_flight": 8, **limits})
    return await engine.run(config, out=out, **{**runs.options(provider), "wall": wall, "stages": ["image"]})


async def arrivals(out: Path, runs: Any, wall: Callable[[], float], **limits: Any) -> list[float]:
    """A whole run, and the moments at which its calls began."""
    began: list[float] = []

    def note(_request: Any, _n: int) -> None:
        began.append(anyio.current_time() - 1.0)

    summary = await session(out, runs, ScriptedProvider(note, latency_s=1.0), wall, **limits)
    assert summary.images.ok == 40
    runs.check_invariants(out)
    return began


@pytest.mark.parametrize("by_s", [3600.0, -3600.0, 86_400.0 * 3, -86_400.0 * 3])
async def test_a_wall_clock_that_is_set_in_mid_run_changes_nothing_of_the_pace(
    tmp_path: Path, runs: Any, by_s: float
) -> None:
    steady = await arrivals(tmp_path / "steady", runs, jumping(start=runs.day_0))
    start = anyio.current_time()
    jumped = await arrivals(tmp_path / "jumped", runs, jumping((start + 10.0, by_s), start=runs.day_0 - start))
    assert [round(at - start - steady[0], 3) for at in jumped] == [round(at - steady[0], 3) for at in steady]


@pytest.mark.parametrize("by_s", [3600.0, -3600.0])
async def test_a_clock_that_was_set_between_two_sessions_neither_blocks_nor_bursts(
    tmp_path: Path, runs: Any, by_s: float
) -> None:
    """The log's moments may then lie in the future, or longer ago than they were."""
    out = tmp_path / "r"
    with anyio.move_on_after(15.0):
        await arrivals(out, runs, jumping(start=runs.day_0))
    start = anyio.current_time()
    began: list[float] = []

    def note(_request: Any, _n: int) -> None:
        began.append(anyio.current_time())

    provider = ScriptedProvider(note, latency_s=1.0)
    summary = await session(out, runs, provider, jumping(start=runs.day_0 - start + by_s))
    assert summary.images.ok == 40
    assert began[0] - start < 60 + 5, "moments in the future blocked the run"
    for n, at in enumerate(began):
        assert sum(at <= other < at + 60.0 for other in began[n:]) <= 60


@pytest.mark.parametrize("night", ["2026-03-08", "2026-11-01"])
async def test_on_nights_when_clocks_are_set_the_day_turns_once(tmp_path: Path, runs: Any, night: str) -> None:
    """23 and 25 hours: a daily quota used up before midnight Pacific comes back after it, and only then."""
    midnight = datetime.fromisoformat(f"{night}T00:00:00").replace(tzinfo=PACIFIC)
    start = midnight.replace(hour=22, minute=30).timestamp()
    assert start - midnight.timestamp() in (21.5 * 3600, 23.5 * 3600), "no clock is set in this night"
    began = await arrivals(tmp_path / "r", runs, jumping(start=start), requests_per_day=30)
    left = 1.5 * 3600
    assert sum(at < left for at in began) == 30
    assert sum(at >= left for at in began) == 10
    assert min(at for at in began if at >= left) - left < 120.0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no device that is always full")  # noqa: PTH110
async def test_a_log_file_that_cannot_be_written_costs_neither_pictures_nor_progress(tmp_path: Path, runs: Any) -> None:
    seen: list[str] = []
    told: list[str] = []

    def watch(event: Any) -> None:
        seen.append(type(event).__name__)
        told.append(getattr(event, "message", ""))

    config = runs.config(120, logging={"log_file": "/dev/full", "level": "DEBUG"})
    options = runs.options(ScriptedProvider())
    summary = await engine.run(config, out=tmp_path / "r", observer=watch, **options)
    assert summary.images.ok == 120
    assert seen.count("AttemptEnded") == 240
    assert seen[-1] == "RunEnded"
    assert sum("No space left" in message for message in told) == 1


async def test_what_lost_answers_may_have_cost_counts_against_the_budget_of_the_next_session(
    tmp_path: Path, runs: Any
) -> None:
    def lost(_request: Any, _n: int) -> ProviderError:
        return ProviderError(ErrorKind.UNKNOWN, "the connection broke after sending")

    config = runs.config(10, rate_limiting={"max_retries": 1}, budget={"usd": 0.2})
    first = await engine.run(config, out=tmp_path / "r", **runs.options(ScriptedProvider(lost)), stages=["image"])
    assert first.stopped_by == "budget"
    assert 0.1 < first.cost_usd <= 0.2
    second = ScriptedProvider()
    again = await engine.run(config, out=tmp_path / "r", **runs.options(second), stages=["image"])
    assert again.stopped_by == "budget"
    assert second.requests == [], "money that may be gone was spent again"
