"""Decisions of people: what one is, which ones stand, and how far reviewers agree.

A review log is a bag of decisions, not a sequence: `standing` gives the same answer for any order
and for repeated lines, so that logs of several servers and of offline pages merge without care.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Annotated, Literal

from msgspec import Meta, Struct

__all__ = [
    "QUESTIONS",
    "Agreement",
    "Corrections",
    "Decision",
    "Drawn",
    "Grade",
    "Id",
    "Name",
    "PairAgreement",
    "Question",
    "Rate",
    "ReviewFold",
    "Text",
    "Verdict",
    "acceptance",
    "agreement",
    "cohen_kappa",
    "consensus",
    "grades",
    "krippendorff_alpha",
    "standing",
    "verdicts",
    "wilson",
]

Drawn = Literal["sample", "flagged", "filter", "all"]
Grade = Literal["good", "fair", "poor"]
Question = Literal["quality", "relevance", "caption", "labels", "comments"]

QUESTIONS: dict[Question, str] = {
    "quality": "Image quality",
    "relevance": "Relevance to the theme",
    "caption": "Caption accuracy",
    "labels": "Label appropriateness",
    "comments": "Comment realism and diversity",
}
"""The five questions of the original's human review, in its order."""


Id = Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]{8,64}$")]
Moment = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$")]
Name = Annotated[str, Meta(min_length=1, max_length=64)]
Text = Annotated[str, Meta(max_length=4000)]


class Corrections(Struct, frozen=True, kw_only=True):
    """What a reviewer would have written. Null and missing mean: left as it is."""

    caption: Text | None = None
    labels: Annotated[dict[Annotated[str, Meta(max_length=200)], Text], Meta(max_length=64)] = {}


class Decision(Struct, frozen=True, kw_only=True):
    """A line of log/reviews.jsonl: one reviewer's judgement of one image, or the undoing of one."""

    v: int = 1
    job: str | None = None
    """The image job that was judged; null where the page did not know it."""
    status: Literal["accept", "reject", "unsure", "undo"]
    stage: Literal["review"] = "review"
    image_id: Annotated[str, Meta(min_length=1, max_length=128)]
    index: int
    id: Id
    """Made by the page, so that a decision sent twice counts once."""
    undoes: Id | None = None
    """With status `undo`: the id of the decision that is taken back."""
    reviewer: Name
    generated_at: Moment
    ms: Annotated[int, Meta(ge=0)] = 0
    """Time the image was in view before the decision, in milliseconds."""
    drawn: Drawn = "all"
    """How the image came before the reviewer. Only `sample` speaks for the whole run."""
    blind: bool = False
    """The reviewer could not see what others had decided."""
    sha256: str | None = None
    """The picture that was judged; a picture made anew has not been judged."""
    answers: dict[Question, Grade] = {}
    tags: Annotated[tuple[Name, ...], Meta(max_length=32)] = ()
    corrections: Corrections | None = None
    notes: Text = ""


class ReviewFold:
    """The decisions that stand, kept up to date one line at a time; `standing` is its pure form."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._undone: dict[tuple[str, str], set[str]] = defaultdict(set)
        self._live: dict[tuple[str, str], dict[str, Decision]] = {}
        self._reviewers: dict[str, set[str]] = defaultdict(set)

    def add(self, decision: Decision) -> bool:
        """Take one line in; False when it was known already."""
        if decision.id in self._seen:
            return False
        self._seen.add(decision.id)
        key = (decision.image_id, decision.reviewer)
        if decision.status == "undo":
            if decision.undoes is not None:
                # Kept by image and reviewer: nobody takes back another reviewer's decision.
                self._undone[key].add(decision.undoes)
                live = self._live.get(key)
                if live is not None and live.pop(decision.undoes, None) is not None and not live:
                    del self._live[key]
        elif decision.id not in self._undone.get(key, ()):
            self._live.setdefault(key, {})[decision.id] = decision
            self._reviewers[decision.image_id].add(decision.reviewer)
        return True

    def __contains__(self, decision_id: str) -> bool:
        return decision_id in self._seen

    def __len__(self) -> int:
        """How many (image, reviewer) pairs have a decision that stands."""
        return len(self._live)

    def get(self, image_id: str, reviewer: str, sha256: str | None = None) -> Decision | None:
        """What this reviewer's decision on this image is now; with `sha256`, on this very picture."""
        return _latest(self._live.get((image_id, reviewer), {}).values(), sha256)

    def of(self, image_id: str, sha256: str | None = None) -> tuple[Decision, ...]:
        """All reviewers' present decisions on one image, by reviewer."""
        found = (self.get(image_id, r, sha256) for r in sorted(self._reviewers.get(image_id, ())))
        return tuple(d for d in found if d is not None)

    def find(self, image_id: str, reviewer: str, decision_id: str) -> Decision | None:
        """A decision that has not been taken back, by its id."""
        return self._live.get((image_id, reviewer), {}).get(decision_id)

    def standing(self, sha256s: Mapping[str, str] | None = None) -> Iterator[Decision]:
        """One decision per image and reviewer; with `sha256s`, only those on the pictures of today."""
        for (image_id, _), live in self._live.items():
            latest = _latest(live.values(), sha256s.get(image_id) if sha256s is not None else None)
            if latest is not None:
                yield latest


