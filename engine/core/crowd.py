"""Who is in the picture: people drawn from the survey, put into words that a painter could use."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final

from msgspec import Struct

from engine.core.context import People
from engine.core.sampling import GOLDEN64, MASK64, golden
from engine.core.wording import clipped, readable, with_article

WORK: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "manager": ("manager", ("in a dark office jacket", "with reading glasses pushed up")),
    "official": ("civil servant", ("in a plain shirt and lanyard", "with a folder under one arm")),
    "teacher": ("teacher", ("in a knitted cardigan", "with a canvas book bag")),
    "health": ("health worker", ("in a plain clinic tunic", "in comfortable white shoes")),
    "engineer": ("engineer", ("in a work jacket with pens in the pocket", "with rolled-up drawings")),
    "software": ("software developer", ("in a hooded jumper and headphones", "with a laptop bag")),
    "professional": ("professional", ("in a neat blazer", "with a leather satchel")),
    "technician": ("technician", ("in overalls with a tool pouch", "with a measuring tape on the belt")),
    "clerk": ("office clerk", ("in a buttoned cardigan", "with a badge clipped to the pocket")),
    "shop": ("shop assistant", ("in a striped apron", "with sleeves rolled up")),
    "service": ("service worker", ("in a waistcoat and apron", "in a short-sleeved work shirt")),
    "guard": ("security guard", ("in a plain dark jumper", "with a torch on the belt")),
    "farmer": ("farmer", ("in rubber boots", "in a flat cap and quilted vest")),
    "fisher": ("fishery worker", ("in a waxed smock", "in rubber waders")),
    "builder": ("builder", ("in a dusty hard hat", "in paint-flecked trousers")),
    "craft": ("craft worker", ("in a leather apron", "with sawdust on both sleeves")),
    "garment": ("garment worker", ("with a tape measure round the neck", "in a headscarf and smock")),
    "mechanic": ("mechanic", ("in oil-stained overalls", "with a rag in the back pocket")),
    "operator": ("machine operator", ("in blue factory overalls", "with ear protectors round the neck")),
    "driver": ("driver", ("in a worn denim jacket", "with keys on a long cord")),
    "cleaner": ("cleaner", ("in a pale smock", "with rubber gloves in one pocket")),
    "labourer": ("labourer", ("in heavy boots", "in a faded work shirt")),
    "domestic": ("domestic worker", ("in a cotton housecoat", "with a shopping net")),
    "conscript": ("off-duty conscript", ("in plain clothes with cropped hair", "with a kitbag")),
    "worker": ("worker", ("in everyday work clothes", "in a plain jacket")),
    "student": ("student", ("with a rucksack", "with a notebook held to the chest")),
    "homemaker": ("homemaker", ("in a printed cotton dress", "in a hand-knitted jumper")),
    "pensioner": ("pensioner", ("with a walking stick", "in a well-kept old coat")),
    "jobseeker": ("jobseeker", ("in a worn pullover", "in a second-hand jacket")),
    "resident": ("resident", ("in everyday clothes", "in a plain jacket")),
}
"""By Person.work: a noun for either gender, and what tells the trade to the eye."""

_MALE_DRESS: Final = {
    "homemaker": ("in a hand-knitted jumper", "in a checked shirt"),
    "garment": ("with a tape measure round the neck", "in a grey smock"),
    "domestic": ("in a plain work coat", "with a shopping net"),
}

_AGE_WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "18-24": ("early twenties",),
    "25-34": ("late twenties", "early thirties"),
    "35-44": ("late thirties", "early forties"),
    "45-54": ("late forties", "early fifties"),
    "55-64": ("late fifties", "early sixties"),
    "65+": ("late sixties", "early seventies"),
    "65-74": ("late sixties", "early seventies"),
    "75+": ("late seventies", "early eighties"),
}
_DECADES: Final = ("", "", "twenties", "thirties", "forties", "fifties", "sixties", "seventies", "eighties", "nineties")

_EDUCATION: Final[Mapping[str, str]] = {
    "none": "who never went to school",
    "less than primary": "who left school early",
    "primary": "who finished primary school",
    "secondary": "who finished secondary school",
    "university": "with a university degree",
    "undergraduate": "with a first degree",
    "graduate": "with a higher degree",
    "professional": "with professional training",
}
_HOMES: Final[Mapping[str, str]] = {"urban": "from the city", "suburban": "from the suburbs", "rural": "from a village"}
_SIZES: Final = ("", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")

DEMOGRAPHIC_WORDS: Final = re.compile(
    r"\b(?:wom[ae]n|m[ae]n|girls?|boys?|ladies|lady|males?|females?|mothers?|fathers?|grand(?:mothers?|fathers?)|sons?"
    r"|daughters?|wives|wife|husbands?|elderly|elders|young|youths?|youthful|old|older|aged|teen\w*|adults?|child(?:ren)?|kids?"
    r"|middle-aged|twenties|thirties|forties|fifties|sixties|seventies|eighties|students?|pupils?|pensioners?|retire\w*"
    r"|workers?|nurses?|doctors?|teachers?|farmers?|fishers?|drivers?|clerks?|engineers?|officials?|labou?rers?"
    r"|managers?|mechanics?|dockers?|miners?|shopkeepers?|journalists?|lawyers?|homemakers?|conscripts?|veterans?"
    r"|he|she|his|her|hers|him)\b",
    re.IGNORECASE,
)
"""Words that tell an age, a gender or an occupation."""


class Portrait(Struct, frozen=True, gc=False, eq=False):
    """What there is to say of one person, and no more than the categories allow."""

    told: dict[str, Any]
    """As records keep it."""
    words: tuple[str, ...]
    """Trade and age: "a teacher in her late twenties"; several if an age group leaves a choice of words."""
    noun: str
    """What makes two people of a kind: "a teacher"; "" if that hangs on what is said besides."""
    dresses: tuple[str, ...]
    """Clothes and tools of the trade."""
    traits: tuple[str, ...]
    """Schooling, home, household."""


PORTRAITS_KEPT: Final = 32_768
"""Of no more people than this, portraits are made once and kept."""


def casting(people: People, categories: frozenset[str], seed: int) -> Callable[[int, int], list[Portrait]]:
    """Who is drawn at `points` points of the golden sequence from `first` on: everybody once, in their order."""
    start, count = golden(0, seed, "people"), len(people)
    totals, total = people.cumulative, people.cumulative[-1]
    if count > PORTRAITS_KEPT:

        def cast(first: int, points: int) -> list[Portrait]:
            drawn = [golden(n, seed, "people") for n in range(first, first + points)]
            return [portrait(people.facts(k), categories) for k in dict.fromkeys(map(people.locate, drawn))]

        return cast

    bounds = [-((-each << 64) // total) for each in totals]
    known: list[Portrait | None] = [None] * count

    def cast_known(first: int, points: int) -> list[Portrait]:
        # As `golden` and `People.locate` for each of them, in one go: a prompt takes four or five.
        point, drawn = start + first * GOLDEN64, list[Portrait]()
        for _ in range(points):
            k = bisect_right(bounds, point & MASK64)
            somebody = known[k]
            if somebody is None:
                somebody = known[k] = portrait(people.facts(k), categories)
            if somebody not in drawn:
                drawn.append(somebody)
            point += GOLDEN64
        return drawn

    return cast_known


def portrait(facts: Mapping[str, Any], categories: frozenset[str]) -> Portrait:
    """A person (see `People.facts`) as far as the categories allow."""
    names, told = _told(categories)
    return Portrait(
        {name: fact for name, fact in zip(names, told(facts), strict=True) if fact is not None},
        *_figure(*_FIGURE(facts), categories),
        _traits(*_HOME(facts), categories),
    )


_FIGURE: Final = itemgetter("age", "age_group", "gender", "work", "occupation")
_HOME: Final = itemgetter("education_level", "setting", "household_size", "household_composition")


_Figure = tuple[tuple[str, ...], str, tuple[str, ...]]
"""Words, noun and dresses of a portrait."""


@lru_cache(maxsize=4096)  # of any survey: people are many, ages, genders and trades are few
def _figure(
    age: int | None,
    age_group: str | None,
    gender: str | None,
    work: str | None,
    occupation: str | None,
    categories: frozenset[str],
) -> _Figure:
    under_age = age is not None and age < 18
    ageless, somebody, their = _ageless(None if under_age else gender, work, occupation, categories)
    if years := _years(age, age_group) if "age_group" in categories else ():
        words = tuple([f"{somebody} in {their} {each}" for each in years])
        return words, _noun(words[0]), ageless[2]
    return ageless


@lru_cache(maxsize=1024)
def _ageless(
    gender: str | None, work: str | None, occupation: str | None, categories: frozenset[str]
) -> tuple[_Figure, str, str]:
    """Somebody of whom no age is told; and what to say before one: who, and "her", "his" or "their"."""
    gender = gender.lower() if gender and "gender" in categories else ""
    noun = sex = _NOUNS.get(gender, "person")
    dresses: tuple[str, ...] = ()
    works = "occupation" in categories and bool(work or occupation)
    if works:
        noun, dresses = WORK.get(work or "") or (_occupied(occupation or work or ""), ())
        if gender == "male":
            dresses = _MALE_DRESS.get(work or "", dresses)
    who = somebody = with_article(noun)
    if works and sex != "person":
        who = f"a {sex}, {somebody}," if noun in _NO_JOBS else f"a {sex} who works as {somebody}"
    return ((who,), _noun(who) if " in " in who else "", dresses), somebody, _THEIR.get(gender, "their")


def _years(age: int | None, age_group: str | None) -> tuple[str, ...]:
    if age is None:
        return _AGE_WORDS.get(age_group or "", ())
    if age < 18:
        return ()
    third = age % 10
    part = "early " if third < 4 or age < 20 else "mid-" if third < 7 else "late "
    return (part + _DECADES[max(20, min(age, 99)) // 10],)


@lru_cache(maxsize=4096)
def _traits(
    education: str | None, setting: str | None, size: int | None, composition: str | None, categories: frozenset[str]
) -> tuple[str, ...]:
    traits: list[str] = []
    if "education_level" in categories and education:
        traits.append(_EDUCATION.get(education.lower()) or f"with {clipped(readable(education), 4)} schooling")
    if "urban_rural" in categories and setting:
        traits.append(_HOMES.get(setting.lower()) or f"from {clipped(readable(setting), 4)} surroundings")
    if "household_composition" in categories and size:
        head = "who heads" if composition == "head" and size > 1 else "from"
        word = _SIZES[size] if size < len(_SIZES) else str(size)
        traits.append("who lives alone" if size == 1 else f"{head} a household of {word}")
    return tuple(traits)


def _occupied(occupation: str) -> str:
    """A user's own word for an occupation, as a noun: "bakers" reads "baker"."""
    words = clipped(readable(occupation).lower(), 4)
    return words.removesuffix("s") if words.endswith("ers") else words


