"""A run of any size: prompts of the real plan, plausible answers, a few refusals; small pictures if they are wanted.

    python benchmarks/records.py /tmp/records --count 1000000
    python benchmarks/records.py /tmp/pictures --count 100000 --side-px 192
    python benchmarks/records.py /tmp/seen --count 1000000 --seen   # as if all pictures had been looked at already

Captions and comments are drawn from the words of a vocabulary of a few thousand, so that hardly one repeats another;
real answers repeat more, and are less work.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import multiprocessing
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from PIL import Image

from engine import sources
from engine.core.plan import build_plan, prompt_at
from engine.qa import cache
from engine.qa.hashes import THUMB_PX, variant_hashes
from engine.qa.look import Look
from engine.qa.measures import chroma_std
from schemas.config import RunConfig
from schemas.metadata import VOCABULARY
from schemas.outcome import Asset, Failure, Usage
from schemas.record import ImageRecord, MetadataRecord, RunManifest, encode_line

LABELLED = {
    "urban_city_center": "city_centre", "town_square": "square", "university_campus": "campus",
    "government_building": "government_building", "public_park": "park", "street_march": "street",
    "online comments": "digital", "digital posts": "digital",
}  # fmt: skip
SUBJECTS = ("crowd", "banners", "police", "students", "workers", "placards")
CROWDS = 400
CROWD_EVERY = 5
"""One picture in so many shows what others of its crowd show, cut a little differently."""
WHEN = "2026-01-21T10:00:00.000Z"


def _vocabulary() -> list[str]:
    rng = random.Random(1)
    parts = ["ba", "con", "den", "el", "fir", "gra", "hol", "in", "ker", "lan", "mo", "ner", "or", "pal", "ser", "ti"]
    made = {"".join(rng.choices(parts, k=rng.randint(1, 4))) for _ in range(4_000)}
    common = "the a of and in on with people street crowd banner square voice hand sign march city young old".split()
    return common * 40 + sorted(made)


def _image(index: int, q: Any, rng: random.Random) -> ImageRecord:
    violent = q.source_data["atropia"]["theme"] == "gender_violence"
    refused = rng.random() < (0.06 if violent else 0.015)
    image_id = f"sm_20260121_{index:04d}"
    asset = Asset(
        path=f"images/{(index - 1) // 1000:04d}/{image_id}.png", sha256=f"{index:064x}", size_bytes=1_500_000,
        mime_type="image/png", width=1024, height=1024,
    )  # fmt: skip
    return ImageRecord(
        job=f"{index:032x}", status="refused" if refused else "ok", stage="image", image_id=image_id, index=index,
        attempt=1, final=True, generated_at=WHEN, latency_s=rng.gammavariate(8, 1), model="gemini-nano-banana-2.1",
        model_version="gemini-nano-banana-2.1", finish_reason="IMAGE_SAFETY" if refused else "STOP",
        usage=Usage(prompt_tokens=180, output_tokens=1290, total_tokens=1470), cost_usd=0.039,
        error=Failure(kind="refused", message="IMAGE_SAFETY") if refused else None, prompt=q.text,
        source_data=q.source_data, style=q.style, complexity=q.complexity, aspect_ratio="1:1", resolution="1K",
        asset=None if refused else asset,
    )  # fmt: skip


def _answer(index: int, q: Any, rng: random.Random, words: list[str]) -> MetadataRecord:
    people = q.source_data["demographics"]
    who = "women" if people["gender"] == "female" and rng.random() < 0.8 else "men"
    age = "young" if people["age_group"] in {"18-24", "25-34"} else "older"
    where = "village" if people["setting"] == "rural" and rng.random() < 0.5 else "city"
    verb, by = rng.choice(("march", "gather", "stand", "rally", "wait")), rng.choice(("near", "before", "along", "in"))
    seen = " ".join(rng.choices(words, k=14))
    caption = f"A group of {age} {who} {verb} {by} {seen} with banners in the {where}."
    if who == "women" and rng.random() < 0.2:
        caption += " They look emotional and caring."
    labels: dict[str, Any] = {c: rng.choice(values) for c, values in VOCABULARY.items()}
    if rng.random() < 0.8:
        labels["setting"] = LABELLED[q.source_data["setting"]]
    labels["primary_subjects"] = rng.sample(SUBJECTS, 3)
    labels["digital text"] = "none" if rng.random() < 0.4 else " ".join(rng.choices(words, k=3))
    comments = tuple(
        " ".join(rng.choices(words, k=rng.randint(6, 20))) + rng.choice(("", " #justice", " ✊", "!")) for _ in range(5)
    )
    return MetadataRecord(
        job=f"{index:031x}m", status="ok", stage="metadata", image_id=f"sm_20260121_{index:04d}", index=index,
        attempt=1, final=True, generated_at=WHEN, latency_s=rng.gammavariate(4, 0.5), model="gemini-3.1-flash-lite",
        model_version="gemini-3.1-flash-lite", finish_reason="STOP",
        usage=Usage(prompt_tokens=600, output_tokens=300, total_tokens=900), cost_usd=0.001,
        tasks=("caption", "labels", "comments"), caption=caption, captions=(caption,), labels=labels, comments=comments,
    )  # fmt: skip


def _config(count: int) -> RunConfig:
    plain = RunConfig().model_dump()
    return RunConfig.model_validate({**plain, "generation": {**plain["generation"], "num_images": count}})


def scene(index: int, side_px: int) -> Image.Image:
    """Colours that run into each other: like no other picture, or like one of `CROWDS`."""
    alike = index % CROWD_EVERY == 0
    number = index // CROWD_EVERY % CROWDS if alike else index + CROWDS
    few = np.random.default_rng(number).integers(0, 256, (12, 12, 3), np.uint8)
    left, top = (index % 41 / 100, index % 37 / 100) if alike else (0, 0)
    return Image.fromarray(few).resize((side_px, side_px), Image.Resampling.BICUBIC, (left, top, 12, 12))


def picture(index: int, side_px: int) -> bytes:
    """A scene as JPEG."""
    out = io.BytesIO()
    scene(index, side_px).save(out, "JPEG", quality=80 + index % 15)
    return out.getvalue()


def _drawn(folder: Path, asset: Asset, index: int, side_px: int) -> Asset:
    """The asset's picture, written; what is recorded of it."""
    data = picture(index, side_px)
    path = asset.path.replace(".png", ".jpg")
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_bytes(data)
    return Asset(
        path=path, sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data), mime_type="image/jpeg",
        width=side_px, height=side_px,
    )  # fmt: skip


