"""One QA pass over a run directory, from the logs to report.json. Reads the run, writes only under OUT/qa.

A live run can be looked at: logs are read to their last newline, and nothing here takes the run's lock.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from engine.errors import ConfigError, StoreError
from engine.qa import report as reporting
from engine.qa.answers import flagged_answers
from engine.qa.duplicates import find_duplicates
from engine.qa.judge import Thresholds, add_flag, flag_pictures
from engine.qa.model import Options, Progress, QAReport
from engine.qa.scan import scan_pictures
from engine.qa.tables import build_tables
from engine.store.atomic import write_atomic
from engine.store.layout import RunDir, load_manifest
from schemas.config import RunConfig
from schemas.record import RunManifest

_RECORD = ("image_id", "index", "job", "path", "sha256", "size_bytes", "mime_type", "width", "height", "aspect_ratio")


def _config_of(manifest: RunManifest) -> RunConfig:
    try:
        return RunConfig.model_validate(manifest.config)
    except ValueError as error:
        raise ConfigError(f"run.json: its configuration cannot be read by this version: {error}") from error


def run_qa(run_dir: Path | str, *, options: Options | None = None) -> QAReport:
    """Check every image and every text of a run; write qa/report.json, report.html and the tables.

    Raises StoreError when `run_dir` holds no run or qa/ cannot be written. What is wrong with the data itself
    is never an exception: it is in the report.
    """
    options = options or Options()
    run = RunDir(run_dir)
    manifest = load_manifest(run)
    config = options.config or _config_of(manifest)
    tell: Callable[[Progress], None] = options.on_progress or (lambda progress: None)
    try:
        run.qa.mkdir(exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".work-", dir=run.qa))
    except OSError as error:
        raise StoreError(f"{run.qa}: cannot be written ({error.strerror}); QA keeps its results there") from error
    try:
        return _pass(run, manifest, config, options, work, tell)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _pass(
    run: RunDir,
    manifest: RunManifest,
    config: RunConfig,
    options: Options,
    work: Path,
    tell: Callable[[Progress], None],
) -> QAReport:
    started = datetime.now(UTC)
    tables = build_tables(
        run.images_log,
        run.metadata_log,
        config.metadata.label_categories,
        work=work,
        out=run.qa,
        tick=lambda stage, lines: tell(Progress(f"reading the {stage} log", lines, 0)),
    )
    records = (
        pl.scan_parquet(tables.prompts)
        .filter((pl.col("status") == "ok") & pl.col("path").is_not_null())
        .select(_RECORD)
        .collect(engine="streaming")
        .sort("index", "image_id")
    )
    found = scan_pictures(
        run.root,
        records,
        run.qa / "looks",
        threads=options.threads,
        recheck=options.recheck,
        tick=lambda done, total: tell(Progress("looking at images", done, total)),
    )
    limits = Thresholds(min_file_bytes=config.validation.min_image_size_kb * 1024)
    pictures = flag_pictures(found, limits)
    duplicates = None
    if config.validation.check_duplicates:
        tell(Progress("looking for duplicates", 0, 0))
        duplicates = find_duplicates(
            pictures, run.qa / "looks", threshold_percent=config.validation.duplicate_threshold
        )
        extra = duplicates.clusters.filter(~pl.col("keep"))["image_id"]
        pictures = add_flag(pictures, "duplicate", extra)
        duplicates.pairs.write_parquet(run.qa / "duplicates.parquet")
        duplicates.clusters.write_parquet(run.qa / "clusters.parquet")
    answers = flagged_answers(tables.metadata, config.metadata)
    result = reporting.Findings(
        run=run,
        manifest=manifest,
        config=config,
        tables=tables,
        pictures=pictures,
        answers=answers,
        limits=limits,
        duplicates=duplicates,
    )
    pictures.write_parquet(run.qa / "images.parquet", compression="zstd")
    report = reporting.assemble(result, started)
    write_atomic(run.qa / "report.json", report.json(), durability="batch")
    return report
