"""The report as data: the original pipeline's fields, computed right, and what this pass adds to them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
from msgspec import Struct
from numpy.typing import NDArray

from engine.qa.actions import actions
from engine.qa.duplicates import Duplicates
from engine.qa.judge import Thresholds, flag_counts
from engine.qa.languages import not_applied
from engine.qa.look import LOOK
from engine.qa.model import FLAGS, INTEGRITY, QAReport
from engine.qa.score import components, overall
from engine.qa.tables import TASKS, Tables
from engine.store.layout import RunDir
from schemas.config import RunConfig
from schemas.record import RunManifest

INVALID_LISTED_MAX = 1_000
PAIRS_LISTED_MAX = 1_000
STRANGERS_LISTED_MAX = 20
FROM_FILE = "prompt-file"
"""The fingerprint of a run whose prompts are a file's."""
SEVERITIES = ("critical", "warning", "info")
QUALITY = ("dark", "light", "blurred", "low_information", "aspect", "odd_size", "tiny", "small_file")


class Findings(Struct, frozen=True, kw_only=True):
    """Everything the steps of a pass found."""

    run: RunDir
    manifest: RunManifest
    config: RunConfig
    tables: Tables
    pictures_table: Path
    answers_table: Path
    limits: Thresholds
    duplicates: Duplicates | None
    contradictions: pl.DataFrame
    reviews: dict[str, Any] | None
    statistics: dict[str, Any]
    bias: dict[str, Any]
    strangers: list[str]
    """Files under images/ that no record names."""

    @property
    def images(self) -> pl.LazyFrame:
        """What was found of each picture: qa/images.parquet."""
        return pl.scan_parquet(self.pictures_table)

    @property
    def answers(self) -> pl.LazyFrame:
        """What was found of each answer: qa/answers.parquet."""
        return pl.scan_parquet(self.answers_table)


def critical_flags() -> list[str]:
    """Names of the flags of severity critical."""
    return [name for name, flag in FLAGS.items() if flag.severity == "critical"]


def _percent(part: int, whole: int) -> float:
    return round(100.0 * part / whole, 2) if whole else 0.0


def _images(f: Findings, asked: dict[str, int]) -> dict[str, Any]:
    invalid = f.images.filter(_has(critical_flags()))
    total, bad = _count(f.images), _count(invalid)
    listed = invalid.select("image_id", "path", "flags", "fault").head(INVALID_LISTED_MAX).collect(engine="streaming")
    return {
        "total": total,
        "valid": total - bad,
        "invalid": bad,
        "validation_rate": _percent(total - bad, total),
        "results": [
            {"image_id": i, "path": p, "valid": False, "errors": [x for x in flags if x in FLAGS], "detail": fault}
            for i, p, flags, fault in listed.iter_rows()
        ],
        "asked": asked,
        "strangers": len(f.strangers),
        "strangers_first": f.strangers[:STRANGERS_LISTED_MAX],
    }


def _coverage(f: Findings) -> dict[str, dict[str, Any]]:
    images = _keys(f.images)
    out: dict[str, dict[str, Any]] = {}
    for task in TASKS:
        asked = task in f.config.metadata.tasks
        files = int(np.isin(images, _keys(f.answers.filter(f"has_{task}"))).sum())
        out[task] = {"total_files": files, "coverage_percent": _percent(files, len(images)), "asked": asked}
    return out


def _count(rows: pl.LazyFrame) -> int:
    return rows.select(pl.len()).collect(engine="streaming").item()


def _keys(rows: pl.LazyFrame) -> NDArray[np.uint64]:
    """A number for each row's image; a million of them fit into 8 MB."""
    return rows.select(pl.col("image_id").hash(0)).collect(engine="streaming").to_series().to_numpy()


def _images_of(rows: pl.LazyFrame) -> int:
    """Of how many images the rows are."""
    return len(np.unique(_keys(rows)))


