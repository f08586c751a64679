"""Putting one prompt into words: a narrative paragraph, as Google's guidance for its image models asks.

What style, complexity, theme and setting settle is a stage, set once for all prompts that play on it. Parts are
written in order of reading and each has a rank. Parts are taken by rank until the length for the complexity is
reached, so that every prompt keeps within its range whatever the user's own names, news and guides hold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Final, NamedTuple

from msgspec import Struct

from engine.core.context import News
from engine.core.crowd import Portrait, crowd_mix
from engine.core.digital import artefacts, devices, picture_in_post, surroundings
from engine.core.moment import Moment
from engine.core.sampling import digest, draws, stratified
from engine.core.scenes import Setting, Theme
from engine.core.styles import STYLES
from engine.core.wording import Line, known_line, line, lines, listed, word_count

FICTIONAL: Final = "Everyone and every place is fictional; no real people, logos or flags."

WORDS: Final = {"simple": (30, 60), "medium": (60, 140), "complex": (120, 220)}
"""Fewest and most words per complexity, the closing sentence included."""

CROWD_SIZES: Final = {"simple": (2,), "medium": (3, 4, 5, 6), "complex": (3, 4, 5, 6)}
"""How many people are drawn for one prompt."""

NOTHING: Final = line("")


class Stage(Struct, frozen=True, kw_only=True):
    """Everything of a prompt but its news, guide, people and moment. Set it with `staged`."""

    digital: bool
    """Whether it is seen on a screen."""
    simple: bool
    room: int
    """How many words there may be, the closing sentence apart."""
    elaborated: tuple[int, int]
    """How many people are told with their clothes or tools, and how many with a trait."""
    lenses: tuple[str, ...]
    """Openings, leading to "shows"."""
    shown: tuple[str, ...]
    """What is to be seen, by form."""
    crowds: tuple[tuple[str, ...], ...]
    """How many take part, by form."""
    actions: tuple[Line, ...]
    """What they do, by form."""
    where: str
    artefacts: tuple[str, ...]
    devices: tuple[str, ...]
    moods: tuple[Line, ...]
    around: tuple[Line, ...]
    foregrounds: tuple[Line, ...]
    """() unless complex."""
    lights: tuple[Line, ...]
    """Said when no time is told; () if one is."""
    finishes: tuple[Line, ...]
    details: tuple[Line, ...]
    """() unless complex."""
    orders: tuple[tuple[int, ...], ...]
    """Each order in which the parts that are said last can be said."""


def staged(style: str, complexity: str, theme: Theme, setting: Setting, *, temporal: bool) -> Stage:
    """The stage of a theme in a setting. `temporal` is whether a moment will be told."""
    look, digital = STYLES[style], theme.digital or setting.digital
    simple, rich = complexity == "simple", complexity == "complex"
    moods = lines("The tone of the post is {}" if digital else "The mood is {}", theme.moods)
    around = surroundings(setting) if digital else lines("Behind them, {}", setting.backdrops)
    foregrounds = lines("In the foreground, {}", setting.foregrounds) if rich and not digital else ()
    finishes, details = lines("{}", look.finishes), lines("{}", look.details) if rich else ()
    return Stage(
        digital=digital,
        simple=simple,
        room=WORDS[complexity][1] - word_count(FICTIONAL),
        elaborated=_ELABORATED[complexity],
        lenses=look.screens if digital else look.openings,
        shown=tuple([picture_in_post(theme, n) if digital else form.name for n, form in enumerate(theme.forms)]),
        crowds=tuple([form.crowds for form in theme.forms]),
        actions=tuple([known_line(form.action) for form in theme.forms]),
        where=setting.where,
        artefacts=artefacts(theme, setting) if digital else (),
        devices=devices(setting, held=not simple) if digital else (),
        moods=moods,
        around=around,
        foregrounds=foregrounds,
        lights=() if temporal else lines(f"{{}} falls on the {'screen' if digital else 'scene'}", look.light),
        finishes=finishes,
        details=details,
        orders=_orders(4 if digital else 5),
    )


@cache
def _orders(parts: int) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(ranks.index(rank) for rank in range(parts)) for ranks in draws(parts, parts))


_LAST_LEAST: Final = 4
"""The parts that are said last have as many words or more: "The mood is calm". With less room they are not made."""

_ELABORATED: Final = {"simple": (0, 1), "medium": (2, 2), "complex": (6, 4)}


class Told(Struct, frozen=True, kw_only=True):
    """What comes to a stage for one prompt. What may not be said has been taken out already."""

    news: News
    cue: Line
    """The guide, as `cue` says it; NOTHING if nothing is left of it."""
    copying: Line
    """What the pictures sent along are for; see `copying`."""
    people: Sequence[Portrait]
    moment: Moment | None
    form: int
    """Which of the theme's forms."""


