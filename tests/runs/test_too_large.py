"""HTTP 413: asked once more with half of the reference pictures, in this session or the next."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest

import engine
from engine.errors import ProviderError
from engine.providers.base import Response
from engine.providers.scripted import ScriptedProvider, tiny_png
from engine.simulator import Faults, Simulator
from schemas.job import Request
from schemas.outcome import ErrorKind

TOO_LARGE = ProviderError(ErrorKind.TOO_LARGE, "413: Request payload size exceeds the limit.", http_status=413)


def prompts(folder: Path, rows: int = 1, pictures: int = 4) -> Path:
    for n in range(pictures):
        (folder / f"ref{n}.png").write_bytes(tiny_png(bytes([n])))
    names = [f"ref{n}.png" for n in range(pictures)]
    path = folder / "prompts.jsonl"
    texts = [{"prompt": f"A quiet square, number {n}", "reference_images": names} for n in range(rows)]
    path.write_text("".join(json.dumps(row) + "\n" for row in texts))
    return path


def limit(pictures: int) -> Any:
    """A far side that takes so many reference pictures and no more."""
    return lambda request, _n: TOO_LARGE if len(request.references) > pictures else None


def sent(provider: ScriptedProvider) -> list[int]:
    return [len(request.references) for request in provider.requests]


async def draw(runs: Any, folder: Path, provider: Any, rows: int = 1, **more: Any) -> Any:
    options = {"stages": ["image"], "prompts": folder / "prompts.jsonl"}
    return await runs.run(folder / "r", provider, images=rows, more=options, **more)


async def test_a_request_that_is_too_large_goes_once_more_with_half_of_its_pictures(tmp_path: Path, runs: Any) -> None:
    prompts(tmp_path)
    provider = ScriptedProvider(limit(2))
    summary = await draw(runs, tmp_path, provider)
    assert (summary.images.ok, summary.attempts) == (1, 2)
    assert sent(provider) == [4, 2]
    first, second = runs.lines(tmp_path / "r/log/images.jsonl")
    assert (first["status"], first["attempt"], first["final"]) == ("retry", 1, False)
    assert (first["error"]["kind"], first["error"]["http_status"]) == ("too_large", 413)
    assert "with 2 of 4 reference pictures" in first["error"]["message"]
    assert first["cost_usd"] is None, "nothing is charged for what was turned away"
    assert (second["status"], second["attempt"], second["job"]) == ("ok", 2, first["job"])
    assert summary.cost_usd == pytest.approx(second["cost_usd"])


async def test_one_that_is_still_too_large_fails_with_the_next_step(tmp_path: Path, runs: Any) -> None:
    prompts(tmp_path)
    provider = ScriptedProvider(limit(0))
    summary = await draw(runs, tmp_path, provider)
    assert (summary.images.failed, summary.exit_code) == (1, 3)
    assert sent(provider) == [4, 2]
    last = runs.lines(tmp_path / "r/log/images.jsonl")[-1]
    assert (last["status"], last["final"], last["error"]["kind"]) == ("failed", True, "invalid")
    assert "even with 2 of 4 reference pictures: give fewer or smaller ones" in last["error"]["message"]


@pytest.mark.parametrize("pictures", [0, 1])
async def test_where_no_picture_can_be_spared_it_fails_at_once(tmp_path: Path, runs: Any, pictures: int) -> None:
    prompts(tmp_path, pictures=pictures)
    provider = ScriptedProvider(limit(-1))
    summary = await draw(runs, tmp_path, provider)
    assert summary.images.failed == 1
    assert sent(provider) == [pictures]


async def test_a_session_that_ends_in_between_is_taken_up_with_the_smaller_request(tmp_path: Path, runs: Any) -> None:
    """The retry line is on disk, the second call is in flight or not made: the next session asks for half as well."""
    prompts(tmp_path)

    async def slow_half(request: Request, _n: int) -> Response | ProviderError | None:
        if len(request.references) > 2:
            return TOO_LARGE
        await anyio.sleep(100)
        return None

    out = tmp_path / "r"
    first = ScriptedProvider(slow_half)
    with anyio.move_on_after(10):
        await draw(runs, tmp_path, first)
    assert sent(first) == [4, 2]
    second = ScriptedProvider(limit(2))
    summary = await draw(runs, tmp_path, second)
    assert summary.images.ok == 1
    assert sent(second) == [2], "what the far side had found too large was sent again"
    statuses = [
        (x["status"], x["attempt"], (x["error"] or {}).get("kind")) for x in runs.lines(out / "log/images.jsonl")
    ]
    assert statuses == [("retry", 1, "too_large"), ("retry", 2, "in_doubt"), ("ok", 3, None)]
    starts = [(x["status"], x["attempt"]) for x in runs.lines(out / "log/attempts.jsonl")]
    assert starts == [("start", 1), ("start", 2), ("start", 3)]
    runs.check_invariants(out)


async def test_a_log_that_ends_with_the_retry_line_is_continued_with_the_smaller_request(
    tmp_path: Path, runs: Any
) -> None:
    prompts(tmp_path)
    await draw(runs, tmp_path, ScriptedProvider(limit(2)))
    out = tmp_path / "r"
    for name in ("images", "attempts"):  # as a kill right after the first line of each leaves them
        log = out / f"log/{name}.jsonl"
        log.write_bytes(log.read_bytes().splitlines(keepends=True)[0])
    for picture in (out / "images").rglob("*.png"):
        picture.unlink()
    provider = ScriptedProvider(limit(2))
    summary = await draw(runs, tmp_path, provider)
    assert (summary.images.ok, sent(provider)) == (1, [2])
    assert [x["attempt"] for x in runs.lines(out / "log/images.jsonl")] == [1, 2]


async def test_trouble_before_and_after_has_its_own_tries(tmp_path: Path, runs: Any) -> None:
    prompts(tmp_path)
    broken = ProviderError(ErrorKind.SERVER, "500", http_status=500)
    provider = ScriptedProvider([broken, broken, TOO_LARGE, broken, broken])
    summary = await draw(runs, tmp_path, provider)
    assert summary.images.ok == 1
    assert sent(provider) == [4, 4, 4, 2, 2, 2]


async def test_many_requests_that_are_too_large_neither_stop_nor_slow_the_run(tmp_path: Path, runs: Any) -> None:
    prompts(tmp_path, rows=60)
    provider = ScriptedProvider(limit(2))
    began = anyio.current_time()
    summary = await draw(runs, tmp_path, provider, rows=60, budget={"usd": 10.0})
    assert (summary.images.ok, summary.stopped_by) == (60, None)
    assert anyio.current_time() - began < 30, "a tenth of the calls as retries would make this a minute"
    assert summary.cost_usd == pytest.approx(60 * runs.lines(tmp_path / "r/log/images.jsonl")[-1]["cost_usd"])


async def test_a_far_side_that_takes_none_of_them_ends_the_run(tmp_path: Path, runs: Any) -> None:
    prompts(tmp_path, rows=60)
    provider = ScriptedProvider(limit(0))
    summary = await draw(runs, tmp_path, provider, rows=60, rate_limiting={"max_in_flight": 2})
    assert summary.stopped_by == "fatal"
    assert len(provider.requests) < 30
    assert "reference pictures" in str(summary.message)


class TestOverASocket:
    """The real SDK and the fast path against a server that turns away bodies above a size, as Google's does."""

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"

    @pytest.mark.parametrize("transport", ["fast", "sdk"])
    async def test_half_of_the_pictures_goes_through(
        self, tmp_path: Path, runs: Any, transport: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = prompts(tmp_path, rows=3)
        sizes = [(tmp_path / f"ref{n}.png").stat().st_size for n in range(4)]
        monkeypatch.setattr("engine.simulator.server.BODY_BYTES_MAX", sum(sizes) * 4 // 3 - 100)
        config = {**runs.config(3), "transport": transport}
        async with Simulator(picture="tiny") as sim:
            there: dict[str, Any] = {"base_url": sim.base_url, "api_key": "k", "prompts": path, "stages": ["image"]}
            summary = await engine.run(config, tmp_path / "r", **there)
            paid = sim.stats.paid
        assert (summary.images.ok, summary.attempts, paid) == (3, 6, 3)
        for line in runs.lines(tmp_path / "r/log/images.jsonl"):
            if line["attempt"] == 1:
                assert (line["status"], line["error"]["http_status"]) == ("retry", 413)
                assert "with 2 of 4 reference pictures" in line["error"]["message"]
            else:
                assert (line["status"], line["attempt"]) == ("ok", 2)

    @pytest.mark.parametrize("transport", ["fast", "sdk"])
    async def test_a_prompt_without_pictures_fails_after_one_call(
        self, tmp_path: Path, runs: Any, transport: str
    ) -> None:
        path = prompts(tmp_path, pictures=0)
        async with Simulator(picture="tiny", faults=Faults({"http_413": 1.0})) as sim:
            there: dict[str, Any] = {"base_url": sim.base_url, "api_key": "k", "prompts": path, "stages": ["image"]}
            summary = await engine.run({**runs.config(1), "transport": transport}, tmp_path / "r", **there)
            calls = sim.stats.calls
        assert (summary.images.failed, summary.attempts, calls) == (1, 1, 1)
        (line,) = runs.lines(tmp_path / "r/log/images.jsonl")
        assert "there is no reference picture to leave out: shorten the prompt" in line["error"]["message"]
