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
from engine.qa.answers import flagged_answers
from engine.qa.bias import all_bias
from engine.qa.contradictions import OF_PICTURE, contradictions
from engine.qa.decisions import read_decisions
from engine.qa.duplicates import find_duplicates
from engine.qa.judge import Thresholds, add_flag, flag_pictures
from engine.qa.model import Options, Progress, QAReport
from engine.qa.page import remove_pages, write_pages
from engine.qa.report import Findings, assemble
from engine.qa.scan import scan_pictures, strangers
from engine.qa.statistics import all_statistics
from engine.qa.tables import ROW_GROUP, build_tables
from engine.store.atomic import write_atomic
from engine.store.layout import RunDir, load_manifest
from engine.store.lock import is_live
from schemas.config import RunConfig
from schemas.record import RunManifest

_RECORD = (
    "image_id", "index", "job", "path", "sha256", "size_bytes", "mime_type", "width", "height", "aspect_ratio",
    "newest_attempt", "redone",
)  # fmt: skip


def config_of(manifest: RunManifest) -> RunConfig:
    """What the run was made with. Raises ConfigError."""
    try:
        return RunConfig.model_validate(manifest.config)
    except ValueError as error:
        raise ConfigError(f"run.json: its configuration cannot be read by this version: {error}") from error


def run_qa(run_dir: Path | str, *, options: Options | None = None) -> QAReport:
    """Check every image and every text of a run; write qa/report.json, report.html and the tables.

    Raises NoRun when `run_dir` holds none, StoreError when qa/ cannot be written. What is wrong with the data itself
    is never an exception: it is in the report.
    """
    options = options or Options()
    run = RunDir(run_dir)
    manifest = load_manifest(run)
    config = options.config or config_of(manifest)
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
        config.metadata,
        work=work,
        out=run.qa,
        tick=lambda stage, lines: tell(Progress(f"reading the {stage} log", lines, 0)),
    )
    records = (
        pl.scan_parquet(tables.prompts)
        .filter((pl.col("status") == "ok") & pl.col("path").is_not_null())
        .select(*_RECORD, prompt_chars=pl.col("prompt").str.len_chars())
        .collect(engine="streaming")
        .sort("index", "image_id")
    )
    seen = scan_pictures(
        run.root,
        records,
        run.qa / "looks",
        threads=options.threads,
        recheck=options.recheck,
        tick=lambda done, total: tell(Progress("looking at images", done, total)),
    )
    beside = [] if is_live(run) else strangers(run.root, records)  # a live run has files on their way
    limits = Thresholds(
        min_file_bytes=config.validation.min_image_size_kb * 1024, **config.validation.thresholds.model_dump()
    )
    pictures = flag_pictures(seen.pictures, limits)
    duplicates = None
    if config.validation.check_duplicates:
        tell(Progress("looking for duplicates", 0, 0))
        duplicates = find_duplicates(pictures, seen.parts, threshold_percent=config.validation.duplicate_threshold)
        pictures = add_flag(pictures, "duplicate", duplicates.clusters.filter(~pl.col("keep"))["image_id"])
    reviews, turned_down, accepted = read_decisions(run.reviews_log, pictures)
    pictures = add_flag(pictures, "rejected", sorted(turned_down)).with_columns(
        accepted=pl.col("image_id").is_in(sorted(accepted))
    )
    tell(Progress("reading captions, labels and comments", 0, 0))
    answers = flagged_answers(tables.metadata)
    at_odds = contradictions(tables, config)
    if not config.validation.validate_metadata:
        answers = answers.with_columns(flags=pl.lit([], pl.List(pl.String)))
        at_odds = at_odds.clear()
    of_picture = pl.col("rule").is_in(OF_PICTURE)
    pictures = add_flag(pictures, "not_as_asked", at_odds.filter(of_picture)["image_id"].unique())
    answers = add_flag(answers, "contradiction", at_odds.filter(~of_picture)["image_id"].unique(), pl.col("for_labels"))
    statistics = all_statistics(tables, config, options.seed)
    tell(Progress("comparing what was asked with what is told", 0, 0))
    findings = Findings(
        run=run, manifest=manifest, config=config, tables=tables, pictures=pictures, answers=answers, limits=limits,
        duplicates=duplicates, contradictions=at_odds, reviews=reviews, statistics=statistics, strangers=beside,
        bias=all_bias(tables, config),
    )  # fmt: skip
    _write_tables(findings)
    report = assemble(findings, started)
    write_atomic(run.qa / "report.json", report.json(), durability="batch")
    if options.html if options.html is not None else config.validation.generate_qa_report:
        tell(Progress("writing the report", 0, 0))
        write_pages(
            report,
            findings,
            seed=options.seed,
            tick=lambda done, total: tell(Progress("drawing clusters of duplicates", done, total)),
        )
    else:
        remove_pages(run.qa)  # an old page beside a new report would mislead
    return report


def _write_tables(findings: Findings) -> None:
    folder = findings.run.qa

    def put(frame: pl.DataFrame, name: str) -> None:
        temporary = folder / f".{name}.tmp"
        frame.write_parquet(temporary, compression="zstd", row_group_size=ROW_GROUP)
        temporary.replace(folder / name)

    put(findings.pictures.drop("place"), "images.parquet")
    put(findings.answers, "answers.parquet")
    put(findings.contradictions, "contradictions.parquet")
    if findings.duplicates is not None:
        put(findings.duplicates.pairs, "duplicates.parquet")
        put(findings.duplicates.clusters, "clusters.parquet")
    else:
        for name in ("duplicates.parquet", "clusters.parquet"):
            (folder / name).unlink(missing_ok=True)
