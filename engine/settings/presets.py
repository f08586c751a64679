"""Configurations to start from: one per Gemini tier, and two that spend little or nothing."""

from __future__ import annotations

from typing import Any

from msgspec import Struct


class Preset(Struct, frozen=True, kw_only=True):
    """A name, what it is for, and the dotted keys it sets."""

    name: str
    about: str
    sets: dict[str, Any]


_LITE = "gemini-3.1-flash-lite-image"
_TEXT = "gemini-3.1-flash-lite"

PRESETS: dict[str, Preset] = {
    p.name: p
    for p in (
        Preset(
            name="rehearsal",
            about="A rehearsal on the simulator (groundswell run --simulate): the whole pipeline as it will be, no "
            "key, no cost, as fast as this machine goes. Pictures are small drawings that say they are simulated.",
            sets={
                "generation.num_images": 20,
                "rate_limiting.requests_per_minute": None,
                "rate_limiting.max_in_flight": 32,
                "validation.auto_validate": True,
                "validation.min_image_size_kb": 1,
                "output.output_dir": "data/rehearsal",
                "output.durability": "batch",
            },
        ),
        Preset(
            name="draft",
            about="A first look for well under a dollar: ten pictures of the fastest image model, one caption each, "
            "and a hard cap on the money.",
            sets={
                "generation.num_images": 10,
                "generation.model": _LITE,
                "generation.resolution": "1K",
                "prompts.complexity": "simple",
                "metadata.tasks": ["caption", "labels"],
                "rate_limiting.requests_per_minute": 10,
                "budget.usd": 0.75,
                "output.output_dir": "data/draft",
            },
        ),
        Preset(
            name="tier1",
            about="Gemini tier 1 (billing linked): Google caps spending at 10 dollars per rolling ten minutes, which "
            "is about 28 pictures a minute at 1K. Requests per minute differ by model and account: look them up at "
            "https://aistudio.google.com/rate-limit and write them here; where they are unknown the engine "
            "learns them.",
            sets={
                "rate_limiting.requests_per_minute": 20,
                "rate_limiting.requests_per_day": 250,
                "rate_limiting.usd_per_10_minutes": 10,
                "rate_limiting.max_in_flight": 32,
                f"rate_limiting.models.{_TEXT}.requests_per_minute": 300,
                f"rate_limiting.models.{_TEXT}.requests_per_day": None,
            },
        ),
        Preset(
            name="tier2",
            about="Gemini tier 2 (100 dollars paid, three days): Google caps spending at 50 dollars per rolling ten "
            "minutes, which is about 140 pictures a minute at 1K, and at 2,000 dollars a month. Look up your own "
            "requests per minute at https://aistudio.google.com/rate-limit.",
            sets={
                "rate_limiting.requests_per_minute": 140,
                "rate_limiting.usd_per_10_minutes": 50,
                "rate_limiting.max_in_flight": 128,
                f"rate_limiting.models.{_TEXT}.requests_per_minute": 1000,
            },
        ),
        Preset(
            name="tier3",
            about="Gemini tier 3 (1,000 dollars paid, thirty days): Google caps spending at 200 dollars per rolling "
            "ten minutes, which is about 560 pictures a minute at 1K. Look up your own requests per minute at "
            "https://aistudio.google.com/rate-limit.",
            sets={
                "rate_limiting.requests_per_minute": 560,
                "rate_limiting.usd_per_10_minutes": 200,
                "rate_limiting.max_in_flight": 512,
                f"rate_limiting.models.{_TEXT}.requests_per_minute": 2000,
                "output.durability": "batch",
            },
        ),
    )
}
