"""What is worth saying about a sound configuration: moot keys, models past their end, sums that do not fit."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from datetime import date
from typing import Any

from engine.settings import keys
from schemas.config import DEMOGRAPHICS, NEWS_THEMES, RunConfig
from schemas.models import IMAGE_MODELS, MODELS, TEXT_MODELS


def advise(config: RunConfig, data: Mapping[str, Any], today: date) -> list[str]:
    """Warnings, each naming key, value and what it means. `data` is what the user really set."""
    return [
        *_moot(data),
        *_model("generation.model", config.generation.model, IMAGE_MODELS, today),
        *(_model("metadata.model", config.metadata.model, TEXT_MODELS, today)),
        *_unused_model_limits(config),
        *_vocabulary(config),
        *_sums(config),
        *_missing_paths(config),
    ]


def _moot(data: Mapping[str, Any]) -> list[str]:
    found: list[str] = []
    for path, info in keys.fields():
        extra = info.json_schema_extra
        if isinstance(extra, dict) and "moot" in extra and keys.has(data, path):
            found.append(f"{'.'.join(path)} has no effect here: {extra['moot']}")
    return found


def _model(key: str, name: str, known: tuple[str, ...], today: date) -> list[str]:
    info = MODELS.get(name)
    if info is None:
        return [
            f"{key}: {name} is not a model we know (it may be new): sizes and aspect ratios are not checked, and its "
            f"price is unknown until prices.models.{name} says it; known: {', '.join(known)}"
        ]
    if info.shutdown is not None and info.shutdown <= today:
        current = [m for m in known if (MODELS[m].shutdown or date.max) > today]
        return [
            f"{key}: {name} was to be shut down on {info.shutdown}; calls may fail with 404. "
            f"Current: {', '.join(current)}"
        ]
    if info.shutdown is not None:
        return [f"{key}: {name} is to be shut down on {info.shutdown}"]
    return []


def _unused_model_limits(config: RunConfig) -> list[str]:
    used = {config.generation.model, config.metadata.model}
    return [
        f"rate_limiting.models.{name} limits a model that this configuration does not use ({', '.join(sorted(used))})"
        for name in config.rate_limiting.models
        if name not in used
    ]


def _vocabulary(config: RunConfig) -> list[str]:
    found: list[str] = []
    chosen = config.source_data.worldbank.demographic_categories
    for name in chosen:
        if name not in DEMOGRAPHICS:
            close = difflib.get_close_matches(name, DEMOGRAPHICS, n=1)
            meant = f"did you mean {close[0]}?" if close else f"known: {', '.join(DEMOGRAPHICS)}"
            found.append(
                f"source_data.worldbank.demographic_categories: {name!r} is in no source and has no effect; {meant}"
            )
    if not chosen and config.prompts.include_demographics:
        found.append(
            "source_data.worldbank.demographic_categories is empty, so prompts.include_demographics has nothing to say"
        )
    for name in config.source_data.atropia.focus_themes:
        close = difflib.get_close_matches(name, NEWS_THEMES, n=1, cutoff=0.8)
        if name not in NEWS_THEMES and close:
            found.append(f"source_data.atropia.focus_themes: {name!r} is unusual; did you mean {close[0]}?")
    for key, entries in (
        ("prompts.themes", config.prompts.themes),
        ("prompts.settings", config.prompts.settings),
        ("source_data.atropia.focus_themes", config.source_data.atropia.focus_themes),
    ):
        twice = sorted({e for e in entries if entries.count(e) > 1})
        if twice:
            found.append(f"{key} names {', '.join(map(repr, twice))} twice; it will be drawn more often")
    if config.metadata.num_comments_per_image == 0 and "comments" in config.metadata.tasks:
        found.append("metadata.num_comments_per_image is 0, so the task comments in metadata.tasks asks for nothing")
    return found


def _sums(config: RunConfig) -> list[str]:
    found: list[str] = []
    images, limits = config.generation.num_images, config.limits_for(config.generation.model)
    daily = limits.requests_per_day
    if daily is not None and daily < images:
        days = -(-images // daily)
        found.append(
            f"rate_limiting.requests_per_day is {daily}, less than generation.num_images ({images}): "
            f"the run will take {days} quota days"
        )
    rpm, ipm = limits.requests_per_minute, limits.images_per_minute
    if rpm is not None and ipm is not None and ipm > rpm:
        found.append(f"rate_limiting.images_per_minute ({ipm:g}) is above requests_per_minute ({rpm:g}), which decides")
    usd = picture_usd(config)
    if usd is not None:
        if config.budget.usd is not None and config.budget.usd < usd * images:
            found.append(
                f"budget.usd is {config.budget.usd:g}, enough for about {int(config.budget.usd / usd)} of "
                f"{images} images (about ${usd:.4f} each, without captions); the run will stop there"
            )
        spend, rate = limits.usd_per_10_minutes, min((r for r in (rpm, ipm) if r is not None), default=None)
        if spend is not None and rate is not None and spend < rate * 10 * usd:
            found.append(
                f"rate_limiting.usd_per_10_minutes ({spend:g}) pays for {spend / usd / 10:.0f} images a minute at "
                f"about ${usd:.4f}; it decides, not the {rate:g} requests a minute"
            )
    return found


def picture_usd(config: RunConfig) -> float | None:
    """What the picture tokens of one image cost; None: unknown. The full sum is engine.core.cost's."""
    model = config.generation.model
    info, own = MODELS.get(model), config.prices.models.get(model)
    tokens = info.image_tokens.get(config.generation.resolution) if info is not None else None
    per_m = own.image_usd_per_m if own is not None and own.image_usd_per_m is not None else None
    if per_m is None and info is not None:
        per_m = info.image_usd_per_m
    return tokens * per_m / 1e6 if tokens is not None and per_m is not None else None


def _missing_paths(config: RunConfig) -> list[str]:
    if config.source_data.social_media.mode == "images" and config.source_data.social_media.path is None:
        return ["source_data.social_media.mode is images, but no path is set and the bundled guides are text only"]
    return []
