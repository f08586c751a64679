"""What a call costs: estimated before it is made, priced from the reported usage after it.

Prices are the dated table of `schemas.models`. Unknown is None and never free. Where the provider
leaves a doubt, the dearer reading is taken, so that what is accounted is not below what is billed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from schemas.job import Request
from schemas.models import MODELS, ModelInfo
from schemas.outcome import Usage

__all__ = ["Processing", "Purse", "answer_tokens_estimate", "estimate_usd", "input_tokens_estimate", "price"]

Processing = Literal["standard", "batch", "flex"]

CHARS_PER_TOKEN = 3.5
TOKENS_PER_PICTURE = 1120
"""Input tokens of one picture of about a megapixel at the default media resolution."""
TOKENS_PER_CALL = 8
TEXT_ANSWER_TOKENS = 400
"""A planning figure: caption, labels and five comments in one JSON answer."""


def input_tokens_estimate(request: Request) -> int:
    """Input tokens a request is expected to use; corrected by what calls report (`core.quota`)."""
    chars = len(request.text) + len(request.system or "")
    pictures = TOKENS_PER_PICTURE * len(request.references)
    return math.ceil(chars / CHARS_PER_TOKEN) + pictures + TOKENS_PER_CALL


def answer_tokens_estimate(request: Request, models: Mapping[str, ModelInfo] = MODELS) -> int:
    """Text and thinking tokens an answer is expected to bring, pictures apart."""
    info = models.get(request.model)
    thinking = info.thinking_tokens if info else 0
    text = 0 if request.wants_picture else TEXT_ANSWER_TOKENS
    if request.output_tokens_max is not None:
        text = min(text, request.output_tokens_max)
    return thinking + text


def estimate_usd(
    request: Request, processing: Processing = "standard", models: Mapping[str, ModelInfo] = MODELS
) -> float | None:
    """What a call is expected to cost; None where the model, its price or the picture size is not known.

    `models` is the built-in table, or `RunConfig.price_table()` with a user's own prices.
    """
    info = models.get(request.model)
    if info is None:
        return None
    pictures = 0
    if request.wants_picture:
        if not info.image_tokens:
            return None
        size = request.resolution or next(iter(info.image_tokens))
        if size not in info.image_tokens:
            return None
        pictures = info.image_tokens[size]
    return _usd(info, input_tokens_estimate(request), answer_tokens_estimate(request, models), pictures, processing)


def price(
    model: str, usage: Usage, processing: Processing = "standard", models: Mapping[str, ModelInfo] = MODELS
) -> float | None:
    """What a call cost by its reported usage; None where a price is not known."""
    info = models.get(model)
    if info is None:
        return None
    pictures = usage.image_tokens
    if info.draws and not pictures and usage.output_tokens >= min(info.image_tokens.values()):
        # Not told which part was picture, and large enough to hold one: pictures are the dearer tokens.
        pictures = usage.output_tokens
    return _usd(info, usage.prompt_tokens, max(0, usage.output_tokens - pictures), pictures, processing)


def _usd(info: ModelInfo, prompt: int, text: int, pictures: int, processing: Processing) -> float | None:
    factor = 1.0 if processing == "standard" else info.batch_factor if processing == "batch" else info.flex_factor
    of_prompt = info.input_usd_per_m if prompt else 0.0
    of_text = info.text_usd_per_m if text else 0.0
    of_pictures = info.image_usd_per_m if pictures else 0.0
    if factor is None or of_prompt is None or of_text is None or of_pictures is None:
        return None
    return (prompt * of_prompt + text * of_text + pictures * of_pictures) * factor / 1e6


class Purse:
    """A run's money: spent, reserved by calls in flight, and the cap that both together never pass.

    Estimates that proved too low are corrected upwards by the worst one seen per model, so that what
    is in flight cannot carry the total over the cap.
    """

    __slots__ = ("_worst", "budget_usd", "reserved_usd", "spent_usd")

    def __init__(self, budget_usd: float | None, spent_usd: float = 0.0) -> None:
        self.budget_usd = budget_usd
        self.spent_usd = spent_usd
        self.reserved_usd = 0.0
        self._worst: dict[str, float] = {}

    def hold_for(self, model: str, usd: float) -> float:
        """What to reserve for a call that is estimated at `usd`."""
        return usd * self._worst.get(model, 1.0)

    def affords(self, hold_usd: float) -> bool:
        """Whether a call fits beside everything spent and reserved."""
        if self.budget_usd is None:
            return True
        return self.spent_usd + self.reserved_usd + hold_usd <= self.budget_usd + 1e-9

    def hopeless(self, hold_usd: float) -> bool:
        """Whether a call would not even fit if nothing that is in flight cost anything."""
        return self.budget_usd is not None and self.spent_usd + hold_usd > self.budget_usd + 1e-9

    def hold(self, hold_usd: float) -> None:
        """Reserve for a call that is made now."""
        self.reserved_usd += hold_usd

    def settle(self, model: str, estimate_usd: float, hold_usd: float, cost_usd: float) -> None:
        """A call ended and cost `cost_usd`."""
        self.reserved_usd = max(0.0, self.reserved_usd - hold_usd)
        self.spent_usd += cost_usd
        if estimate_usd > 0.0 and cost_usd > estimate_usd * self._worst.get(model, 1.0):
            self._worst[model] = cost_usd / estimate_usd
