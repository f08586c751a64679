"""Money: estimates, prices, and a cap that is a cap."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.cost import Purse, estimate_usd, input_tokens_estimate, price
from schemas.job import Request
from schemas.outcome import Usage
from schemas.prompt import Reference

IMAGE, TEXT = "gemini-nano-banana-2.1", "gemini-3.1-flash-lite"


def test_an_image_is_estimated_at_its_tokens_thinking_and_prompt() -> None:
    usd = estimate_usd(Request(model=IMAGE, text="a crowd " * 50, resolution="1K"))
    assert usd is not None
    assert 0.0336 < usd < 0.037


def test_larger_pictures_cost_more_and_batch_costs_half() -> None:
    sizes = [estimate_usd(Request(model=IMAGE, text="x", resolution=size)) for size in ("1K", "2K", "4K")]
    assert sizes == sorted(sizes)
    assert sizes[0] != sizes[2]
    request = Request(model=IMAGE, text="x", resolution="1K")
    assert estimate_usd(request, "batch") == pytest.approx(0.5 * (estimate_usd(request) or 0))


def test_what_is_not_known_is_none_and_never_free() -> None:
    assert estimate_usd(Request(model="gemini-9-dream", text="x")) is None
    assert estimate_usd(Request(model=IMAGE, text="x", resolution="16K")) is None
    assert estimate_usd(Request(model=TEXT, text="x")) is None  # draws no pictures
    assert estimate_usd(Request(model=IMAGE, text="x"), "flex") is None
    assert price("gemini-9-dream", Usage(prompt_tokens=1)) is None


def test_a_recorded_answer_is_priced_as_it_was_billed() -> None:
    usage = Usage(prompt_tokens=20, output_tokens=1772, total_tokens=1792, image_tokens=1120)
    assert price("gemini-3-pro-image", usage) == pytest.approx((20 * 2 + 652 * 12 + 1120 * 120) / 1e6)


def test_when_the_picture_s_part_is_not_told_the_dearer_reading_is_taken() -> None:
    usage = Usage(prompt_tokens=0, output_tokens=1200, total_tokens=1200)
    assert price(IMAGE, usage) == pytest.approx(1200 * 30 / 1e6)
    refused = Usage(prompt_tokens=100, output_tokens=12, total_tokens=112)
    assert price(IMAGE, refused) == pytest.approx((100 * 1.5 + 12 * 7.5) / 1e6)


def test_a_caption_is_estimated_with_its_picture() -> None:
    picture = Reference(path="a.png", sha256="0" * 64, mime_type="image/png")
    with_picture = Request(model=TEXT, text="Describe.", references=(picture,), answer_schema={})
    assert input_tokens_estimate(with_picture) > 1000
    usd = estimate_usd(with_picture)
    assert usd is not None
    assert 0.0003 < usd < 0.002


CALLS = st.lists(
    st.tuples(st.floats(0.001, 1), st.floats(0, 2), st.integers(0, 20)), min_size=1, max_size=200
)  # estimate, what it really cost as a factor, how many calls later it ends


@given(st.floats(0.1, 20), CALLS)
def test_spent_and_reserved_never_pass_the_budget_by_more_than_estimates_were_wrong(
    budget: float, calls: list[tuple[float, float, int]]
) -> None:
    purse = Purse(budget)
    flying: list[tuple[int, float, float, float]] = []
    wrong = 0.0
    for i, (estimate, factor, length) in enumerate(calls):
        for entry in [e for e in flying if e[0] <= i]:
            flying.remove(entry)
            purse.settle("m", *entry[1:])
        hold = purse.hold_for("m", estimate)
        if purse.affords(hold):
            purse.hold(hold)
            wrong += max(0.0, estimate * factor - hold)
            flying.append((i + length, estimate, hold, estimate * factor))
            assert purse.spent_usd + purse.reserved_usd <= budget + wrong + 1e-6
    for _, estimate, hold, cost in flying:
        purse.settle("m", estimate, hold, cost)
    assert purse.spent_usd <= budget + wrong + 1e-6
    assert math.isclose(purse.reserved_usd, 0.0, abs_tol=1e-6)


def test_an_estimate_that_proved_too_low_is_held_higher_from_then_on() -> None:
    purse = Purse(10.0)
    purse.hold(1.0)
    purse.settle("m", 1.0, 1.0, 1.5)
    assert purse.hold_for("m", 1.0) == 1.5
    assert purse.hold_for("other", 1.0) == 1.0
