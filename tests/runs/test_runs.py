"""What a run promises, tried in virtual time."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import pytest

import engine
from engine import ProviderError, ScriptedProvider
from engine.runtime.admission import FIRST_CALLS
from engine.store.log import COMMIT_EVERY_S
from schemas.outcome import ErrorKind, Usage


def drawn(provider: ScriptedProvider) -> Counter[str]:
    return Counter(r.text for r in provider.requests if r.wants_picture)


async def test_a_run_settles_every_image_and_describes_it(tmp_path: Path, runs: Any) -> None:
    provider = ScriptedProvider(latency_s=5.0)
    summary = await runs.run(tmp_path / "r", provider)
    assert (summary.images.asked, summary.images.ok, summary.metadata.ok) == (20, 20, 20)
    assert summary.exit_code == 0
    assert set(drawn(provider).values()) == {1}
    for line in runs.lines(tmp_path / "r/log/metadata.jsonl"):
        assert line["caption"]
        assert len(line["comments"]) == 5
        assert set(line["labels"]) >= {"scene_type", "digital text"}
    runs.check_invariants(tmp_path / "r")


async def test_a_finished_run_makes_no_call_and_changes_no_byte(tmp_path: Path, runs: Any) -> None:
    out = tmp_path / "r"
    await runs.run(out, ScriptedProvider())
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in out.rglob("*") if p.is_file() and p.name != "run.lock"}
    again = ScriptedProvider()
    summary = await runs.run(out, again)
    assert again.requests == []
    assert summary.images.ok == 20
    after = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in out.rglob("*") if p.is_file() and p.name != "run.lock"}
    assert after == before


async def test_asking_for_more_images_continues_the_run(tmp_path: Path, runs: Any) -> None:
    await runs.run(tmp_path / "r", ScriptedProvider(), images=5)
    more = ScriptedProvider()
    summary = await runs.run(tmp_path / "r", more, images=8)
    assert summary.images.ok == 8
    assert len(drawn(more)) == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"generation": {"model": "gemini-3-pro-image"}},
        {"generation": {"seed": 7}},
        {"prompts": {"style": "artistic"}},
        {"metadata": {"num_comments_per_image": 2}},
    ],
)
async def test_asking_something_else_in_a_run_is_refused_and_says_what(
    tmp_path: Path, runs: Any, changes: dict[str, Any]
) -> None:
    await runs.run(tmp_path / "r", ScriptedProvider(), images=2)
    provider = ScriptedProvider()
    with pytest.raises(engine.RunMismatch) as refused:
        await runs.run(tmp_path / "r", provider, images=2, **changes)
    (section,) = changes
    assert f"{section}.{next(iter(changes[section]))}" in str(refused.value)
    assert provider.requests == []


async def test_changing_limits_or_workers_is_no_other_question(tmp_path: Path, runs: Any) -> None:
    await runs.run(tmp_path / "r", ScriptedProvider(), images=2)
    again = ScriptedProvider()
    await runs.run(tmp_path / "r", again, images=2, rate_limiting={"max_in_flight": 3, "requests_per_minute": 10})
    assert again.requests == []


async def test_a_refusal_is_final_and_keeps_its_reason(tmp_path: Path, runs: Any) -> None:
    refusal = ProviderError(ErrorKind.REFUSED, "blocked: IMAGE_SAFETY", finish_reason="IMAGE_SAFETY", usage=Usage())
    summary = await runs.run(tmp_path / "r", ScriptedProvider([refusal]), images=3)
    assert (summary.images.ok, summary.images.refused, summary.exit_code) == (2, 1, 0)
    (line,) = [x for x in runs.lines(tmp_path / "r/log/images.jsonl") if x["status"] == "refused"]
    assert line["final"]
    assert line["error"]["kind"] == "refused"
    assert line["finish_reason"] == "IMAGE_SAFETY"
    assert summary.metadata.asked == 2


async def test_a_retry_is_a_line_of_its_own_and_counts_up(tmp_path: Path, runs: Any) -> None:
    broken = ProviderError(ErrorKind.SERVER, "500", http_status=500)
    summary = await runs.run(tmp_path / "r", ScriptedProvider([broken]), images=1)
    assert summary.images.ok == 1
    first, second = runs.lines(tmp_path / "r/log/images.jsonl")
    assert (first["status"], first["attempt"], first["final"]) == ("retry", 1, False)
    assert (second["status"], second["attempt"], second["final"]) == ("ok", 2, True)


async def test_a_429_is_no_attempt_and_loses_no_place(tmp_path: Path, runs: Any) -> None:
    turned_away = ProviderError(ErrorKind.RATE_LIMITED, "quota", http_status=429, retry_after_s=20.0)
    provider = ScriptedProvider([turned_away, turned_away])
    summary = await runs.run(tmp_path / "r", provider, images=3)
    assert summary.images.ok == 3
    assert summary.rate_limited == 2
    assert all(line["attempt"] == 1 for line in runs.lines(tmp_path / "r/log/images.jsonl"))


async def test_a_far_side_that_only_fails_ends_the_run_with_a_reason(tmp_path: Path, runs: Any) -> None:
    down = ScriptedProvider(lambda _request, _n: ProviderError(ErrorKind.CONNECT, "connection refused"))
    summary = await runs.run(tmp_path / "r", down, images=30)
    assert summary.stopped_by == "down"
    assert "connection refused" in summary.message
    assert summary.exit_code == 1


async def test_a_wrong_key_stops_at_the_first_call(tmp_path: Path, runs: Any) -> None:
    wrong = ScriptedProvider(
        lambda _request, _n: ProviderError(ErrorKind.AUTH, "API key not valid", http_status=400), latency_s=1.0
    )
    summary = await runs.run(tmp_path / "r", wrong, images=50, rate_limiting={"max_in_flight": 4})
    assert summary.stopped_by == "fatal"
    assert summary.exit_code == 2
    assert "API key not valid" in summary.message
    assert len(wrong.requests) <= 4
    resumed = await runs.run(tmp_path / "r", ScriptedProvider(), images=50)
    assert resumed.images.ok == 50


async def test_a_wrong_key_is_noticed_before_hundreds_of_calls_are_made(tmp_path: Path, runs: Any) -> None:
    wrong = ScriptedProvider(
        lambda _request, _n: ProviderError(ErrorKind.AUTH, "API key not valid", http_status=400), latency_s=0.3
    )
    summary = await runs.run(tmp_path / "r", wrong, images=600, rate_limiting={"max_in_flight": 500})
    assert summary.stopped_by == "fatal"
    assert len(wrong.requests) <= FIRST_CALLS


async def test_a_slow_first_answer_does_not_hold_back_the_others(tmp_path: Path, runs: Any) -> None:
    slow = ScriptedProvider(latency_s=20.0)
    summary = await runs.run(
        tmp_path / "r", slow, images=400, rate_limiting={"max_in_flight": 400}, more={"stages": ["image"]}
    )
    assert summary.elapsed_s < 21.0


async def test_the_budget_is_never_overspent_and_the_rest_is_done_later(tmp_path: Path, runs: Any) -> None:
    summary = await runs.run(
        tmp_path / "r", ScriptedProvider(latency_s=3.0), images=50, budget={"usd": 0.5}, more={"stages": ["image"]}
    )
    assert summary.stopped_by == "budget"
    assert summary.exit_code == 4
    assert 0.35 < summary.cost_usd <= 0.5
    resumed = await runs.run(tmp_path / "r", ScriptedProvider(), images=50, more={"stages": ["image"]})
    assert resumed.images.ok == 50


async def test_a_broken_answer_is_asked_for_again_with_the_complaint(tmp_path: Path, runs: Any) -> None:
    from engine.providers.base import Response

    def script(request: Any, _n: int) -> Any:
        if request.wants_picture or "previous answer" in request.text:
            return None
        return Response(text='{"labels": {}}', usage=Usage(prompt_tokens=1, output_tokens=1, total_tokens=2))

    provider = ScriptedProvider(script)
    summary = await runs.run(tmp_path / "r", provider, images=2)
    assert summary.metadata.ok == 2
    assert sum("previous answer was not usable" in r.text for r in provider.requests) == 2


async def test_bad_picture_bytes_are_kept_aside_and_never_in_the_set(tmp_path: Path, runs: Any) -> None:
    from engine.providers.base import Picture, Response

    html = Response(picture=Picture(data=b"<html>sorry</html>" * 9, mime_type="image/png"), usage=Usage())
    summary = await runs.run(tmp_path / "r", ScriptedProvider([html]), images=1)
    assert summary.images.ok == 1
    kept = [p for p in (tmp_path / "r/quarantine").rglob("*") if p.is_file()]
    assert any(b"<html>" in p.read_bytes() for p in kept)
    assert all(b"<html>" not in p.read_bytes() for p in (tmp_path / "r/images").rglob("*.png"))


async def test_separate_mode_asks_once_for_each_task(tmp_path: Path, runs: Any) -> None:
    summary = await runs.run(tmp_path / "r", ScriptedProvider(), images=4, metadata={"mode": "separate"})
    assert summary.metadata.ok == 12
    tasks = Counter(tuple(x["tasks"]) for x in runs.lines(tmp_path / "r/log/metadata.jsonl"))
    assert tasks == {("caption",): 4, ("labels",): 4, ("comments",): 4}


async def test_metadata_follows_the_images_while_they_come(tmp_path: Path, runs: Any) -> None:
    order: list[str] = []

    def script(request: Any, _n: int) -> None:
        order.append("image" if request.wants_picture else "text")

    await runs.run(
        tmp_path / "r", ScriptedProvider(script, latency_s=10.0), images=12, rate_limiting={"max_in_flight": 2}
    )
    assert order.index("text") < 8, "metadata waited for the end of the images"


async def test_two_runs_live_in_one_loop(tmp_path: Path, runs: Any) -> None:
    async with anyio.create_task_group() as group:
        for name in ("a", "b"):
            group.start_soon(runs.run, tmp_path / name, ScriptedProvider(latency_s=1.0), 6)
    assert len(runs.lines(tmp_path / "a/log/images.jsonl")) == 6
    assert len(runs.lines(tmp_path / "b/log/images.jsonl")) == 6


async def test_a_second_writer_of_a_run_is_refused_by_name(tmp_path: Path, runs: Any) -> None:
    provider = ScriptedProvider(latency_s=1.0)
    async with engine.open_run(tmp_path / "r", runs.config(3), **runs.options(provider)):
        with pytest.raises(engine.RunLocked, match="pid"):
            await runs.run(tmp_path / "r", ScriptedProvider(), images=3)


async def test_records_come_as_they_settle_and_a_slow_reader_slows_the_run(tmp_path: Path, runs: Any) -> None:
    provider = ScriptedProvider(latency_s=0.1)
    async with engine.open_run(
        tmp_path / "r", runs.config(400, rate_limiting={"max_in_flight": 4}), **runs.options(provider), stages=["image"]
    ) as run:
        seen = 0
        async for record in run.records():
            assert record.final
            seen += 1
            if seen == 3:
                await anyio.sleep(3600)
                assert len(provider.requests) < 120, "the run went on without its reader"
    assert seen == 400


async def test_leaving_early_leaves_a_resumable_run(tmp_path: Path, runs: Any) -> None:
    provider = ScriptedProvider(latency_s=2.0)
    async with engine.open_run(
        tmp_path / "r", runs.config(50, rate_limiting={"max_in_flight": 5}), **runs.options(provider), stages=["image"]
    ) as run:
        async for _ in run.records():
            break
    paid = len(provider.requests)
    assert paid < 50
    assert len(runs.lines(tmp_path / "r/log/images.jsonl")) == paid, "a paid answer was not kept"
    rest = ScriptedProvider()
    summary = await runs.run(tmp_path / "r", rest, images=50, more={"stages": ["image"]})
    assert summary.images.ok == 50
    assert len(rest.requests) == 50 - paid


async def test_the_callers_own_error_comes_out_as_it_is(tmp_path: Path, runs: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        async with engine.open_run(tmp_path / "r", runs.config(5), **runs.options(ScriptedProvider(latency_s=1.0))):
            _ = 1 / 0
    assert (await runs.run(tmp_path / "r", ScriptedProvider(), images=5)).images.ok == 5


async def test_an_error_of_the_callers_drops_no_call_that_is_in_flight(tmp_path: Path, runs: Any) -> None:
    provider = ScriptedProvider(latency_s=2.0)
    with pytest.raises(ZeroDivisionError):
        async with engine.open_run(
            tmp_path / "r", runs.config(50, rate_limiting={"max_in_flight": 5}), **runs.options(provider),
            stages=["image"],
        ) as run:  # fmt: skip
            async for _ in run.records():
                _ = 1 / 0
    assert len(provider.requests) < 50
    assert len(runs.lines(tmp_path / "r/log/images.jsonl")) == len(provider.requests), "a paid answer was not kept"


async def test_a_cancelled_run_cancels_its_calls_at_once(tmp_path: Path, runs: Any) -> None:
    provider = ScriptedProvider(latency_s=30.0)
    began = anyio.current_time()
    with anyio.move_on_after(5.0):
        await runs.run(tmp_path / "r", provider, images=5)
    assert anyio.current_time() - began < 10.0
    assert (await runs.run(tmp_path / "r", ScriptedProvider(), images=5)).images.ok == 5


async def test_a_run_that_is_cancelled_begins_no_further_call(tmp_path: Path, runs: Any) -> None:
    asked: list[Any] = []

    class Cancelling(ScriptedProvider):
        async def call(self, request: Any) -> Any:
            asked.append(request)
            await anyio.sleep(COMMIT_EVERY_S / 2)  # the others wait meanwhile for their first line to be written
            scope.cancel()
            return await super().call(request)

    provider = Cancelling()
    with anyio.CancelScope() as scope:
        await runs.run(tmp_path / "r", provider, images=40, rate_limiting={"max_in_flight": 10})
    assert scope.cancelled_caught
    assert len(asked) == 1
    again = ScriptedProvider()
    assert (await runs.run(tmp_path / "r", again, images=40)).images.ok == 40
    assert len(again.requests) >= 40


async def test_a_faulty_observer_costs_nothing(tmp_path: Path, runs: Any) -> None:
    def observer(_event: Any, /) -> None:
        raise RuntimeError("not my day")

    summary = await runs.run(tmp_path / "r", ScriptedProvider(), images=3, more={"observer": observer})
    assert summary.images.ok == 3


async def test_redo_asks_again_and_describes_the_new_picture(tmp_path: Path, runs: Any) -> None:
    out = tmp_path / "r"
    await runs.run(out, ScriptedProvider(), images=4)
    first = runs.lines(out / "log/images.jsonl")
    bad = next(x for x in first if x["index"] == 2)
    old_bytes = (out / bad["asset"]["path"]).read_bytes()
    other = ScriptedProvider(lambda request, _n: _another(request))
    summary = await runs.run(out, other, images=4, more={"redo": [bad["image_id"]]})
    assert summary.images.ok == 4
    assert [r.wants_picture for r in other.requests] == [True, False]
    assert (out / bad["asset"]["path"]).read_bytes() != old_bytes
    assert any(p.read_bytes() == old_bytes for p in (out / "quarantine").rglob("*") if p.is_file())
    again = ScriptedProvider()
    await runs.run(out, again, images=4)
    assert again.requests == []


def _another(request: Any) -> Any:
    import msgspec

    from engine.providers.scripted import answer_to

    return answer_to(msgspec.structs.replace(request, text=request.text + " once more"))


async def test_failed_jobs_are_asked_again_only_on_request(tmp_path: Path, runs: Any) -> None:
    invalid = ProviderError(ErrorKind.INVALID, "bad aspect", http_status=400)
    first = await runs.run(tmp_path / "r", ScriptedProvider([invalid]), images=3)
    assert first.images.failed == 1
    assert first.exit_code == 3
    idle = ScriptedProvider()
    await runs.run(tmp_path / "r", idle, images=3)
    assert idle.requests == []
    redone = await runs.run(tmp_path / "r", ScriptedProvider(), images=3, more={"redo": "failed"})
    assert redone.images.ok == 3
    assert redone.exit_code == 0


@pytest.mark.parametrize("seed", range(12))
async def test_stopping_anywhere_and_resuming_settles_each_job_once(tmp_path: Path, runs: Any, seed: int) -> None:
    """Cancelled at random moments, with faults of every kind on the way."""
    rng = random.Random(seed)
    kinds = [ErrorKind.SERVER, ErrorKind.UNKNOWN, ErrorKind.RATE_LIMITED, ErrorKind.BAD_ANSWER, ErrorKind.CONNECT]
    paid = Counter[str]()

    def script(request: Any, _n: int) -> Any:
        if rng.random() < 0.15:
            return ProviderError(rng.choice(kinds), "a fault", retry_after_s=rng.choice([None, 5.0]))
        paid[request.text] += request.wants_picture
        return None

    out = tmp_path / "r"
    cancelled_calls = 0
    for _session in range(6):
        provider = ScriptedProvider(script, latency_s=rng.uniform(0.5, 8.0))
        with anyio.move_on_after(rng.uniform(0.0, 40.0)):
            await runs.run(out, provider, images=25, seed=rng.randrange(10**9), rate_limiting={"max_in_flight": 4})
        cancelled_calls += provider.in_flight_max
        if (out / "log").exists():
            runs.check_invariants(out)
    summary = await runs.run(out, ScriptedProvider(script), images=25)
    assert summary.images.settled == 25
    runs.check_invariants(out)
    assert sum(n - 1 for n in paid.values() if n > 1) <= cancelled_calls


async def test_calls_in_doubt_are_never_paid_twice_when_skipped(tmp_path: Path, runs: Any) -> None:
    out = tmp_path / "r"
    limits = {"max_in_flight": 3, "in_doubt": "skip"}
    first = ScriptedProvider(latency_s=10.0)
    with anyio.move_on_after(15.0):
        await runs.run(out, first, images=9, rate_limiting=limits, more={"stages": ["image"]})
    second = ScriptedProvider()
    summary = await runs.run(out, second, images=9, rate_limiting=limits, more={"stages": ["image"]})
    assert not set(drawn(first)) & set(drawn(second)), "a call in doubt was asked again"
    assert summary.images.settled == 9
    assert summary.images.failed == 3
    doubts = [x for x in runs.lines(out / "log/images.jsonl") if x["error"] and x["error"]["kind"] == "in_doubt"]
    assert len(doubts) == 3
