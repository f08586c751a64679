"""What people decided in review, folded into QA: acceptance with its interval, agreement, rejected images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from engine.core.reviews import acceptance, agreement, standing, verdicts
from engine.store.reviews import read_reviews


def read_decisions(log: Path, pictures: pl.LazyFrame) -> tuple[dict[str, Any] | None, set[str], set[str]]:
    """The `reviews` member of the report (None without decisions), rejected image ids, accepted ones.

    Decisions on a picture that has since been made again do not count.
    """
    lines = read_reviews(log)
    judged = pl.DataFrame({"image_id": [*{d.image_id for d in lines.decisions}]}, schema={"image_id": pl.String})
    shown = pictures.select("image_id", "sha256").filter(pl.col("image_id").is_in(judged["image_id"].implode()))
    digests = {i: s for i, s in shown.collect(engine="streaming").iter_rows() if s}
    current = standing(lines.decisions, digests)
    if not current:
        return None, set(), set()
    found = verdicts(current)
    agreed = msgspec.to_builtins(agreement(current))
    report: dict[str, Any] = {
        "decisions": len(current),
        "images": len(found),
        "by_status": {
            s: sum(v.status == s for v in found.values()) for s in ("accept", "reject", "unsure", "disputed")
        },
        "acceptance": msgspec.to_builtins(acceptance(current)),
        "acceptance_of_sample": msgspec.to_builtins(acceptance(current, {"sample"})),
        "agreement": agreed,
        "damaged_lines": len(lines.damaged),
    }
    return (
        report,
        {i for i, v in found.items() if v.status == "reject"},
        {i for i, v in found.items() if v.status == "accept"},
    )
