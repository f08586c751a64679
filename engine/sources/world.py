"""News from the bundled world: one grammar in which theme, issue, actor, demand, place and date agree.

The world file says which issue is news under which theme, who takes it up, what they ask, in which
kind of province and in which months. An item is one consistent choice of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import cache
from typing import Any, Final

import msgspec
import yaml
from msgspec import Struct

from engine.core.context import News
from engine.core.sampling import Chance, permuted
from engine.core.wording import sentence
from engine.sources.files import bundled

ITEMS: Final = 240
"""How many items are told when the configuration names no number."""
ITEMS_MAX: Final = 100_000
_SEED: Final = 2025
"""The world's news is the same for every run; what a run draws of it depends on the run's seed."""


class Province(Struct, frozen=True):
    key: str
    name: str
    place: str
    character: str
    spots: tuple[str, ...]
    origin: str


class WorldIssue(Struct, frozen=True):
    key: str
    phrase: str
    cause: str
    origin: str
    themes: tuple[str, ...]
    demands: tuple[str, ...]
    slogans: tuple[str, ...]
    actors: tuple[str, ...]
    where: tuple[str, ...]
    months: tuple[int, ...]
    occasions: tuple[str, ...]


class Told(Struct, frozen=True):
    titles: tuple[str, ...]
    excerpts: tuple[str, ...]


class World(Struct, frozen=True):
    """The world file."""

    notice: str
    year: int
    sources: tuple[dict[str, str], ...]
    country: tuple[dict[str, str], ...]
    currency: dict[str, str]
    provinces: tuple[Province, ...]
    parties: tuple[dict[str, str], ...]
    groups: tuple[dict[str, str], ...]
    outlets: tuple[dict[str, str], ...]
    issues: tuple[WorldIssue, ...]
    told: dict[str, Told]
    crowds: tuple[str, ...]


@cache
def world() -> World:
    """The bundled world."""
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return msgspec.convert(yaml.load(bundled("atropia_world.yaml"), loader), World)


def themes() -> tuple[str, ...]:
    """Themes there is news on."""
    return tuple(world().told)


def tell(count: int, focus: Sequence[str] = ()) -> list[News]:
    """`count` items, themes in turn; only of the focus themes if there are any."""
    wanted = [theme for theme in themes() if not focus or theme in focus]
    return [_item(n, wanted[n % len(wanted)], n // len(wanted)) for n in range(min(count, ITEMS_MAX))]


def _item(n: int, theme: str, turn: int) -> News:
    w = world()
    issues = [issue for issue in w.issues if theme in issue.themes]
    domain = f"w-{theme}"[:16]
    lap, place = divmod(turn, len(issues))
    issue = issues[permuted(place, len(issues), _SEED, domain, lap)]
    chance = Chance(_SEED, domain, turn)
    province = chance.pick([p for p in w.provinces if p.character in issue.where])
    spot, actor, demand = chance.pick(province.spots), chance.pick(issue.actors), chance.pick(issue.demands)
    crowd, outlet, told = chance.pick(w.crowds), chance.pick(w.outlets)["name"], w.told[theme]
    words = {
        "issue": issue.phrase,
        "cause": issue.cause,
        "actor": actor,
        "Actor": actor[0].upper() + actor[1:],
        "crowd": crowd,
        "Crowd": crowd[0].upper() + crowd[1:],
        "spot": spot,
        "demand": demand,
        "occasion": chance.pick(issue.occasions),
    }
    told_on = date(w.year, chance.pick(issue.months), 1 + chance.below(28))
    excerpt = chance.pick(told.excerpts).format(**words)
    return News(
        id=f"atropia_{n + 1:03d}",
        title=f"{outlet}: {sentence(chance.pick(told.titles).format(**words)).rstrip('.')}",
        excerpt=excerpt,
        theme=theme,
        location=spot.removeprefix("in ").removeprefix("on "),
        date=told_on.isoformat(),
        place=spot,
        issue=issue.phrase,
        cause=issue.cause,
        demand=demand,
        actor=actor,
        slogans=issue.slogans,
        details={"province": province.name, "origin": "invented"},
    )
