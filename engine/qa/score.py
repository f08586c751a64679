"""One number that explains itself.

The score is the weighted geometric mean of its components, so that no part can hide behind another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from engine.qa.model import Component

FLOOR = 0.01
"""A component of nothing counts as this, so that the others still show."""
READY, NEARLY_READY = 90, 70


class Verdict(Struct, frozen=True):
    """A score in words."""

    word: str
    meaning: str
    level: str
    """good, fair or poor."""


def verdict(score: float, critical: int) -> Verdict:
    """What a score says of a set; none is ready while critical findings are open."""
    if score >= READY and not critical:
        return Verdict("Ready", "Files are whole, hardly anything is there twice, texts are there.", "good")
    if score >= NEARLY_READY:
        return Verdict("Nearly ready", "Usable after the steps below.", "fair")
    return Verdict("Not ready yet", "The steps below say what to do.", "poor")


def most_costly(components: Sequence[Component]) -> Component | None:
    """The part that lowers the score most."""
    return min(components, key=lambda c: c.weight * math.log(max(FLOOR, c.value)), default=None)


def overall(components: Sequence[Component]) -> float:
    """0 to 100."""
    weight = sum(c.weight for c in components)
    if not weight:
        return 0.0
    return round(100 * math.exp(sum(c.weight * math.log(max(FLOOR, c.value)) for c in components) / weight), 1)


def _part(name: str, title: str, weight: float, value: float, explanation: str, raise_by: str) -> Component:
    value = max(0.0, min(1.0, value))
    return Component(
        name=name, title=title, weight=weight, value=round(value, 4), explanation=explanation,
        raise_by="" if value >= 1 else raise_by,
    )  # fmt: skip


def components(
    *,
    images: int,
    broken: int,
    poor: int,
    redundant: int,
    asked: int,
    refused: int,
    coverage: dict[str, dict[str, Any]],
    answers: int,
    faulty_answers: int,
    statistics: dict[str, Any],
    bias: dict[str, Any],
) -> tuple[Component, ...]:
    """The parts of the score that this run has data for."""
    out: list[Component] = []
    if images:
        out.append(_part(
            "integrity", "Files are whole", 3, 1 - broken / images,
            f"{images - broken:,} of {images:,} images are byte for byte what was recorded, and decode.",
            f"Ask again for the {broken:,} broken ones.",
        ))  # fmt: skip
        out.append(_part(
            "quality", "Pictures are usable", 2, 1 - poor / images,
            f"{images - poor:,} of {images:,} images have no quality finding (dark, light, blurred, blank, odd …).",
            f"Ask again for those of the {poor:,} that are not meant so.",
        ))  # fmt: skip
        out.append(_part(
            "uniqueness", "Nothing is there twice", 2, 1 - redundant / images,
            f"{redundant:,} of {images:,} images show the same as another one that is kept.",
            f"Ask again for {redundant:,} duplicates, or vary prompts: more themes, settings, a higher complexity.",
        ))  # fmt: skip
    if asked:
        wanted = max(1, asked - refused)
        out.append(_part(
            "obtained", "What was asked for is there", 2, min(1.0, images / wanted),
            f"{images:,} images of {asked:,} asked for; {refused:,} refused by the provider do not count against it.",
            "Continue the run.",
        ))  # fmt: skip
    wished = [c for c in coverage.values() if c["asked"]]
    if images and wished:
        share = sum(c["total_files"] for c in wished) / (images * len(wished))
        told = ", ".join(f"{name} {c['coverage_percent']:.1f} %" for name, c in coverage.items() if c["asked"])
        out.append(_part(
            "completeness", "Every image has its texts", 2, share, f"Of {images:,} images: {told}.",
            "Ask again for what is missing.",
        ))  # fmt: skip
    if answers:
        out.append(_part(
            "texts", "Texts keep to what was asked", 2, 1 - faulty_answers / answers,
            f"{answers - faulty_answers:,} of {answers:,} answers have no finding (length, vocabulary, number, "
            "placeholders, contradictions).",
            f"Ask again for the {faulty_answers:,} answers with findings.",
        ))  # fmt: skip
    captions = statistics.get("texts", {}).get("captions")
    if captions and captions["lengths"]["n"] >= 2:
        n = captions["lengths"]["n"]
        nearly, compared = captions["nearly_repeated"], captions["compared"]
        same = min(n, captions["repeated"] + nearly * n / max(1, compared))
        among = "" if compared == n else f" (looked for among {compared:,})"
        out.append(_part(
            "variety", "Texts are not repeated", 1, 1 - same / n,
            f"{captions['repeated']:,} of {n:,} captions repeat an earlier one word for word, "
            f"{nearly:,} nearly so{among}.",
            "Prompts that differ more: more themes and settings, or a higher complexity.",
        ))  # fmt: skip
    mixes = [t for t in statistics.get("targets", ()) if t["enough"]]
    if mixes:
        worst = max(mixes, key=lambda t: t["total_variation"])
        out.append(_part(
            "mix", "Labels have the mix that is wanted", 1, 1 - worst["total_variation"],
            f"Furthest from its target: {worst['category']}. {worst['sentence']}",
            f"Add images whose prompts ask for what {worst['category']} has too little of.",
        ))  # fmt: skip
    gaps = [r for r in bias.get("representation", ()) if r["enough"]]
    if gaps:
        worst = max(gaps, key=lambda r: r["total_variation"])
        out.append(_part(
            "representation", "People asked for are people described", 1, 1 - worst["total_variation"],
            f"Largest gap: {worst['dimension']}, where {100 * worst['total_variation']:.0f} % of mentions would have "
            "to change to match what was asked.",
            f"Name the {worst['dimension']} of people more plainly in prompts.",
        ))  # fmt: skip
    return tuple(out)
