"""The parts of the page that show pictures: the worst, the clusters of duplicates, images beside their prompts."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import polars as pl

from engine.qa.charts import number
from engine.qa.markup import Safe, join, shorten, tag
from engine.qa.model import FLAGS, QAReport
from engine.qa.report import Findings
from engine.qa.thumbs import Album

WORST_MAX, PER_FLAG_MAX = 36, 6
CLUSTERS_MAX, MEMBERS_MAX = 16, 5
LARGEST_SHOWN, PER_KIND_MAX = 5, 4
PAIRS_MIN, PAIRS_MAX, PAIRS_SHARE, PAIRS_OPEN = 10, 24, 0.05, 8
THUMB_PX, PICTURE_PX = 200, 360
_RANK = {"critical": 0, "warning": 1, "info": 2}


def _badge(flag: str) -> Safe:
    return tag("span", FLAGS[flag].title, cls=f"badge {FLAGS[flag].severity}", title=FLAGS[flag].meaning)


def _thumb(album: Album, row: dict[str, Any], *notes: object) -> Safe:
    return tag(
        "div",
        tag("div", album.image(row["path"], THUMB_PX, f"Image {row['image_id']}"), cls="frame"),
        tag("p", row["image_id"], cls="id"),
        *notes,
        cls="thumb",
    )


def worst_section(f: Findings, album: Album) -> Safe | None:
    """A few images of each flag, the gravest flags first; None when no image has one."""
    chosen: dict[str, dict[str, Any]] = {}
    names = sorted((n for n in FLAGS if FLAGS[n].subject == "image"), key=lambda n: _RANK[FLAGS[n].severity])
    wanted = ["image_id", "index", "path", "flags", "fault"]
    flagged = f.pictures.filter(pl.col("flags").list.len() > 0).select(wanted)
    if not flagged.height:
        return None
    for name in names:
        if FLAGS[name].severity == "info" or name == "duplicate":
            continue
        for row in flagged.filter(pl.col("flags").list.contains(name)).head(PER_FLAG_MAX).iter_rows(named=True):
            if len(chosen) < WORST_MAX:
                chosen.setdefault(row["image_id"], row)
    if not chosen:
        return None
    album.draw((r["path"] for r in chosen.values()), THUMB_PX)
    shown = [
        _thumb(
            album, row, *[_badge(x) for x in row["flags"] if x in FLAGS],
            tag("p", shorten(row["fault"], 90), cls="small quiet") if row["fault"] else None,
        )
        for row in chosen.values()
    ]  # fmt: skip
    return join(
        tag("p", f"{len(shown)} of {number(flagged.height)} images with a finding, up to {PER_FLAG_MAX} of each kind."),
        tag("div", *shown, cls="thumbs"),
    )


def duplicates_section(report: QAReport, f: Findings, album: Album) -> Safe:
    """How the search was made, what came of it, and the largest clusters side by side."""
    if f.duplicates is None:
        return tag("p", "validation.check_duplicates is off.")
    d, method = report.duplicates, report.duplicates["method"]
    kinds = d["by_kind"]
    told = tag(
        "p",
        f"{number(d['redundant_images'])} of {number(method['pictures'])} images show the same as one that is kept, in "
        f"{number(d['clusters'])} clusters: {number(kinds['file'])} pairs are the same file, {number(kinds['same'])} "
        f"have hashes at least {method['threshold_percent']:g} % alike, {number(kinds['edited'])} are edited copies "
        "(re-toned, cropped, turned, mirrored).",
    )
    blank = method["blank_set_aside"]
    set_aside = f"{number(blank)} blank image{' was' if blank == 1 else 's were'} set aside." if blank else ""
    how = tag(
        "p",
        f"Every pair of 64-bit hashes up to {method['search_distance']} bits apart was looked at, variants up to "
        f"{method['variant_distance']}. Such pairs by chance alone: {_few(method['expected_chance_pairs'])}, at the "
        f"threshold {_few(method['expected_chance_pairs_at_threshold'])}. {number(method['candidates'])} candidates "
        f"were compared as aligned thumbnails, {number(method['confirmed'])} confirmed. {set_aside}",
        cls="small quiet",
    )
    rows = _some_clusters(f.duplicates.clusters, f.duplicates.pairs).join(
        f.pictures.select("image_id", "path"), on="image_id", maintain_order="left"
    )
    pairs = f.duplicates.pairs
    blocks: list[Safe] = []
    groups = [g for _, g in rows.group_by("cluster", maintain_order=True)]
    album.draw((p for g in groups for p in g["path"].head(MEMBERS_MAX)), THUMB_PX)
    for group in groups:
        ids = group["image_id"].to_list()
        inside = pairs.filter(pl.col("image_a").is_in(ids) & pl.col("image_b").is_in(ids)).head(200).rows(named=True)
        members = [
            _thumb(
                album, row,
                tag("span", "kept", cls="badge keep") if row["keep"] else _relation(row["image_id"], ids[0], inside),
            )
            for row in group.head(MEMBERS_MAX).iter_rows(named=True)
        ]  # fmt: skip
        more = group.height - len(members)
        title = f"Cluster {group['cluster'][0]}: {group.height:,} images"
        note = f"{more:,} more are not shown." if more else None
        blocks.append(
            tag("div", tag("h3", title), tag("div", *members, cls="thumbs"),
                tag("p", note, cls="small quiet") if note else None, cls="cluster")
        )  # fmt: skip
    rest = d["clusters"] - len(groups)
    last = tag("p", f"{number(rest)} more clusters are in clusters.parquet.", cls="quiet") if rest > 0 else None
    return join(told, how, tag("div", *blocks, cls="clusters") if blocks else None, last)


def _some_clusters(clusters: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """The largest clusters, then some of each kind of pair: edited copies tell more than the hundredth same file."""
    if not clusters.height:
        return clusters
    kinds = (
        clusters.join(pairs.select(image_id="image_b", kind="kind", edit="edit"), on="image_id")
        .group_by("cluster", maintain_order=True)
        .agg(pl.col("kind").first(), pl.col("edit").first())
    )
    some = kinds.group_by("kind", "edit", maintain_order=True).head(PER_KIND_MAX)["cluster"].to_list()
    largest = list(range(1, LARGEST_SHOWN + 1))
    chosen = list(dict.fromkeys([*largest, *some]))[:CLUSTERS_MAX]
    return clusters.filter(pl.col("cluster").is_in(chosen))


def _few(expected: float) -> str:
    return f"about {expected:,.0f}" if expected >= 10 else f"about {expected:.1f}" if expected >= 0.05 else "none"


def _relation(image_id: str, kept: str, pairs: list[dict[str, Any]]) -> Safe:
    """How a copy was recognised, by its nearest pair, that with the kept one first."""
    mine = [p for p in pairs if image_id in (p["image_a"], p["image_b"])]
    mine.sort(key=lambda p: (kept not in (p["image_a"], p["image_b"]), p["distance"]))
    if not mine:
        return tag("span", "linked", cls="badge")
    pair = mine[0]
    if pair["kind"] == "file":
        return tag("span", "same file", cls="badge")
    edit = (
        ""
        if pair["edit"] in (None, "plain")
        else f"{ {'mirror': 'mirrored', 'crop': 'cropped', 'rotate': 'turned'}.get(pair['edit'], pair['edit']) }, "
    )
    return tag("span", f"{edit}{pair['similarity_percent']:.0f} % alike", cls="badge")


def pairs_section(f: Findings, album: Album, seed: int) -> Safe | None:
    """A seeded random sample of images beside what was asked and what was said about them."""
    decoded = f.pictures.filter(pl.col("luma_std").is_not_null())
    if not decoded.height:
        return None
    count = min(PAIRS_MAX, max(PAIRS_MIN, int(decoded.height * PAIRS_SHARE)))
    # By digest, so that the sample is the same wherever the pass is made.
    key = pl.concat_str(pl.lit(f"{seed}:"), pl.coalesce("sha256", "image_id")).map_elements(_digest, pl.String)
    chosen = decoded.select("image_id", "index", "path", "flags", key=key).sort("key").head(count).sort("index")
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
            album.image(row["path"], PICTURE_PX, shorten(said.get("caption"), 200) or f"Image {row['image_id']}"),
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
