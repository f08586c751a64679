"""What QA said about each image, if it has run: findings to show, near-duplicates to compare.

QA's tables are rebuilt at will and may be missing, older than the run, or of another version; the page
works without them.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct, structs

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Finding", "Findings", "Twin", "read_findings"]

TWINS_MAX = 24
"""Near-duplicates shown of one image; of a thousand blank pictures nobody compares all."""
_RULED = {"contradiction", "not_as_asked"}
"""Findings whose table names the rules that were broken."""
NOT_YET = "QA has not looked at this run yet; its findings show here after groundswell qa."


class Finding(Struct, frozen=True, kw_only=True):
    """One thing QA noticed about one image."""

    check: str
    title: str
    severity: str
    message: str


class Twin(Struct, frozen=True, kw_only=True):
    """An image that shows the same."""

    image_id: str
    kind: str
    """`file`, `same` or `edited`, as QA has it."""
    similarity_percent: float | None


Signature = tuple[tuple[str, int, int], ...]


class Findings(Struct, frozen=True, kw_only=True):
    """All that QA noticed, by image id."""

    by_image: dict[str, tuple[Finding, ...]] = {}
    duplicates: dict[str, tuple[Twin, ...]] = {}
    """Near-duplicates of an image, the most similar first."""
    flagged: frozenset[str] = frozenset()
    """Images with a finding that is more than information, or with a near-duplicate."""
    problem: str | None = None
    """Why there is nothing, for the reviewer; null when QA was read."""
    signature: Signature = ()
    """Names, times and sizes of the tables this was read from."""

    def counts(self) -> dict[str, int]:
        """Images per check, the most frequent first."""
        counts = Counter(check for found in self.by_image.values() for check in {f.check for f in found})
        return dict(counts.most_common())


def read_findings(qa: Path, known: Findings | None = None) -> Findings:
    """The findings in the QA folder of a run; `known` itself when nothing changed since it was read."""
    tables = sorted(qa.glob("*.parquet")) if qa.is_dir() else []
    signature = tuple((t.name, about.st_mtime_ns, about.st_size) for t in tables for about in _stat(t))
    if known is not None and known.signature == signature:
        return known
    if not signature:
        return Findings(problem=NOT_YET)
    # Imported here: without QA's tables the server needs neither, and starts in half the time and memory.
    import polars as pl

    found: dict[str, list[Finding]] = {}
    rules: dict[str, list[str]] = {}
    twins: dict[str, list[Twin]] = {}
    problem: str | None = None
    for table in tables:
        try:
            _read_table(pl.scan_parquet(table), found, rules, twins)
        except (pl.exceptions.PolarsError, OSError) as error:
            problem = f"{table.name} of QA cannot be read ({str(error)[:200]}); run groundswell qa again."
    for image_id, broken in rules.items():
        found[image_id] = [
            structs.replace(f, message="; ".join(broken)) if f.check in _RULED else f for f in found.get(image_id, ())
        ]
    grave = {image_id for image_id, f in found.items() if any(one.severity != "info" for one in f)}
    return Findings(
        flagged=frozenset(grave | twins.keys()),
        by_image={image_id: tuple(f) for image_id, f in found.items()},
        duplicates={
            image_id: tuple(sorted(t, key=lambda one: -(one.similarity_percent or 0))[:TWINS_MAX])
            for image_id, t in twins.items()
        },
        problem=problem,
        signature=signature,
    )


def _stat(table: Path) -> list[os.stat_result]:
    try:
        return [table.stat()]
    except OSError:  # QA is writing it anew at this moment
        return []


def _read_table(
    table: pl.LazyFrame,
    found: dict[str, list[Finding]],
    rules: dict[str, list[str]],
    twins: dict[str, list[Twin]],
) -> None:
    import polars as pl

    columns = table.collect_schema()
    if columns.get("flags") == pl.List(pl.String) and columns.get("image_id") == pl.String:
        fault = pl.col("fault") if columns.get("fault") == pl.String else pl.lit(None, dtype=pl.String)
        flagged = table.filter(pl.col("flags").list.len() > 0).select("image_id", "flags", fault=fault).collect()
        for image_id, flags, detail in flagged.iter_rows():
            found.setdefault(image_id, []).extend(_finding(flag, detail) for flag in flags)
    elif columns.get("rule") == pl.String and columns.get("image_id") == pl.String:
        for image_id, rule in table.select("image_id", "rule").collect().iter_rows():
            rules.setdefault(image_id, []).append(rule)
    elif columns.get("image_a") == pl.String and columns.get("image_b") == pl.String:
        kind = pl.col("kind") if columns.get("kind") == pl.String else pl.lit("same")
        similar = pl.col("similarity_percent") if "similarity_percent" in columns else pl.lit(None)
        pairs = table.select("image_a", "image_b", kind=kind, similar=similar.cast(pl.Float64)).collect()
        for one, other, how, percent in pairs.iter_rows():
            for here, there in ((one, other), (other, one)):
                twins.setdefault(here, []).append(Twin(image_id=there, kind=how, similarity_percent=percent))


def _finding(flag: str, detail: str | None) -> Finding:
    from engine.qa.model import FLAGS

    known = FLAGS.get(flag)
    if known is None:  # of a newer QA
        return Finding(check=flag, title=flag.replace("_", " "), severity="warning", message=detail or "")
    # The detail speaks of the file; a text's finding is not made clearer by it.
    message = f"{known.meaning} ({detail})" if detail and known.subject == "image" else known.meaning
    return Finding(check=flag, title=known.title, severity=known.severity, message=message)
