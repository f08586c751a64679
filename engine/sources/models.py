"""What sources answer with: the three contexts, and for each where it came from."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from engine.core.context import Guide, News, People


class Origin(Struct, frozen=True, kw_only=True):
    """Where one source came from, as `groundswell sources` tells it."""

    name: str
    """atropia, worldbank or social_media."""
    path: str
    """The file or folder, or "bundled"."""
    kind: str
    """What was found there, in words: "World Bank survey (.dta), joined on hid"."""
    items: int
    """How many are used."""
    found: int
    """How many there were."""
    sha256: str
    """Of the file, or over the files of a folder by name."""
    licence: str
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class Sources(Struct, frozen=True, kw_only=True):
    """Everything prompts are made of. Satisfies core.context.Context."""

    news: Sequence[News]
    people: People
    references: Sequence[Guide]
    origins: tuple[Origin, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """All warnings of all origins."""
        return tuple(warning for origin in self.origins for warning in origin.warnings)
