"""What the store's tests share: a run, records of it, pictures, and file systems that misbehave."""

from __future__ import annotations

import errno
import io
import os
import random
import shutil
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Struct
from PIL import Image

from engine.store import DISK, RunDir, create_run
from schemas.outcome import Asset, Usage
from schemas.record import ImageRecord, RunManifest, Start

MANIFEST = RunManifest(
    run_id="r", created_at="2026-01-21T00:00:00Z", run_date="20260121", versions={}, fingerprints={}, config={}
)


def image_id(index: int) -> str:
    return f"sm_20260121_{index:04d}"


def a_picture(seed: int = 0, size: int = 24, kind: str = "PNG", **options: object) -> bytes:
    """A small real picture that differs by seed."""
    pixels = random.Random(seed).randbytes(size * size * 3)
    out = io.BytesIO()
    Image.frombytes("RGB", (size, size), pixels).save(out, kind, **options)
    return out.getvalue()


def an_image_line(index: int, asset: Asset | None = None, *, attempt: int = 1, status: str = "ok") -> ImageRecord:
    return ImageRecord(
        job=f"{index:032x}",
        status=status,  # type: ignore[arg-type]
        stage="image",
        image_id=image_id(index),
        index=index,
        attempt=attempt,
        final=status != "retry",
        generated_at="2026-01-21T00:00:00.000Z",
        latency_s=1.5,
        model="gemini-x",
        usage=Usage(prompt_tokens=7, output_tokens=1290, total_tokens=1297),
        cost_usd=0.039,
        prompt=f"A crowd, number {index}, on a square — «fictional»",
        source_data={"atropia": {"title": "t" * 40}, "demographics": {}, "visual_reference": None},
        style="realistic",
        complexity="medium",
        aspect_ratio="1:1",
        resolution="1K",
        asset=asset,
    )


def a_start(index: int, attempt: int = 1) -> Start:
    return Start(
        job=f"{index:032x}",
        status="start",
        stage="image",
        image_id=image_id(index),
        index=index,
        attempt=attempt,
        generated_at="2026-01-21T00:00:00.000Z",
        model="gemini-x",
    )


class Sick:
    """A disk whose calls go through `when(name, nth, path)`, which may raise OSError or shorten a write."""

    def __init__(self, when: Callable[[str, int], int | None]) -> None:
        self._when = when
        self.calls = 0
        self.seen: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., object]:
        real = getattr(DISK, name)

        def call(*arguments: object) -> object:
            self.calls += 1
            self.seen.append(name)
            take = self._when(name, self.calls)
            if take is not None:  # a short write, as a full disk makes them
                fd, data = arguments
                return real(fd, memoryview(data)[:take])  # type: ignore[arg-type]
            return real(*arguments)

        return call


def failing(name: str, code: int, *, after: int = 0) -> Sick:
    """A disk on which the call `name` fails with this errno, once `after` such calls have gone well."""
    left = after

    def when(called: str, _: int) -> None:
        nonlocal left
        if called == name:
            left -= 1
            if left < 0:
                raise OSError(code, errno.errorcode[code])

    return Sick(when)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "run")
    create_run(run, MANIFEST, durability="none")
    return run


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory where the machine has one: syncs cost nothing there."""
    place = Path("/dev/shm")
    root = Path(tempfile.mkdtemp(prefix="groundswell-test-", dir=place if os.access(place, os.W_OK) else None))
    yield root
    shutil.rmtree(root)


def png_with(*chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of these chunks, each with its right CRC."""
    out = b"\x89PNG\r\n\x1a\n"
    for kind, body in chunks:
        out += len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")
    return out


def to_dict(record: Struct) -> dict[str, Any]:
    return msgspec.json.decode(msgspec.json.encode(record))


@pytest.fixture
def kit() -> object:
    """The functions of this file, for test modules (which cannot import one another)."""
    return sys.modules[__name__]
