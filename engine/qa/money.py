"""Estimate beside reality: what an image was expected to cost, and what it did."""

from __future__ import annotations

from typing import Any

import polars as pl

from engine.core.cost import Processing
from engine.qa.charts import number, percent
from engine.qa.markup import Safe, join, tag
from engine.stages.expected import image_usd, metadata_usd
from schemas.config import RunConfig

MODE: Processing = "standard"
NOTABLE = 0.15
"""A difference beyond this is worth a sentence on where it comes from."""


def money(prompts: pl.LazyFrame, stages: list[dict[str, Any]], config: RunConfig) -> dict[str, Any]:
    """USD per image that is in the set, by stage and in all: `estimated`, `real`, and the `ratio` of the two.

    `prompts` are the settled images, `stages` the calls of `statistics.cost_and_time`. What refusals, retries and
    images made anew cost is part of the reality. None: not known.
    """
    images = prompts.filter(pl.col("status") == "ok").select(pl.len()).collect().item()
    table = config.price_table()
    estimated = {"image": image_usd(config, table, MODE), "metadata": metadata_usd(config, table, MODE)}
    real: dict[str, float | None] = {}
    for name in estimated:
        mine = [s for s in stages if s["stage"] == name]
        known = images and mine and not any(s["cost_unknown"] for s in mine)
        real[name] = sum(s["cost_usd"] for s in mine) / images if known else None
    rows = {name: _row(estimated[name], real[name]) for name in estimated if any(s["stage"] == name for s in stages)}
    total = _row(_sum(estimated[n] for n in rows), _sum(real[n] for n in rows)) if rows else _row(None, None)
    return {"images": images, "per_image": {**rows, "total": total}}


def _sum(parts: Any) -> float | None:
    values = list(parts)
    return None if not values or None in values else sum(values)


def _row(estimated: float | None, real: float | None) -> dict[str, float | None]:
    known = estimated and real is not None
    return {
        "estimated": None if estimated is None else round(estimated, 6),
        "real": None if real is None else round(real, 6),
        "ratio": round(real / estimated, 4) if known and estimated and real is not None else None,
    }


def in_words(told: dict[str, Any]) -> str | None:
    """The whole in one sentence; None before there is an image with a known price."""
    total = told["per_image"]["total"]
    if total["real"] is None:
        return None
    words = f"${total['real']:.4f} per image"
    if total["estimated"] is None:
        return words + "; no price is known for an estimate"
    return words + f", estimated ${total['estimated']:.4f}"


def money_part(told: dict[str, Any]) -> Safe | None:
    """The table of the page, with what makes the two differ."""
    rows = told["per_image"]
    if not told["images"] or rows["total"]["real"] is None:
        return None
    body = [
        tag(
            "tr", tag("td", "image" if name == "image" else name), tag("td", _usd(row["estimated"]), cls="num"),
            tag("td", _usd(row["real"]), cls="num"), tag("td", _difference(row["ratio"]), cls="num"),
        )
        for name, row in rows.items()
    ]  # fmt: skip
    titles = ("Per image", "Estimated", "Real", "Difference")
    head = tag("tr", *[tag("th", t, cls=None if t == "Per image" else "num") for t in titles])
    ratio = rows["total"]["ratio"]
    note = None
    if ratio is not None and abs(ratio - 1) > NOTABLE:
        note = tag(
            "p",
            "The estimate counts one good answer per image. Refused and repeated calls, images asked for again, longer "
            "answers and more thinking make the difference.",
            cls="quiet",
        )
    return join(
        tag("p", f"{number(told['images'])} images, {in_words(told)}."),
        tag("div", tag("table", tag("thead", head), tag("tbody", *body)), cls="scroll"),
        note,
    )


def _usd(value: float | None) -> str:
    return "not known" if value is None else f"${value:.4f}"


def _difference(ratio: float | None) -> str:
    return "–" if ratio is None else f"{'+' if ratio >= 1 else '−'}{percent(abs(ratio - 1), 1)}"
