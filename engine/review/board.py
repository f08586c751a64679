"""What the page can ask and tell: one object that knows the run, its findings and all decisions.

The server and the static export show the same answers of this module. Every method may be called
from any thread; one lock keeps them apart.
"""

from __future__ import annotations

import uuid
from array import array
from collections import Counter, OrderedDict
from collections.abc import Sequence
from pathlib import Path
from threading import RLock
from typing import Any

from msgspec import structs

from engine.core.reviews import QUESTIONS, Decision, acceptance, agreement, grades
from engine.review.catalogue import Catalogue, NoSuchImage
from engine.review.decisions import ReviewLog, moment_after
from engine.review.findings import Findings, read_findings
from engine.review.messages import TAGS, Card, Judged, Queue, QueueGone, Refused, Shown, Summary, TwinCard
from engine.review.queue import Filter, sample_size, stratified_sample
from schemas.outcome import Asset

__all__ = ["Board"]

QUEUES_MAX = 32
"""Snapshots of queues kept; the page asks again when its own has been dropped."""
PAGE_IMAGES_MAX = 500
FACET_VALUES_MAX = 60


class Board:
    """A run under review."""

    def __init__(
        self,
        *,
        name: str,
        catalogue: Catalogue,
        log: ReviewLog,
        qa: Path,
        sample: int | None = None,
        seed: int = 0,
        blind: bool = False,
        reviewer: str = "reviewer",
    ) -> None:
        self.name = name
        self.reviewer = reviewer
        self.catalogue = catalogue
        self.log = log
        self.blind = blind
        self._qa = qa
        self._sample_images = sample
        self._seed = seed
        self._lock = RLock()
        self._queues: OrderedDict[str, array[int]] = OrderedDict()
        self._findings: Findings = Findings()
        self._facets: dict[str, Any] | None = None
        self._last: dict[str, list[Decision]] = {}
        log.on_line(self._remember)

    def load(self) -> None:
        """Read the run, QA's findings and all decisions. Call once, before anything else."""
        with self._lock:
            self.catalogue.refresh()
            self._findings = read_findings(self._qa)
            self.log.repair()

    def refresh(self) -> None:
        """Take in what a live run, QA and other reviewers have added."""
        with self._lock:
            if self.catalogue.refresh():
                self._facets = None
            self._findings = read_findings(self._qa, self._findings)
            self.log.refresh()

    def _remember(self, decision: Decision) -> None:
        done = self._last.setdefault(decision.reviewer, [])
        if decision.status == "undo":
            self._last[decision.reviewer] = [d for d in done if d.id != decision.undoes]
        else:
            done.append(decision)

    def session(self) -> dict[str, Any]:
        """What the page needs to know once: names, questions, tags, and what can be filtered by."""
        with self._lock:
            reviewers = Counter(d.reviewer for d in self.log.fold.standing())
            return {
                "run": self.name,
                "images": len(self.catalogue),
                "blind": self.blind,
                "reviewer": self.reviewer,
                "sample": sample_size(len(self.catalogue), self._sample_images),
                "seed": self._seed,
                "questions": QUESTIONS,
                "tags": TAGS,
                "reviewers": dict(sorted(reviewers.items())),
                "flagged": sum(1 for i in self._findings.flagged if i in self.catalogue),
                "findings": self._findings.counts(),
                "qa_problem": self._findings.problem,
                **self._counted(),
            }

    def _counted(self) -> dict[str, Any]:
        if self._facets is None:
            self._facets = self.facets(range(len(self.catalogue)))
        return self._facets

    def facets(self, positions: Sequence[int]) -> dict[str, Any]:
        """Themes and labels of some images, with how many have each; the most frequent first."""
        held = self.catalogue
        themes = Counter(held.themes[p] for p in positions)
        codes = Counter(code for p in positions for code in held.labels[p])
        labels: dict[str, dict[str, int]] = {}
        for code, images in codes.most_common():
            category, value = held.label_values[code]
            values = labels.setdefault(category, {})
            if len(values) < FACET_VALUES_MAX:
                values[value] = images
        return {
            "themes": dict(themes.most_common(FACET_VALUES_MAX)),
            "labels": {c: labels[c] for c in sorted(labels)},
        }

    def queue(self, wanted: Filter, reviewer: str, limit: int = 100) -> Queue:
        """A snapshot of the images that pass a filter, with its first page around where to go on."""
        with self._lock:
            self.refresh()
            positions = array("I", self._select(wanted, reviewer))
            key = uuid.uuid4().hex
            self._queues[key] = positions
            while len(self._queues) > QUEUES_MAX:
                self._queues.popitem(last=False)
            decided, start = 0, None
            for place, position in enumerate(positions):
                if self._mine(position, reviewer) is not None:
                    decided += 1
                elif start is None:
                    start = place
            start = start or 0
            return Queue(
                queue=key,
                drawn=wanted.drawn,
                total=len(positions),
                decided=decided,
                start=start,
                cards=self.page(key, reviewer, start, limit),
            )

    def page(self, queue: str, reviewer: str, offset: int, limit: int) -> list[Card]:
        """Some images of a snapshot. Raises QueueGone."""
        with self._lock:
            positions = self._snapshot(queue)
            limit = max(0, min(limit, PAGE_IMAGES_MAX))
            offset = max(0, offset)
            return [self._card(position, reviewer) for position in positions[offset : offset + limit]]

    def next_open(self, queue: str, reviewer: str, after: int) -> int | None:
        """The first place behind `after`, going round once, that this reviewer has not decided; or None.

        Raises QueueGone.
        """
        with self._lock:
            positions = self._snapshot(queue)
            for step in range(1, len(positions) + 1):
                place = (after + step) % len(positions)
                if self._mine(positions[place], reviewer) is None:
                    return place
            return None

    def _snapshot(self, queue: str) -> array[int]:
        try:
            self._queues.move_to_end(queue)
        except KeyError:
            raise QueueGone(queue) from None
        return self._queues[queue]

    def sample(self) -> list[int]:
        """The positions of the run's sample, in the order of chance."""
        with self._lock:
            strata: dict[str, list[str]] = {}
            for image_id, theme in zip(self.catalogue.ids, self.catalogue.themes, strict=True):
                strata.setdefault(theme, []).append(image_id)
            size = sample_size(len(self.catalogue), self._sample_images)
            return [self.catalogue.position(i) for i in stratified_sample(strata, size, self._seed)]

    def select(self, wanted: Filter, reviewer: str) -> list[int]:
        """The positions that pass a filter, in the order they come before the reviewer."""
        with self._lock:
            return self._select(wanted, reviewer)

    def _select(self, wanted: Filter, reviewer: str) -> list[int]:
        seen = self.catalogue
        if wanted.draw == "sample":
            positions = self.sample()
        else:
            positions = sorted(range(len(seen)), key=seen.indexes.__getitem__)
            if wanted.draw == "flagged":
                flagged = self._findings.flagged
                positions = [p for p in positions if seen.ids[p] in flagged]
        if wanted.theme is not None:
            positions = [p for p in positions if seen.themes[p] == wanted.theme]
        if wanted.category is not None and wanted.label is not None:
            code = seen.label_code(wanted.category, wanted.label)
            positions = [p for p in positions if code in seen.labels[p]] if code is not None else []
        if wanted.finding is not None:
            found = {i for i, fs in self._findings.by_image.items() if any(f.check == wanted.finding for f in fs)}
            positions = [p for p in positions if seen.ids[p] in found]
        if wanted.decision is not None or wanted.reviewer is not None:
            statuses = self._statuses(wanted.reviewer, reviewer)
            positions = [p for p in positions if _fits(statuses.get(seen.ids[p]), wanted.decision or "decided")]
        return positions

    def _statuses(self, whose: str | None, asking: str) -> dict[str, set[str]]:
        """What was decided on each present picture, by one reviewer or by all."""
        found: dict[str, set[str]] = {}
        for decision in self.log.fold.standing():
            if whose is not None and decision.reviewer != whose:
                continue
            if decision.image_id not in self.catalogue:
                continue
            position = self.catalogue.position(decision.image_id)
            if decision.sha256 not in (None, self.catalogue.sha256(position)):
                continue
            hidden = self.blind and decision.reviewer != asking and self._mine(position, asking) is None
            if not hidden:
                found.setdefault(decision.image_id, set()).add(decision.status)
        return found

    def _mine(self, position: int, reviewer: str) -> Decision | None:
        return self.log.fold.get(self.catalogue.ids[position], reviewer, self.catalogue.sha256(position))

    def _card(self, position: int, reviewer: str) -> Card:
        image_id = self.catalogue.ids[position]
        mine = self._mine(position, reviewer)
        return Card(
            id=image_id,
            index=self.catalogue.indexes[position],
            theme=self.catalogue.themes[position],
            version=self.catalogue.sha256(position)[:16],
            mine=mine.status if mine else None,
            flagged=image_id in self._findings.flagged,
        )

    def shown(self, image_id: str, reviewer: str) -> Shown:
        """Everything about one image. Raises NoSuchImage."""
        with self._lock:
            position = self.catalogue.position(image_id)
            image = self.catalogue.image(position)
            about = self.catalogue.metadata(position)
            assert image.asset is not None, image_id
            caption, labels, comments = about.get("caption"), about.get("labels"), about.get("comments")
            twins = [
                TwinCard(
                    **structs.asdict(self._card(self.catalogue.position(t.image_id), reviewer)),
                    kind=t.kind,
                    similarity_percent=t.similarity_percent,
                )
                for t in self._findings.duplicates.get(image_id, ())
                if t.image_id in self.catalogue
            ]
            mine = self._mine(position, reviewer)
            others = [
                d
                for d in self.log.fold.of(image_id, image.asset.sha256)
                if d.reviewer != reviewer and (mine is not None or not self.blind)
            ]
            return Shown(
                id=image_id,
                index=image.index,
                job=image.job,
                version=image.asset.sha256[:16],
                asset=image.asset,
                model=image.model,
                generated_at=image.generated_at,
                prompt=image.prompt,
                theme=self.catalogue.themes[position],
                source_data=image.source_data,
                style=image.style,
                complexity=image.complexity,
                aspect_ratio=image.aspect_ratio,
                resolution=image.resolution,
                caption=caption.caption if caption else None,
                captions=caption.captions if caption else (),
                labels=labels.labels if labels else None,
                comments=comments.comments if comments else None,
                findings=self._findings.by_image.get(image_id, ()),
                duplicates=twins,
                mine=mine,
                others=others,
            )

    def asset(self, image_id: str) -> Asset:
        """The file of an image. Raises NoSuchImage."""
        with self._lock:
            asset = self.catalogue.image(self.catalogue.position(image_id)).asset
            if asset is None:
                raise NoSuchImage(image_id)
            return asset

    def decide(self, judged: Judged) -> Decision:
        """Write a decision down; it is durable when this returns.

        Raises Refused, NoSuchImage, or StoreError when the disk refused. Sent again with the same
        id, it counts once.
        """
        with self._lock:
            self.log.refresh()
            position = self.catalogue.position(judged.image_id)
            image = self.catalogue.image(position)
            assert image.asset is not None, judged.image_id
            if judged.status == "undo" and judged.id not in self.log.fold:
                self._undoable(judged)
            if not image.asset.sha256.startswith(judged.version):
                raise Refused(f"{judged.image_id} has been made anew while you looked at it; look at the new picture")
            before = self.log.fold.get(judged.image_id, judged.reviewer)
            decision = Decision(
                job=image.job,
                status=judged.status,
                image_id=judged.image_id,
                index=image.index,
                id=judged.id,
                undoes=judged.undoes if judged.status == "undo" else None,
                reviewer=judged.reviewer,
                generated_at=moment_after(before.generated_at if before else None),
                ms=judged.ms,
                drawn=judged.drawn,
                blind=self.blind,
                sha256=image.asset.sha256,
                answers=judged.answers,
                tags=judged.tags,
                corrections=judged.corrections,
                notes=judged.notes,
            )
            self.log.append([decision])
            return decision

    def _undoable(self, judged: Judged) -> None:
        if judged.undoes is None or not self.log.fold.find(judged.image_id, judged.reviewer, judged.undoes):
            raise Refused(f"{judged.image_id} has no decision of {judged.reviewer} with this id to take back")

    def last(self, reviewer: str) -> Decision | None:
        """The decision that this reviewer's next undo takes back."""
        with self._lock:
            self.log.refresh()
            done = self._last.get(reviewer)
            return done[-1] if done else None

    def summary(self, reviewer: str) -> Summary:
        """Progress, acceptance and agreement over all that was decided on the present pictures."""
        held = self.catalogue
        with self._lock:
            self.log.refresh()
            current = [
                d
                for d in self.log.fold.standing()
                if d.image_id in held and d.sha256 in (None, held.sha256(held.position(d.image_id)))
            ]
            theme_of = {d.image_id: held.themes[held.position(d.image_id)] for d in current}
            images, damaged = len(held), len(self.log.damaged)
        # Counting a long review takes a second: not under the lock that decisions wait for.
        themes: dict[str, list[Decision]] = {}
        for d in current:
            themes.setdefault(theme_of[d.image_id], []).append(d)
        agreed = agreement(current)
        if self.blind:  # The list would tell what the other one said.
            agreed = structs.replace(agreed, disputed=())
        return Summary(
            images=images,
            judged=len(theme_of),
            mine=sum(1 for d in current if d.reviewer == reviewer),
            sample=acceptance(current, {"sample"}),
            everything=acceptance(current),
            agreement=agreed,
            by_theme={t: acceptance(ds) for t, ds in sorted(themes.items())},
            tags=dict(Counter(tag for d in current for tag in d.tags).most_common(20)),
            grades=grades(current),
            damaged_lines=damaged,
        )


def _fits(statuses: set[str] | None, wanted: str) -> bool:
    if wanted == "undecided":
        return not statuses
    if not statuses:
        return False
    return wanted == "decided" or (len(statuses) > 1 if wanted == "disputed" else wanted in statuses)
