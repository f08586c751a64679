"""qa/report.html: the whole report as one file that needs no network, no script and no other file."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files

from engine.qa.charts import bar, number, percent, ring
from engine.qa.markup import Safe, join, tag
from engine.qa.model import FLAGS, QAReport
from engine.qa.money import in_words
from engine.qa.page_data import (
    bias_section,
    cost_section,
    labels_section,
    method_section,
    review_section,
    texts_section,
)
from engine.qa.page_pictures import duplicates_section, pairs_section, worst_section
from engine.qa.report import Findings, why_not_better
from engine.qa.thumbs import Album

NOTHING = "No images yet"
_VERDICTS = {
    NOTHING: "No image of this run is there, so there is nothing to judge.",
    "Excellent": "Files are whole, nothing is there twice, every text is there.",
    "Good": "Sound, with little to mend.",
    "Acceptable": "Usable after the steps below.",
    "Needs Improvement": "Not ready yet; the steps below say what to do.",
}


def render(report: QAReport, findings: Findings, *, seed: int = 0) -> bytes:
    """The page. Pictures are sampled, so its size does not follow the run's."""
    album = Album(findings.run.root)
    sections: list[tuple[str, str, Safe | None]] = [
        ("do", "What to do", _actions(report)),
        ("score", "Score", _score(report)),
        ("findings", "Findings", _findings(report)),
        ("worst", "Worst images", worst_section(findings, album)),
        ("duplicates", "Duplicates", duplicates_section(report, findings, album)),
        ("pairs", "Image and prompt", pairs_section(findings, album, seed)),
        ("labels", "Labels", labels_section(report)),
        ("texts", "Captions and comments", texts_section(report)),
        ("people", "Representation", bias_section(report)),
        ("review", "People's review", review_section(report)),
        ("cost", "Cost, time, refusals", cost_section(report)),
        ("method", "Method", method_section(report)),
    ]
    shown = [(key, title, body) for key, title, body in sections if body is not None]
    nav = tag(
        "nav",
        tag("span", "groundswell", cls="brand"),
        tag("ol", *[tag("li", tag("a", title, href=f"#{key}")) for key, title, _ in shown]),
        aria_label="Sections",
    )
    main = tag(
        "main",
        _header(report),
        _facts(report),
        *[tag("section", tag("h2", title), body, id=key) for key, title, body in shown],
        tag("footer", f"Made by groundswell on {report.validation_timestamp}. All images and texts are synthetic."),
    )
    style = files("engine.qa").joinpath("report.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", f"Quality report: {report.run['run_id']}"),
        tag("style", Safe(style)),
    )
    body = tag("body", tag("div", nav, main, cls="page"))
    return ("<!doctype html>\n" + tag("html", head, body, lang="en") + "\n").encode()


def _header(report: QAReport) -> Safe:
    quality = str(report.summary["dataset_quality"]) if report.images["total"] else NOTHING
    s = report.summary
    complete = all(s[f"{name}_complete"] for name in ("captions", "labels", "comments"))
    why = why_not_better(quality, s["validation_rate"], s["duplicates_found"], complete)
    critical = f" {report.critical:,} critical findings remain." if report.critical else " No critical findings."
    return tag(
        "header",
        tag(
            "div",
            tag("p", f"Quality report · run {report.run['run_id']} · {report.validation_timestamp}", cls="kicker"),
            tag("h1", quality),
            tag("p", _VERDICTS.get(quality, "") + critical, cls="lead"),
            tag("p", why, cls="small quiet") if why else None,
        ),
        ring(report.score, f"Score {report.score:.0f} of 100", sound=not report.critical),
    )


def _facts(report: QAReport) -> Safe:
    s, asked = report.summary, report.images["asked"]
    cost = sum(r["cost_usd"] or 0 for r in report.statistics["cost"])
    facts: list[tuple[str, str, str]] = [
        ("Images", number(s["total_images"]), f"of {number(asked['asked'])} asked for"),
        (
            "Valid",
            f"{s['validation_rate']:.1f} %",
            f"{number(s['total_images'] - s['valid_images'])} with critical findings",
        ),
        ("Refused", number(asked["refused"]), f"{number(asked['failed'])} failed"),
        ("Duplicates", number(report.duplicates.get("redundant_images", 0)), _pairs(report)),
    ]
    for name, part in (("Captions", report.captions), ("Labels", report.labels), ("Comments", report.comments)):
        if part["asked"]:
            facts.append((name, f"{part['coverage_percent']:.1f} %", f"{number(part['total_files'])} images"))
    if report.images["strangers"]:
        facts.append(("Strangers", number(report.images["strangers"]), "files no record names"))
    facts.append(("Cost", f"${cost:,.2f}", in_words(report.statistics["money"]) or "as logged"))
    return tag("dl", *[tag("div", tag("dt", a), tag("dd", b, tag("small", c))) for a, b, c in facts], cls="facts")


def _pairs(report: QAReport) -> str:
    """The pairs that the original's rule counts, and beside them the edited copies, which it would not see."""
    alike = number(report.summary["duplicates_found"])
    edited = report.duplicates.get("by_kind", {}).get("edited", 0)
    return f"{alike} pairs alike, {number(edited)} edited" if edited else f"{alike} pairs"


def _actions(report: QAReport) -> Safe:
    return tag(
        "div",
        *[
            tag(
                "div",
                tag("span", action.priority, cls=f"badge {action.priority}"),
                tag("h3", action.title),
                tag("p", action.reason, cls="quiet"),
                tag("code", action.command, cls="command") if action.command else None,
                cls="card",
            )
            for action in report.actions
        ],
        cls="cards",
    )


def _level(value: float) -> str:
    return "good" if value >= 0.95 else "fair" if value >= 0.8 else "poor"


def _score(report: QAReport) -> Safe:
    weight = sum(c.weight for c in report.components) or 1
    rows = [
        tag(
            "li",
            tag("span", tag("strong", c.title), " ", tag("small", f"weight {percent(c.weight / weight, 0)}")),
            bar(c.value, _level(c.value)),
            tag("span", percent(c.value, 1), cls="num"),
            tag("p", c.explanation, " ", join(tag("b", "To raise it: "), c.raise_by) if c.raise_by else None),
        )
        for c in report.components
    ]
    return join(
        tag(
            "p",
            f"{report.score:.1f} of 100 is the weighted geometric mean of these parts: a part that is bad cannot hide "
            "behind the others.",
        ),
        tag("ul", *rows, cls="parts"),
    )


def _findings(report: QAReport) -> Safe:
    if not report.flags:
        return tag("p", "Nothing was found.")
    rows = [
        tag(
            "tr",
            tag("td", tag("span", FLAGS[name].severity, cls=f"badge {FLAGS[name].severity}")),
            tag("td", FLAGS[name].title),
            tag("td", number(count), cls="num"),
            tag("td", FLAGS[name].meaning, cls="quiet wide"),
        )
        for name, count in report.flags.items()
    ]
    head = tag(
        "tr", tag("th", ""), tag("th", "Finding"), tag("th", "Count", cls="num"), tag("th", "Meaning", cls="wide")
    )
    return join(
        tag(
            "p", "An image or text can have several. images.parquet and answers.parquet beside this page name each one."
        ),
        tag("div", tag("table", tag("thead", head), tag("tbody", *rows)), cls="scroll"),
    )
