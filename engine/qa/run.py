"""One QA pass over a run directory, from the logs to report.json. Reads the run, writes only under OUT/qa.

A live run can be looked at: logs are read to their last newline, and nothing here takes the run's lock.
"""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
from msgspec import structs
from numpy.typing import NDArray

from engine.errors import ConfigError, StoreError
from engine.qa.answers import flagged_answers
from engine.qa.bias import all_bias
from engine.qa.contradictions import OF_PICTURE, contradictions
from engine.qa.decisions import read_decisions
from engine.qa.duplicates import find_duplicates
from engine.qa.judge import Thresholds, one_of, with_flag
from engine.qa.model import Options, Progress, QAReport
from engine.qa.near_texts import repeating
from engine.qa.page import remove_pages, write_pages
from engine.qa.pictures import in_order, judged, prints
from engine.qa.report import Findings, assemble
from engine.qa.scan import scan_pictures, strangers
from engine.qa.slices import Slices, write_lazy, write_table
from engine.qa.statistics import all_statistics
from engine.qa.tables import ROW_GROUP, build_tables
from engine.store.atomic import write_atomic
from engine.store.layout import RunDir, load_manifest
from engine.store.lock import is_live, only_here
from schemas.config import RunConfig
from schemas.record import RunManifest

FULL_BYTES = 1 << 20
"""With less than this free, a table that cannot be read back was cut short for want of space."""
TABLES = ("images.parquet", "answers.parquet", "contradictions.parquet", "duplicates.parquet", "clusters.parquet")


def config_of(manifest: RunManifest) -> RunConfig:
    """What the run was made with. Raises ConfigError."""
    try:
        return RunConfig.model_validate(manifest.config)
    except ValueError as error:
        raise ConfigError(f"run.json: its configuration cannot be read by this version: {error}") from error


def run_qa(run_dir: Path | str, *, options: Options | None = None) -> QAReport:
    """Check every image and every text of a run; write qa/report.json, report.html and the tables.

    Raises NoRun when `run_dir` holds none, StoreError when qa/ cannot be written, RunLocked while another pass is at
    work there. What is wrong with the data itself
    is never an exception: it is in the report.
    """
    options = options or Options()
    run = RunDir(run_dir)
    manifest = load_manifest(run)
    config = options.config or config_of(manifest)
    tell: Callable[[Progress], None] = options.on_progress or (lambda progress: None)
    with ExitStack() as stack:
        try:
            run.qa.mkdir(exist_ok=True)
            stack.enter_context(only_here(run.qa, f"{run.qa}: another pass of QA is at work there; wait for its end"))
            work = Path(tempfile.mkdtemp(prefix=".work-", dir=run.qa))
        except OSError as error:
            raise StoreError(f"{run.qa}: cannot be written ({error.strerror}); QA keeps its results there") from error
        stack.callback(shutil.rmtree, work, ignore_errors=True)
        stack.enter_context(_with_space(run.qa))
        return _pass(run, manifest, config, options, work, tell)


@contextmanager
def _with_space(folder: Path) -> Generator[None]:
    """A disk that fills up meanwhile is told in one sentence."""
    try:
        yield
    except (OSError, pl.exceptions.PolarsError) as error:
        if not _for_want_of_space(error, folder):
            raise
        raise StoreError(
            f"{folder}: the disk is full; free space on this file system (a pass takes some 2 KB for each image), then "
            "run the same command again: what was looked at is kept"
        ) from error