def compose(stage: Stage, told: Told, seed: int, i: int) -> str:
    """The prompt: one paragraph, within the range of its complexity."""
    page = (_on_screen if stage.digital else _in_place)(stage, told, seed, i)
    return " ".join(filter(None, page.said))


class _Page:
    """What is said so far, in order of reading, and how many more words there may be. The opening is always said."""

    __slots__ = ("room", "said")

    def __init__(self, opening: Line, room: int) -> None:
        words, text = opening
        self.said = [text, *_BLANK, FICTIONAL]
        self.room = room - words

    def say(self, place: int, said: Line) -> bool:
        """Say it if there is room; whether there was."""
        words, text = said
        if words > self.room:
            return False
        self.said[place] = text
        self.room -= words
        return True

    def say_fullest(self, place: int, versions: Callable[[int], Line]) -> None:
        """Say the first that fits of version 0, the shorter version 1 and the still shorter version 2."""
        if not self.say(place, versions(0)) and not self.say(place, versions(1)):
            self.say(place, versions(2))


_BLANK: Final = ("",) * 12


def _in_place(stage: Stage, told: Told, seed: int, i: int) -> _Page:
    news, moment = told.news, told.moment
    lens = stage.lenses[stratified(i, len(stage.lenses), seed, "opening")]
    place = "in Atropia" if stage.simple else news.place
    page = _Page(line(f"{lens} shows {stage.shown[told.form]} {news.cause} {stage.where} {place}"), stage.room)
    crowds = stage.crowds[told.form]
    frame, k = divmod(digest(seed, "frame", i), len(crowds))
    size, bits = crowds[k], digest(seed, "crowd", i)

    def crowd(brief: int) -> Line:
        lead, phrases = _phrases(stage, told, _CROWD_LEADS, bits, brief)
        if not phrases:
            return known_line(f"{size} fill the frame")
        if stage.simple:
            return line(f"In front {'are' if len(phrases) > 1 else 'is'} {listed(phrases)}")
        return line(f"{size} {lead} {listed(phrases)}")

    if stage.simple:
        if moment is not None:
            page.say(2, moment.briefly)
        page.say_fullest(1, crowd)
        if moment is None:
            page.say(2, stage.lights[digest(seed, "look", i) % len(stage.lights)])
        page.say(3, _placards(news, 1, seed, i))
        page.say(4, stage.moods[frame % len(stage.moods)])
        return page
    page.say(8, told.cue)
    page.say(9, told.copying)
    look = None
    if moment is None:
        look = _look(stage, seed, i)
        page.say(5, look.light)
    else:
        page.say(5, moment.in_full)
    page.say_fullest(2, crowd)
    if page.room >= _PLACARDS_LEAST:
        page.say(4, _placards(news, 2, seed, i))
    if page.room < _LAST_LEAST:
        return page
    order, _, finish, detail = look or _look(stage, seed, i)
    frame, mood = divmod(frame, len(stage.moods))
    frame, story = _story("The call came from", news, frame)
    frame, backdrop = divmod(frame, len(stage.around))
    last = (
        (1, story),
        (3, stage.actions[told.form]),
        (6, stage.around[backdrop]),
        (10, stage.moods[mood]),
        (11, finish),
    )
    for n in order:
        page.say(*last[n])
    if stage.details:
        page.say(7, stage.foregrounds[frame % len(stage.foregrounds)])
        page.say(12, detail)
    return page