def _duplicates(f: Findings) -> dict[str, Any]:
    if f.duplicates is None:
        return {"num_duplicates": 0, "duplicate_pairs": [], "checked": False}
    pairs, clusters = pl.scan_parquet(f.duplicates.table), f.duplicates.clusters
    kinds = dict(pairs.group_by("kind").len().collect(engine="streaming").iter_rows())
    original = pairs.filter(pl.col("kind") != "edited")
    edits = pairs.filter(pl.col("kind") == "edited").group_by("edit").len().collect(engine="streaming")
    listed = original.select("image_a", "image_b", "similarity_percent", "kind").head(PAIRS_LISTED_MAX)
    return {
        "num_duplicates": _count(original),
        "duplicate_pairs": [
            {"image1": a, "image2": b, "similarity": round(s, 2), "kind": k}
            for a, b, s, k in listed.collect(engine="streaming").iter_rows()
        ],
        "checked": True,
        "by_kind": {kind: int(kinds.get(kind, 0)) for kind in ("file", "same", "edited")},
        "edits": {str(e): int(n) for e, n in sorted(edits.iter_rows(), key=lambda row: (-row[1], row[0]))},
        "clusters": clusters["cluster"].n_unique(),
        "images_in_clusters": clusters.height,
        "redundant_images": clusters.filter(~pl.col("keep")).height,
        "method": f.duplicates.method,
    }


def why_not_better(quality: str, validation_rate: float, duplicates: int, complete: bool) -> str:
    """What keeps the grade from being the next better one; empty for the best."""
    rate, pairs = f"{validation_rate:.1f} % of images are valid", f"{duplicates:,} pairs are alike"
    if quality == "Needs Improvement":
        return f"Acceptable needs 80 % valid images; {rate}."
    if quality == "Acceptable":
        lacking = [rate] * (validation_rate < 90) + [pairs] * (duplicates > 2)
        return f"Good needs 90 % valid images and at most 2 pairs of duplicates; {', '.join(lacking)}."
    if quality == "Good":
        lacking = [rate] * (validation_rate < 95) + [pairs] * (duplicates > 0) + ["texts are missing"] * (not complete)
        return f"Excellent needs 95 % valid images, no duplicates and every text; {', '.join(lacking)}."
    return ""


def grade(validation_rate: float, duplicates: int, complete: bool) -> str:
    """The original's verdict, from the numbers it was meant to be made of."""
    if validation_rate >= 95 and duplicates == 0 and complete:
        return "Excellent"
    if validation_rate >= 90 and duplicates <= 2:
        return "Good"
    return "Acceptable" if validation_rate >= 80 else "Needs Improvement"


_REFUSED = pl.col("status") == "refused"


def _has(names: Sequence[str]) -> pl.Expr:
    return pl.col("flags").list.eval(pl.element().is_in(list(names))).list.any().fill_null(False)


def _flags(f: Findings, images: int, coverage: dict[str, dict[str, Any]]) -> dict[str, int]:
    flags = flag_counts(pl.concat([f.images.select("flags"), f.answers.select("flags")]))
    for task, name in (("caption", "no_caption"), ("labels", "no_labels"), ("comments", "no_comments")):
        flags.pop(name, None)  # counted by image: what has no answer at all has no row
        lacking = images - coverage[task]["total_files"]
        if coverage[task]["asked"] and lacking > 0:
            flags[name] = lacking
    damaged = f.tables.images_log.damaged + f.tables.metadata_log.damaged
    if damaged:
        flags["log_damaged"] = damaged
    return dict(sorted(flags.items(), key=lambda kv: (SEVERITIES.index(FLAGS[kv[0]].severity), -kv[1], kv[0])))


def _options(f: Findings) -> str:
    """What a command that takes up this run has to say again, wherever it is called."""
    digests = f.manifest.fingerprints
    words = ["--config", str(f.run.run_json.absolute())]
    if digests.get("prompts") == FROM_FILE:  # of a file all rows are meant, unless a number is said
        words += ["--prompts", f.manifest.origin.get("prompts", "YOUR_PROMPT_FILE")]
        words += ["--images", str(f.config.generation.num_images)]
    if digests.get("answers") == "simulator":
        words.append("--simulate")
    return f" {shlex.join(words)}"


