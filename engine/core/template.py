"""Putting one prompt into words: a narrative paragraph, as Google's guidance for its image models asks.

Parts are written in order of reading and each has a rank. Parts are taken by rank until the length
for the complexity is reached, so that every prompt keeps within its range whatever the user's own
names, news and guides hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from msgspec import Struct

from engine.core.context import Guide, News, Person
from engine.core.crowd import crowd_mix
from engine.core.digital import artefact, device, picture_in_post, surroundings
from engine.core.moment import Moment
from engine.core.sampling import Chance
from engine.core.scenes import Setting, Theme
from engine.core.styles import STYLES
from engine.core.wording import listed, sentence, word_count

FICTIONAL: Final = "Everyone and every place is fictional; no real people, logos or flags."

WORDS: Final = {"simple": (30, 60), "medium": (60, 140), "complex": (120, 220)}
"""Fewest and most words per complexity, the closing sentence included."""

CROWD_SIZES: Final = {"simple": (2, 3), "medium": (3, 4, 5, 6), "complex": (3, 4, 5, 6)}
"""How many people are drawn for one prompt."""


class Scene(Struct, frozen=True, kw_only=True):
    """Everything one prompt is written from. What may not be said has been taken out already."""

    style: str
    complexity: str
    theme: Theme
    setting: Setting
    news: News
    guide: Guide | None
    cue: str
    """The guide in words that may be said; "" if nothing is left of it."""
    people: Sequence[Person]
    categories: frozenset[str]
    moment: Moment | None
    form: int
    """Which of the theme's forms."""


class _Part(NamedTuple):
    rank: int
    """0 is always said; higher ones as long as there is room."""
    text: str


def compose(scene: Scene, seed: int, i: int) -> str:
    """The prompt: one paragraph, within the range of its complexity."""
    digital = scene.theme.digital or scene.setting.digital
    parts = _digital(scene, seed, i) if digital else _physical(scene, seed, i)
    return _fitted(parts, *WORDS[scene.complexity])


def _fitted(parts: Sequence[_Part], words_min: int, words_max: int) -> str:
    """Parts by rank as long as they fit; the order of reading stays."""
    closing = word_count(FICTIONAL)
    kept: set[int] = set()
    total = closing
    for n in sorted(range(len(parts)), key=lambda n: parts[n].rank):
        words = word_count(parts[n].text)
        if words and (total + words <= words_max or parts[n].rank == 0):
            kept.add(n)
            total += words
    return " ".join([sentence(parts[n].text) for n in sorted(kept)] + [FICTIONAL])


def _physical(scene: Scene, seed: int, i: int) -> list[_Part]:
    look, frame = Chance(seed, "look", i), Chance(seed, "frame", i)
    style = STYLES[scene.style]
    form = scene.theme.forms[scene.form % len(scene.theme.forms)]
    simple, complex_ = scene.complexity == "simple", scene.complexity == "complex"
    opening = f"{look.pick(style.openings)} of {form.name} over {scene.news.issue} {scene.setting.where} {scene.news.place}, Atropia"
    light = look.pick(style.light)
    if scene.moment is None and not simple:
        opening += f", in {light}"
    crowd = frame.pick(form.crowds)
    mood = frame.pick(scene.theme.moods)
    parts = [
        _Part(0, opening),
        _Part(1 if scene.people else 2, _crowd(scene, crowd, Chance(seed, "crowd", i))),
        _Part(4, form.action) if not simple else _Part(3, f"The mood is {mood}"),
        _Part(3 if not simple else 5, _placards(scene, Chance(seed, "placards", i))),
    ]
    if scene.moment is not None:
        parts.append(_Part(2, f"It is {scene.moment.named}" if simple else scene.moment.sentence))
    elif simple:
        parts.append(_Part(4, f"The picture has {light}"))
    if simple:
        return parts
    parts += [
        _Part(7, f"Behind them, {frame.pick(scene.setting.backdrops)}"),
        _Part(5, _cue(scene, frame)),
        _Part(6, f"The mood is {mood}"),
        _Part(8, look.pick(style.finishes)),
    ]
    if complex_:
        parts[4:4] = [_Part(2, _story(scene, frame))]
        parts += [
            _Part(9, f"In the foreground, {frame.pick(scene.setting.foregrounds)}"),
            _Part(8, look.pick(style.details)),
        ]
    return parts


