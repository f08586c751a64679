"""What a run will cost, how long it will take and how much disk it needs, before anything is spent.

The same requests and the same prices as the run itself uses (`engine.stages`, `engine.core.cost`), so
that estimate and bill differ only where the provider differs from its price list. Planning figures
that nobody publishes (seconds per call, bytes per picture) are named constants with their source.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

import msgspec
from msgspec import Struct

from engine.core.cost import Processing, answer_tokens_estimate, estimate_usd, input_tokens_estimate
from engine.stages.expected import add_usd, image_request, image_usd, metadata_requests, metadata_usd
from engine.stages.expected import per_image_usd as per_image_usd
from schemas.config import Limits, RunConfig
from schemas.job import Request
from schemas.models import DEFAULT_TEXT_MODEL, PRICES_AS_OF, PRICES_SOURCE, ModelInfo

STALE_DAYS = 90
COUNTS = (10, 50, 100, 200)
"""Numbers of images that are priced beside the configured one, as in the original's notebook."""
MODES: tuple[Processing, ...] = ("standard", "batch", "flex")

LATENCY_S = {"0.5K": 12.0, "1K": 18.0, "2K": 25.0, "4K": 70.0}
"""Seconds a picture takes; third-party reports of 2026, widely spread. Decides only where no quota does."""
TEXT_LATENCY_S = 4.0
PICTURE_BYTES = {"0.5K": 500_000, "1K": 1_600_000, "2K": 6_000_000, "4K": 22_000_000}
"""The larger case, PNG; the model may send JPEG of a fifth of that."""
LINE_BYTES = 6_000
"""Log lines of one image: its start, picture and metadata."""
DAY_S = 86_400.0
MONTHLY_USD = {1: 250, 2: 2_000, 3: 20_000}
"""Google's monthly caps by tier, of its rate-limit page; read with the prices."""


class ModelPrice(Struct, frozen=True, kw_only=True):
    """One image with one model, size and mode, or the metadata of one image with a text model."""

    model: str
    resolution: str | None
    """None: a text model; the price is that of one image's metadata."""
    mode: str
    usd_per_image: float | None
    """None: not known."""
    shutdown: str | None
    note: str


class Sum(Struct, frozen=True, kw_only=True):
    """A number of images with the configured models. Money is in USD and None where a price is unknown."""

    images: int
    image_usd: float | None
    metadata_usd: float | None
    total_usd: float | None
    seconds: float
    quota_days: int
    disk_bytes: int


class Estimate(Struct, frozen=True, kw_only=True):
    """Everything `groundswell estimate` tells."""

    image_model: str
    metadata_model: str
    resolution: str
    prices_as_of: str
    prices_source: str
    stages: dict[str, dict[str, float | None]]
    """USD per image: stage (image, caption, labels, comments or metadata) to mode to price."""
    sums: tuple[Sum, ...]
    models: tuple[ModelPrice, ...]
    paced_by: str
    """What decides the speed, in words."""
    images_per_minute: float
    remarks: tuple[str, ...]


def estimate(config: RunConfig, *, images: Sequence[int] = (), today: date) -> Estimate:
    """The estimate of a configuration, for the numbers given or the usual ones and the configured one."""
    counts = sorted(set(images) or {*COUNTS, config.generation.num_images})
    table = config.price_table()
    speeds = list(_speeds(config, table))
    slowest = min(speeds, key=lambda s: s.per_minute)
    sums = tuple(_sum(config, table, n, speeds) for n in counts)
    return Estimate(
        image_model=config.generation.model,
        metadata_model=config.metadata.model,
        resolution=config.generation.resolution,
        prices_as_of=PRICES_AS_OF.isoformat(),
        prices_source=PRICES_SOURCE,
        stages=_stages(config, table),
        sums=sums,
        models=tuple(_alternatives(config, table)),
        paced_by=slowest.why,
        images_per_minute=slowest.per_minute,
        remarks=(*_no_quota(config, table), *_remarks(config, table, today), *_monthly(sums)),
    )


def disk_bytes(config: RunConfig, images: int) -> int:
    """Room that so many images need, on the safe side."""
    return images * (PICTURE_BYTES.get(config.generation.resolution, PICTURE_BYTES["4K"]) + LINE_BYTES)


# --- money ---------------------------------------------------------------------------------------