def _latest(live: Iterable[Decision], sha256: str | None) -> Decision | None:
    fits = (d for d in live if sha256 is None or d.sha256 is None or d.sha256 == sha256)
    return max(fits, key=lambda d: (d.generated_at, d.id), default=None)


def standing(decisions: Iterable[Decision], sha256s: Mapping[str, str] | None = None) -> tuple[Decision, ...]:
    """The latest decision per image and reviewer that was not taken back, by image and reviewer.

    With `sha256s` (image id to the digest of its present picture), decisions on pictures that have
    since been made anew do not count.
    """
    fold = ReviewFold()
    for decision in decisions:
        fold.add(decision)
    return tuple(sorted(fold.standing(sha256s), key=lambda d: (d.index, d.image_id, d.reviewer)))


class Verdict(Struct, frozen=True, kw_only=True):
    """What the reviewers of one image say together."""

    image_id: str
    index: int
    job: str | None
    status: Literal["accept", "reject", "unsure", "disputed"]
    votes: dict[str, int]
    sha256: str | None
    tags: tuple[str, ...]


def consensus(statuses: Sequence[str]) -> Literal["accept", "reject", "unsure", "disputed"]:
    """The judgement that more than half of the reviewers gave; without one, `disputed`."""
    if not statuses:
        raise ValueError("no judgement to agree on")
    winner, votes = Counter(statuses).most_common(1)[0]
    if 2 * votes <= len(statuses):
        return "disputed"
    assert winner in ("accept", "reject", "unsure"), winner
    return winner


def verdicts(current: Iterable[Decision]) -> dict[str, Verdict]:
    """One verdict per judged image, of decisions as `standing` gives them."""
    by_image: dict[str, list[Decision]] = defaultdict(list)
    for decision in current:
        by_image[decision.image_id].append(decision)
    return {
        image_id: Verdict(
            image_id=image_id,
            index=votes[0].index,
            job=max(votes, key=lambda d: (d.generated_at, d.id)).job,
            status=consensus([d.status for d in votes]),
            votes=dict(sorted(Counter(d.status for d in votes).items())),
            sha256=max(votes, key=lambda d: (d.generated_at, d.id)).sha256,
            tags=tuple(sorted({tag for d in votes for tag in d.tags})),
        )
        for image_id, votes in by_image.items()
    }


def grades(current: Iterable[Decision]) -> dict[Question, dict[Grade, int]]:
    """How often each of the five questions was answered with each grade; unanswered ones are left out."""
    found: dict[Question, dict[Grade, int]] = {q: {"good": 0, "fair": 0, "poor": 0} for q in QUESTIONS}
    for decision in current:
        for question, grade in decision.answers.items():
            found[question][grade] += 1
    return found


class Rate(Struct, frozen=True, kw_only=True):
    """A share with its 95 % Wilson interval. `share` and the bounds are null when nothing was judged."""

    accepted: int
    judged: int
    share: float | None
    low: float | None
    high: float | None


def acceptance(current: Iterable[Decision], drawn: Collection[Drawn] | None = None) -> Rate:
    """The share of judged images that were accepted; unsure and disputed count as not accepted.

    With `drawn={"sample"}` only decisions on the random sample count, and the rate speaks for the
    whole run; flagged or filtered images are no random sample of it.
    """
    chosen = [d for d in current if drawn is None or d.drawn in drawn]
    found = verdicts(chosen).values()
    accepted = sum(1 for v in found if v.status == "accept")
    interval = wilson(accepted, len(found))
    return Rate(
        accepted=accepted,
        judged=len(found),
        share=accepted / len(found) if found else None,
        low=interval[0] if interval else None,
        high=interval[1] if interval else None,
    )


