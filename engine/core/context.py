"""What a prompt is made of: news, people and visual guides, as plain immutable values.

Sources fill these from files and hand them over; nothing here knows where they came from. People
are columns, one byte per person and fact, so that a census of ten million fits in memory.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, Protocol

from msgspec import Struct

from schemas.prompt import Reference


class News(Struct, frozen=True, kw_only=True):
    """One item of fictional news, with what a scene needs to know of it already taken out."""

    id: str
    title: str
    excerpt: str
    theme: str
    location: str
    date: str | None = None
    """ISO date; its month decides the season."""
    place: str = ""
    """Where, with its preposition: "in the Market District"."""
    issue: str = ""
    """What it is about, to follow "over" or "about": "fuel prices"."""
    cause: str = ""
    """The issue with its preposition: "over unpaid wages", "for fair elections"."""
    demand: str = ""
    """What is asked for, to follow "for" or "demanding": "free and fair elections"."""
    actor: str = ""
    """Who calls for it, with its article: "the Harbour Union"."""
    slogans: tuple[str, ...] = ()
    """Short lines for placards, at most four words each."""
    details: Mapping[str, str] = {}
    """Further facts for the record only: file, section, sha256."""

    def as_source_data(self) -> dict[str, Any]:
        """Plain JSON values, with the keys of the original pipeline first."""
        told: dict[str, Any] = {
            "id": self.id,
            "title": self.title,
            "excerpt": self.excerpt,
            "date": self.date,
            "theme": self.theme,
            "location": self.location,
        }
        told.update({k: v for k in ("issue", "demand", "actor") if (v := getattr(self, k))})
        told.update(self.details)
        return told


class Guide(Struct, frozen=True, kw_only=True):
    """One visual reference: a description, and in mode images a sanitised picture."""

    id: str
    description: str
    kind: Literal["scene", "graphic"] = "scene"
    """Whether it describes a place with people, or a designed image such as a poster."""
    label_1: str = ""
    label_2: str = ""
    setting: str = ""
    activity_level: str = ""
    reference: Reference | None = None
    licence: str = ""

    def as_source_data(self) -> dict[str, Any]:
        """Plain JSON values without empty ones; never a file name."""
        told: dict[str, Any] = {"id": self.id, "description": self.description}
        for key in ("label_1", "label_2", "setting", "activity_level", "licence"):
            if value := getattr(self, key):
                told[key] = value
        if self.reference is not None:
            told["sha256"] = self.reference.sha256
        return told


class Person(Struct, frozen=True, kw_only=True):
    """One profile. None: not known, or not to be said."""

    profile_id: str
    age: int | None = None
    """Years."""
    age_group: str | None = None
    gender: str | None = None
    occupation: str | None = None
    work: str | None = None
    """Key into the vocabulary of core.crowd; follows from occupation and industry."""
    education_level: str | None = None
    setting: str | None = None
    """urban, suburban or rural."""
    household_size: int | None = None
    household_composition: str | None = None
    province: str | None = None


_UNKNOWN: Final[dict[str, Any]] = dict.fromkeys(Person.__struct_fields__)


class Column(Struct, frozen=True):
    """One fact about everyone: `labels[codes[k]]` is person k's."""

    codes: bytes
    labels: tuple[str | int | None, ...]


class People(Struct, frozen=True, kw_only=True):
    """Everyone who may be drawn, sorted so that neighbours are alike, with cumulative weights."""

    columns: Mapping[str, Column]
    """By name of a Person field."""
    cumulative: Sequence[int]
    """Running totals of integer weights, one per person; an array('Q') or a list."""
    ids: Sequence[str] | None = None
    """Profile ids; None numbers them wb_000001 on."""

    def __len__(self) -> int:
        return len(self.cumulative)

    def locate(self, point: int) -> int:
        """The person at `point` of 2**64 of the total weight."""
        return bisect_right(self.cumulative, (point * self.cumulative[-1]) >> 64)

    def facts(self, k: int) -> dict[str, Any]:
        """Person k's facts by name of a Person field; None where they are not known."""
        facts: dict[str, Any] = _UNKNOWN.copy()
        for name, column in self.columns.items():
            facts[name] = column.labels[column.codes[k]]
        facts["profile_id"] = self.ids[k] if self.ids is not None else f"wb_{k + 1:06d}"
        return facts

    def person(self, k: int) -> Person:
        """Person k as a value."""
        return Person(**self.facts(k))


class Context(Protocol):
    """What sources hand to the plan."""

    @property
    def news(self) -> Sequence[News]: ...
    @property
    def people(self) -> People: ...
    @property
    def references(self) -> Sequence[Guide]: ...
