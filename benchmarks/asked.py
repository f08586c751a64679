"""What every arm asks and writes down for `text`: the metadata stage's own question, with the picture sent along.

The picture is read from disk for every call, as the engine does; it is tiny, so that text is what is measured.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from engine.providers.scripted import tiny_png
from engine.stages.metadata import metadata_jobs
from schemas.config import RunConfig
from schemas.job import Request
from schemas.outcome import Asset, Usage
from schemas.record import ImageRecord

PROMPT = "A vigil at dusk on a square. " * 12


def text_request(out: Path) -> Request:
    """The question about a picture that it puts into the folder `out`."""
    data = tiny_png(b"bench")
    (out / "asked.png").write_bytes(data)
    asset = Asset(
        path="asked.png",
        sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
        mime_type="image/png",
        width=64,
        height=64,
    )
    image = ImageRecord(
        job="0" * 32, status="ok", stage="image", image_id="asked", index=1, attempt=1, final=True, generated_at="",
        latency_s=0.0, model="", usage=Usage(), cost_usd=0.0, prompt=PROMPT, source_data={}, style=None,
        complexity=None, aspect_ratio="1:1", resolution="1K", asset=asset,
    )  # fmt: skip
    return next(metadata_jobs(RunConfig(), image, str(out / "asked.png"))).request
