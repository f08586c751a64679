"""One number that explains itself, and what to do about it.

The score is the weighted geometric mean of its components, so that no part can hide behind another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from engine.qa.model import FLAGS, INTEGRITY, Action, Component

PRIORITIES = ("must", "should", "could")
FLOOR = 0.01
"""A component of nothing counts as this, so that the others still show."""


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
            "Run the metadata stage for what is missing.",
        ))  # fmt: skip
    if answers:
        out.append(_part(
            "texts", "Texts keep to what was asked", 2, 1 - faulty_answers / answers,
            f"{answers - faulty_answers:,} of {answers:,} answers have no finding (length, vocabulary, number, "
            "placeholders, contradictions).",
            f"Look at the {faulty_answers:,} answers with findings.",
        ))  # fmt: skip
    captions = statistics.get("texts", {}).get("captions")
    if captions and captions["lengths"]["n"] >= 2:
        n = captions["lengths"]["n"]
        same = min(n, captions["repeated"] + captions["nearly_repeated"])
        out.append(_part(
            "variety", "Texts are not repeated", 1, 1 - same / n,
            f"{captions['repeated']:,} of {n:,} captions repeat an earlier one word for word, "
            f"{captions['nearly_repeated']:,} nearly so.",
            "Raise metadata variety: a higher temperature, or prompts that differ more.",
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


def actions(
    flags: dict[str, int], *, directory: str, options: str = "", missing_images: int, failed: int,
    missing_texts: dict[str, int], bias: dict[str, Any], targets: Sequence[dict[str, Any]] = (), given_up: int = 0,
    redo_max: int = 0,
) -> tuple[Action, ...]:  # fmt: skip
    """Recommendations, most urgent first, each with the command that carries it out.

    `directory` is quoted as a shell needs it; `options` are what `groundswell run` needs to take up this very run.
    """
    out: list[Action] = []
    run = f"groundswell run --out {directory}{options}"
    redo = f"{run} --redo qa"
    redo_texts = f"{redo} --stages metadata"

    def total(names: Sequence[str]) -> int:
        return sum(flags.get(n, 0) for n in names)

    if flags.get("log_damaged"):
        out.append(Action(
            priority="must", title="Look into damaged log lines",
            reason=f"{flags['log_damaged']:,} lines have a wrong checksum; what they said is not counted here.",
            command=f"groundswell verify {directory}",
        ))  # fmt: skip
    broken = total(INTEGRITY)
    if broken:
        out.append(Action(
            priority="must", title="Make broken images again",
            reason=f"{broken:,} findings of integrity: files that are missing, torn or not what was recorded.",
            command=redo,
        ))  # fmt: skip
    if total(["blank", "rejected"]):
        out.append(Action(
            priority="must", title="Replace blank and rejected images",
            reason=f"{flags.get('blank', 0):,} blank, {flags.get('rejected', 0):,} rejected by reviewers.",
            command=redo,
        ))  # fmt: skip
    if flags.get("duplicate"):
        out.append(Action(
            priority="should", title="Replace duplicates",
            reason=f"{flags['duplicate']:,} images show the same as one that is kept.", command=redo,
        ))  # fmt: skip
    poor = total(["dark", "light", "blurred"])
    if poor:
        out.append(Action(
            priority="should", title="Look at dark, light and blurred images",
            reason=f"{poor:,} findings; some may be meant. Accept those in review, redo the others.",
            command=f"groundswell review {directory}",
        ))  # fmt: skip
    if missing_texts and max(missing_texts.values()):
        names = {"caption": "captions", "labels": "sets of labels", "comments": "sets of comments"}
        told = ", ".join(f"{n:,} {names[name]}" for name, n in missing_texts.items() if n)
        out.append(Action(
            priority="should", title="Complete the texts",
            reason=f"Missing: {told}. What failed is asked again, what was refused is not.", command=redo_texts,
        ))  # fmt: skip
    if missing_images:
        out.append(Action(
            priority="should", title="Continue the run", reason=f"{missing_images:,} images are not settled yet.",
            command=run,
        ))  # fmt: skip
    if failed:
        out.append(Action(
            priority="should", title="Ask again for what failed", reason=f"{failed:,} images failed for good.",
            command=f"{run} --redo failed",
        ))  # fmt: skip
    texts = {f: n for f, n in flags.items() if FLAGS[f].subject in {"caption", "labels", "comments"} and FLAGS[f].redo
             and not f.startswith("no_")}  # fmt: skip
    if texts:
        worst = any(FLAGS[f].severity == "critical" for f in texts)
        told = ", ".join(f"{n:,} {FLAGS[f].title.lower()}" for f, n in list(texts.items())[:4])
        out.append(Action(
            priority="must" if worst else "should", title="Ask again for texts with findings",
            reason=f"{told}{', …' if len(texts) > 4 else ''}. New answers take the place of old ones, which the log "
            "keeps.",
            command=redo_texts,
        ))  # fmt: skip
    if given_up:
        out.append(Action(
            priority="should", title="Look at what asking again did not mend",
            reason=f"{given_up:,} images or texts were asked for again {redo_max:,} times and still have findings; "
            "--redo qa leaves them now. Accept them in review, or raise qa.max_redo.",
            command=f"groundswell review {directory}",
        ))  # fmt: skip
    out += [
        Action(
            priority="could", title=f"Bring {mix['category']} closer to the mix that is wanted",
            reason=f"{mix['sentence']} What prompts ask for decides it: see prompts.settings, prompts.themes and "
            "source_data in the configuration, or write prompts of your own, and add a run.",
        )
        for mix in targets if any(v["off"] for v in mix["values"])
    ]  # fmt: skip
    for row in bias.get("representation", ()):
        odd = [g["group"] for g in row["groups"] if g["outside"]]
        if row["enough"] and odd:
            out.append(Action(
                priority="could", title=f"Check {row['dimension']} in prompts and pictures", reason=row["sentence"],
            ))  # fmt: skip
    if not out:
        out.append(Action(
            priority="could", title="Have people look",
            reason="Nothing stands out; a random sample shows what rules miss.",
            command=f"groundswell review {directory} --sample 50",
        ))  # fmt: skip
    return tuple(sorted(out, key=lambda action: PRIORITIES.index(action.priority)))
