"""Where runs meet what surrounds them: slow readers, faulty observers, changed files, other loops."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest

import engine
from engine import ConfigError, ProviderError, RunMismatch, ScriptedProvider
from engine.cli.run_command import assignments
from engine.observe.events import Event
from engine.runtime.status import read_status
from schemas.config import DEFAULT_IMAGE_MODEL
from schemas.job import Request
from schemas.outcome import ErrorKind


async def test_an_events_file_that_cannot_be_written_does_not_silence_other_observers(
    tmp_path: Path, runs: Any
) -> None:
    seen: list[Event] = []
    (tmp_path / "taken").mkdir()
    summary = await runs.run(
        tmp_path / "r", ScriptedProvider(), images=3, more={"observer": seen.append},
        logging={"log_to_file": True, "log_file": str(tmp_path / "taken")},
    )  # fmt: skip
    assert summary.images.ok == 3
    kinds = [type(event).__name__ for event in seen]
    assert kinds.count("AttemptEnded") == 6
    assert kinds[-1] == "RunEnded"


async def test_a_faulty_observer_is_told_in_the_events_and_left_alone(tmp_path: Path, runs: Any) -> None:
    calls: list[Event] = []

    def faulty(event: Event, /) -> None:
        calls.append(event)
        raise RuntimeError("the dashboard is down")

    summary = await runs.run(
        tmp_path / "r", ScriptedProvider(), images=3, more={"observer": faulty}, logging={"log_to_file": True}
    )
    assert summary.images.ok == 3
    assert len(calls) == 1
    events = [json.loads(line) for line in (tmp_path / "r/events.jsonl").read_text().splitlines()]
    assert any("the dashboard is down" in event.get("message", "") for event in events)
    assert sum(event["what"] == "attempt_ended" for event in events) == 6


def prompt_file(path: Path, *prompts: str) -> Path:
    path.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts))
    return path


async def test_a_changed_prompt_reaches_who_only_reads_records_and_calls_in_flight_end(
    tmp_path: Path, runs: Any
) -> None:
    prompts = [f"picture {n}" for n in range(1, 161)]
    file = prompt_file(tmp_path / "p.jsonl", *prompts)

    async def only_the_150th(request: Request, _n: int) -> None:
        await anyio.sleep(1.0 if request.text == "picture 150" else 1e6)

    with anyio.move_on_after(50.0):
        await runs.run(
            tmp_path / "r", ScriptedProvider(only_the_150th), images=1, more={"prompts": file, "stages": ["image"]}
        )
    prompt_file(file, *prompts[:149], "another picture", *prompts[150:])
    provider = ScriptedProvider(latency_s=9.0)
    given = runs.options(provider)
    with pytest.raises(RunMismatch, match="prompt 150"):
        async with engine.open_run(tmp_path / "r", runs.config(1), prompts=file, stages=["image"], **given) as run:
            async for _ in run.records():
                pass
    asked = {r.text for r in provider.requests}
    assert asked
    assert "another picture" not in asked
    assert {line["prompt"] for line in runs.lines(tmp_path / "r/log/images.jsonl") if line["final"]} == {
        *asked,
        "picture 150",
    }


async def test_of_a_prompt_file_as_many_rows_are_asked_as_were_said(tmp_path: Path, runs: Any) -> None:
    file = prompt_file(tmp_path / "p.jsonl", *(f"picture {n}" for n in range(1, 8)))
    provider = ScriptedProvider()
    few = {"prompts": file, "stages": ["image"], "overrides": {"generation.num_images": 3}}
    summary = await runs.run(tmp_path / "r", provider, images=2, more=few)
    assert (summary.images.asked, summary.images.ok) == (3, 3)
    assert [r.text for r in provider.requests] == ["picture 1", "picture 2", "picture 3"]
    rest = await runs.run(tmp_path / "r", provider, images=2, more={"prompts": file, "stages": ["image"]})
    assert (rest.images.asked, rest.images.ok, len(provider.requests)) == (7, 7, 7)


async def test_leaving_out_the_prompt_file_of_a_run_is_told_as_that(tmp_path: Path, runs: Any) -> None:
    file = prompt_file(tmp_path / "p.jsonl", "a cat")
    await runs.run(tmp_path / "r", ScriptedProvider(), images=1, more={"prompts": file})
    with pytest.raises(RunMismatch, match="came from a file, give it again with --prompts"):
        await runs.run(tmp_path / "r", ScriptedProvider(), images=1)


async def test_leaving_makes_no_call_that_was_not_made(tmp_path: Path, runs: Any) -> None:
    provider = ScriptedProvider()
    config = runs.config(200, rate_limiting={"max_in_flight": 2})
    async with engine.open_run(tmp_path / "r", config, stages=["image"], **runs.options(provider)) as run:
        await anyio.sleep(1000.0)
        made = len(provider.requests)
        assert 0 < made < 100, "a reader that does not read holds back new calls"
    assert len(provider.requests) == made
    assert run.summary().images.ok == made
    assert (await runs.run(tmp_path / "r", provider, images=200, more={"stages": ["image"]})).images.ok == 200
    assert len(provider.requests) == 200


async def test_images_drawn_with_the_last_of_the_budget_are_still_described(tmp_path: Path, runs: Any) -> None:
    summary = await runs.run(
        tmp_path / "r",
        ScriptedProvider(latency_s=20.0),
        images=30,
        budget={"usd": 0.32},
        rate_limiting={"max_in_flight": 3},
    )
    assert summary.stopped_by == "budget"
    assert summary.exit_code == 4
    assert "raise --budget" in summary.message
    assert summary.metadata.ok == summary.images.ok > 0
    assert summary.cost_usd <= 0.32


async def test_the_daily_quota_of_one_model_does_not_stop_the_other(tmp_path: Path, runs: Any) -> None:
    limits = {"models": {DEFAULT_IMAGE_MODEL: {"requests_per_day": 7}}, "requests_per_minute": 1}
    summary = await runs.run(
        tmp_path / "r", ScriptedProvider(), images=30, rate_limiting=limits, more={"wait_for_day": False}
    )
    assert (summary.images.ok, summary.metadata.ok) == (7, 7)
    assert (summary.stopped_by, summary.exit_code) == ("daily_quota", 4)


async def test_stopping_a_run_that_has_ended_leaves_it_complete(tmp_path: Path, runs: Any) -> None:
    async with engine.open_run(tmp_path / "r", runs.config(2), **runs.options(ScriptedProvider())) as run:
        await run.wait()
        run.stop()
        assert run.summary().stopped_by is None


async def test_a_server_that_cannot_be_reached_is_no_quota(tmp_path: Path, runs: Any) -> None:
    script = [ProviderError(ErrorKind.CONNECT, "refused")] * 3 + [
        ProviderError(ErrorKind.RATE_LIMITED, "slow", http_status=429, retry_after_s=1.0)
    ]
    summary = await runs.run(tmp_path / "r", ScriptedProvider(script), images=4, more={"stages": ["image"]})
    assert (summary.images.ok, summary.rate_limited) == (4, 1)
    images = read_status(tmp_path / "r").images
    assert (images.rejected, images.failures) == (1, {"connect": 3})


async def test_one_model_may_have_more_in_flight_than_the_common_limit(tmp_path: Path, runs: Any) -> None:
    flying = most = 0

    async def slow(_request: Request, _n: int) -> None:
        nonlocal flying, most
        flying += 1
        most = max(most, flying)
        await anyio.sleep(10.0)
        flying -= 1

    limits = {"max_in_flight": 2, "models": {DEFAULT_IMAGE_MODEL: {"max_in_flight": 7}}}
    await runs.run(tmp_path / "r", ScriptedProvider(slow), images=30, more={"stages": ["image"]}, rate_limiting=limits)
    assert most == 7


async def test_status_of_a_run_of_images_alone_waits_for_no_texts(tmp_path: Path, runs: Any) -> None:
    await runs.run(tmp_path / "r", ScriptedProvider(), images=3, more={"stages": ["image"]})
    assert read_status(tmp_path / "r").metadata.asked == 0
    summary = await runs.run(tmp_path / "r", ScriptedProvider(), images=3, more={"stages": ["metadata"]})
    assert summary.metadata.ok == 3
    assert read_status(tmp_path / "r").metadata.pending == 0


async def test_status_counts_a_burst_as_what_it_was(tmp_path: Path, runs: Any) -> None:
    away = ProviderError(ErrorKind.RATE_LIMITED, "slow", http_status=429, retry_after_s=60.0)
    script = [None] * 5 + [away] * 5
    await runs.run(tmp_path / "r", ScriptedProvider(script), images=10, more={"stages": ["image"]})
    model = read_status(tmp_path / "r").models[DEFAULT_IMAGE_MODEL]
    assert (model.requests, model.rejected) == (10, 5)
    assert model.per_minute < 20


async def test_gemini_under_another_loop_than_asyncio_says_what_to_do(tmp_path: Path, runs: Any) -> None:
    with pytest.raises(ConfigError, match=r"needs asyncio.*asyncio\.run"):
        await engine.run(runs.config(1), out=tmp_path / "r", api_key="k", base_url="http://127.0.0.1:9/")
    assert not (tmp_path / "r").exists()


def test_a_ratio_on_the_command_line_is_no_number_to_the_base_of_sixty() -> None:
    assert assignments(["generation.aspect_ratio=16:9", "generation.seed=7"]) == {
        "generation.aspect_ratio": "16:9",
        "generation.seed": 7,
    }
