"""Several processes on one quota, played by several admissions on one lease file in virtual time."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest
import trio.testing

from engine.errors import ProviderError
from engine.runtime.admission import Admission, Ask, Feedback, Stopped
from engine.runtime.lease import Lease
from schemas.config import Limits
from schemas.outcome import ErrorKind

NOON = datetime(2026, 11, 22, 20, 0, tzinfo=UTC).timestamp()


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


def admission(path: Path, *, lease: Lease | None = None, **limits: float) -> Admission:
    return Admission(
        {"m": Limits.model_validate(limits)},
        wall=lambda: NOON + anyio.current_time(),
        wait_for_day=False,
        lease=lease or Lease(path),
        jitter=lambda: 0.5,
    )


async def worker(mine: Admission, sent: list[float], start_s: float, end_s: float) -> None:
    await anyio.sleep(start_s)
    while anyio.current_time() < end_s:
        try:
            grant = await mine.admit(Ask("m", tokens=100))
        except Stopped:
            return
        sent.append(anyio.current_time())
        mine.settle(grant, Feedback(latency_s=1.0))


async def test_together_they_keep_the_pace_of_one_and_share_it_fairly(tmp_path: Path) -> None:
    sent: list[list[float]] = [[], [], []]
    async with anyio.create_task_group() as group:
        for mine in sent:
            group.start_soon(worker, admission(tmp_path / "quota", requests_per_minute=600), mine, 0.0, 300.0)
    together = sorted(at for mine in sent for at in mine)
    for start in range(240):
        assert sum(start <= at < start + 60 for at in together) <= 600
    assert sum(60 <= at < 300 for at in together) >= 0.98 * 2400
    steady = [sum(at > 60 for at in mine) for mine in sent]
    assert min(steady) > 0.9 * max(steady)


async def test_who_is_idle_costs_the_others_nothing(tmp_path: Path) -> None:
    busy: list[float] = []
    brief: list[float] = []
    async with anyio.create_task_group() as group:
        group.start_soon(worker, admission(tmp_path / "q", requests_per_minute=600), busy, 0.0, 240.0)
        group.start_soon(worker, admission(tmp_path / "q", requests_per_minute=600), brief, 60.0, 80.0)
    assert sum(120 <= at < 240 for at in busy) >= 0.98 * 1200
    assert len(brief) > 60


async def test_the_day_is_shared(tmp_path: Path) -> None:
    sent: list[list[float]] = [[], []]
    async with anyio.create_task_group() as group:
        for mine in sent:
            limits = {"requests_per_minute": 600, "requests_per_day": 500}
            group.start_soon(worker, admission(tmp_path / "q", **limits), mine, 0.0, 3600.0)
    assert sum(map(len, sent)) == 500
    assert all(sent)


async def test_a_gate_that_one_found_closed_is_closed_for_all(tmp_path: Path) -> None:
    one, other = (admission(tmp_path / "q", requests_per_minute=600) for _ in range(2))
    grant = await one.admit(Ask("m"))
    error = ProviderError(ErrorKind.RATE_LIMITED, "quota", http_status=429, retry_after_s=20.0)
    one.settle(grant, Feedback(error=error))
    start = anyio.current_time()
    await other.admit(Ask("m"))
    assert 19.0 < anyio.current_time() - start < 21.0


async def test_nonsense_in_the_file_and_moments_far_ahead_stop_nobody(tmp_path: Path) -> None:
    path = tmp_path / "q"
    for text in (b'{"v":1,"models":{"m":{"free', b'{"v":1,"models":{"m":{"free_at":9e12,"gate_until":9e12}}}'):
        path.write_bytes(text)
        with anyio.fail_after(3):
            await admission(path, requests_per_minute=600).admit(Ask("m"))


def test_a_file_that_another_process_holds_is_not_waited_for(tmp_path: Path) -> None:
    import fcntl

    lease = Lease(tmp_path / "q")
    with (tmp_path / "q").open("rb+") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        terms: dict[str, Any] = {"spacing_s": 0.1, "owed_s": 0.0, "day": 0.0, "day_used": 0, "day_max": None}
        assert lease.take("m", NOON, **terms) is None
        fcntl.flock(other, fcntl.LOCK_UN)
        stretch = lease.take("m", NOON, **terms)
        assert stretch is not None
        assert stretch.calls == 15
    lease.close()
