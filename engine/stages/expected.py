"""What an image is expected to cost: the very requests that the stages make, at the price list.

Below the runtime, so that estimate, status and the quality report say the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.core.cost import Processing, estimate_usd
from engine.stages.image import image_job
from engine.stages.metadata import metadata_jobs
from schemas.config import RunConfig
from schemas.job import Request
from schemas.models import ModelInfo
from schemas.outcome import Asset, Usage
from schemas.prompt import Prompt
from schemas.record import ImageRecord

PROMPT_CHARS = {"simple": 300, "medium": 700, "complex": 1100}


def per_image_usd(config: RunConfig, mode: Processing = "standard") -> float | None:
    """What one image costs with its metadata; None where a price is unknown."""
    table = config.price_table()
    return add_usd([image_usd(config, table, mode), metadata_usd(config, table, mode)])


def image_request(config: RunConfig) -> Request:
    """The request for a picture, with a prompt of ordinary length."""
    text = "x" * PROMPT_CHARS[config.prompts.complexity]
    return image_job(config, Prompt(index=1, image_id="sm_20260101_0001", text=text)).request


def picture_record(
    config: RunConfig, prompt: str, asset: Asset, *, job: str = "", image_id: str = "sm_20260101_0001"
) -> ImageRecord:
    """The record of a picture that belongs to no run, for the questions that are asked about one."""
    return ImageRecord(
        job=job,
        status="ok",
        stage="image",
        image_id=image_id,
        index=1,
        attempt=1,
        final=True,
        generated_at="2026-01-01T00:00:00Z",
        latency_s=0.0,
        model=config.generation.model,
        usage=Usage(),
        cost_usd=None,
        prompt=prompt,
        source_data={},
        style=None,
        complexity=None,
        aspect_ratio=None,
        resolution=None,
        asset=asset,
    )


def metadata_requests(config: RunConfig) -> list[tuple[tuple[str, ...], Request]]:
    """The calls that one picture leads to, with their tasks."""
    asset = Asset(path="images/x.png", sha256="", size_bytes=1, mime_type="image/png", width=1024, height=1024)
    record = picture_record(config, "x" * PROMPT_CHARS[config.prompts.complexity], asset)
    return [(job.tasks, job.request) for job in metadata_jobs(config, record, "x.png")]


def image_usd(config: RunConfig, table: dict[str, ModelInfo], mode: Processing) -> float | None:
    """What a picture costs; None where a price is unknown."""
    references = config.source_data.social_media
    base = estimate_usd(image_request(config), mode, table)
    info = table.get(config.generation.model)
    if base is None or references.mode != "images" or info is None or info.input_usd_per_m is None:
        return base
    factor = {"standard": 1.0, "batch": info.batch_factor, "flex": info.flex_factor}[mode] or 1.0
    return base + references.references_per_prompt * 1120 * info.input_usd_per_m * factor / 1e6


def metadata_usd(config: RunConfig, table: dict[str, ModelInfo], mode: Processing) -> float | None:
    """What the texts of a picture cost; None where a price is unknown."""
    return add_usd([estimate_usd(request, mode, table) for _, request in metadata_requests(config)])


def add_usd(parts: Sequence[float | None]) -> float | None:
    """The sum; None if a part is."""
    return None if any(p is None for p in parts) else sum(p for p in parts if p is not None)
