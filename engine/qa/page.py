"""qa/report.html: the whole report as one file that needs no network, no script and no other file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from engine.qa.clusters import Shown, choose, page_name
from engine.qa.document import document
from engine.qa.markup import Safe, tag
from engine.qa.model import QAReport
from engine.qa.page_clusters import clusters_page, duplicates_section, small_ones
from engine.qa.page_data import (
    bias_section,
    cost_section,
    labels_section,
    method_section,
    review_section,
    texts_section,
)
from engine.qa.page_near import near_part
from engine.qa.page_pictures import pairs_section, worst_section
from engine.qa.page_top import actions_part, facts_part, findings_part, header_part, score_part
from engine.qa.report import Findings
from engine.qa.sheets import Sheets
from engine.qa.thumbs import Album
from engine.store.atomic import write_atomic


def write_pages(
    report: QAReport, findings: Findings, *, seed: int = 0, tick: Callable[[int, int], None] = lambda done, total: None
) -> None:
    """report.html, and clusters-2.html and so on where there are more clusters of duplicates than one page holds.

    Pages of an earlier pass go. `tick` gets clusters drawn, and how many there are to draw.
    """
    run = findings.run
    shown = choose(findings)
    sheets = Sheets(run.root, run.qa / "thumbs" / "clusters")
    done = 0

    def small(at: int) -> tuple[Safe, str]:
        nonlocal done
        told = small_ones(shown.pages[at], sheets, lambda clusters: tick(done + clusters, shown.small))
        done += shown.pages[at].height // 2
        return told

    def put(at: int, page: bytes) -> None:
        write_atomic(run.qa / page_name(at), page, durability="batch")

    # The report last: it is only there with the pages that it leads to.
    for at in range(1, len(shown.pages)):
        put(at, clusters_page(report, shown, at, *small(at)))
    put(0, _report(report, findings, shown, small(0) if shown.pages else (None, ""), seed))
    for old in set(run.qa.glob("clusters-*.html")) - {run.qa / page_name(at) for at in range(len(shown.pages))}:
        old.unlink(missing_ok=True)


def remove_pages(folder: Path) -> None:
    """Take the pages of an earlier pass away."""
    for page in (folder / page_name(0), *folder.glob("clusters-*.html")):
        page.unlink(missing_ok=True)


def _report(report: QAReport, findings: Findings, shown: Shown, small: tuple[Safe | None, str], seed: int) -> bytes:
    """The page itself. Other pictures than those of clusters are sampled, so its size does not follow the run's."""
    clusters, sheets = small
    album = Album(findings.run.root, spent_bytes=len(sheets) * 3 // 4)
    sections: list[tuple[str, str, Safe | None]] = [
        ("do", "What to do", actions_part(report)),
        ("score", "Score", score_part(report)),
        ("findings", "Findings", findings_part(report)),
        ("worst", "Worst images", worst_section(findings, album)),
        ("duplicates", "Duplicates", duplicates_section(report, findings, album, shown, clusters)),
        ("pairs", "Image and prompt", pairs_section(findings, album, seed)),
        ("labels", "Labels", labels_section(report)),
        ("texts", "Captions and comments", texts_section(report, near_part(report, findings))),
        ("people", "Representation", bias_section(report)),
        ("review", "People's review", review_section(report)),
        ("cost", "Cost, time, refusals", cost_section(report)),
        ("method", "Method", method_section(report)),
    ]
    present = [(key, title, body) for key, title, body in sections if body is not None]
    main = tag(
        "main",
        header_part(report),
        facts_part(report),
        *[tag("section", tag("h2", title), body, id=key) for key, title, body in present],
        tag("footer", f"Made by groundswell on {report.validation_timestamp}. All images and texts are synthetic."),
    )
    nav = [tag("a", title, href=f"#{key}") for key, title, _ in present]
    return document(f"Quality report: {report.run['run_id']}", nav, main, sheets=sheets)
