"""Putting one prompt into words: a narrative paragraph, as Google's guidance for its image models asks.

Parts are written in order of reading and each has a rank. Parts are taken by rank until the length
for the complexity is reached, so that every prompt keeps within its range whatever the user's own
names, news and guides hold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

from msgspec import Struct

from engine.core.context import News
from engine.core.crowd import Portrait, crowd_mix
from engine.core.digital import artefact, device, picture_in_post, surroundings
from engine.core.moment import Moment
from engine.core.sampling import Chance, stratified
from engine.core.scenes import Setting, Theme
from engine.core.styles import STYLES, Style
from engine.core.wording import Line, known_line, line, lines, listed, word_count

FICTIONAL: Final = "Everyone and every place is fictional; no real people, logos or flags."

WORDS: Final = {"simple": (30, 60), "medium": (60, 140), "complex": (120, 220)}
"""Fewest and most words per complexity, the closing sentence included."""

CROWD_SIZES: Final = {"simple": (2,), "medium": (3, 4, 5, 6), "complex": (3, 4, 5, 6)}
"""How many people are drawn for one prompt."""


class Scene(Struct, frozen=True, kw_only=True):
    """Everything one prompt is written from. What may not be said has been taken out already."""

    style: str
    complexity: str
    theme: Theme
    setting: Setting
    news: News
    graphic: bool
    """Whether the guide describes a designed image."""
    cue: str
    """The guide in words that may be said; "" if nothing is left of it."""
    pictures: int
    """How many reference pictures are sent along."""
    people: Sequence[Portrait]
    moment: Moment | None
    form: int
    """Which of the theme's forms."""
    digital: bool
    """Whether it is seen on a screen."""


_Shorter = Callable[[int], Line]
"""Said instead when there is no room for the line: with 1 something shorter, with 2 still shorter."""
_Part = tuple[int, Line] | tuple[int, Line, _Shorter]
"""Rank first: 0 is always said; others in this order as long as there is room."""


def compose(scene: Scene, seed: int, i: int) -> str:
    """The prompt: one paragraph, within the range of its complexity."""
    parts = _digital(scene, seed, i) if scene.digital else _physical(scene, seed, i)
    return _fitted(parts, WORDS[scene.complexity][1])


def _fitted(parts: Sequence[_Part], words_max: int) -> str:
    """Parts by rank as long as they fit; the order of reading stays."""
    room = words_max - _CLOSING_WORDS
    kept = [""] * len(parts)
    for n in _by_rank(tuple([part[0] for part in parts])):
        part = parts[n]
        words, text = part[1]
        if words > room and len(part) == 3:
            words, text = part[2](1)
            if words > room:
                words, text = part[2](2)
        if words <= room or part[0] == 0:
            kept[n] = text
            room -= words
    return " ".join([*filter(None, kept), FICTIONAL])


_CLOSING_WORDS: Final = word_count(FICTIONAL)


@lru_cache(maxsize=512)
def _by_rank(ranks: tuple[int, ...]) -> tuple[int, ...]:
    """The places of the ranks, lowest rank first."""
    return tuple(sorted(range(len(ranks)), key=ranks.__getitem__))


def _physical(scene: Scene, seed: int, i: int) -> list[_Part]:
    look, frame = Chance(seed, "look", i), Chance(seed, "frame", i)
    style, news = STYLES[scene.style], scene.news
    form = scene.theme.forms[scene.form % len(scene.theme.forms)]
    lens = style.openings[stratified(i, len(style.openings), seed, "opening")]
    size = frame.pick(form.crowds)
    mood = frame.pick(lines("The mood is {}", scene.theme.moods))
    placards = _placards(scene, Chance(seed, "placards", i))

    def crowd(brief: int) -> Line:
        return _crowd(scene, size, seed, i, brief)

    if scene.complexity == "simple":
        opening = line(f"{lens} shows {form.name} {news.cause} {scene.setting.where} in Atropia")
        return [(0, opening), (2, crowd(0), crowd), _when(scene, look, style), (4, placards), (5, mood)]
    opening = line(f"{lens} shows {form.name} {news.cause} {scene.setting.where} {news.place}")
    ranks = look.some((6, 7, 8, 9, 10), 5)
    parts: list[_Part] = [
        (0, opening),
        (ranks[0], _story(scene, frame)),
        (3, crowd(0), crowd),
        (ranks[1], known_line(form.action)),
        (5, placards),
        _when(scene, look, style),
        (ranks[2], frame.pick(lines("Behind them, {}", scene.setting.backdrops))),
        (1, _cue(scene)),
        (1, _copying(scene)),
        (ranks[3], mood),
        (ranks[4], look.pick(lines("{}", style.finishes))),
    ]
    if scene.complexity == "complex":
        parts.insert(7, (11, frame.pick(lines("In the foreground, {}", scene.setting.foregrounds))))
        parts.append((12, look.pick(lines("{}", style.details))))
    return parts


