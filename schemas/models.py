"""The Gemini models we know: sizes, prices, capabilities and shutdown dates, as dated data.

One place, so that a price change is a change of this table. Prices are USD per million tokens on
the standard (interactive) tier. Sources: Google's pricing page as transcribed on 2026-10-07 and
later, genai-prices 0.2.3 (Batch tab verified 2026-10-15), Google's deprecations page.
"""

from __future__ import annotations

from datetime import date

from msgspec import Struct

PRICES_AS_OF = date(2026, 11, 22)
PRICES_SOURCE = "ai.google.dev/gemini-api/docs/pricing, as read 2026-10-07 to 2026-11-22"

DEFAULT_IMAGE_MODEL = "gemini-nano-banana-2.1"
DEFAULT_TEXT_MODEL = "gemini-3.1-flash-lite"

_RATIOS = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
_RATIOS_3 = (*_RATIOS, "1:4", "4:1", "1:8", "8:1")


class ModelInfo(Struct, frozen=True, kw_only=True):
    """What is known of one model. `None` means unknown, never free."""

    name: str
    input_usd_per_m: float | None
    """USD per million prompt tokens."""
    text_usd_per_m: float | None
    """USD per million text and thinking tokens that come out."""
    image_usd_per_m: float | None = None
    """USD per million image tokens that come out."""
    image_tokens: dict[str, int] = {}
    """Size name ("1K") to image tokens per picture. Empty for text models."""
    aspect_ratios: tuple[str, ...] = ()
    references_max: int = 0
    """How many reference pictures one request may carry."""
    thinking_tokens: int = 0
    """A planning figure: thinking tokens one answer usually adds, billed as text."""
    batch_factor: float | None = 0.5
    """Price of the Batch API relative to standard; None where it is not offered or not known."""
    flex_factor: float | None = None
    """Price of the flex tier relative to standard; None where it is not offered or not known."""
    shutdown: date | None = None
    """The announced shutdown date, if any."""
    note: str = ""

    @property
    def draws(self) -> bool:
        """Whether the model answers with pictures."""
        return bool(self.image_tokens)


_MODELS = (
    ModelInfo(
        name="gemini-nano-banana-2.1",
        input_usd_per_m=1.50,
        text_usd_per_m=7.50,
        image_usd_per_m=30.0,
        image_tokens={"1K": 1120, "2K": 1680, "4K": 3780},
        aspect_ratios=_RATIOS_3,
        references_max=14,
        thinking_tokens=250,
        note="4K: the launch-day page said 2,520 tokens, the pricing page says 3,780",
    ),
    ModelInfo(
        name="gemini-3.1-flash-lite-image",
        input_usd_per_m=0.25,
        text_usd_per_m=1.50,
        image_usd_per_m=30.0,
        image_tokens={"1K": 1120},
        aspect_ratios=_RATIOS_3,
        references_max=14,
    ),
    ModelInfo(
        name="gemini-3-pro-image",
        input_usd_per_m=2.00,
        text_usd_per_m=12.0,
        image_usd_per_m=120.0,
        image_tokens={"1K": 1120, "2K": 1120, "4K": 2000},
        aspect_ratios=_RATIOS,
        references_max=14,
        thinking_tokens=700,
    ),
    ModelInfo(
        name="gemini-3.1-flash-image",
        input_usd_per_m=0.50,
        text_usd_per_m=3.00,
        image_usd_per_m=60.0,
        image_tokens={"0.5K": 747, "1K": 1120, "2K": 1680, "4K": 2520},
        aspect_ratios=_RATIOS_3,
        references_max=14,
        shutdown=date(2026, 10, 29),
    ),
    ModelInfo(
        name="gemini-2.5-flash-image",
        input_usd_per_m=0.30,
        text_usd_per_m=2.50,
        image_usd_per_m=30.0,
        image_tokens={"1K": 1290},
        aspect_ratios=_RATIOS,
        references_max=3,
        shutdown=date(2026, 10, 2),
    ),
    ModelInfo(name="gemini-3.1-flash-lite", input_usd_per_m=0.25, text_usd_per_m=1.50),
    ModelInfo(name="gemini-3.5-flash-lite", input_usd_per_m=0.30, text_usd_per_m=2.50),
    ModelInfo(
        name="gemini-3.8-flash",
        input_usd_per_m=0.75,
        text_usd_per_m=3.75,
        note="introductory price until 2026-12-31, then 1.50 / 7.50",
    ),
    ModelInfo(name="gemini-2.5-flash-lite", input_usd_per_m=0.10, text_usd_per_m=0.40),
)

MODELS: dict[str, ModelInfo] = {m.name: m for m in _MODELS}
IMAGE_MODELS: tuple[str, ...] = tuple(m.name for m in _MODELS if m.draws)
TEXT_MODELS: tuple[str, ...] = tuple(m.name for m in _MODELS if not m.draws)
