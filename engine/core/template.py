"""Putting one prompt into words: a narrative paragraph, as Google's guidance for its image models asks.

Parts are written in order of reading and each has a rank. Parts are taken by rank until the length
for the complexity is reached, so that every prompt keeps within its range whatever the user's own
names, news and guides hold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from msgspec import Struct

from engine.core.context import News, Person
from engine.core.crowd import crowd_mix
from engine.core.digital import artefact, device, picture_in_post, surroundings
from engine.core.moment import Moment
from engine.core.sampling import Chance, stratified
from engine.core.scenes import Setting, Theme
from engine.core.styles import STYLES, Style
from engine.core.wording import listed, sentence, word_count

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
    people: Sequence[Person]
    categories: frozenset[str]
    moment: Moment | None
    form: int
    """Which of the theme's forms."""

    @property
    def digital(self) -> bool:
        return self.theme.digital or self.setting.digital


class _Part(NamedTuple):
    rank: int
    """0 is always said; others in this order as long as there is room."""
    text: str
    shorter: tuple[Callable[[], str], ...] = ()
    """Said instead, the first that fits, when there is no room for the text."""


def compose(scene: Scene, seed: int, i: int) -> str:
    """The prompt: one paragraph, within the range of its complexity."""
    parts = _digital(scene, seed, i) if scene.digital else _physical(scene, seed, i)
    return _fitted(parts, WORDS[scene.complexity][1])


def _fitted(parts: Sequence[_Part], words_max: int) -> str:
    """Parts by rank as long as they fit; the order of reading stays."""
    room = words_max - _CLOSING_WORDS
    kept: dict[int, str] = {}
    for n in sorted(range(len(parts)), key=[part.rank for part in parts].__getitem__):
        rank, text, shorter = parts[n]
        words = word_count(text)
        for shortened in shorter:
            if words <= room:
                break
            text = shortened()
            words = word_count(text)
        if words and (words <= room or rank == 0):
            kept[n] = text
            room -= words
    return " ".join([*[sentence(kept[n]) for n in sorted(kept)], FICTIONAL])


_CLOSING_WORDS: Final = word_count(FICTIONAL)


def _physical(scene: Scene, seed: int, i: int) -> list[_Part]:
    look, frame = Chance(seed, "look", i), Chance(seed, "frame", i)
    style, news = STYLES[scene.style], scene.news
    form = scene.theme.forms[scene.form % len(scene.theme.forms)]
    lens = style.openings[stratified(i, len(style.openings), seed, "opening")]
    size = frame.pick(form.crowds)
    mood = f"The mood is {frame.pick(scene.theme.moods)}"
    placards = _placards(scene, Chance(seed, "placards", i))
    crowd = _Part(
        3,
        _crowd(scene, size, seed, i),
        (lambda: _crowd(scene, size, seed, i, brief=1), lambda: _crowd(scene, size, seed, i, brief=2)),
    )
    if scene.complexity == "simple":
        opening = f"{lens} shows {form.name} {news.cause} {scene.setting.where} in Atropia"
        crowd = crowd._replace(rank=2)
        return [_Part(0, opening), crowd, _when(scene, look, style), _Part(4, placards), _Part(5, mood)]
    opening = f"{lens} shows {form.name} {news.cause} {scene.setting.where} {news.place}"
    ranks = look.some((6, 7, 8, 9, 10), 5)
    parts = [
        _Part(0, opening),
        _Part(ranks[0], _story(scene, frame)),
        crowd,
        _Part(ranks[1], form.action),
        _Part(5, placards),
        _when(scene, look, style),
        _Part(ranks[2], f"Behind them, {frame.pick(scene.setting.backdrops)}"),
        _Part(1, _cue(scene)),
        _Part(1, _copying(scene)),
        _Part(ranks[3], mood),
        _Part(ranks[4], look.pick(style.finishes)),
    ]
    if scene.complexity == "complex":
        parts.insert(7, _Part(11, f"In the foreground, {frame.pick(scene.setting.foregrounds)}"))
        parts.append(_Part(12, look.pick(style.details)))
    return parts


