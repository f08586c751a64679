"""What to do about it: findings as steps, the most urgent first, each with the command that carries it out.

What one command mends is one step: a page with three cards that say the same helps nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.qa.model import FLAGS, Action

PRIORITIES = ("must", "should", "could")
NAMES = {"caption": "captions", "labels": "sets of labels", "comments": "sets of comments"}
KINDS_TOLD = 4


def actions(
    flags: Mapping[str, int],
    *,
    directory: str,
    options: str = "",
    broken: int,
    missing_images: int,
    failed: int,
    missing_texts: Mapping[str, int],
    refused_texts: int,
    bias: Mapping[str, Any],
    targets: Sequence[Mapping[str, Any]] = (),
    given_up: int = 0,
    redo_max: int = 0,
) -> tuple[Action, ...]:
    """Recommendations. `directory` is quoted as a shell needs it; `options` are what `groundswell run` needs to
    take up this very run."""
    run = f"groundswell run --out {directory}{options}"
    review = f"groundswell review {directory}"
    found = [
        _log(flags, directory),
        _images(flags, broken, f"{run} --redo qa"),
        _texts(flags, missing_texts, refused_texts, f"{run} --redo qa --stages metadata"),
        _poor(flags, review),
        _step(
            "should", "Continue the run", f"{_images_are(missing_images)} not settled yet.", run, when=missing_images
        ),
        _step(
            "should", "Ask again for what failed", f"{_images_are(failed)} given up after all tries.",
            f"{run} --redo failed", when=failed,
        ),
        _step(
            "should", "Look at what asking again did not mend",
            f"Asked for again {redo_max:,} times and still with findings: {given_up:,}, images and texts together. "
            "--redo qa leaves them now; accept them in review, or raise qa.max_redo with --set.", review, when=given_up,
        ),
        *[_mix(mix) for mix in targets],
        *[_people(row) for row in bias.get("representation", ())],
    ]  # fmt: skip
    out = [action for action in found if action is not None] or [
        Action(
            priority="could",
            title="Have people look",
            reason="Nothing stands out; a random sample shows what rules miss.",
            command=f"{review} --sample 50",
        )
    ]
    return tuple(sorted(out, key=lambda action: PRIORITIES.index(action.priority)))


def _step(priority: Any, title: str, reason: str, command: str | None, *, when: int) -> Action | None:
    return Action(priority=priority, title=title, reason=reason, command=command) if when else None


def _images_are(n: int) -> str:
    return "1 image is" if n == 1 else f"{n:,} images are"


def _told(counts: Sequence[tuple[int, str]]) -> str:
    some = [f"{n:,} {what}" for n, what in counts if n]
    return ", ".join(some[:KINDS_TOLD]) + (", and more" if len(some) > KINDS_TOLD else "")


def _log(flags: Mapping[str, int], directory: str) -> Action | None:
    lines = flags.get("log_damaged", 0)
    reason = f"{lines:,} lines have a wrong checksum; what they said is not counted here."
    return _step("must", "Look into damaged log lines", reason, f"groundswell verify {directory}", when=lines)


def _images(flags: Mapping[str, int], broken: int, command: str) -> Action | None:
    blank, rejected, twice = (flags.get(name, 0) for name in ("blank", "rejected", "duplicate"))
    told = _told(
        [(broken, "with a broken file"), (blank, "blank"), (rejected, "rejected by people"),
         (twice, "that show the same as one that is kept")]
    )  # fmt: skip
    reason = f"Images: {told}. Old files are kept aside; their texts are written anew."
    priority = "must" if broken or blank or rejected else "should"
    return _step(priority, "Make bad images again", reason, command, when=broken + blank + rejected + twice)


def _texts(flags: Mapping[str, int], missing: Mapping[str, int], refused: int, command: str) -> Action | None:
    bad = {name: n for name, n in flags.items() if _of_text(name) and not name.startswith("no_")}
    worst = any(FLAGS[name].severity == "critical" for name in bad)
    gone = max(missing.values(), default=0)
    lacking = _told([(n, NAMES[task]) for task, n in missing.items()])
    parts = [f"Missing: {lacking}."] if lacking else []
    if bad:
        parts.append(f"Findings: {_told([(n, FLAGS[name].title.lower()) for name, n in bad.items()])}.")
    parts.append("Old answers stay in the log.")
    if refused:
        parts.append(f"{refused:,} of these calls were refused by the provider, which is final.")
    can = bool(bad) or gone > refused
    title = (
        "Ask again for missing and bad texts" if bad and gone else f"Ask again for {'bad' if bad else 'missing'} texts"
    )
    if not can:
        title = "Texts that the provider refused"
    return _step("must" if worst else "should", title, " ".join(parts), command if can else None, when=len(bad) + gone)


def _of_text(name: str) -> bool:
    return FLAGS[name].redo and FLAGS[name].subject in {"caption", "labels", "comments"}


def _poor(flags: Mapping[str, int], command: str) -> Action | None:
    some = [(flags.get(name, 0), f"too {name}" if name != "blurred" else name) for name in ("dark", "light", "blurred")]
    reason = f"{_told(some)}. What is meant so, accept in review before --redo qa makes it again."
    return _step("should", "Look at dark, light and blurred images", reason, command, when=sum(n for n, _ in some))


def _mix(mix: Mapping[str, Any]) -> Action | None:
    reason = (
        f"{mix['sentence']} What prompts ask for decides it: prompts.settings, prompts.themes and source_data in the "
        "configuration, or prompts of your own; then add a run."
    )
    title = f"Bring {mix['category']} closer to the mix that is wanted"
    return _step("could", title, reason, None, when=sum(bool(v["off"]) for v in mix["values"]))


def _people(row: Mapping[str, Any]) -> Action | None:
    odd = [g["group"] for g in row["groups"] if g["outside"]]
    title = f"Check {row['dimension']} in prompts and pictures"
    return _step("could", title, row["sentence"], None, when=len(odd) * row["enough"])