def _stages(config: RunConfig, table: dict[str, ModelInfo]) -> dict[str, dict[str, float | None]]:
    stages: dict[str, dict[str, float | None]] = {"image": {m: image_usd(config, table, m) for m in MODES}}
    for tasks, request in metadata_requests(config):
        name = tasks[0] if len(tasks) == 1 else "metadata"
        stages[name] = {m: estimate_usd(request, m, table) for m in MODES}
    return stages


def _alternatives(config: RunConfig, table: dict[str, ModelInfo]) -> Iterator[ModelPrice]:
    picture = image_request(config)
    metadata = [request for _, request in metadata_requests(config)]
    for name, info in table.items():
        shutdown = info.shutdown.isoformat() if info.shutdown else None
        sizes: list[str | None] = [*info.image_tokens] or [None]
        for size in sizes:
            asked = metadata if size is None else [msgspec.structs.replace(picture, resolution=size)]
            calls = [msgspec.structs.replace(request, model=name) for request in asked]
            for mode in MODES:
                usd = add_usd([estimate_usd(call, mode, table) for call in calls])
                if usd is not None or mode == "standard":
                    yield ModelPrice(
                        model=name, resolution=size, mode=mode, usd_per_image=usd, shutdown=shutdown, note=info.note
                    )


# --- time ----------------------------------------------------------------------------------------


class _Speed(Struct, frozen=True):
    """How fast one model lets the run go."""

    model: str
    calls_per_image: int
    per_minute: float
    """Images per minute."""
    why: str
    per_day: int | None
    latency_s: float


def _speeds(config: RunConfig, table: dict[str, ModelInfo]) -> Iterator[_Speed]:
    image = config.generation.model
    latency_s = LATENCY_S.get(config.generation.resolution, 25.0)
    yield _speed(image, [image_request(config)], config.limits_for(image), table, latency_s)
    text = config.metadata.model
    requests = [request for _, request in metadata_requests(config)]
    if requests:
        yield _speed(text, requests, config.limits_for(text), table, TEXT_LATENCY_S)


def _speed(
    model: str, requests: list[Request], limits: Limits, table: dict[str, ModelInfo], latency_s: float
) -> _Speed:
    calls = len(requests)
    bounds: list[tuple[float, str]] = []
    if limits.requests_per_minute is not None:
        bounds.append((limits.requests_per_minute / calls, f"requests_per_minute {limits.requests_per_minute:g}"))
    if limits.images_per_minute is not None and requests[0].wants_picture:
        bounds.append((limits.images_per_minute, f"images_per_minute {limits.images_per_minute:g}"))
    if limits.tokens_per_minute is not None:
        tokens = sum(input_tokens_estimate(r) for r in requests)
        bounds.append((limits.tokens_per_minute / tokens, f"tokens_per_minute {limits.tokens_per_minute:g}"))
    usd = add_usd([estimate_usd(r, "standard", table) for r in requests])
    if limits.usd_per_10_minutes is not None and usd:
        bounds.append((limits.usd_per_10_minutes / 10 / usd, f"usd_per_10_minutes {limits.usd_per_10_minutes:g}"))
    if limits.max_in_flight is not None:
        each = limits.max_in_flight * 60 / latency_s / calls
        bounds.append((each, f"max_in_flight {limits.max_in_flight} at about {latency_s:g} s a call, no quota set"))
    per_minute, why = min(bounds) if bounds else (math.inf, "no limit set")
    return _Speed(model, calls, per_minute, f"{why} ({model})", limits.requests_per_day, latency_s)


def _sum(config: RunConfig, table: dict[str, ModelInfo], images: int, speeds: list[_Speed]) -> Sum:
    picture, texts = image_usd(config, table, "standard"), metadata_usd(config, table, "standard")
    days = max(_days(s, images) for s in speeds)
    return Sum(
        images=images,
        image_usd=_times(picture, images),
        metadata_usd=_times(texts, images),
        total_usd=_times(add_usd([picture, texts]), images),
        seconds=max(_seconds(s, images) for s in speeds),
        quota_days=days,
        disk_bytes=disk_bytes(config, images),
    )


def _days(speed: _Speed, images: int) -> int:
    return 1 if speed.per_day is None else math.ceil(images * speed.calls_per_image / speed.per_day)