def _noun(phrase: str) -> str:
    return phrase.split(" in ", 1)[0].split(",", 1)[0].split(" with ", 1)[0]


_NOUNS: Final = {"female": "woman", "male": "man"}
_THEIR: Final = {"female": "her", "male": "his"}
_NO_JOBS: Final = frozenset(["student", "homemaker", "pensioner", "jobseeker", "resident"])


def crowd_mix(people: Sequence[Portrait], bits: int, *, dressed: int, traits: int) -> list[str]:
    """The people as phrases: the first `dressed` with clothes or tools, the first `traits` with a trait each.

    `bits` decides what is said of each; somebody of whom nothing may be said is left out.
    """
    phrases: list[str] = []
    nouns: set[str] = set()
    n = 0
    for person in people:
        words = person.words
        if len(words) == 1:
            phrase = words[0]
        else:
            bits, k = divmod(bits, len(words))
            phrase = words[k]
        said = ""
        if n < dressed and (options := person.dresses):
            bits, k = divmod(bits, len(options))
            said = options[k]
        if n < traits and (options := person.traits):
            bits, k = divmod(bits, len(options))
            said = f"{said}, {options[k]}" if said else options[k]
        n += 1
        if said:
            phrase = f"{phrase} {said}"
        elif phrase == "a person":
            continue
        elif phrase[-1] == ",":
            phrase = phrase.rstrip(",")
        noun = person.noun or _noun(phrase)
        if noun in nouns:
            phrase = "another " + phrase.split(" ", 1)[1]
        else:
            nouns.add(noun)
        phrases.append(phrase)
    return phrases


def as_source_data(people: Sequence[Portrait]) -> dict[str, Any]:
    """Plain JSON values: the first person's facts with the original's keys, further people under `others`."""
    if not people:
        return {}
    first, *others = [person.told.copy() for person in people]
    first["others"] = others
    return first


_SAID_BY: Final[Mapping[str, tuple[str, ...]]] = {
    "age_group": ("age_group",),
    "occupation": ("occupation",),
    "education_level": ("education_level",),
    "urban_rural": ("setting", "province"),
    "household_composition": ("household_size", "household_composition"),
    "gender": ("gender",),
}


@lru_cache(maxsize=64)
def _told(categories: frozenset[str]) -> tuple[tuple[str, ...], itemgetter[tuple[Any, ...]]]:
    """What of a person is written down, and how to get it."""
    keys = [key for category, keys in _SAID_BY.items() if category in categories for key in keys]
    names = ("profile_id", "profile_id", *keys)  # twice, because itemgetter gives a tuple from two names on
    return names, itemgetter(*names)
