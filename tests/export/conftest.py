"""A small run on disk, made without an engine: pictures by Pillow, lines by the log format."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from engine.store.layout import RunDir, create_run
from schemas.config import RunConfig
from schemas.outcome import Asset, Failure, Usage
from schemas.record import ImageRecord, MetadataRecord, RunManifest, encode_line

LABELS = {
    "scene_type": "march",
    "setting": "street",
    "activity_level": "high",
    "crowd_size": "21-100",
    "time_of_day": "day",
    "sentiment": "hopeful",
    "primary_subjects": ["banners", "people"],
    "digital text": "none",
    "informational": "no",
    "illustrations": "no",
}
COMMENTS = ("Solidarity! ✊🏽 #ClimateStrike", "=HYPERLINK(1)", "@you where is this?")


def picture(kind: str = "PNG", colour: tuple[int, int, int] = (200, 120, 40), size: int = 32) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(buffer, kind)
    return buffer.getvalue()


class Run:
    """Writes a run line by line."""

    def __init__(self, root: Path, config: dict[str, Any]) -> None:
        self.dir = RunDir(root)
        manifest = RunManifest(
            run_id="20260121-abc",
            created_at="2026-01-21T10:00:00Z",
            run_date="20260121",
            versions={},
            fingerprints={},
            config=RunConfig.model_validate(config).model_dump(mode="json"),
        )
        root.mkdir(parents=True, exist_ok=True)
        create_run(self.dir, manifest, durability="none")

    def image(
        self,
        index: int,
        *,
        image_id: str | None = None,
        status: str = "ok",
        final: bool = True,
        at: str = "2026-01-21T10:30:00.000Z",
        kind: str = "PNG",
        colour: tuple[int, int, int] | None = None,
        file: bool = True,
        source_data: dict[str, Any] | None = None,
    ) -> str:
        image_id = image_id or f"sm_20260121_{index:04d}"
        asset = None
        if status == "ok":
            data = picture(kind, colour or (index * 7 % 256, 90, 30))
            path = self.dir.image_path(index, image_id, {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp"}[kind])
            path.parent.mkdir(parents=True, exist_ok=True)
            if file:
                path.write_bytes(data)
            asset = Asset(
                path=self.dir.relative(path),
                sha256=hashlib.sha256(data).hexdigest(),
                size_bytes=len(data),
                mime_type=f"image/{kind.lower()}",
                width=32,
                height=32,
            )
        record = ImageRecord(
            job=f"{index:032x}",
            status=status,  # type: ignore[arg-type]
            stage="image",
            image_id=image_id,
            index=index,
            attempt=1,
            final=final,
            generated_at=at,
            latency_s=1.0,
            model="gemini-nano-banana-2.1",
            usage=Usage(prompt_tokens=100, output_tokens=1300, total_tokens=1400),
            cost_usd=0.035,
            error=None if status == "ok" else Failure(kind=status, message="no"),
            prompt=f"A scene depicting protest number {index}, " + "with people " * 30,
            source_data=source_data
            or {
                "atropia": {"id": "atropia_001", "theme": "protests", "location": "Baku"},
                "demographics": {"age_group": "25-34", "occupation": "teacher"},
                "visual_reference": {"description": "people with signs"},
            },
            style="realistic",
            complexity="medium",
            aspect_ratio="1:1",
            resolution="1K",
            asset=asset,
        )
        self.append(self.dir.images_log, encode_line(record))
        return image_id

    def metadata(
        self,
        index: int,
        *,
        image_id: str | None = None,
        tasks: tuple[str, ...] = ("caption", "labels", "comments"),
        at: str = "2026-01-21T10:31:00.000Z",
        status: str = "ok",
        **answer: Any,
    ) -> None:
        good = status == "ok"
        given: dict[str, Any] = {}
        if "caption" in tasks and good:
            given |= {"caption": f"Caption {index}.", "captions": (f"Caption {index}.",)}
        if "labels" in tasks and good:
            given["labels"] = LABELS
        if "comments" in tasks and good:
            given["comments"] = COMMENTS
        record = MetadataRecord(
            job=f"{index:031x}f",
            status=status,  # type: ignore[arg-type]
            stage="metadata",
            image_id=image_id or f"sm_20260121_{index:04d}",
            index=index,
            attempt=1,
            final=True,
            generated_at=at,
            latency_s=1.0,
            model="gemini-3.1-flash-lite",
            usage=Usage(),
            cost_usd=0.001,
            tasks=tasks,
            **{**given, **answer},
        )
        self.append(self.dir.metadata_log, encode_line(record))

    def append(self, path: Path, line: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(line)


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Run]:
    """Makes an empty run; keywords are its configuration."""

    def make(name: str = "run", **config: Any) -> Run:
        return Run(tmp_path / name, config)

    return make


@pytest.fixture
def run(make_run: Callable[..., Run]) -> Run:
    """Three pictures with their metadata, written out of order, and one refusal."""
    made = make_run()
    for index in (2, 1, 4):
        made.image(index)
    made.image(3, status="refused")
    for index in (4, 1, 2):
        made.metadata(index)
    return made
