"""Estimate beside reality in the quality report: the arithmetic, and what is said when a price is unknown."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from engine.qa.money import in_words, money, money_part
from engine.stages.expected import per_image_usd
from schemas.config import RunConfig

CONFIG = RunConfig()


def prompts(ok: int, refused: int = 0) -> pl.LazyFrame:
    return pl.LazyFrame({"status": ["ok"] * ok + ["refused"] * refused}, schema={"status": pl.String})


def calls(stage: str, usd: float, unknown: int = 0) -> dict[str, Any]:
    return {"stage": stage, "cost_usd": usd, "cost_unknown": unknown}


def test_reality_is_all_money_spent_for_the_images_there_are() -> None:
    told = money(prompts(10, refused=2), [calls("image", 0.5), calls("metadata", 0.01)], CONFIG)
    assert told["per_image"]["image"]["real"] == pytest.approx(0.05)
    assert told["per_image"]["total"]["real"] == pytest.approx(0.051)
    assert told["per_image"]["total"]["estimated"] == pytest.approx(per_image_usd(CONFIG), abs=1e-6)
    assert told["per_image"]["total"]["ratio"] == pytest.approx(0.051 / (per_image_usd(CONFIG) or 0), abs=1e-4)


def test_a_run_without_texts_is_compared_with_pictures_alone() -> None:
    told = money(prompts(10), [calls("image", 0.4)], CONFIG)
    assert list(told["per_image"]) == ["image", "total"]
    assert told["per_image"]["total"] == told["per_image"]["image"]


def test_what_is_not_known_is_not_guessed() -> None:
    assert in_words(money(prompts(3), [calls("image", 0.1, unknown=1)], CONFIG)) is None
    assert in_words(money(prompts(0), [], CONFIG)) is None
    own = RunConfig.model_validate({"generation": {"model": "gemini-of-tomorrow-image"}})
    told = money(prompts(2), [calls("image", 0.1)], own)
    assert told["per_image"]["total"]["ratio"] is None
    assert "no price is known" in (in_words(told) or "")


def test_a_large_difference_says_where_it_comes_from() -> None:
    assert "Refused and repeated calls" in str(money_part(money(prompts(10), [calls("image", 0.9)], CONFIG)))
    near = 10 * money(prompts(1), [calls("image", 1)], CONFIG)["per_image"]["image"]["estimated"]
    page = str(money_part(money(prompts(10), [calls("image", near)], CONFIG)))
    assert "+0.0" in page
    assert "Refused and repeated calls" not in page