def wilson(successes: int, trials: int, z: float = 1.959963984540054) -> tuple[float, float] | None:
    """Wilson's score interval of a share; None without trials."""
    if trials == 0:
        return None
    share, square = successes / trials, z * z
    middle = (share + square / (2 * trials)) / (1 + square / trials)
    half = z / (1 + square / trials) * math.sqrt(share * (1 - share) / trials + square / (4 * trials * trials))
    # The ends are exact where the formula is; rounding must not leave a share outside its own interval.
    return (
        0.0 if successes == 0 else max(0.0, middle - half),
        1.0 if successes == trials else min(1.0, middle + half),
    )


def cohen_kappa(pairs: Iterable[tuple[str, str]]) -> float | None:
    """Cohen's kappa of two raters; None without pairs, or when both used one same category only."""
    table = Counter(pairs)
    total = table.total()
    if total == 0:
        return None
    first: Counter[str] = Counter()
    second: Counter[str] = Counter()
    for (a, b), n in table.items():
        first[a] += n
        second[b] += n
    observed = sum(n for (a, b), n in table.items() if a == b) / total
    expected = sum(first[c] * second[c] for c in first) / (total * total)
    return None if expected >= 1 else (observed - expected) / (1 - expected)


def krippendorff_alpha(units: Iterable[Sequence[str]]) -> float | None:
    """Krippendorff's alpha for nominal data: one sequence of ratings per unit, any number of raters.

    Units with fewer than two ratings say nothing. None when nothing can be compared, or when only
    one category was ever used.
    """
    disagreement = 0.0
    totals: Counter[str] = Counter()
    for ratings in units:
        m = len(ratings)
        if m < 2:
            continue
        counts = Counter(ratings)
        disagreement += sum(n * (m - n) for n in counts.values()) / (m - 1)
        totals.update(counts)
    n = totals.total()
    chance = n * n - sum(t * t for t in totals.values())
    return None if chance == 0 else 1 - (n - 1) * disagreement / chance


class PairAgreement(Struct, frozen=True, kw_only=True):
    """How two reviewers agree on the images both judged."""

    reviewers: tuple[str, str]
    images: int
    agreed: int
    kappa: float | None


class Agreement(Struct, frozen=True, kw_only=True):
    """Agreement of all reviewers on accept / reject / unsure, and on each of the five questions."""

    reviewers: tuple[str, ...]
    images: int
    """Images that two or more reviewers judged."""
    alpha: float | None
    pairs: tuple[PairAgreement, ...]
    questions: dict[str, float | None]
    """Krippendorff's alpha per question."""
    disputed: tuple[str, ...]
    """Images on which the reviewers do not all say the same, in order of their index."""


def agreement(current: Iterable[Decision]) -> Agreement:
    """How far reviewers agree, of decisions as `standing` gives them."""
    by_image: dict[str, dict[str, Decision]] = defaultdict(dict)
    for decision in current:
        by_image[decision.image_id][decision.reviewer] = decision
    shared = {i: by for i, by in by_image.items() if len(by) > 1}
    reviewers = tuple(sorted({r for by in by_image.values() for r in by}))
    together: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for by in shared.values():
        for a, b in combinations(sorted(by), 2):
            together[a, b].append((by[a].status, by[b].status))
    split = [(next(iter(by.values())).index, i) for i, by in shared.items() if len({d.status for d in by.values()}) > 1]
    return Agreement(
        reviewers=reviewers,
        images=len(shared),
        alpha=krippendorff_alpha([d.status for d in by.values()] for by in shared.values()),
        pairs=tuple(
            PairAgreement(
                reviewers=pair,
                images=len(votes),
                agreed=sum(1 for a, b in votes if a == b),
                kappa=cohen_kappa(votes),
            )
            for pair, votes in sorted(together.items())
        ),
        questions={
            q: krippendorff_alpha([d.answers[q] for d in by.values() if q in d.answers] for by in shared.values())
            for q in QUESTIONS
        },
        disputed=tuple(image_id for _, image_id in sorted(split)),
    )