class _Looks:
    """What a pass would keep of pictures that it had looked at, as parts of its cache."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._rows: list[tuple[dict[str, object], Look]] = []

    def add(self, asset: Asset, index: int) -> None:
        """The file is not there and was not there then, so nothing has changed and the look holds."""
        key: dict[str, object] = {"path": asset.path, "sha256": asset.sha256, "file_bytes": -1, "file_mtime_ns": -1}
        image = scene(index, THUMB_PX)
        thumb = np.asarray(image.convert("L"))
        plain, *variants = variant_hashes(thumb, (asset.width or 1, asset.height or 1))
        look = Look(
            integrity=[], mime_found=asset.mime_type, width_found=asset.width, height_found=asset.height,
            luma_mean=float(thumb.mean()), luma_std=float(thumb.std()), luma_p5=float(np.quantile(thumb, 0.05)),
            luma_p99=float(np.quantile(thumb, 0.99)), entropy_bits=7.0, sharpness=2.0, chroma_std=chroma_std(image),
            phash=plain, variants=variants, thumb=thumb.tobytes(),
        )  # fmt: skip
        self._rows.append((key, look))
        if len(self._rows) >= cache.PART_ROWS:
            self.flush()

    def flush(self) -> None:
        if self._rows:
            cache.keep(self._folder, self._rows)
        self._rows = []


def _part(folder: str, count: int, side_px: int, seen: bool, first: int, last: int) -> None:
    config = _config(count)
    plan = build_plan(config, sources.load(config, Path()), "20260121")
    rng, words = random.Random(first), _vocabulary()
    log = Path(folder) / "log"
    looks = _Looks(Path(folder) / f"looks.{first}") if seen else None
    with (log / f"images.{first}").open("wb") as images, (log / f"metadata.{first}").open("wb") as metadata:
        for index in range(first, last):
            q = prompt_at(plan, index)
            record = _image(index, q, rng)
            if side_px and record.asset is not None:
                asset = _drawn(Path(folder), record.asset, index, side_px)
                record = msgspec.structs.replace(record, asset=asset)
            images.write(encode_line(record))
            if looks is not None and record.asset is not None:
                looks.add(record.asset, index)
            if record.status == "ok":
                metadata.write(encode_line(_answer(index, q, rng, words)))
    if looks is not None:
        looks.flush()


def write_run(folder: Path, count: int, *, side_px: int = 0, seen: bool = False, processes: int = 2) -> None:
    """run.json and both logs, and pictures of this size unless it is 0; `seen`: in looks/ what a pass saw of each."""
    (folder / "log").mkdir(parents=True, exist_ok=True)
    manifest = RunManifest(
        run_id="records", created_at=WHEN, run_date="20260121", versions={}, fingerprints={},
        config=_config(count).model_dump(mode="json"),
    )  # fmt: skip
    (folder / "run.json").write_bytes(msgspec.json.encode(manifest))
    edges = [1 + count * i // processes for i in range(processes + 1)]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        pool.starmap(_part, [(str(folder), count, side_px, seen, a, b) for a, b in pairwise(edges)])
    if seen:
        parts = [part for first in edges[:-1] for part in sorted((folder / f"looks.{first}").iterdir())]
        (folder / "looks").mkdir()
        for number, part in enumerate(parts, start=1):
            part.rename(folder / "looks" / f"part-{number:06d}.parquet")
    for name in ("images", "metadata"):
        with (folder / "log" / f"{name}.jsonl").open("wb") as whole:
            for first in edges[:-1]:
                part = folder / "log" / f"{name}.{first}"
                with part.open("rb") as file:
                    while data := file.read(16 << 20):
                        whole.write(data)
                part.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--side-px", type=int, default=0)
    parser.add_argument("--seen", action="store_true")
    args = parser.parse_args()
    write_run(args.folder, args.count, side_px=args.side_px, seen=args.seen)
    print(f"{args.count} records in {args.folder}")


if __name__ == "__main__":
    main()
