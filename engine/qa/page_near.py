"""Captions that nearly repeat each other, a few of them side by side, what differs marked."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

import polars as pl

from engine.qa.charts import number, percent
from engine.qa.markup import Safe, join, shorten, tag
from engine.qa.model import QAReport
from engine.qa.near_texts import examples
from engine.qa.report import Findings

EXAMPLES_SHOWN = 4
CHARS = 400


def near_part(report: QAReport, f: Findings) -> Safe | None:
    """Examples, those first that most others repeat; None where no caption nearly repeats another."""
    nearly = report.statistics["texts"]["captions"]["nearly_repeated"]
    if not nearly:
        return None
    some = examples(f.tables.near_texts, "captions", EXAMPLES_SHOWN)
    ids = [*some["image_a"], *some["image_b"]]
    said = pl.scan_parquet(f.tables.metadata).filter(pl.col("for_caption") & pl.col("image_id").is_in(ids))
    captions = dict(said.select("image_id", "caption").collect().iter_rows())
    cards = [
        tag(
            "div",
            tag("p", f"{percent(jaccard, 0)} of three-word runs shared" + _others(others), cls="small quiet"),
            *_side_by_side([(a, captions.get(a)), (b, captions.get(b))]),
            cls="card near",
        )
        for a, b, jaccard, others in some.select("image_a", "image_b", "jaccard", "others").iter_rows()
    ]
    shown = "Here it is" if nearly == 1 else f"Here are {len(cards)}, those first that most others repeat"
    return join(
        tag("h3", "Captions that nearly repeat an earlier one"),
        tag("p", f"{number(nearly)} do. {shown}, what differs is marked.", cls="small quiet"),
        tag("div", *cards, cls="cards"),
    )


def _others(count: int) -> str:
    return f"; {number(count)} captions repeat the first" if count > 1 else ""


def _side_by_side(texts: Sequence[tuple[str, str | None]]) -> list[Safe]:
    """Both texts with their images' names; words that only one has are marked."""
    words = [shorten(text, CHARS).split() for _, text in texts]
    same = SequenceMatcher(None, *words, autojunk=False).get_matching_blocks()
    told: list[Safe] = []
    for side, (image_id, _) in enumerate(texts):
        parts: list[object] = []
        at = 0
        for block in same:
            start = block[side]
            if start > at:
                parts += [tag("mark", " ".join(words[side][at:start])), " "]
            at = start + block.size
            parts += [" ".join(words[side][start:at]), " "]
        told.append(tag("p", *parts, tag("span", shorten(image_id, 80), cls="id")))
    return told
