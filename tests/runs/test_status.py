"""Status: what the log alone says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine import NoRun, ProviderError, ScriptedProvider
from engine.runtime.status import read_status
from schemas.outcome import ErrorKind


async def test_status_tells_progress_failures_rejections_and_money(tmp_path: Path, runs: Any) -> None:
    script = [
        ProviderError(ErrorKind.REFUSED, "no", finish_reason="SAFETY"),
        ProviderError(ErrorKind.RATE_LIMITED, "slow", http_status=429, retry_after_s=1.0),
        ProviderError(ErrorKind.SERVER, "500", http_status=500),
    ]
    summary = await runs.run(
        tmp_path / "r", ScriptedProvider(script), images=6, rate_limiting={"requests_per_minute": 600}
    )
    status = read_status(tmp_path / "r")
    assert not status.live
    assert (status.images.ok, status.images.refused, status.images.pending) == (5, 1, 0)
    assert status.images.failures == {"refused": 1, "server": 1}
    assert status.images.rejected == 1
    assert status.metadata.asked == status.metadata.ok == 5
    assert status.cost_usd == pytest.approx(summary.cost_usd)
    model = status.models["gemini-nano-banana-2.1"]
    assert (model.requests, model.rejected, model.limit_per_minute) == (7, 1, 600)


async def test_status_of_an_unfinished_run_forecasts_its_end(tmp_path: Path, runs: Any) -> None:
    import anyio

    with anyio.move_on_after(130.0):
        await runs.run(
            tmp_path / "r", ScriptedProvider(latency_s=9.0), images=50, rate_limiting={"max_in_flight": 3},
            more={"stages": ["image"]},
        )  # fmt: skip
    status = read_status(tmp_path / "r")
    assert status.images.in_doubt == 3
    assert status.images.pending == 50 - status.images.ok > 0
    assert status.images.per_minute == pytest.approx(20, rel=0.15)
    assert status.images.left_s == pytest.approx(status.images.pending * 3, rel=0.15)


async def test_status_tells_the_limit_that_the_far_side_taught(tmp_path: Path, runs: Any) -> None:
    taught = ProviderError(ErrorKind.RATE_LIMITED, "limit: 120", http_status=429, retry_after_s=1.0, quota_limit=120)
    await runs.run(
        tmp_path / "r", ScriptedProvider([None, taught]), images=4, rate_limiting={"requests_per_minute": 600},
        more={"stages": ["image"]},
    )  # fmt: skip
    model = read_status(tmp_path / "r").models["gemini-nano-banana-2.1"]
    assert model.limit_per_minute == 600
    assert model.limit_learned == pytest.approx(120, rel=0.1)


def test_status_of_no_run_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(NoRun, match=r"run\.json"):
        read_status(tmp_path)
