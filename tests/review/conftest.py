"""Runs to review, made of real log lines and drawn pictures, and the review server as a process."""

from __future__ import annotations

import hashlib
import io
import random
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from PIL import Image, ImageDraw

from schemas.outcome import Asset, Usage
from schemas.record import ImageRecord, MetadataRecord, encode_line

THEMES = ("protest", "political_rally", "community_gathering", "civic_engagement")


def drawn(index: int, size_px: int) -> bytes:
    """A small picture that is visibly its own."""
    chance = random.Random(index)
    image = Image.new("RGB", (size_px, size_px), tuple(chance.randrange(60, 220) for _ in range(3)))
    pen = ImageDraw.Draw(image)
    for _ in range(12):
        x, y, r = chance.randrange(size_px), chance.randrange(size_px), chance.randrange(4, size_px // 6)
        pen.ellipse((x - r, y - r, x + r, y + r), fill=tuple(chance.randrange(256) for _ in range(3)))
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def image_record(index: int, picture: Asset | None, **changes: object) -> ImageRecord:
    """An image line as the engine writes it."""
    theme = THEMES[index % len(THEMES)]
    record = ImageRecord(
        job=hashlib.blake2b(f"image {index}".encode(), digest_size=16).hexdigest(),
        status="ok",
        stage="image",
        image_id=f"sm_20260121_{index:04d}",
        index=index,
        attempt=1,
        final=True,
        generated_at="2026-01-21T09:00:00.000Z",
        latency_s=4.2,
        model="gemini-nano-banana-2.1",
        usage=Usage(prompt_tokens=120, output_tokens=1290, total_tokens=1410),
        cost_usd=0.039,
        prompt=f"A documentary photograph of a {theme.replace('_', ' ')} in the town square of Atropia, image {index}.",
        source_data={
            "atropia": {
                "id": f"atropia_{index:03d}",
                "title": "Teachers march for a fair wage",
                "theme": theme,
                "location": "the town square",
            },
            "demographics": {"age_group": "25-34", "occupation": "teacher", "setting": "urban"},
            "visual_reference": {"description": "a crowd with hand-made banners", "label_1": "protest"},
        },
        style="documentary",
        complexity="medium",
        aspect_ratio="1:1",
        resolution="1K",
        asset=picture,
    )
    return msgspec.structs.replace(record, **changes)


def metadata_record(index: int, **changes: object) -> MetadataRecord:
    """A metadata line as the engine writes it."""
    record = MetadataRecord(
        job=hashlib.blake2b(f"metadata {index}".encode(), digest_size=16).hexdigest(),
        status="ok",
        stage="metadata",
        image_id=f"sm_20260121_{index:04d}",
        index=index,
        attempt=1,
        final=True,
        generated_at="2026-01-21T09:00:05.000Z",
        latency_s=1.1,
        model="gemini-2.5-flash",
        usage=Usage(prompt_tokens=300, output_tokens=200, total_tokens=500),
        cost_usd=0.001,
        tasks=("caption", "labels", "comments"),
        caption=f"People gather in a square, number {index}.",
        captions=(f"People gather in a square, number {index}.",),
        labels={
            "scene_type": "protest" if index % 3 else "vigil",
            "crowd_size": "large",
            "primary_subjects": ["people", "banners"],
            "digital text": index % 2 == 0,
        },
        comments=("Proud of everyone there! #march", "Traffic was terrible.", "Where was this?"),
    )
    return msgspec.structs.replace(record, **changes)


MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Make a run of `images` images; `image` and `metadata` change single lines."""

    def make(
        images: int = 12,
        *,
        name: str = "run",
        size_px: int = 64,
        image: Callable[[int], dict[str, object]] = lambda index: {},
        metadata: Callable[[int], dict[str, object]] = lambda index: {},
    ) -> Path:
        root = tmp_path / name
        (root / "log").mkdir(parents=True)
        (root / "images" / "0000").mkdir(parents=True)
        with (root / "log/images.jsonl").open("wb") as log, (root / "log/metadata.jsonl").open("wb") as texts:
            for index in range(1, images + 1):
                data = drawn(index, size_px)
                path = f"images/0000/sm_20260121_{index:04d}.png"
                (root / path).write_bytes(data)
                asset = Asset(
                    path=path,
                    sha256=hashlib.sha256(data).hexdigest(),
                    size_bytes=len(data),
                    mime_type="image/png",
                    width=size_px,
                    height=size_px,
                )
                log.write(encode_line(image_record(index, asset, **image(index))))
                texts.write(encode_line(metadata_record(index, **metadata(index))))
        return root

    return make


@pytest.fixture
def run_dir(make_run: MakeRun) -> Path:
    """A run of twelve images."""
    return make_run(12)