def _seconds(speed: _Speed, images: int) -> float:
    """Wall time: whole quota days of waiting, then the rest at the model's pace."""
    days = _days(speed, images)
    rest = images if speed.per_day is None else images - (days - 1) * (speed.per_day // speed.calls_per_image)
    at_pace = 0.0 if math.isinf(speed.per_minute) else (rest - 1) / speed.per_minute * 60
    return (days - 1) * DAY_S + at_pace + speed.latency_s


# --- words ---------------------------------------------------------------------------------------


def _remarks(config: RunConfig, table: dict[str, ModelInfo], today: date) -> Iterator[str]:
    used = (config.generation.model, config.metadata.model)
    own = [m for m in used if m in config.prices.models]
    if own:
        yield f"prices of {', '.join(own)}: from prices.models of the configuration"
    age_days = (today - PRICES_AS_OF).days
    if age_days > STALE_DAYS and any(m not in own for m in used):
        yield (
            f"the price table is {age_days} days old ({PRICES_AS_OF}): compare it with "
            "https://ai.google.dev/gemini-api/docs/pricing, and set prices.models.<model> where it changed"
        )
    for name in dict.fromkeys(used):
        info = table.get(name)
        if info is None or info.input_usd_per_m is None or info.text_usd_per_m is None:
            yield f"the price of {name} is not known: set prices.models.{name}; the totals leave it open"
        elif info.shutdown is not None and info.shutdown <= today:
            yield f"{name} was to be shut down on {info.shutdown}"
        if info is not None and info.note and _concerns(info.note, config.generation.resolution):
            yield f"{name}: {info.note}"
    info = table.get(config.generation.model)
    if info is not None and info.thinking_tokens and info.text_usd_per_m is not None:
        usd = answer_tokens_estimate(image_request(config), table) * info.text_usd_per_m / 1e6
        yield f"of each image about ${usd:.4f} is thinking, billed as text; it varies with the prompt"
    if config.metadata.model == DEFAULT_TEXT_MODEL and config.metadata.mode == "separate":
        yield "metadata.mode separate sends each picture once per task; together is cheaper"
    yield "retries that are billed and taxes are not included; refused prompts usually cost their input only"
    yield "batch and flex are the provider's cheaper, slower tiers, shown for comparison; run asks interactively"


def _no_quota(config: RunConfig, table: dict[str, ModelInfo]) -> Iterator[str]:
    limits, usd = config.limits_for(config.generation.model), image_usd(config, table, "standard")
    known = (limits.requests_per_minute, limits.images_per_minute, limits.tokens_per_minute, limits.usd_per_10_minutes)
    if usd and not any(known):
        yield (
            f"no quota is set for {config.generation.model}, so the times are those of max_in_flight alone; Google's "
            f"dollars per ten minutes allow about {1 / usd:.0f} images a minute on tier 1, {5 / usd:.0f} on tier 2, "
            f"{20 / usd:.0f} on tier 3 (rate_limiting.usd_per_10_minutes: 10, 50, 200)"
        )


def _monthly(sums: Sequence[Sum]) -> Iterator[str]:
    most = max((s.total_usd or 0.0 for s in sums), default=0.0)
    over = [f"${usd:,} on tier {tier}" for tier, usd in MONTHLY_USD.items() if most > usd]
    if over:
        yield f"Google also caps what may be spent in a month, where these limits apply: {', '.join(over)}"


def _concerns(note: str, resolution: str) -> bool:
    """Whether a note on a model is about this size; "4K: …" is about no other."""
    about = note.split(":")[0]
    return about not in PICTURE_BYTES or about == resolution


def _times(usd: float | None, n: int) -> float | None:
    return None if usd is None else usd * n


def original_names(result: Estimate, config: RunConfig) -> dict[str, Any]:
    """The members of the original's `Config.estimate_cost()`, for the configured number of images."""
    n = config.generation.num_images
    each = {name: _times(prices["standard"], n) for name, prices in result.stages.items()}
    return {
        "num_images": n,
        "resolution": config.generation.resolution,
        "image_generation": each.get("image"),
        "captions": each.get("caption"),
        "labels": each.get("labels"),
        "comments": each.get("comments"),
        "metadata_together": each.get("metadata"),
        "total_estimated": add_usd(list(each.values())),
        "currency": "USD",
    }
