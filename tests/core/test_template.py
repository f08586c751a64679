"""Prompts are good English, within their length, and say what the configuration allows and nothing else."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.context import Column, People
from engine.core.crowd import WORK, Portrait, crowd_mix, portrait
from engine.core.moment import SEASONS, moment, season_of
from engine.core.scenes import is_digital, noun_phrase, setting, theme
from engine.core.wording import clipped, listed, sentence, with_article
from schemas.config import DEMOGRAPHICS, Prompts

ALL = frozenset(DEMOGRAPHICS)


@pytest.mark.parametrize(
    ("noun", "expected"),
    [
        ("engineer", "an engineer"),
        ("office clerk", "an office clerk"),
        ("farmer", "a farmer"),
        ("university campus", "a university campus"),
        ("unposed scene", "an unposed scene"),
        ("hour", "an hour"),
        ("house", "a house"),
        ("European town", "a European town"),
        ("one-day strike", "a one-day strike"),
        ("NGO", "an NGO"),
        ("UN office", "a UN office"),
        ("union hall", "a union hall"),
        ("umbrella", "an umbrella"),
        ("underpass", "an underpass"),
        ("honest talk", "an honest talk"),
    ],
)
def test_a_or_an_by_sound(noun: str, expected: str) -> None:
    assert with_article(noun) == expected


@given(text=st.text(alphabet=st.sampled_from("ab .,;:!?\"'”\n"), max_size=60))
def test_a_sentence_begins_large_and_ends_once(text: str) -> None:
    told = sentence(text)
    if told:
        assert told[0] == told[0].upper()
        assert told[-1] in '.!?"”'
        assert "  " not in told
        assert not told.endswith((",.", ";.", ":."))
    assert sentence("it ends.") == "It ends."
    assert sentence('they read "Now"') == 'They read "Now".'


def test_lists_use_semicolons_where_items_have_commas() -> None:
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed(["a, old", "b"]) == "a, old; and b"


@given(words=st.lists(st.sampled_from(["a", "word", "of", "the,", "end."]), max_size=60), most=st.integers(1, 30))
def test_clipping_keeps_to_the_limit_and_never_adds(words: list[str], most: int) -> None:
    text = " ".join(words)
    cut = clipped(text, most)
    assert len(cut.split()) <= most
    assert text.startswith(cut)


def test_clipping_does_not_end_on_a_dangling_word() -> None:
    assert clipped("a man with a sign in front of the old town hall", 9) == "a man with a sign in front"


@pytest.mark.parametrize("name", [*Prompts().themes, "climate_strike", "bread riots", "fundraising"])
def test_every_theme_has_forms_that_follow_shows(name: str) -> None:
    for form in theme(name).forms:
        assert re.match(r"(?:a|an) \w|[a-z]", form.name), form.name
        assert not re.search(r"\ba [aeio]|\ban [bcdfgjklmnpqrstvwxyz]", form.name), form.name


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("town_square", "in a town square"),
        ("harbour_front", "at a harbour front"),
        ("Freedom Plaza", "at Freedom Plaza"),
        ("market stalls", "at market stalls"),
        ("the old bridge", "at the old bridge"),
        ("outside the courthouse", "outside the courthouse"),
        ("campus", "on a university campus"),
    ],
)
def test_settings_get_their_preposition(name: str, where: str) -> None:
    assert setting(name).where == where


@pytest.mark.parametrize(
    "name", ["social media post", "online comments", "digital posts", "infographics", "live-stream"]
)
def test_screens_are_told_from_places(name: str) -> None:
    assert is_digital(name)


@pytest.mark.parametrize("name", ["protest", "town_square", "post office square", "outpost", "street_march"])
def test_places_are_not_taken_for_screens(name: str) -> None:
    assert not is_digital(name)


def test_names_of_mass_nouns_and_plurals_take_no_article() -> None:
    assert noun_phrase("climate_strike") == "a climate strike"
    assert noun_phrase("bread riots") == "bread riots"
    assert noun_phrase("mutual aid") == "mutual aid"
    assert noun_phrase("organizing") == "organizing"
    assert noun_phrase("open house") == "an open house"


def person(**facts: str | int | None) -> dict[str, Any]:
    """One person's facts, as a survey of one tells them."""
    columns = {name: Column(bytes(1), (fact,)) for name, fact in facts.items()}
    return People(columns=columns, cumulative=[1], ids=["p1"]).facts(0)