def _for_want_of_space(error: Exception, folder: Path) -> bool:
    """Polars says it in passing, or finds later that a table was cut short."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return f"os error {errno.ENOSPC}" in str(error) or shutil.disk_usage(folder).free < FULL_BYTES


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
    seen = scan_pictures(
        run.root,
        in_order(tables.prompts),
        run.qa / "looks",
        work=work / "records",
        threads=options.threads,
        recheck=options.recheck,
        tick=lambda done, total: tell(Progress("looking at images", done, total)),
    )
    beside = [] if is_live(run) else strangers(run.root, seen.pictures)  # a live run has files on their way
    limits = Thresholds(
        min_file_bytes=config.validation.min_image_size_kb * 1024, **config.validation.thresholds.model_dump()
    )
    pictures = judged(seen, limits, work / "pictures")
    duplicates = None
    if config.validation.check_duplicates:
        tell(Progress("looking for duplicates", 0, 0))
        duplicates = find_duplicates(
            prints(pictures, seen), pictures, seen.looks,
            threshold_percent=config.validation.duplicate_threshold, work=work,
        )  # fmt: skip
    del seen
    reviews, turned_down, accepted = read_decisions(run.reviews_log, pictures.lazy())
    tell(Progress("reading captions, labels and comments", 0, 0))
    at_odds = contradictions(tables, config)
    answers = flagged_answers(tables.metadata)
    if config.validation.validate_metadata:
        of_text = at_odds.filter(~pl.col("rule").is_in(OF_PICTURE))["image_id"].unique()
        answers = answers.with_columns(with_flag("contradiction", one_of(of_text) & pl.col("for_labels")))
    else:
        answers = answers.with_columns(flags=pl.lit([], pl.List(pl.String)))
        at_odds = at_odds.clear()
    flags = {
        "rejected": one_of(sorted(turned_down)),
        "not_as_asked": one_of(at_odds.filter(pl.col("rule").is_in(OF_PICTURE))["image_id"].unique()),
    }
    redundant = np.empty(0, np.uint32) if duplicates is None else duplicates.redundant
    statistics = all_statistics(tables, config, options.seed)
    if config.validation.validate_metadata:
        again = one_of(repeating(tables.near_texts, "captions"))
        answers = answers.with_columns(with_flag("caption_repeated", again & pl.col("for_caption")))
    tell(Progress("comparing what was asked with what is told", 0, 0))
    bias = all_bias(tables, config)
    _write_pictures(pictures, redundant, flags, one_of(sorted(accepted)), work)
    write_lazy(answers, work / "answers.parquet", ROW_GROUP)
    at_odds.write_parquet(work / "contradictions.parquet", compression="zstd", row_group_size=ROW_GROUP)
    if duplicates is not None:
        duplicates.clusters.write_parquet(work / "clusters.parquet", compression="zstd", row_group_size=ROW_GROUP)
        duplicates = structs.replace(duplicates, table=run.qa / duplicates.table.name)
    _publish(work, run.qa)
    findings = Findings(
        run=run, manifest=manifest, config=config, tables=tables, pictures_table=run.qa / "images.parquet",
        answers_table=run.qa / "answers.parquet", limits=limits, duplicates=duplicates, contradictions=at_odds,
        reviews=reviews, statistics=statistics, strangers=beside, bias=bias,
    )  # fmt: skip
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


def _write_pictures(
    pictures: Slices, redundant: NDArray[np.uint32], flags: dict[str, pl.Expr], accepted: pl.Expr, work: Path
) -> None:
    """images.parquet, with the flags that were not known when pictures were judged."""

    def frames() -> Iterator[pl.DataFrame]:
        for first, frame in pictures.frames():
            again = np.zeros(frame.height, np.bool_)
            here = (redundant >= first) & (redundant < first + frame.height)
            again[redundant[here] - first] = True
            frame = frame.with_columns(with_flag("duplicate", pl.lit(pl.Series(again))))
            for name, hit in flags.items():
                frame = frame.with_columns(with_flag(name, hit))
            yield frame.with_columns(accepted=accepted)

    schema = pl.Schema({**pictures.lazy().collect_schema(), "accepted": pl.Boolean()})
    write_table(frames(), schema, work / "images.parquet", ROW_GROUP)


def _publish(work: Path, folder: Path) -> None:
    """The tables of this pass in place of the last one's."""
    for name in TABLES:
        if (work / name).exists():
            (work / name).replace(folder / name)
        else:
            (folder / name).unlink(missing_ok=True)
