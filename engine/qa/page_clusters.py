"""Every cluster of duplicates on the page: some large, the others small on contact sheets, thousands if need be.

The small ones are links that a stylesheet lays over contact sheets: no script, and a browser opens a sheet when it
is looked at.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any

import polars as pl

from engine.qa.charts import number
from engine.qa.clusters import FIRST_PAGE, Shown, page_name
from engine.qa.document import document
from engine.qa.markup import Safe, join, shorten, tag
from engine.qa.model import QAReport
from engine.qa.report import Findings
from engine.qa.sheets import COLUMNS, ROWS, SHEET_CLUSTERS, Pair, Picture, Sheets, fineness
from engine.qa.thumbs import Album, link_to

THUMB_PX = 200
ID_CHARS = 80
SMALL = (
    "Of each cluster the image that is kept and its first copy, or one picture where both are the same file; then the "
    "number of the cluster, how many images it has, and how that copy was recognised. Pictures are links to the files "
    "of the run, cut to a square; clusters.parquet names every image."
)
EDITS = {"mirror": "mirrored", "crop": "cropped", "rotate": "turned"}


def _alike(row: dict[str, Any]) -> str:
    """How a copy was recognised, in words."""
    if row["kind"] is None:
        return "linked"
    if row["kind"] == "file":
        return "same file"
    alike = f"{row['similarity_percent']:.0f} %"
    return f"{alike} alike" if row["edit"] in (None, "plain") else f"{EDITS.get(row['edit'], row['edit'])}, {alike}"


def duplicates_section(report: QAReport, f: Findings, album: Album, shown: Shown, small: Safe | None) -> Safe:
    """How the search was made, the chosen clusters, the others folded up."""
    parts: list[Safe | None] = [_said(report, f), _large_ones(shown, album)]
    if small is not None:
        here = shown.pages[0]
        title = f"{'The other' if len(shown.pages) == 1 else 'Further'} {number(here.height // 2)} clusters, small"
        summary = tag("summary", title, data_paper=_on_paper(here))
        parts.append(tag("details", summary, tag("p", SMALL, cls="small quiet"), small, cls="all"))
    if len(shown.pages) > 1:
        parts.append(tag("p", "On pages beside this one: ", *_links(shown, 0), cls="pages"))
    return join(*parts)


def clusters_page(report: QAReport, shown: Shown, at: int, small: Safe, sheets: str) -> bytes:
    """A further page, which has nothing but clusters."""
    run_id = report.run["run_id"]
    main = tag(
        "main",
        tag("p", f"Quality report · run {run_id} · {report.validation_timestamp}", cls="kicker"),
        tag("h1", f"Duplicates, page {at + 1} of {len(shown.pages)}"),
        tag("p", SMALL, cls="quiet", data_paper=_on_paper(shown.pages[at])),
        small,
    )
    nav = [tag("a", "Report", href=FIRST_PAGE), *_links(shown, at)]
    return document(f"Duplicates of {run_id}, page {at + 1}", nav, main, sheets=sheets)


def _on_paper(page: pl.DataFrame) -> str | None:
    """What print says where it leaves clusters out: 5,000 take Chromium a minute, and make 60 MB."""
    return f" (on paper the first {SHEET_CLUSTERS})" if page.height // 2 > SHEET_CLUSTERS else None


def _links(shown: Shown, here: int) -> list[Safe]:
    return [
        tag("a", f"Clusters {number(page['cluster'][0])} to {number(page['cluster'][-1])}", href=page_name(at))
        for at, page in enumerate(shown.pages)
        if at != here
    ]


def _large_ones(shown: Shown, album: Album) -> Safe | None:
    """The chosen clusters, their members side by side."""
    album.draw(shown.large["path"], THUMB_PX)
    blocks: list[Safe] = []
    for _, group in shown.large.group_by("cluster", maintain_order=True):
        members = [
            tag(
                "div",
                tag("a", album.image(row["path"], THUMB_PX, f"Image {row['image_id']}"), cls="frame",
                    href=link_to(row["path"])),
                tag("p", row["image_id"], cls="id"),
                tag("span", "kept", cls="badge keep") if row["keep"] else tag("span", _alike(row), cls="badge"),
                cls="thumb",
            )
            for row in group.iter_rows(named=True)
        ]  # fmt: skip
        size = group["size"][0]
        more = size - len(members)
        note = f"{more:,} more {'is' if more == 1 else 'are'} named in clusters.parquet." if more else None
        title = f"Cluster {group['cluster'][0]}: {size:,} images"
        blocks.append(
            tag("div", tag("h3", title), tag("div", *members, cls="thumbs"),
                tag("p", note, cls="small quiet") if note else None, cls="cluster")
        )  # fmt: skip
    return tag("div", *blocks, cls="clusters") if blocks else None


def small_ones(
    rows: pl.DataFrame, sheets: Sheets, tick: Callable[[int], None] = lambda clusters: None
) -> tuple[Safe, str]:
    """The clusters of one page, and the stylesheet that holds their pictures. `tick` gets how many are drawn."""
    groups = [list(g.iter_rows(named=True)) for _, g in rows.group_by("cluster", maintain_order=True)]
    side_px, quality = fineness(len(groups))
    lists: list[Safe] = []
    rules = [_places()]
    drawn = sheets.draw([_pictures(group) for group in groups], side_px=side_px, quality=quality)
    done = 0
    for name, (data, some) in enumerate(zip(drawn, _in_sheets(groups), strict=True)):
        rules.append(f".s{name} a{{background-image:url(data:image/webp;base64,{base64.b64encode(data).decode()})}}")
        first, last = some[0][0]["cluster"], some[-1][0]["cluster"]
        title = f"Clusters {number(first)} to {number(last)}" if first < last else f"Cluster {number(first)}"
        lists.append(tag("h4", title))
        lists.append(tag("ol", *[_cell(group) for group in some], cls=f"s{name}"))
        done += len(some)
        tick(done)
    return tag("div", *lists, cls="mosaic"), "".join(rules)


def _in_sheets(groups: list[list[dict[str, Any]]]) -> Iterator[list[list[dict[str, Any]]]]:
    for start in range(0, len(groups), SHEET_CLUSTERS):
        yield groups[start : start + SHEET_CLUSTERS]


def _pictures(group: list[dict[str, Any]]) -> Pair:
    kept, copy = (Picture(row["path"], row["sha256"]) for row in group)
    return kept, None if _same_file(group) else copy


def _same_file(group: list[dict[str, Any]]) -> bool:
    return group[1]["kind"] == "file" and group[0]["sha256"] is not None and group[0]["sha256"] == group[1]["sha256"]


def _cell(group: list[dict[str, Any]]) -> Safe:
    """A cluster: the kept one and its first copy as links, its number, its size, how they are alike."""
    kept, copy = group
    names = [shorten(row["image_id"], ID_CHARS) for row in group]
    once = _same_file(group)
    links = [tag("a", href=link_to(kept["path"]), title=f"{names[0]} (kept)" + f", {names[1]}" * once)]
    if not once:
        links.append(tag("a", href=link_to(copy["path"]), title=names[1]))
    told = join(tag("b", kept["cluster"]), f" {kept['size']:,} images", tag("br"), _alike(copy))
    return tag("li", *links, told, cls="f" if once else None)


def _places() -> str:
    """Which part of its sheet a link shows, by its place in the list; in percent, so that any size will do."""
    across, down = 2 * COLUMNS - 1, ROWS - 1
    rules = [f".mosaic a{{background-size:{200 * COLUMNS}% {100 * ROWS}%}}"]
    for column in range(COLUMNS):
        for which, link in enumerate(("a", "a+a")):
            x = 100 * (2 * column + which) / across
            rules.append(f".mosaic li:nth-child({COLUMNS}n+{column + 1}) {link}{{background-position-x:{x:.4f}%}}")
    for row in range(ROWS):
        first, last = row * COLUMNS + 1, (row + 1) * COLUMNS
        rules.append(
            f".mosaic li:nth-child(n+{first}):nth-child(-n+{last}) a{{background-position-y:{100 * row / down:.4f}%}}"
        )
    return "".join(rules)


def _said(report: QAReport, f: Findings) -> Safe:
    """How the search was made and what came of it."""
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
    return join(told, how)


def _few(expected: float) -> str:
    return f"about {expected:,.0f}" if expected >= 10 else f"about {expected:.1f}" if expected >= 0.05 else "none"