def _digital(scene: Scene, seed: int, i: int) -> list[_Part]:
    look, frame = Chance(seed, "look", i), Chance(seed, "frame", i)
    style, news = STYLES[scene.style], scene.news
    thing = artefact(scene.theme, scene.setting, frame)
    carrier = device(scene.setting, frame, held=scene.complexity != "simple")
    lens = style.screens[stratified(i, len(style.screens), seed, "screen")]
    shown = picture_in_post(scene.theme, scene.form)
    slogan = Chance(seed, "placards", i).pick(news.slogans)
    around = surroundings(scene.setting, frame)

    def people(brief: int) -> Line:
        return _profiles(scene, seed, i, brief)

    if scene.complexity == "simple":
        opening = line(f"{lens} shows {carrier} with {thing} about {news.issue} in Atropia")
        headline = line(f'The headline reads "{slogan}"')
        return [(0, opening), (4, headline), (2, people(0), people), _when(scene, look, style), (5, around)]
    opening = line(f"{lens} shows {carrier}, its screen filled by {thing} about {news.issue} {news.place}")
    ranks = look.some((6, 7, 8, 9), 4)
    parts: list[_Part] = [
        (0, opening),
        (4, line(f'The post shows {shown} under the headline "{slogan}"')),
        (ranks[0], _story(scene, frame)),
        (3, people(0), people),
        (5, around),
        _when(scene, look, style),
        (1, _cue(scene)),
        (1, _copying(scene)),
        (ranks[1], _GREY_LINES),
        (ranks[2], frame.pick(lines("The tone of the post is {}", scene.theme.moods))),
        (ranks[3], look.pick(lines("{}", style.finishes))),
    ]
    if scene.complexity == "complex":
        parts += [(10, _THUMB), (11, look.pick(lines("{}", style.details)))]
    return parts


_GREY_LINES: Final = line("Apart from the headline, text is reduced to soft grey lines")
_THUMB: Final = line("A thumb rests at the edge of the glass, and faint fingerprints show on it")


def _when(scene: Scene, look: Chance, style: Style) -> _Part:
    """Time, weather and light; the light alone if no time is told."""
    moment = scene.moment
    if moment is None:
        return 2, look.pick(lines("{} falls on the screen" if scene.digital else "{} falls on the scene", style.light))
    if scene.complexity == "simple":
        return 1, known_line(f"It is {moment.brief}")
    where = "Around the screen it is" if scene.digital else "It is"
    return 2, known_line(f"{where} {moment.named}; {moment.light}")


def _crowd(scene: Scene, size: str, seed: int, i: int, brief: int) -> Line:
    chance = Chance(seed, "crowd", i)
    lead = chance.pick(_CROWD_LEADS)
    phrases = _phrases(scene, chance, brief)
    if not phrases:
        return known_line(f"{size} fill the frame")
    if scene.complexity == "simple":
        return line(f"In front {'are' if len(phrases) > 1 else 'is'} {listed(phrases)}")
    return line(f"{size} {lead} {listed(phrases)}")


_CROWD_LEADS: Final = (
    "have come, among them",
    "take part; in front stand",
    "are there; the nearest faces are those of",
)
_PROFILE_LEADS: Final = (
    "Small profile pictures show",
    "The people seen on the screen are",
    "Those reacting to it include",
)


def _profiles(scene: Scene, seed: int, i: int, brief: int) -> Line:
    chance = Chance(seed, "crowd", i)
    lead = chance.pick(_PROFILE_LEADS)
    phrases = _phrases(scene, chance, brief)
    if not phrases:
        return _NOTHING
    if scene.complexity == "simple":
        lead = f"Among its readers {'are' if len(phrases) > 1 else 'is'}"
    return line(f"{lead} {listed(phrases)}")


def _phrases(scene: Scene, chance: Chance, brief: int) -> list[str]:
    """The people; brief 1 leaves out clothes and traits, brief 2 everybody but the first."""
    dressed, traits = (0, 0) if brief else _DRESSED_AND_TRAITS[scene.complexity]
    people = scene.people[:1] if brief > 1 else scene.people
    return crowd_mix(people, chance, dressed=dressed, traits=traits)


_DRESSED_AND_TRAITS: Final = {"simple": (0, 1), "medium": (2, 2), "complex": (6, 4)}


def _placards(scene: Scene, chance: Chance) -> Line:
    said = [f'"{slogan}"' for slogan in chance.some(scene.news.slogans, 1 if scene.complexity == "simple" else 2)]
    if len(said) == 1:
        return known_line(f"One hand-lettered sign reads {said[0]}")
    return line(f"{chance.pick(_PLACARD_LEADS)} {listed(said)}")


_PLACARD_LEADS: Final = ("Hand-lettered placards read", "Cardboard signs say", "Painted banners read")


def _story(scene: Scene, chance: Chance) -> Line:
    who, demand = scene.news.actor or "local organisers", scene.news.demand
    lead = "The post comes from" if scene.digital else "The call came from"
    if demand and chance.below(2):
        return known_line(f"{lead} {who}, with one demand above all: {demand}")
    return known_line(f"{lead} {who}")


def _cue(scene: Scene) -> Line:
    if not scene.cue:
        return _NOTHING
    if scene.digital:
        lead = "The post is laid out like this" if scene.graphic else "The picture in the post recalls this"
    else:
        lead = "Pinned up nearby" if scene.graphic else "Visual cue"
    return known_line(f"{lead}: {scene.cue}")


def _copying(scene: Scene) -> Line:
    if not scene.pictures:
        return _NOTHING
    sent = "picture is a guide" if scene.pictures == 1 else "pictures are guides"
    return known_line(f"The attached {sent} to composition and mood only: copy no face, text or place from it")


_NOTHING: Final = line("")