def _given_up(f: Findings) -> int:
    """Images and texts that `--redo qa` leaves, because they were asked for again so often already."""
    bad = _has([name for name, flag in FLAGS.items() if flag.redo]) & (pl.col("redone") >= f.config.qa.max_redo)
    return _count(f.images.filter(bad & ~pl.col("accepted"))) + _count(f.answers.filter(bad & ~_REFUSED))


def assemble(f: Findings, started: datetime) -> QAReport:
    """The report of a pass."""
    settled = dict(pl.scan_parquet(f.tables.prompts).group_by("status").len().collect().iter_rows())
    counts = {status: int(settled.get(status, 0)) for status in ("ok", "refused", "failed")}
    asked = max(f.config.generation.num_images, sum(counts.values()))
    images = _images(f, {"asked": asked, **counts})
    total = images["total"]
    coverage = _coverage(f)
    flags = _flags(f, total, coverage)
    duplicates = _duplicates(f)
    complete = {task: not c["asked"] or c["total_files"] == total for task, c in coverage.items()}
    answers = _images_of(f.answers)
    serious = [n for n, flag in FLAGS.items() if flag.subject != "image" and flag.severity != "info"]
    broken = _count(f.images.filter(_has(INTEGRITY)))
    parts = components(
        images=total,
        broken=broken,
        poor=_count(f.images.filter(_has([*QUALITY, "blank"]))),
        redundant=duplicates.get("redundant_images", 0),
        asked=asked,
        refused=counts["refused"],
        coverage=coverage,
        answers=answers,
        faulty_answers=_images_of(f.answers.filter(_has(serious))),
        statistics=f.statistics,
        bias=f.bias,
    )
    return QAReport(
        validation_timestamp=started.isoformat(timespec="seconds").replace("+00:00", "Z"),
        output_directory=str(f.run.root),
        images=images,
        metadata={"total_files": total, "coverage_percent": 100.0 if total else 0.0, "answers": answers},
        captions=coverage["caption"],
        labels=coverage["labels"],
        comments=coverage["comments"],
        duplicates=duplicates,
        summary={
            "total_images": total,
            "valid_images": images["valid"],
            "validation_rate": images["validation_rate"],
            "metadata_complete": total > 0,
            "captions_complete": complete["caption"],
            "labels_complete": complete["labels"],
            "comments_complete": complete["comments"],
            "duplicates_found": duplicates["num_duplicates"],
            "dataset_quality": grade(images["validation_rate"], duplicates["num_duplicates"], all(complete.values())),
        },
        run={
            "run_id": f.manifest.run_id,
            "created_at": f.manifest.created_at,
            "run_date": f.manifest.run_date,
            "models": {"image": f.config.generation.model, "metadata": f.config.metadata.model},
            "log_lines": {"images": f.tables.images_log.lines, "metadata": f.tables.metadata_log.lines},
            "damage": [msgspec.to_builtins(d) for d in (*f.tables.images_log.damage, *f.tables.metadata_log.damage)],
        },
        flags=flags,
        critical=sum(count for name, count in flags.items() if FLAGS[name].severity == "critical"),
        score=overall(parts) if total else 0.0,
        components=parts,
        actions=actions(
            flags,
            directory=shlex.quote(str(f.run.root.absolute())),
            options=_options(f),
            broken=broken,
            missing_images=asked - sum(counts.values()),
            failed=counts["failed"],
            missing_texts={t: total - c["total_files"] for t, c in coverage.items() if c["asked"]},
            refused_texts=_images_of(f.answers.filter(_REFUSED)),
            bias=f.bias,
            targets=f.statistics["targets"],
            given_up=_given_up(f),
            redo_max=f.config.qa.max_redo,
        ),
        statistics=f.statistics,
        bias=f.bias,
        reviews=f.reviews,
        method={
            "look": LOOK,
            "not_applied": not_applied(f.config.metadata.language),
            "thresholds": msgspec.structs.asdict(f.limits),
            "score": "weighted geometric mean of the components",
            "grade": "as in the original pipeline: validation rate, duplicates, completeness",
        },
    )
