"""What QA would have asked for again: what `groundswell run --redo qa` asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
from msgspec import Struct

from engine.errors import StoreError
from engine.qa.complaints import of_picture, of_texts
from engine.qa.contradictions import OF_PICTURE
from engine.qa.model import FLAGS
from engine.qa.run import config_of
from engine.store.layout import RunDir, load_manifest
from engine.store.scan import Damage, scan_settled

REDO = frozenset(name for name, flag in FLAGS.items() if flag.redo)
TASKS = ("caption", "labels", "comments")


class Rejected(Struct, frozen=True):
    """An image, or some of its texts, to ask for again. Nothing of the old ones is deleted."""

    image_id: str
    index: int
    reasons: tuple[str, ...]
    tasks: tuple[str, ...] = ()
    """The texts to ask for again; empty: the image itself, and then its texts with it."""
    redone: int = 0
    """How often it has been asked for again already."""
    complaint: str = ""
    """What to tell the model; empty where it did nothing wrong."""

    @property
    def names(self) -> tuple[str, ...]:
        """As `open_run(redo=…)` and `--redo` take it."""
        return tuple(f"{self.image_id}:{task}" for task in self.tasks) or (self.image_id,)


def rejected(run_dir: Path | str) -> list[Rejected]:
    """Images that the last pass rejected, in the run's order; those that people accepted are not among them.

    Neither are images asked for again since that pass: nothing is known against the new ones. StoreError when
    QA has not run yet.
    """
    run = RunDir(run_dir)
    columns = ["image_id", "index", "newest_attempt", "redone", "flags", "accepted"]
    frame = _table(run, "images.parquet", columns).sort("index")
    flagged = frame.filter(_has_reason())
    newest = _newest(run.images_log, set(flagged["image_id"]))
    out: list[Rejected] = []
    for image_id, index, attempt, redone, flags, accepted in flagged.iter_rows():
        reasons = _reasons(flags, accepted)
        if reasons and newest.get((image_id, "")) == (attempt, True):
            out.append(Rejected(image_id, index, reasons, redone=redone, complaint=of_picture(reasons)))
    return out


def rejected_texts(run_dir: Path | str) -> list[Rejected]:
    """Texts that the last pass rejected, of images that are kept; by the same rules as `rejected`.

    A text that the provider refused is not among them: its answer would be the same.
    """
    run = RunDir(run_dir)
    columns = ["image_id", "index", "line", "status", "newest_attempt", "redone", "flags"]
    columns += [f"for_{task}" for task in TASKS]
    frame = _table(run, "answers.parquet", columns).filter(_has_reason() & (pl.col("status") != "refused"))
    people = _table(run, "images.parquet", ["image_id", "accepted"])
    accepted = set(people.filter("accepted")["image_id"])
    going = {r.image_id for r in rejected(run_dir)}
    newest = _newest(run.metadata_log, set(frame["image_id"]))
    told = _complaints(run, frame.filter(pl.col("status") == "ok"))
    out: list[Rejected] = []
    for row in frame.sort("index").iter_rows(named=True):
        image_id = row["image_id"]
        tasks = tuple(task for task in TASKS if row[f"for_{task}"])
        reasons = _reasons(row["flags"], image_id in accepted)
        current = all(newest.get((image_id, task)) == (row["newest_attempt"], True) for task in tasks)
        if reasons and tasks and current and image_id not in going:
            complaint = told.get(row["line"], "")
            out.append(Rejected(image_id, row["index"], reasons, tasks, row["redone"], complaint))
    return out


def _complaints(run: RunDir, answers: pl.DataFrame) -> dict[int, str]:
    """What was wrong with these answers, by their line in the log."""
    if not answers.height or not (run.qa / "metadata").is_dir():
        return {}
    asked = config_of(load_manifest(run)).metadata
    texts = pl.scan_parquet(run.qa / "metadata").filter(pl.col("line").is_in(answers["line"].implode()))
    columns = [n for n in texts.collect_schema().names() if n in {"line", "caption", "captions", "label", "comments"}]
    rules: dict[str, list[str]] = {}
    for image_id, rule in _table(run, "contradictions.parquet", ["image_id", "rule"]).iter_rows():
        rules.setdefault(image_id, []).extend([rule] if rule not in OF_PICTURE else [])
    flags = {
        line: (image_id, found) for line, image_id, found in answers.select("line", "image_id", "flags").iter_rows()
    }
    told: dict[int, str] = {}
    for row in texts.select(columns).collect().iter_rows(named=True):
        image_id, found = flags[row["line"]]
        told[row["line"]] = of_texts(row, found, asked, rules.get(image_id, []))
    return told


def rejected_ids(run_dir: Path | str, *, redo_max: int | None = None) -> tuple[str, ...]:
    """What to ask for again, images before texts, as `open_run(redo=…)` takes it: the names alone.

    `redo_max` leaves out what has been asked for again so often already.
    """
    return tuple(to_redo(run_dir, redo_max=redo_max))


def to_redo(run_dir: Path | str, *, redo_max: int | None = None) -> dict[str, str]:
    """The same with what to tell the model about each, which `open_run(redo=…)` takes as well."""
    found = [*rejected(run_dir), *rejected_texts(run_dir)]
    return {name: r.complaint for r in found if redo_max is None or r.redone < redo_max for name in r.names}


def _table(run: RunDir, name: str, columns: list[str]) -> pl.DataFrame:
    table = run.qa / name
    if not table.exists():
        raise StoreError(f"{run.root}: QA has not looked at this run yet; run `groundswell qa {run.root}` first")
    try:
        return pl.read_parquet(table, columns=columns)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise StoreError(f"{table}: cannot be read; run `groundswell qa {run.root}` again") from error


def _has_reason() -> pl.Expr:
    return pl.col("flags").list.eval(pl.element().is_in(list(REDO))).list.any().fill_null(False)


def _reasons(flags: list[str], accepted: bool) -> tuple[str, ...]:
    """Why; nothing where a person's yes stands against an opinion of ours about quality, but not a broken file."""
    reasons = tuple(f for f in flags if f in REDO)
    return () if accepted and all(FLAGS[r].severity != "critical" for r in reasons) else reasons


def _newest(log: Path, ids: set[Any]) -> dict[tuple[str, str], tuple[int, bool]]:
    """(attempt, whether it is final) of the newest line, by image id and task; images have the task "" alone."""
    return {
        (line.image_id, task): (line.attempt, line.final)
        for line in scan_settled(log, on_damage=_ignore)
        if line.image_id in ids
        for task in (line.tasks or ("",))
    }


def _ignore(_damage: Damage) -> None:
    """QA tells of damage; here the lines that are whole are enough."""
