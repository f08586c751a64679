"""Who is in the picture: people drawn from the survey, put into words that a painter could use."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, lru_cache
from operator import attrgetter
from typing import Any, Final

from msgspec import Struct

from engine.core.context import People, Person
from engine.core.sampling import Chance
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


class Portrait(Struct, frozen=True, gc=False):
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


def casting(people: People, categories: frozenset[str]) -> Callable[[Iterable[int]], list[Portrait]]:
    """Who is drawn at some points of 2**64 of the total weight: everybody once, in the order of the points."""

    def made(k: int) -> Portrait:
        return portrait(people.person(k), categories)

    known = cache(made) if len(people) <= PORTRAITS_KEPT else made

    def cast(points: Iterable[int]) -> list[Portrait]:
        return [known(k) for k in dict.fromkeys(people.located(points))]

    return cast


def portrait(person: Person, categories: frozenset[str]) -> Portrait:
    """The person as far as the categories allow."""
    names, facts = _told(categories)
    told = {k: v for k, v in zip(names, facts(person), strict=True) if v is not None}
    figure = _figure(person.age, person.age_group, person.gender, person.work, person.occupation, categories)
    home = (person.education_level, person.setting, person.household_size, person.household_composition)
    return Portrait(told, *figure, _traits(*home, categories))


@lru_cache(maxsize=4096)  # of any survey: people are many, ages, genders and trades are few
def _figure(
    age: int | None,
    age_group: str | None,
    gender: str | None,
    work: str | None,
    occupation: str | None,
    categories: frozenset[str],
) -> tuple[tuple[str, ...], str, tuple[str, ...]]:
    """Words, noun and dresses of a portrait."""
    under_age = age is not None and age < 18
    gender = gender.lower() if gender and "gender" in categories and not under_age else ""
    noun = sex = _NOUNS.get(gender, "person")
    dresses: tuple[str, ...] = ()
    works = "occupation" in categories and bool(work or occupation)
    if works:
        noun, dresses = WORK.get(work or "") or (_occupied(occupation or work or ""), ())
        if gender == "male":
            dresses = _MALE_DRESS.get(work or "", dresses)
    somebody = with_article(noun)
    if years := _years(age, age_group) if "age_group" in categories else ():
        words = tuple(f"{somebody} in {_THEIR.get(gender, 'their')} {each}" for each in years)
        return words, _noun(words[0]), dresses
    if works and sex != "person":
        somebody = f"a {sex}, {somebody}," if noun in _NO_JOBS else f"a {sex} who works as {somebody}"
    return (somebody,), _noun(somebody) if " in " in somebody else "", dresses


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


def described(person: Portrait, chance: Chance, *, dress: bool, traits: int) -> str:
    """One person in a few words; "" if there is nothing to say."""
    words = person.words[0] if len(person.words) == 1 else chance.pick(person.words)
    extra = [chance.pick(person.dresses)] if dress and person.dresses else []
    if traits:
        extra += chance.some(person.traits, traits)
    if extra:
        return f"{words} {', '.join(extra)}"
    return "" if words == "a person" else words.rstrip(",")


def _noun(phrase: str) -> str:
    return phrase.split(" in ", 1)[0].split(",", 1)[0].split(" with ", 1)[0]


_NOUNS: Final = {"female": "woman", "male": "man"}
_THEIR: Final = {"female": "her", "male": "his"}
_NO_JOBS: Final = frozenset(["student", "homemaker", "pensioner", "jobseeker", "resident"])


def crowd_mix(people: Sequence[Portrait], chance: Chance, *, dressed: int, traits: int) -> list[str]:
    """The people as phrases: the first `dressed` with clothes or tools, the first `traits` with a trait each."""
    phrases: list[str] = []
    nouns: set[str] = set()
    for n, person in enumerate(people):
        phrase = described(person, chance, dress=n < dressed, traits=1 if n < traits else 0)
        if not phrase:
            continue
        noun = person.noun or _noun(phrase)
        if noun in nouns:
            phrase = "another " + phrase.split(" ", 1)[1]
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
def _told(categories: frozenset[str]) -> tuple[tuple[str, ...], attrgetter[tuple[Any, ...]]]:
    """What of a person is written down, and how to get it."""
    keys = [key for category, keys in _SAID_BY.items() if category in categories for key in keys]
    names = ("profile_id", "profile_id", *keys)  # twice, because attrgetter gives a tuple from two names on
    return names, attrgetter(*names)