def _digital(scene: Scene, seed: int, i: int) -> list[_Part]:
    look, frame = Chance(seed, "look", i), Chance(seed, "frame", i)
    style, news = STYLES[scene.style], scene.news
    thing = artefact(scene.theme, scene.setting, frame)
    carrier = device(scene.setting, frame, held=scene.complexity != "simple")
    lens = style.screens[stratified(i, len(style.screens), seed, "screen")]
    shown = picture_in_post(scene.theme, scene.form)
    slogan = Chance(seed, "placards", i).pick(news.slogans)
    around = surroundings(scene.theme, scene.setting, frame)
    people = _Part(
        3,
        _profiles(scene, seed, i),
        (lambda: _profiles(scene, seed, i, brief=1), lambda: _profiles(scene, seed, i, brief=2)),
    )
    if scene.complexity == "simple":
        opening = f"{lens} shows {carrier} with {thing} about {news.issue} in Atropia"
        headline = _Part(4, f'The headline reads "{slogan}"')
        return [_Part(0, opening), headline, people._replace(rank=2), _when(scene, look, style), _Part(5, around)]
    opening = f"{lens} shows {carrier}, its screen filled by {thing} about {news.issue} {news.place}"
    ranks = look.some((6, 7, 8, 9), 4)
    parts = [
        _Part(0, opening),
        _Part(4, f'The post shows {shown} under the headline "{slogan}"'),
        _Part(ranks[0], _story(scene, frame)),
        people,
        _Part(5, around),
        _when(scene, look, style),
        _Part(1, _cue(scene)),
        _Part(1, _copying(scene)),
        _Part(ranks[1], "Apart from the headline, text is reduced to soft grey lines"),
        _Part(ranks[2], f"The tone of the post is {frame.pick(scene.theme.moods)}"),
        _Part(ranks[3], look.pick(style.finishes)),
    ]
    if scene.complexity == "complex":
        parts.append(_Part(10, "A thumb rests at the edge of the glass, and faint fingerprints show on it"))
        parts.append(_Part(11, look.pick(style.details)))
    return parts


def _when(scene: Scene, look: Chance, style: Style) -> _Part:
    """Time, weather and light; the light alone if no time is told."""
    moment = scene.moment
    where = "Around the screen it is" if scene.digital else "It is"
    if moment is None:
        return _Part(2, f"{look.pick(style.light)} falls on the {'screen' if scene.digital else 'scene'}")
    if scene.complexity == "simple":
        return _Part(1, f"It is {moment.brief}")
    return _Part(2, f"{where} {moment.named}; {moment.light}")


def _crowd(scene: Scene, size: str, seed: int, i: int, *, brief: int = 0) -> str:
    chance = Chance(seed, "crowd", i)
    lead = chance.pick(_CROWD_LEADS)
    phrases = _phrases(scene, chance, brief)
    if not phrases:
        return f"{size} fill the frame"
    if scene.complexity == "simple":
        return f"In front {'are' if len(phrases) > 1 else 'is'} {listed(phrases)}"
    return lead.format(size, listed(phrases))


_CROWD_LEADS: Final = (
    "{} have come, among them {}",
    "{} take part; in front stand {}",
    "{} are there; the nearest faces are those of {}",
)
_PROFILE_LEADS: Final = (
    "Small profile pictures show {}",
    "The people seen on the screen are {}",
    "Those reacting to it include {}",
)


def _profiles(scene: Scene, seed: int, i: int, *, brief: int = 0) -> str:
    chance = Chance(seed, "crowd", i)
    lead = chance.pick(_PROFILE_LEADS)
    phrases = _phrases(scene, chance, brief)
    if scene.complexity == "simple":
        lead = "Among its readers are {}" if len(phrases) > 1 else "Among its readers is {}"
    return lead.format(listed(phrases)) if phrases else ""


def _phrases(scene: Scene, chance: Chance, brief: int) -> list[str]:
    """The people; brief 1 leaves out clothes and traits, brief 2 everybody but the first."""
    dressed, traits = {"simple": (0, 1), "medium": (2, 2), "complex": (6, 4)}[scene.complexity]
    if brief:
        dressed, traits = 0, 0
    people = scene.people[:1] if brief > 1 else scene.people
    return crowd_mix(people, scene.categories, chance, dressed=dressed, traits=traits)


def _placards(scene: Scene, chance: Chance) -> str:
    lines = [f'"{line}"' for line in chance.some(scene.news.slogans, 1 if scene.complexity == "simple" else 2)]
    if len(lines) == 1:
        return f"One hand-lettered sign reads {lines[0]}"
    return f"{chance.pick(_PLACARD_LEADS)} {listed(lines)}"


_PLACARD_LEADS: Final = ("Hand-lettered placards read", "Cardboard signs say", "Painted banners read")


def _story(scene: Scene, chance: Chance) -> str:
    who, demand = scene.news.actor or "local organisers", scene.news.demand
    lead = "The post comes from" if scene.digital else "The call came from"
    return f"{lead} {who}, with one demand above all: {demand}" if demand and chance.below(2) else f"{lead} {who}"


def _cue(scene: Scene) -> str:
    if not scene.cue:
        return ""
    if scene.digital:
        lead = "The post is laid out like this" if scene.graphic else "The picture in the post recalls this"
    else:
        lead = "Pinned up nearby" if scene.graphic else "Visual cue"
    return f"{lead}: {scene.cue}"


def _copying(scene: Scene) -> str:
    if not scene.pictures:
        return ""
    sent = "picture is a guide" if scene.pictures == 1 else "pictures are guides"
    return f"The attached {sent} to composition and mood only: copy no face, text or place from it"