def teacher(**facts: str | int | None) -> dict[str, Any]:
    base: dict[str, str | int | None] = {
        "age": 37,
        "age_group": "35-44",
        "gender": "female",
        "occupation": "professionals",
        "work": "teacher",
        "education_level": "university",
        "setting": "urban",
        "household_size": 4,
        "household_composition": "head",
    }
    return person(**{**base, **facts})


def described(somebody: Portrait, *, dressed: int = 1, traits: int = 1) -> str:
    """All that can be said of one person, a line for each way to say it."""
    return "\n".join(
        {told for bits in range(12) for told in crowd_mix([somebody], bits, dressed=dressed, traits=traits)}
    )


def test_a_person_is_told_in_full() -> None:
    told = described(portrait(teacher(), ALL))
    assert all(one.startswith("a teacher in her late thirties ") for one in told.splitlines())
    for words in (
        "with a university degree",
        "from the city",
        "who heads a household of four",
        "with a canvas book bag",
    ):
        assert words in told


@pytest.mark.parametrize(
    ("category", "words"),
    [
        ("age_group", r"thirties|twenties|forties"),
        ("gender", r"\b(?:her|his|woman|man)\b"),
        ("occupation", r"teacher"),
        ("education_level", r"degree"),
        ("urban_rural", r"from the city"),
        ("household_composition", r"household"),
    ],
)
def test_what_a_category_forbids_is_not_said(category: str, words: str) -> None:
    assert re.search(words, described(portrait(teacher(), ALL)))
    assert not re.search(words, described(portrait(teacher(), ALL - {category})))


def test_nothing_is_said_when_nothing_may_be() -> None:
    assert crowd_mix([portrait(teacher(), frozenset())] * 2, 7, dressed=2, traits=2) == []


def test_unknown_facts_leave_no_holes() -> None:
    assert described(portrait(person(), ALL)) == ""
    assert described(portrait(person(gender="male"), ALL)) == "a man"
    assert described(portrait(person(age_group="65+"), ALL)).startswith("a person in their ")


def test_the_second_of_a_kind_is_another() -> None:
    told = crowd_mix([portrait(teacher(), ALL)] * 2, 7, dressed=0, traits=0)
    assert told == ["a teacher in her late thirties", "another teacher in her late thirties"]


def test_somebody_under_age_is_never_given_an_age() -> None:
    student = portrait(teacher(age=16, age_group="under 18", work="student"), ALL)
    assert not re.search(r"teen|twent|thirt|woman|man\b", described(student, traits=0))


@given(age=st.integers(18, 120), work=st.sampled_from(sorted(WORK)), gender=st.sampled_from(["female", "male"]))
def test_every_adult_is_told_with_a_right_decade(age: int, work: str, gender: str) -> None:
    told = described(portrait(teacher(age=age, work=work, gender=gender), ALL))
    decade = re.search(r"(early |late |mid-)(\w+ties)", told)
    assert decade is not None, told
    names = ["twenties", "thirties", "forties", "fifties", "sixties", "seventies", "eighties", "nineties"]
    assert names[min(max(age, 20), 99) // 10 - 2] == decade[2]
    assert not re.search(r"\ba [aeio]\w|\ban [bcdfgjklmnpqrstvwxyz]", told), told


@pytest.mark.parametrize(
    ("date", "season"),
    [("2025-01-31", "winter"), ("2025-04-01", "spring"), ("2025-07-15", "summer"), ("2025-11-30", "autumn")],
)
def test_the_season_is_that_of_the_news(date: str, season: str) -> None:
    assert season_of(date) == season
    assert {moment(i, 3, date).season for i in range(40)} == {season}


@pytest.mark.parametrize("date", [None, "", "yesterday", "2025-13-01", "25-01-01"])
def test_without_a_usable_date_seasons_take_turns(date: str | None) -> None:
    assert {moment(i, 3, date).season for i in range(4)} == set(SEASONS)


@settings(max_examples=50)
@given(i=st.integers(0, 10**9), month=st.integers(1, 12))
def test_weather_agrees_with_the_season_and_light_with_the_hour(i: int, month: int) -> None:
    told = moment(i, 20260121, f"2025-{month:02d}-10")
    told_in_full = told.in_full[1]
    if "snow" in told_in_full:
        assert told.season == "winter"
    if re.search(r"hot|sultry", told_in_full):
        assert told.season == "summer"
    if told.time == "night":
        assert not re.search(r"sun|morning|warm light", told_in_full)
    assert f"{told.season} {told.time}" in told_in_full
