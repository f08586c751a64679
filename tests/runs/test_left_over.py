"""What is asked for, what is settled, and what a session says when the two differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine import ProviderError, ScriptedProvider
from engine.core.retry import TURNED_AWAY_MAX
from engine.runtime.status import read_status
from schemas.outcome import ErrorKind


@pytest.mark.parametrize("kind", [ErrorKind.RATE_LIMITED, ErrorKind.OVERLOADED])
async def test_a_job_that_is_always_turned_away_stays_open_for_the_next_session(
    tmp_path: Path, runs: Any, kind: ErrorKind
) -> None:
    unlucky: list[str] = []

    def answer(request: Any, _n: int) -> ProviderError | None:
        if request.wants_picture and not unlucky:
            unlucky.append(request.text)
        return ProviderError(kind, "busy", http_status=429, retry_after_s=1.0) if request.text in unlucky else None

    few = {"max_in_flight": 2}
    provider = ScriptedProvider(answer, latency_s=30.0)
    summary = await runs.run(tmp_path / "r", provider, images=200, rate_limiting=few)
    assert (summary.images.ok, summary.images.failed) == (199, 0)
    assert (summary.stopped_by, summary.exit_code) == ("incomplete", 1)
    assert f"1 job was turned away more than {TURNED_AWAY_MAX} times" in summary.message
    assert read_status(tmp_path / "r").images.pending == 1
    provider = ScriptedProvider()
    again = await runs.run(tmp_path / "r", provider, images=200)
    assert (again.images.ok, again.metadata.ok, again.exit_code) == (200, 200, 0)
    assert len(provider.requests) == 2, "only what was open was asked"


async def test_texts_of_images_that_are_not_there_yet_are_left_over_and_counted(tmp_path: Path, runs: Any) -> None:
    await runs.run(tmp_path / "r", ScriptedProvider(), images=3, more={"stages": ["image"]})
    summary = await runs.run(tmp_path / "r", ScriptedProvider(), images=10, more={"stages": ["metadata"]})
    assert (summary.metadata.ok, summary.metadata.asked) == (3, 10)
    assert (summary.stopped_by, summary.exit_code) == ("incomplete", 1)
    assert "7 images are not there yet" in summary.message
    assert "--stages image,metadata" in summary.message


async def test_texts_of_all_images_that_could_be_drawn_are_complete(tmp_path: Path, runs: Any) -> None:
    refusal = ProviderError(ErrorKind.REFUSED, "blocked")
    await runs.run(tmp_path / "r", ScriptedProvider([refusal]), images=3, more={"stages": ["image"]})
    summary = await runs.run(tmp_path / "r", ScriptedProvider(), images=3, more={"stages": ["metadata"]})
    assert (summary.metadata.ok, summary.metadata.asked, summary.exit_code) == (2, 2, 0)


async def test_asking_for_fewer_images_than_there_are_keeps_the_figures_in_order(tmp_path: Path, runs: Any) -> None:
    out = tmp_path / "r"
    await runs.run(out, ScriptedProvider(), images=8, more={"stages": ["image"]})
    provider = ScriptedProvider()
    summary = await runs.run(out, provider, images=3)
    assert (summary.images.asked, summary.images.ok) == (8, 8), "the run holds eight"
    assert (summary.metadata.asked, summary.metadata.ok) == (3, 3), "and three of them were to be described"
    assert summary.exit_code == 0
    assert len(provider.requests) == 3
    status = read_status(out)
    assert (status.images.asked, status.images.ok, status.images.pending) == (8, 8, 0)
    assert (status.metadata.asked, status.metadata.ok, status.metadata.pending) == (3, 3, 0)
    more = await runs.run(out, ScriptedProvider(), images=9)
    assert (more.images.asked, more.images.ok, more.metadata.ok) == (9, 9, 9)


async def test_a_stage_that_was_not_asked_for_is_as_large_as_what_is_there(tmp_path: Path, runs: Any) -> None:
    await runs.run(tmp_path / "r", ScriptedProvider(), images=3)
    summary = await runs.run(tmp_path / "r", ScriptedProvider(), images=4, more={"stages": ["image"]})
    assert (summary.images.ok, summary.metadata.asked, summary.metadata.ok) == (4, 3, 3)
    assert summary.exit_code == 0


async def test_status_knows_the_limits_and_the_budget_of_the_newest_session(tmp_path: Path, runs: Any) -> None:
    out = tmp_path / "r"
    await runs.run(out, ScriptedProvider(), images=2, budget={"usd": 5}, rate_limiting={"requests_per_minute": 60})
    await runs.run(out, ScriptedProvider(), images=2, budget={"usd": 9}, rate_limiting={"requests_per_minute": 90})
    status = read_status(out)
    assert status.budget_usd == 9
    assert {model.limit_per_minute for model in status.models.values()} == {90}
