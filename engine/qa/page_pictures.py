"""The parts of the page that show pictures: the worst, and images beside their prompts."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import polars as pl

from engine.qa.charts import number
from engine.qa.markup import Safe, join, shorten, tag
from engine.qa.model import FLAGS
from engine.qa.report import Findings
from engine.qa.thumbs import Album, link_to

WORST_MAX, PER_FLAG_MAX = 36, 6
PAIRS_MIN, PAIRS_MAX, PAIRS_SHARE, PAIRS_OPEN = 10, 24, 0.05, 8
THUMB_PX, PICTURE_PX = 200, 360
_RANK = {"critical": 0, "warning": 1, "info": 2}


def _badge(flag: str) -> Safe:
    return tag("span", FLAGS[flag].title, cls=f"badge {FLAGS[flag].severity}", title=FLAGS[flag].meaning)


def _thumb(album: Album, row: dict[str, Any], *notes: object) -> Safe:
    return tag(
        "div",
        tag(
            "a", album.image(row["path"], THUMB_PX, f"Image {row['image_id']}"), cls="frame", href=link_to(row["path"])
        ),
        tag("p", row["image_id"], cls="id"),
        *notes,
        cls="thumb",
    )


def worst_section(f: Findings, album: Album) -> Safe | None:
    """A few images of each flag, the gravest flags first; None when no image has one."""
    names = [n for n, flag in FLAGS.items() if flag.subject == "image" and flag.severity != "info" and n != "duplicate"]
    kinds = pl.Enum(sorted(names, key=lambda name: _RANK[FLAGS[name].severity]))
    flagged = f.images.with_row_index("row").filter(pl.col("flags").list.len() > 0)
    each = flagged.select("row", flag="flags").explode("flag").filter(pl.col("flag").is_in(names))
    found = each.with_columns(pl.col("flag").cast(kinds)).collect(engine="streaming").sort("flag", "row")
    few = found.group_by("flag", maintain_order=True).head(PER_FLAG_MAX)["row"]
    chosen = few.unique(maintain_order=True).head(WORST_MAX)
    if not len(chosen):
        return None
    count = int(flagged.select(pl.len()).collect(engine="streaming").item())
    shown = flagged.filter(pl.col("row").is_in(chosen.implode())).select("row", "image_id", "path", "flags", "fault")
    rows = {row["row"]: row for row in shown.collect(engine="streaming").iter_rows(named=True)}
    some = [rows[number] for number in chosen]
    album.draw((row["path"] for row in some), THUMB_PX)
    thumbs = [
        _thumb(
            album, row, *[_badge(x) for x in row["flags"] if x in FLAGS],
            tag("p", shorten(row["fault"], 90), cls="small quiet") if row["fault"] else None,
        )
        for row in some
    ]  # fmt: skip
    return join(
        tag("p", f"{len(thumbs)} of {number(count)} images with a finding, up to {PER_FLAG_MAX} of each kind."),
        tag("div", *thumbs, cls="thumbs"),
    )


def pairs_section(f: Findings, album: Album, seed: int) -> Safe | None:
    """A seeded random sample of images beside what was asked and what was said about them."""
    decoded = f.images.filter(pl.col("luma_std").is_not_null())
    height = decoded.select(pl.len()).collect().item()
    if not height:
        return None
    count = min(PAIRS_MAX, max(PAIRS_MIN, int(height * PAIRS_SHARE)))
    # By digest, so that the sample is the same wherever the pass is made.
    key = pl.concat_str(pl.lit(f"{seed}:"), pl.coalesce("sha256", "image_id")).map_elements(_digest, pl.String)
    keyed = decoded.select("image_id", "index", "path", "flags", key=key)
    chosen = keyed.sort("key", "index").head(count).collect(engine="streaming").sort("index")
    ids = chosen["image_id"].to_list()
    prompts = (
        pl.scan_parquet(f.tables.prompts)
        .filter(pl.col("image_id").is_in(ids))
        .select("image_id", "prompt", "theme", "form", "style")
        .collect()
    )
    said = pl.scan_parquet(f.tables.metadata).filter(pl.col("image_id").is_in(ids))
    texts: dict[str, dict[str, Any]] = {i: {} for i in ids}
    for row in (
        said.select("image_id", "for_caption", "for_labels", "for_comments", "caption", "labels", "comments")
        .collect()
        .iter_rows(named=True)
    ):
        for task, column in (("for_caption", "caption"), ("for_labels", "labels"), ("for_comments", "comments")):
            if row[task]:
                texts[row["image_id"]][column] = row[column]
    asked = {r["image_id"]: r for r in prompts.iter_rows(named=True)}
    album.draw(chosen["path"], PICTURE_PX)
    shown = [
        _pair(album, row, asked.get(row["image_id"], {}), texts[row["image_id"]])
        for row in chosen.iter_rows(named=True)
    ]
    return join(
        tag("p", f"{len(shown)} images drawn at random (seed {seed}), each beside its prompt and its texts. Look for: "
                 "image quality, relevance to the theme, caption accuracy, fitting labels, believable comments."),
        *shown[:PAIRS_OPEN],
        tag("details", tag("summary", f"{len(shown) - PAIRS_OPEN} more"), *shown[PAIRS_OPEN:], cls="more")
        if len(shown) > PAIRS_OPEN
        else None,
    )  # fmt: skip


def _digest(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()


def _pair(album: Album, row: dict[str, Any], asked: dict[str, Any], said: dict[str, Any]) -> Safe:
    entries: list[Safe] = [tag("dt", "Prompt"), tag("dd", shorten(asked.get("prompt"), 900), cls="prompt")]
    theme = " · ".join(str(asked[k]) for k in ("theme", "form", "style") if asked.get(k))
    if theme:
        entries += [tag("dt", "Theme"), tag("dd", theme)]
    entries += [tag("dt", "Caption"), tag("dd", said.get("caption") or tag("span", "none", cls="quiet"))]
    labels = _labels(said.get("labels"))
    if labels:
        chips = [tag("li", tag("b", f"{k} "), shorten(v, 80)) for k, v in labels]
        entries += [tag("dt", "Labels"), tag("dd", tag("ul", *chips, cls="chips"))]
    comments = said.get("comments") or []
    if comments:
        some = [tag("li", shorten(c, 280)) for c in comments[:3]]
        entries += [tag("dt", f"Comments, {len(some)} of {len(comments)}"), tag("dd", tag("ul", *some, cls="comments"))]
    flags = [_badge(x) for x in row["flags"] if x in FLAGS]
    return tag(
        "div",
        tag(
            "div",
            tag(
                "a",
                album.image(row["path"], PICTURE_PX, shorten(said.get("caption"), 200) or f"Image {row['image_id']}"),
                href=link_to(row["path"]),
            ),
            tag("p", row["image_id"], cls="id small quiet"),
            *flags,
            cls="picture",
        ),
        tag("dl", *entries),
        cls="pair",
    )


def _labels(raw: str | None) -> list[tuple[str, str]]:
    try:
        found = json.loads(raw or "{}")
    except ValueError:
        return []
    if not isinstance(found, dict):
        return []
    return [(str(k), ", ".join(map(str, v)) if isinstance(v, list) else str(v)) for k, v in list(found.items())[:40]]
