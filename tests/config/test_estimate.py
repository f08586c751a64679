"""Estimates: the arithmetic of money, time, quota days and disk, and what is said when something is unknown."""

from __future__ import annotations

import argparse
import json
from datetime import date, timedelta
from pathlib import Path

import pytest

from engine.cli import estimate_command
from engine.errors import ConfigError
from engine.runtime.estimate import estimate, original_names, per_image_usd
from engine.settings import load
from schemas.models import MODELS, PRICES_AS_OF

TODAY = PRICES_AS_OF


def of(data: dict[str, object], images: tuple[int, ...] = (), today: date = TODAY):
    return estimate(load(data, today=today).config, images=images, today=today)


def test_a_picture_costs_what_google_charges_for_its_tokens_and_a_little_more() -> None:
    usd = of({}).stages["image"]["standard"]
    assert usd is not None
    assert 0.0336 < usd < 0.0400  # 1,120 tokens at 30 dollars a million, thinking and prompt on top


def test_sums_are_per_image_prices_times_images_and_batch_is_half() -> None:
    result = of({}, (1, 1000))
    one, thousand = result.sums
    assert one.total_usd is not None
    assert thousand.total_usd == pytest.approx(1000 * one.total_usd)
    assert one.total_usd == pytest.approx(sum(s["standard"] or 0 for s in result.stages.values()))
    assert one.total_usd == pytest.approx(per_image_usd(load({}).config))
    assert result.stages["image"]["batch"] == pytest.approx((result.stages["image"]["standard"] or 0) / 2)
    assert result.stages["image"]["flex"] is None  # not known for this model, so not guessed


def test_the_usual_numbers_are_shown_with_the_configured_one() -> None:
    assert [s.images for s in of({"generation": {"num_images": 75}}).sums] == [10, 50, 75, 100, 200]


def test_separate_metadata_is_priced_by_task_and_costs_more() -> None:
    together, separate = of({}), of({"metadata": {"mode": "separate"}})
    assert list(separate.stages) == ["image", "caption", "labels", "comments"]
    assert sum(separate.stages[t]["standard"] or 0 for t in ("caption", "labels", "comments")) > (
        together.stages["metadata"]["standard"] or 0
    )


def test_the_slowest_limit_sets_the_pace() -> None:
    result = of({"rate_limiting": {"requests_per_minute": 60, "usd_per_10_minutes": 10}}, (100,))
    assert "usd_per_10_minutes" in result.paced_by
    assert 25 < result.images_per_minute < 30
    at_rpm = of({"rate_limiting": {"requests_per_minute": 10}}, (601,))
    assert at_rpm.sums[0].seconds == pytest.approx(3600 + 18)


def test_daily_quotas_cost_days() -> None:
    result = of({"rate_limiting": {"requests_per_minute": 100, "requests_per_day": 250}}, (250, 251, 1000))
    assert [s.quota_days for s in result.sums] == [1, 2, 4]
    assert result.sums[2].seconds > 3 * 86_400


def test_three_calls_per_image_use_the_text_models_quota_three_times() -> None:
    limits = {"models": {"gemini-3.1-flash-lite": {"requests_per_day": 300}}}
    data: dict[str, object] = {"metadata": {"mode": "separate"}, "rate_limiting": limits}
    assert of(data, (200,)).sums[0].quota_days == 2


def test_unknown_prices_are_said_and_never_guessed() -> None:
    result = of({"generation": {"model": "gemini-9-image"}})
    assert result.sums[0].total_usd is None
    assert any("price of gemini-9-image is not known" in r for r in result.remarks)


def test_own_prices_win_and_are_named() -> None:
    own = {"models": {"gemini-nano-banana-2.1": {"image_usd_per_m": 300}}}
    result = of({"prices": own})
    assert (result.stages["image"]["standard"] or 0) > 0.336
    assert any("prices of gemini-nano-banana-2.1" in r for r in result.remarks)


def test_stale_prices_are_said() -> None:
    assert not any("days old" in r for r in of({}).remarks)
    assert any("91 days old" in r for r in of({}, today=TODAY + timedelta(days=91)).remarks)


def test_every_model_and_size_is_compared() -> None:
    shown = {(m.model, m.resolution) for m in of({}).models}
    assert shown >= {(m.name, size) for m in MODELS.values() for size in m.image_tokens}
    assert {name for name, size in shown if size is None} == {m.name for m in MODELS.values() if not m.draws}


def test_the_originals_estimate_keeps_its_names() -> None:
    config = load({"metadata": {"mode": "separate"}}).config
    told = original_names(estimate(config, today=TODAY), config)
    assert list(told)[:6] == ["num_images", "resolution", "image_generation", "captions", "labels", "comments"]
    assert told["total_estimated"] == pytest.approx(50 * (per_image_usd(config) or 0))


def test_the_command_prints_tables_or_one_json_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("generation: {num_images: 30}\n")
    parser = argparse.ArgumentParser()
    estimate_command.add_arguments(parser)
    assert estimate_command.run(parser.parse_args(["--config", str(path), "--images", "10", "1_000"])) == 0
    shown = capsys.readouterr().out
    assert "1,000" in shown
    assert "Prices as of" in shown
    assert "gemini-3.1-flash-lite-image" in shown  # names are not cut off at 80 columns
    estimate_command.run(parser.parse_args(["--config", str(path), "--json"]))
    told = json.loads(capsys.readouterr().out)
    assert [s["images"] for s in told["sums"]] == [10, 30, 50, 100, 200]
    assert told["original"]["currency"] == "USD"


def test_the_command_takes_the_settings_that_a_run_takes(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    estimate_command.add_arguments(parser)

    def told(*words: str) -> dict[str, object]:
        assert estimate_command.run(parser.parse_args([*words, "--images", "10", "--json"])) == 0
        return json.loads(capsys.readouterr().out)

    large = told("--set", "generation.resolution=4K", "--set", "rate_limiting.requests_per_minute=7")
    assert large["resolution"] == "4K"
    assert large["images_per_minute"] == 7
    assert told("--model", "gemini-3-pro-image")["image_model"] == "gemini-3-pro-image"
    with pytest.raises(ConfigError, match="KEY=VALUE"):
        told("--set", "generation.resolution")


def test_a_note_on_one_size_is_told_to_those_who_ask_for_it() -> None:
    def notes(size: str) -> list[str]:
        return [r for r in of({"generation": {"resolution": size}}).remarks if "2,520 tokens" in r]

    assert notes("1K") == []
    assert len(notes("4K")) == 1


def test_without_a_quota_the_times_are_called_what_they_are() -> None:
    assert any("no quota is set" in r and "28 images a minute on tier 1" in r for r in of({}).remarks)
    assert not any("no quota is set" in r for r in of({"rate_limiting": {"requests_per_minute": 10}}).remarks)


def test_a_sum_beyond_a_months_cap_says_so() -> None:
    def told(images: int) -> str:
        return " ".join(r for r in of({}, (images,)).remarks if "in a month" in r)

    assert told(50) == ""
    assert "$250 on tier 1" in told(10_000)
    assert "$2,000 on tier 2" not in told(10_000)
    assert "$2,000 on tier 2" in told(60_000)


def test_words_for_time_and_size() -> None:
    assert [estimate_command.duration(s) for s in (18, 300, 12_000, 345_600)] == [
        "18 s",
        "5 min",
        "3 h 20 min",
        "4.0 days",
    ]
    assert [estimate_command.size(b) for b in (999, 1_600_000, 2_100_000_000_000)] == ["999 B", "1.6 MB", "2.1 TB"]
