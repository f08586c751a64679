"""The parts of the page that everybody reads: the verdict, the main numbers, what to do, the score, the findings."""

from __future__ import annotations

from typing import Any

from engine.qa.charts import bar, number, percent, ring
from engine.qa.markup import Safe, join, tag
from engine.qa.model import FLAGS, QAReport
from engine.qa.money import in_words
from engine.qa.report import why_not_better
from engine.qa.score import most_costly, verdict

TEXTS = ("captions", "labels", "comments")
NOTHING = ("No images yet", "No image of this run is there, so there is nothing to judge.")
WEAK = 0.95
"""A part under this is named beside the verdict."""


def header_part(report: QAReport) -> Safe:
    """The score and its word, the original's grade beside them, named as what it is."""
    s, total = report.summary, report.images["total"]
    judged = verdict(report.score, report.critical)
    word, meaning = (judged.word, judged.meaning) if total else NOTHING
    told = [meaning, f"{report.critical:,} critical findings remain." if report.critical else "No critical findings."]
    weakest = most_costly(report.components)
    if total and weakest is not None and weakest.value < WEAK:
        told.append(f"What costs most points: “{weakest.title}” is true of {percent(weakest.value)}.")
    return tag(
        "header",
        tag(
            "div",
            tag("p", f"Quality report · run {report.run['run_id']} · {report.validation_timestamp}", cls="kicker"),
            tag("h1", word),
            tag("p", " ".join(told), cls="lead"),
            _grade(s) if total else None,
        ),
        ring(report.score, f"Score {report.score:.0f} of 100", judged.level),
    )


def _grade(s: dict[str, Any]) -> Safe:
    grade, complete = str(s["dataset_quality"]), all(s[f"{name}_complete"] for name in TEXTS)
    return tag(
        "p",
        tag("b", f"{s['validation_rate']:.1f} % valid: grade {grade}"),
        " by the rule of the original pipeline, which goes by valid images, pairs alike and complete texts. The score "
        "weighs more than these, so the two can differ. ",
        why_not_better(grade, s["validation_rate"], s["duplicates_found"], complete),
        cls="small quiet grade",
    )


def facts_part(report: QAReport) -> Safe:
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


def actions_part(report: QAReport) -> Safe:
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


def score_part(report: QAReport) -> Safe:
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


def findings_part(report: QAReport) -> Safe:
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
