"""What travels between the page and the server, and into a static page: JSON, by these shapes alone."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from engine.core.reviews import (
    Agreement,
    Corrections,
    Decision,
    Drawn,
    Grade,
    Id,
    Name,
    Question,
    Rate,
    Text,
)
from engine.review.findings import Finding
from schemas.outcome import Asset

__all__ = ["TAGS", "Card", "Judged", "Queue", "QueueGone", "Refused", "Shown", "Summary", "TwinCard"]

TAGS = ("artefacts", "anatomy", "garbled text", "off theme", "stereotype", "unsafe", "duplicate", "low detail")
"""What is often wrong with a synthetic image; reviewers may add their own words."""


class QueueGone(LookupError):
    """The snapshot was dropped; ask for the queue again."""


class Refused(ValueError):
    """A decision that cannot be taken. `str()` is what the reviewer reads."""


class Judged(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A decision as the page sends it; the server adds what it knows better."""

    id: Id
    status: Literal["accept", "reject", "unsure", "undo"]
    image_id: str
    reviewer: Name
    undoes: Id | None = None
    ms: Annotated[int, Meta(ge=0, le=86_400_000)] = 0
    drawn: Drawn = "all"
    version: Annotated[str, Meta(max_length=64)] = ""
    """Of the picture that was looked at, as `Card.version` says it."""
    answers: dict[Question, Grade] = {}
    tags: Annotated[tuple[Name, ...], Meta(max_length=32)] = ()
    corrections: Corrections | None = None
    notes: Text = ""


class Card(Struct, frozen=True, kw_only=True):
    """An image in a list."""

    id: str
    index: int
    theme: str
    version: str
    """Changes with the picture, so that a browser may keep it for ever."""
    mine: str | None
    """The asking reviewer's decision."""
    flagged: bool


class TwinCard(Card, frozen=True, kw_only=True):
    """A near-duplicate of an image."""

    kind: str
    similarity_percent: float | None


class Queue(Struct, frozen=True, kw_only=True):
    """A snapshot of what a filter gave."""

    queue: str
    drawn: str
    total: int
    decided: int
    """Of these, how many the asking reviewer has decided."""
    start: int
    """The first one that is undecided; 0 when none is."""
    cards: list[Card]


class Shown(Struct, frozen=True, kw_only=True):
    """Everything the page shows about one image."""

    id: str
    index: int
    job: str
    version: str
    asset: Asset
    model: str
    generated_at: str
    prompt: str
    theme: str
    source_data: dict[str, Any]
    style: str | None
    complexity: str | None
    aspect_ratio: str | None
    resolution: str | None
    caption: str | None
    captions: tuple[str, ...]
    labels: dict[str, Any] | None
    comments: tuple[str, ...] | None
    findings: tuple[Finding, ...]
    duplicates: list[TwinCard]
    mine: Decision | None
    others: list[Decision]
    """Other reviewers' decisions; in a blind review only after one's own."""


class Summary(Struct, frozen=True, kw_only=True):
    """Where the review stands."""

    images: int
    judged: int
    mine: int
    sample: Rate
    everything: Rate
    agreement: Agreement
    by_theme: dict[str, Rate]
    tags: dict[str, int]
    grades: dict[Question, dict[Grade, int]]
    damaged_lines: int