def _on_screen(stage: Stage, told: Told, seed: int, i: int) -> _Page:
    news, moment = told.news, told.moment
    lens = stage.lenses[stratified(i, len(stage.lenses), seed, "screen")]
    frame, k = divmod(digest(seed, "frame", i), len(stage.artefacts))
    thing = stage.artefacts[k]
    frame, k = divmod(frame, len(stage.devices))
    carrier = stage.devices[k]
    frame, around = divmod(frame, len(stage.around))
    bits = digest(seed, "crowd", i)
    slogan = news.slogans[digest(seed, "placards", i) % len(news.slogans)]

    def people(brief: int) -> Line:
        lead, phrases = _phrases(stage, told, _PROFILE_LEADS, bits, brief)
        if not phrases:
            return NOTHING
        if stage.simple:
            lead = f"Among its readers {'are' if len(phrases) > 1 else 'is'}"
        return line(f"{lead} {listed(phrases)}")

    if stage.simple:
        page = _Page(line(f"{lens} shows {carrier} with {thing} about {news.issue} in Atropia"), stage.room)
        if moment is not None:
            page.say(3, moment.briefly)
        page.say_fullest(2, people)
        if moment is None:
            page.say(3, stage.lights[digest(seed, "look", i) % len(stage.lights)])
        page.say(1, line(f'The headline reads "{slogan}"'))
        page.say(4, stage.around[around])
        return page
    opening = f"{lens} shows {carrier}, its screen filled by {thing} about {news.issue} {news.place}"
    page = _Page(line(opening), stage.room)
    page.say(6, told.cue)
    page.say(7, told.copying)
    look = None
    if moment is None:
        look = _look(stage, seed, i)
        page.say(5, look.light)
    else:
        page.say(5, moment.beside_a_screen)
    page.say_fullest(3, people)
    page.say(1, line(f'The post shows {stage.shown[told.form]} under the headline "{slogan}"'))
    page.say(4, stage.around[around])
    if page.room < _LAST_LEAST:
        return page
    order, _, finish, detail = look or _look(stage, seed, i)
    frame, story = _story("The post comes from", news, frame)
    last = ((2, story), (8, _GREY_LINES), (9, stage.moods[frame % len(stage.moods)]), (10, finish))
    for n in order:
        page.say(*last[n])
    if stage.details:
        page.say(11, _THUMB)
        page.say(12, detail)
    return page


_GREY_LINES: Final = line("Apart from the headline, text is reduced to soft grey lines")
_THUMB: Final = line("A thumb rests at the edge of the glass, and faint fingerprints show on it")
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


class _Look(NamedTuple):
    """What is drawn of the style, and in which order the last parts are said."""

    order: tuple[int, ...]
    light: Line
    finish: Line
    detail: Line


def _look(stage: Stage, seed: int, i: int) -> _Look:
    bits, way = divmod(digest(seed, "look", i), len(stage.orders))
    light, detail = 0, NOTHING
    if stage.lights:
        bits, light = divmod(bits, len(stage.lights))
    bits, finish = divmod(bits, len(stage.finishes))
    if stage.details:
        detail = stage.details[bits % len(stage.details)]
    return _Look(stage.orders[way], stage.lights[light] if stage.lights else NOTHING, stage.finishes[finish], detail)


def _phrases(stage: Stage, told: Told, leads: tuple[str, ...], bits: int, brief: int) -> tuple[str, list[str]]:
    """A lead and the people; brief 1 leaves out clothes and traits, brief 2 everybody but the first."""
    bits, k = divmod(bits, len(leads))
    dressed, traits = (0, 0) if brief else stage.elaborated
    return leads[k], crowd_mix(told.people[:1] if brief > 1 else told.people, bits, dressed=dressed, traits=traits)


def _placards(news: News, count: int, seed: int, i: int) -> Line:
    slogans = news.slogans
    bits, first = divmod(digest(seed, "placards", i), len(slogans))
    if count == 1 or len(slogans) == 1:
        return known_line(f'One hand-lettered sign reads "{slogans[first]}"')
    bits, second = divmod(bits, len(slogans) - 1)
    one, other = slogans[first], slogans[second + (second >= first)]
    joined = f'"{one}"; and "{other}"' if "," in one or "," in other else f'"{one}" and "{other}"'
    return line(f"{_PLACARD_LEADS[bits % len(_PLACARD_LEADS)]} {joined}")


_PLACARD_LEADS: Final = ("Hand-lettered placards read", "Cardboard signs say", "Painted banners read")
_PLACARDS_LEAST: Final = 6
"""The fewest words that this takes: a lead, two slogans, and what joins them."""


def _story(lead: str, news: News, bits: int) -> tuple[int, Line]:
    """Whose call it is, sometimes with what is asked for; before it what is left of the bits."""
    who, demand = news.actor or "local organisers", news.demand
    if demand:
        bits, told = divmod(bits, 2)
        if told:
            return bits, known_line(f"{lead} {who}, with one demand above all: {demand}")
    return bits, known_line(f"{lead} {who}")


def cue(text: str, *, graphic: bool, digital: bool) -> Line:
    """A guide in words that may be said; `graphic` is whether it describes a designed image."""
    if not text:
        return NOTHING
    if digital:
        lead = "The post is laid out like this" if graphic else "The picture in the post recalls this"
    else:
        lead = "Pinned up nearby" if graphic else "Visual cue"
    return line(f"{lead}: {text}")


@cache
def copying(pictures: int) -> Line:
    """What reference pictures are for, where some are sent along."""
    if not pictures:
        return NOTHING
    sent = "picture is a guide" if pictures == 1 else "pictures are guides"
    return line(f"The attached {sent} to composition and mood only: copy no face, text or place from it")
