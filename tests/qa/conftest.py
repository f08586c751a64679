"""Small runs written as the engine writes them: log lines with their crc, pictures drawn with Pillow."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

from schemas.config import RunConfig
from schemas.outcome import Asset, Usage
from schemas.record import ImageRecord, MetadataRecord, RunManifest, encode_line

LABELS = {
    "scene_type": "march",
    "setting": "street",
    "activity_level": "high",
    "crowd_size": "21-100",
    "time_of_day": "day",
    "sentiment": "hopeful",
    "primary_subjects": ["a crowd", "banners"],
    "digital_text": "FAIR PAY",
    "informational": "no",
    "illustrations": "no",
}
COMMENTS = (
    "Proud of everyone who came out today #FairPay",
    "Finally someone listens to us ✊",
    "I do not think that blocking the road helps anybody.",
    "Permit runs until six, buses are diverted.",
    "My mother marched for this thirty years ago.",
)


def photo(seed: int, size: tuple[int, int] = (256, 256)) -> Image.Image:
    """A picture with structure at all scales, different for each seed."""
    rng = np.random.default_rng(seed)
    w, h = size
    field = np.zeros((h, w, 3))
    for cells in (3, 6, 12, 24, 48):
        coarse = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        field += (np.asarray(coarse.resize(size, Image.Resampling.BICUBIC), dtype=float) - 128) * (4 / cells) ** 0.6
    field += rng.normal(0, 6, field.shape)
    return Image.fromarray((field + 128).clip(0, 255).astype(np.uint8))


def encoded(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    """The picture as file bytes."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


MIME = {".png": "image/png", ".jpg": "image/jpeg", ".webp": "image/webp"}


class FixtureRun:
    """A run directory that grows line by line."""

    def __init__(self, root: Path, config: dict[str, Any] | None = None) -> None:
        self.root = root
        self.config = RunConfig.model_validate(config or {})
        (root / "log").mkdir(parents=True)
        manifest = RunManifest(
            run_id="test",
            created_at="2026-01-21T10:00:00Z",
            run_date="20260121",
            versions={},
            fingerprints={},
            config=self.config.model_dump(mode="json"),
        )
        (root / "run.json").write_bytes(msgspec.json.encode(manifest))

    def write(self, stage: str, line: bytes) -> None:
        name = "images" if stage == "image" else "metadata"
        with (self.root / "log" / f"{name}.jsonl").open("ab") as file:
            file.write(line)

    def image(
        self,
        index: int,
        data: bytes | None,
        *,
        suffix: str = ".png",
        status: str = "ok",
        final: bool = True,
        attempt: int = 1,
        recorded: dict[str, Any] | None = None,
        **more: Any,
    ) -> str:
        """An image with its line. `recorded` overrides what the line says about the file."""
        image_id = f"sm_20260121_{index:04d}"
        asset = None
        if data is not None:
            path = self.root / "images" / f"{(index - 1) // 1000:04d}" / f"{image_id}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            try:
                with Image.open(io.BytesIO(data)) as opened:
                    size = opened.size
            except (OSError, SyntaxError, Image.DecompressionBombError):
                size = (256, 256)
            facts = {
                "path": path.relative_to(self.root).as_posix(),
                "sha256": hashlib.sha256(data).hexdigest(),
                "size_bytes": len(data),
                "mime_type": MIME[suffix],
                "width": size[0],
                "height": size[1],
                **(recorded or {}),
            }
            asset = Asset(**facts)
        values: dict[str, Any] = {
            "job": f"{index:032x}",
            "status": status,
            "stage": "image",
            "image_id": image_id,
            "index": index,
            "attempt": attempt,
            "final": final,
            "generated_at": "2026-01-21T10:00:00.000Z",
            "latency_s": 2.0,
            "model": "gemini-test-image",
            "usage": Usage(prompt_tokens=100, output_tokens=1290, total_tokens=1390),
            "cost_usd": 0.039,
            "prompt": f"A photograph of a march number {index} in Atropia, with banners and a crowd of workers.",
            "source_data": {"atropia": {"theme": "protests", "location": "Baku"}, "demographics": {}},
            "style": "realistic",
            "complexity": "medium",
            "aspect_ratio": "1:1",
            "resolution": "1K",
            "asset": asset,
            **more,
        }
        self.write("image", encode_line(ImageRecord(**values)))
        return image_id

    def answer(self, index: int, **more: Any) -> None:
        """The metadata line of an image; complete and proper unless told otherwise."""
        values: dict[str, Any] = {
            "job": f"{index:031x}m",
            "status": "ok",
            "stage": "metadata",
            "image_id": f"sm_20260121_{index:04d}",
            "index": index,
            "attempt": 1,
            "final": True,
            "generated_at": "2026-01-21T10:00:05.000Z",
            "latency_s": 1.0,
            "model": "gemini-test",
            "usage": Usage(prompt_tokens=600, output_tokens=200, total_tokens=800),
            "cost_usd": 0.001,
            "tasks": ("caption", "labels", "comments"),
            "caption": f"People march along a street with banners, picture {index} of the day.",
            "captions": (f"People march along a street with banners, picture {index} of the day.",),
            "labels": LABELS,
            "comments": COMMENTS,
            **more,
        }
        self.write("metadata", encode_line(MetadataRecord(**values)))


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., FixtureRun]:
    """Fixture runs in their own directories."""
    made = 0

    def make(config: dict[str, Any] | None = None) -> FixtureRun:
        nonlocal made
        made += 1
        return FixtureRun(tmp_path / f"run{made}", config)

    return make


@pytest.fixture
def draw() -> Callable[..., Image.Image]:
    """`photo`, for tests."""
    return photo


@pytest.fixture
def encode() -> Callable[..., bytes]:
    """`encoded`, for tests."""
    return encoded