def _digital(scene: Scene, seed: int, i: int) -> list[_Part]:
    look, frame = Chance(seed, "look", i), Chance(seed, "frame", i)
    style = STYLES[scene.style]
    simple, complex_ = scene.complexity == "simple", scene.complexity == "complex"
    thing = artefact(scene.theme, scene.setting, frame)
    carrier = device(scene.theme, scene.setting, frame)
    opening = f"{look.pick(style.screens)} of {carrier} {thing} about {scene.news.issue} {scene.news.place}, Atropia"
    light = look.pick(style.light)
    shown = picture_in_post(scene.theme, frame)
    slogan = Chance(seed, "placards", i).pick(scene.news.slogans)
    parts = [
        _Part(0, opening),
        _Part(3, f'It shows {shown} under the headline "{slogan}"'),
        _Part(1, _profiles(scene, Chance(seed, "crowd", i))),
    ]
    if scene.moment is not None:
        when = f"{scene.moment.named}" if simple else f"{scene.moment.named}, and {scene.moment.light}"
        parts.append(_Part(2, f"Around the screen it is {when}"))
    elif not simple:
        parts.append(_Part(2, f"The screen is lit by {light}"))
    around = surroundings(scene.theme, scene.setting, frame)
    if simple:
        return [*parts, _Part(4, around)]
    parts += [
        _Part(4, around),
        _Part(5, _cue(scene, frame)),
        _Part(6, "Apart from the headline, text is reduced to soft grey lines"),
        _Part(8, look.pick(style.finishes)),
        _Part(7, f"The tone of the post is {frame.pick(scene.theme.moods)}"),
    ]
    if complex_:
        parts[3:3] = [_Part(2, _story(scene, frame))]
        parts += [
            _Part(8, "A thumb rests at the edge of the glass, and faint fingerprints catch the light"),
            _Part(9, look.pick(style.details)),
        ]
    return parts


def _crowd(scene: Scene, crowd: str, chance: Chance) -> str:
    phrases = _phrases(scene, chance)
    if not phrases:
        return f"{crowd} fill the frame"
    if scene.complexity == "simple":
        return f"{crowd} take part, among them {listed(phrases)}"
    leads = (
        f"{crowd} have come, among them {{}}",
        f"{crowd} take part; closest to the viewer are {{}}",
        f"{crowd} are there; the faces nearest to us belong to {{}}",
    )
    return chance.pick(leads).format(listed(phrases))


def _profiles(scene: Scene, chance: Chance) -> str:
    phrases = _phrases(scene, chance)
    if not phrases:
        return ""
    leads = (
        "Small profile pictures show {}",
        "The people seen on the screen are {}",
        "Those reacting to it include {}",
    )
    return chance.pick(leads).format(listed(phrases))


def _phrases(scene: Scene, chance: Chance) -> list[str]:
    dressed, traits = {"simple": (1, 1), "medium": (2, 3), "complex": (6, 6)}[scene.complexity]
    return crowd_mix(scene.people, scene.categories, chance, dressed=dressed, traits=traits)


def _placards(scene: Scene, chance: Chance) -> str:
    lines = [f'"{line}"' for line in chance.some(scene.news.slogans, 1 if scene.complexity == "simple" else 2)]
    lead = chance.pick(("Hand-lettered placards read", "Signs on brown cardboard say", "Painted banners read"))
    return f"{lead} {listed(lines)}" if len(lines) > 1 else f"One hand-lettered sign reads {lines[0]}"


def _story(scene: Scene, chance: Chance) -> str:
    actor, demand = scene.news.actor, scene.news.demand
    who = actor or "local organisers"
    if demand:
        return chance.pick(
            (
                f"It was called by {who}, who are asking for {demand}",
                f"Behind it stands {who}, with one demand above all: {demand}",
            )
        )
    return f"It was called by {who}"


def _cue(scene: Scene, chance: Chance) -> str:
    if not scene.cue or scene.guide is None:
        return ""
    graphic = scene.guide.kind == "graphic"
    if scene.theme.digital or scene.setting.digital:
        lead = "Its layout takes after this design" if graphic else "The picture in it takes after this reference"
    else:
        lead = (
            "A printed poster in the scene takes after this design"
            if graphic
            else chance.pick(("Let the composition echo this reference", "Take a visual cue from this reference"))
        )
    return f"{lead}: {scene.cue}"
