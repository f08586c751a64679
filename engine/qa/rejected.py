"""Which images QA would have made again: what `groundswell run --redo qa` asks for."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from msgspec import Struct

from engine.errors import StoreError
from engine.qa.model import FLAGS
from engine.store.layout import RunDir
from engine.store.scan import read_records
from schemas.record import ImageRecord

REDO = frozenset(name for name, flag in FLAGS.items() if flag.redo)


class Rejected(Struct, frozen=True):
    """An image to make again. Its old file, if there is one, belongs aside in quarantine/, never deleted."""

    image_id: str
    index: int
    path: str
    reasons: tuple[str, ...]


def rejected(run_dir: Path | str) -> list[Rejected]:
    """What the last pass rejected, in the run's order; images that people accepted are not among them.

    Neither are images made anew since that pass: nothing is known against the new ones. StoreError when
    QA has not run yet.
    """
    run = RunDir(run_dir)
    table = run.qa / "images.parquet"
    if not table.exists():
        raise StoreError(f"{run_dir}: QA has not looked at this run yet; run `groundswell qa {run_dir}` first")
    try:
        frame = pl.read_parquet(table, columns=["image_id", "index", "path", "sha256", "flags", "accepted"])
    except (pl.exceptions.PolarsError, OSError) as error:
        raise StoreError(f"{table}: cannot be read; run `groundswell qa {run_dir}` again") from error
    present = {
        record.image_id: record.asset.sha256 if record.asset is not None else None
        for record in read_records(run.images_log, ImageRecord, on_damage=lambda _damage: None)
    }
    out: list[Rejected] = []
    for image_id, index, path, sha256, flags, accepted in frame.sort("index").iter_rows():
        if present.get(image_id) != sha256:
            continue
        reasons = tuple(f for f in flags if f in REDO)
        # A person's yes outweighs an opinion of ours about quality, but not a file that is broken.
        if reasons and not (accepted and all(FLAGS[r].severity != "critical" for r in reasons)):
            out.append(Rejected(image_id, index, path, reasons))
    return out


def rejected_ids(run_dir: Path | str) -> tuple[str, ...]:
    """Only the image ids of `rejected`."""
    return tuple(r.image_id for r in rejected(run_dir))
