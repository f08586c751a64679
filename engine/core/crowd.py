"""Who is in the picture: people drawn from the survey, put into words that a painter could use."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final

from engine.core.context import Person
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


def _age_words(person: Person, chance: Chance) -> str | None:
    if person.age is not None:
        if person.age < 18:
            return None
        third = person.age % 10
        part = "early" if third < 4 or person.age < 20 else "mid" if third < 7 else "late"
        decade = max(20, min(person.age, 99)) // 10
        return f"{part} {_DECADES[decade]}" if part != "mid" else f"mid-{_DECADES[decade]}"
    return chance.pick(_AGE_WORDS[person.age_group]) if person.age_group in _AGE_WORDS else None


def _traits(person: Person, categories: frozenset[str]) -> list[str]:
    traits: list[str] = []
    if "education_level" in categories and person.education_level:
        traits.append(_schooling(person.education_level))
    if "urban_rural" in categories and person.setting:
        traits.append(_home(person.setting))
    if "household_composition" in categories and person.household_size:
        size = person.household_size
        head = "who heads" if person.household_composition == "head" and size > 1 else "from"
        word = _SIZES[size] if size < len(_SIZES) else str(size)
        traits.append("who lives alone" if size == 1 else f"{head} a household of {word}")
    return traits


@lru_cache(maxsize=512)
def _schooling(level: str) -> str:
    return _EDUCATION.get(level.lower()) or f"with {clipped(readable(level), 4)} schooling"


@lru_cache(maxsize=512)
def _home(setting: str) -> str:
    return _HOMES.get(setting.lower()) or f"from {clipped(readable(setting), 4)} surroundings"


@lru_cache(maxsize=512)
def _occupied(occupation: str) -> str:
    """A user's own word for an occupation, as a noun: "bakers" reads "baker"."""
    words = clipped(readable(occupation).lower(), 4)
    return words.removesuffix("s") if words.endswith("ers") else words


def described(person: Person, categories: frozenset[str], chance: Chance, *, dress: bool, traits: int) -> str:
    """One person in a few words, saying only what the categories allow; "" if they allow nothing."""
    under_age = person.age is not None and person.age < 18
    gender = person.gender.lower() if person.gender and "gender" in categories and not under_age else ""
    noun = sex = _NOUNS.get(gender, "person")
    dresses: tuple[str, ...] = ()
    works = "occupation" in categories and bool(person.work or person.occupation)
    if works:
        noun, dresses = WORK.get(person.work or "") or (_occupied(person.occupation or person.work or ""), ())
        if gender == "male":
            dresses = _MALE_DRESS.get(person.work or "", dresses)
    words = with_article(noun)
    years = _age_words(person, chance) if "age_group" in categories else None
    if years:
        words += f" in {_THEIR.get(gender, 'their')} {years}"
    elif works and sex != "person":
        words = f"a {sex}, {words}," if noun in _NO_JOBS else f"a {sex} who works as {words}"
    extra: list[str] = []
    if dress and dresses:
        extra.append(chance.pick(dresses))
    if traits:
        extra += chance.some(_traits(person, categories), traits)
    if not extra:
        return "" if words == "a person" else words.rstrip(",")
    return f"{words} {', '.join(extra)}"


_NOUNS: Final = {"female": "woman", "male": "man"}
_THEIR: Final = {"female": "her", "male": "his"}
_NO_JOBS: Final = frozenset(["student", "homemaker", "pensioner", "jobseeker", "resident"])


def crowd_mix(
    people: Sequence[Person], categories: frozenset[str], chance: Chance, *, dressed: int, traits: int
) -> list[str]:
    """The people as phrases: the first `dressed` with clothes or tools, the first three with a trait each."""
    phrases: list[str] = []
    nouns: set[str] = set()
    for n, person in enumerate(people):
        phrase = described(person, categories, chance, dress=n < dressed, traits=1 if n < traits else 0)
        if not phrase:
            continue
        noun = phrase.split(" in ", 1)[0].split(",", 1)[0].split(" with ", 1)[0]
        if noun in nouns:
            phrase = "another " + phrase.split(" ", 1)[1]
        nouns.add(noun)
        phrases.append(phrase)
    return phrases


def as_source_data(people: Sequence[Person], categories: frozenset[str]) -> dict[str, Any]:
    """Plain JSON values: the first person's facts with the original's keys, further people under `others`."""
    names, facts = _told(categories)
    told = [{k: v for k, v in zip(names, facts(person), strict=True) if v is not None} for person in people]
    return {**told[0], "others": told[1:]} if told else {}


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
