"""A plan answers prompt i for any i, the same for ever, within the rules of its configuration."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import sources
from engine.core.context import Column, Guide, News, People
from engine.core.crowd import DEMOGRAPHIC_WORDS
from engine.core.moment import TIME_WORDS
from engine.core.plan import Plan, build_plan, prompt_at
from engine.core.template import FICTIONAL, WORDS
from engine.stages.image import image_job
from schemas.config import COMPLEXITIES, DEMOGRAPHICS, STYLES, RunConfig
from schemas.prompt import Reference

HERE = Path()
BUNDLED = sources.load(RunConfig(), HERE)


class Hand(msgspec.Struct):
    """A context made by hand."""

    news: list[News]
    people: People
    references: list[Guide]


def config(prompts: dict[str, Any] | None = None, seed: int = 20260121, **source_data: Any) -> RunConfig:
    return RunConfig.model_validate(
        {"generation": {"seed": seed}, "prompts": prompts or {}, "source_data": source_data}
    )


def plan(prompts: dict[str, Any] | None = None, **more: Any) -> Plan:
    return build_plan(config(prompts, **more), BUNDLED, "20260121")


def texts(of: Plan, count: int, start: int = 1) -> list[str]:
    return [prompt_at(of, i).text for i in range(start, start + count)]


def article_mistakes(text: str) -> list[str]:
    return re.findall(
        r"\b[Aa] [aeio]\w*|\b[Aa]n [bcdfgjklmnpqrstvwxyz]\w*", re.sub(r"\b[Aa] (?:one|Euro)\w*", "", text)
    )


@settings(max_examples=30)
@given(i=st.integers(1, 10**12))
def test_a_prompt_depends_on_nothing_but_the_plan_and_its_number(i: int) -> None:
    first, second = plan(), plan()
    later = prompt_at(first, i + 1)
    assert prompt_at(first, i) == prompt_at(second, i)
    assert prompt_at(second, i + 1) == later


def test_prompts_are_counted_from_one_and_named_by_date() -> None:
    of = plan()
    assert prompt_at(of, 1).image_id == "sm_20260121_0001"
    assert prompt_at(of, 123_456).image_id == "sm_20260121_123456"
    with pytest.raises(ValueError, match="counted from 1"):
        prompt_at(of, 0)


@pytest.mark.parametrize(("style", "complexity"), list(product(STYLES, COMPLEXITIES)))
def test_every_prompt_keeps_its_length_and_reads_as_sentences(style: str, complexity: str) -> None:
    fewest, most = WORDS[complexity]
    for temporal, people in product((True, False), (True, False)):
        of = plan(
            {
                "style": style,
                "complexity": complexity,
                "include_temporal_context": temporal,
                "include_demographics": people,
            }
        )
        for text in texts(of, 112):
            assert fewest <= len(text.split()) <= most, text
            assert text.endswith(FICTIONAL)
            assert not re.search(r"  |\.\.| [,.;:]|,\.|;\.|\(\)|\{|\}|None", text), text
            assert not article_mistakes(text), text
            for begun in re.findall(r"(?<=[.!?] )\w", text):
                assert begun == begun.upper(), text


def test_different_configurations_never_give_the_same_prompt() -> None:
    """Every style, complexity and switch changes the prompt."""
    seen: Counter[str] = Counter()
    for style, complexity, temporal, people in product(STYLES, COMPLEXITIES, (True, False), (True, False)):
        of = plan(
            {
                "style": style,
                "complexity": complexity,
                "include_temporal_context": temporal,
                "include_demographics": people,
            }
        )
        seen.update(texts(of, 20))
    assert max(seen.values()) == 1


def test_every_theme_and_setting_changes_the_prompt() -> None:
    themes = (*RunConfig().prompts.themes, "climate_strike")
    places = (*RunConfig().prompts.settings, "harbour_front")
    told = {text for t, s in product(themes, places) for text in texts(plan({"themes": [t], "settings": [s]}), 1)}
    assert len(told) == len(themes) * len(places)


def test_themes_and_settings_are_all_used_evenly() -> None:
    prompts = [prompt_at(plan(), i) for i in range(1, 113)]
    pairs = Counter((p.source_data["theme"], p.source_data["setting"]) for p in prompts)
    assert len(pairs) == 56
    assert set(pairs.values()) == {2}


def test_without_temporal_context_no_word_tells_a_time() -> None:
    for complexity in COMPLEXITIES:
        for text in texts(plan({"include_temporal_context": False, "complexity": complexity}), 400):
            assert not TIME_WORDS.search(text), (TIME_WORDS.search(text), text)


def test_with_temporal_context_a_season_and_an_hour_are_told() -> None:
    for complexity in COMPLEXITIES:
        for text in texts(plan({"complexity": complexity}), 200):
            assert re.search(r"(winter|spring|summer|autumn) (dawn|morning|midday|afternoon|dusk|night)", text), text


def test_without_demographics_nobody_has_an_age_a_gender_or_a_trade() -> None:
    for complexity in COMPLEXITIES:
        of = plan({"include_demographics": False, "complexity": complexity})
        for i in range(1, 400):
            prompt = prompt_at(of, i)
            assert not DEMOGRAPHIC_WORDS.search(prompt.text), (DEMOGRAPHIC_WORDS.search(prompt.text), prompt.text)
            assert prompt.source_data["demographics"] == {}


def test_with_demographics_people_are_told_in_every_prompt() -> None:
    for complexity in COMPLEXITIES:
        for text in texts(plan({"complexity": complexity}), 200):
            assert re.search(r" in (?:her|his) ", text), text


@pytest.mark.parametrize(
    ("category", "words", "key"),
    [
        ("age_group", r"(?:twent|thirt|fort|fift|sixt|sevent|eight)ies", "age_group"),
        ("gender", r"\b(?:her|his)\b", "gender"),
        ("occupation", r"\bfarmer\b", "occupation"),
        ("education_level", r"who finished|who left school|university degree", "education_level"),
        ("urban_rural", r"from a village|from the city", "setting"),
        ("household_composition", r"household", "household_size"),
    ],
)
def test_categories_control_what_may_be_said(category: str, words: str, key: str) -> None:
    rest = [c for c in DEMOGRAPHICS if c != category]
    of = plan(worldbank={"demographic_categories": rest})
    told = [prompt_at(of, i) for i in range(1, 120)]
    assert not any(re.search(words, p.text) for p in told)
    assert not any(key in person for p in told for person in everybody(p.source_data["demographics"]))
    assert any(re.search(words, text) for text in texts(plan(), 120)), "and is said when it may be"


def everybody(demographics: dict[str, Any]) -> list[dict[str, Any]]:
    return [demographics, *demographics.get("others", [])] if demographics else []


def test_source_data_is_plain_json_with_the_keys_of_the_original() -> None:
    prompt = prompt_at(plan(), 7)
    data = msgspec.json.decode(msgspec.json.encode(prompt.source_data))
    assert data == prompt.source_data
    assert {"id", "title", "excerpt", "date", "theme", "location"} <= data["atropia"].keys()
    assert {"age_group", "occupation", "education_level", "setting", "household_size"} <= data["demographics"].keys()
    assert {"id", "description", "label_1", "label_2"} <= data["visual_reference"].keys()
    assert 3 <= 1 + len(data["demographics"]["others"]) <= 6


def test_all_three_sources_show_in_the_text() -> None:
    of = plan()
    for i in range(1, 120):
        prompt = prompt_at(of, i)
        issue = prompt.source_data["atropia"]["issue"]
        known = next(item for item in BUNDLED.news if item.id == prompt.source_data["atropia"]["id"])
        assert issue in prompt.text or known.cause in prompt.text
        cue = " ".join(prompt.source_data["visual_reference"]["description"].split()[:4])
        assert cue.rstrip(",") in prompt.text


def test_placards_carry_at_most_four_words() -> None:
    for text in texts(plan({"complexity": "complex"}), 300):
        for quoted in re.findall(r'"([^"]*)"', text):
            assert 1 <= len(quoted.split()) <= 4


def test_digital_scenes_show_a_screen_and_no_screen_is_taken_for_a_place() -> None:
    for text in texts(plan({"themes": ["protest"], "settings": ["online comments"]}), 40):
        assert re.search(r"\ba phone\b", text)
        assert "online comments, Atropia" not in text
        assert not re.search(r"\bin online|in digital|in social", text)
    for text in texts(plan({"themes": ["social media post"], "settings": ["town_square"]}), 40):
        assert "a phone held up in a town square" in text


def test_no_prompt_text_comes_twice_in_many_thousands() -> None:
    told = texts(plan(), 4000)
    assert len(set(told)) == 4000


def test_no_combination_comes_twice_before_all_were_used() -> None:
    small = Hand(
        news=[News(id=f"n{k}", title="t", excerpt="e", theme="x", location="Here", issue="bread") for k in range(3)],
        people=BUNDLED.people,
        references=[Guide(id=f"g{k}", description="a row of people") for k in range(4)],
    )
    of = build_plan(
        config({"themes": ["protest", "vigils"], "settings": ["town_square", "harbour"]}), small, "20260121"
    )
    assert of.combinations == 48
    for lap in range(2):
        made = [prompt_at(of, lap * 48 + i).source_data for i in range(1, 49)]
        assert len({(d["atropia"]["id"], d["visual_reference"]["id"], d["theme"], d["setting"]) for d in made}) == 48


def test_people_are_drawn_through_the_weights() -> None:
    heavy = People(
        columns={
            "gender": Column(bytes([0, 1, 1]), ("female", "male", None)),
            "age": Column(bytes([30, 30, 30]), tuple(range(121))),
        },
        cumulative=[700, 900, 1000],
    )
    hand = Hand(news=list(BUNDLED.news), people=heavy, references=list(BUNDLED.references))
    of = build_plan(config(), hand, "20260121")
    first = Counter(prompt_at(of, i).source_data["demographics"]["profile_id"] for i in range(1, 1001))
    assert first["wb_000001"] == pytest.approx(700, abs=30)
    assert first["wb_000002"] == pytest.approx(200, abs=30)


def test_the_stream_as_a_whole_follows_the_surveys_shares() -> None:
    of = plan()
    drawn = [person for i in range(1, 1001) for person in everybody(prompt_at(of, i).source_data["demographics"])]
    women = sum(p["gender"] == "female" for p in drawn) / len(drawn)
    urban = sum(p["setting"] == "urban" for p in drawn) / len(drawn)
    assert women == pytest.approx(0.509, abs=0.02)
    assert urban == pytest.approx(0.543, abs=0.03)


def test_one_single_person_and_one_of_everything_is_enough() -> None:
    tiny = Hand(
        news=[News(id="n", title="", excerpt="", theme="", location="")],
        people=People(columns={}, cumulative=[1]),
        references=[Guide(id="g", description="")],
    )
    for complexity in COMPLEXITIES:
        of = build_plan(
            config({"themes": ["protest"], "settings": ["town_square"], "complexity": complexity}), tiny, "20260121"
        )
        for text in texts(of, 30):
            assert "matters of public concern" in text
            assert len(text.split()) <= WORDS[complexity][1]
            assert not re.search(r"  | ,|\.\.|over over|in in |Atropia, Atropia", text), text


NAMES = st.text(alphabet=st.characters(codec="utf-8", categories=["L", "N", "P", "Zs"]), min_size=1, max_size=80)


@settings(max_examples=60)
@given(name=NAMES, place=NAMES, complexity=st.sampled_from(COMPLEXITIES))
def test_any_name_of_a_users_own_is_worked_in_within_the_length(name: str, place: str, complexity: str) -> None:
    of = plan({"themes": [name], "settings": [place], "complexity": complexity})
    for text in texts(of, 4):
        assert len(text.split()) <= WORDS[complexity][1], text
        assert text.endswith(FICTIONAL)
        assert "\n" not in text


@settings(max_examples=60)
@given(issue=NAMES, place=NAMES, actor=NAMES, demand=NAMES, cue=NAMES)
def test_any_news_and_guide_is_worked_in_within_the_length(
    issue: str, place: str, actor: str, demand: str, cue: str
) -> None:
    strange = Hand(
        news=[News(id="n", title="t", excerpt="e", theme="x", location=place, issue=issue, actor=actor, demand=demand)],
        people=BUNDLED.people,
        references=[Guide(id="g", description=cue * 20)],
    )
    for complexity in COMPLEXITIES:
        for text in texts(build_plan(config({"complexity": complexity}), strange, "20260121"), 3):
            assert len(text.split()) <= WORDS[complexity][1], text


def test_in_mode_images_pictures_go_along_and_the_text_says_what_for() -> None:
    pictured = [
        Guide(
            id=f"g{k}",
            description="a row",
            reference=Reference(path=f"/x/{k}.jpg", sha256=f"{k:064d}", mime_type="image/jpeg"),
        )
        for k in range(3)
    ]
    hand = Hand(news=list(BUNDLED.news), people=BUNDLED.people, references=pictured)
    social = {"mode": "images", "references_per_prompt": 2}
    prompt = prompt_at(build_plan(config(social_media=social), hand, "20260121"), 1)
    assert len(prompt.references) == 2
    assert "copy no face" in prompt.text
    text_only = prompt_at(build_plan(config(), hand, "20260121"), 1)
    assert text_only.references == ()
    assert "attached" not in text_only.text


def test_names_with_invisible_characters_lose_them() -> None:
    for text in texts(plan({"themes": ["vi\u202egils\n\nnow"], "settings": ["old\x00mill\u200b"]}), 5):
        assert text.isprintable()
        assert "at an old mill" in text


def test_the_fingerprint_knows_what_prompts_depend_on() -> None:
    base = plan().fingerprint
    assert base == plan().fingerprint
    assert re.fullmatch(r"[0-9a-f]{32}", base)
    more = RunConfig.model_validate(
        {"generation": {"num_images": 9999, "seed": 20260121}, "output": {"output_dir": "z"}}
    )
    assert build_plan(more, BUNDLED, "20270101").fingerprint == base, "not how many, where or when"
    changed = [
        plan(seed=1),
        plan({"style": "artistic"}),
        plan({"themes": ["protest"]}),
        plan({"include_temporal_context": False}),
        plan(worldbank={"demographic_categories": ["gender"]}),
        build_plan(config(), Hand(list(BUNDLED.news)[1:], BUNDLED.people, list(BUNDLED.references)), "20260121"),
        build_plan(config(), Hand(list(BUNDLED.news), BUNDLED.people, list(BUNDLED.references)[1:]), "20260121"),
        build_plan(
            config(),
            Hand(
                list(BUNDLED.news),
                msgspec.structs.replace(BUNDLED.people, cumulative=[2 * c for c in BUNDLED.people.cumulative]),
                list(BUNDLED.references),
            ),
            "20260121",
        ),
    ]
    prints = [p.fingerprint for p in changed]
    assert base not in prints
    assert len(set(prints)) == len(prints)


def test_the_bundled_stream_stays_the_same_between_releases() -> None:
    """If this fails on purpose, count GRAMMAR in engine.core.plan up and put the new digest here."""
    told = "\n".join(texts(plan(), 200))
    assert hashlib.sha256(told.encode()).hexdigest()[:16] == "2eb2ac55e665324b"


def test_prompts_and_jobs_of_every_configuration_stay_the_same_between_releases() -> None:
    """Ids of jobs are in the logs of runs that shall be resumed. GRAMMAR counts here as well."""
    places = [*range(1, 31), 1_000, 65_537, 10**9]
    told = hashlib.sha256()
    for style, complexity, temporal, people in product(STYLES, COMPLEXITIES, (True, False), (True, False)):
        switches = {"include_temporal_context": temporal, "include_demographics": people}
        asked = config({"style": style, "complexity": complexity, **switches}, seed=len(style))
        of = build_plan(asked, BUNDLED, "20260121")
        for i in places:
            job = image_job(asked, prompt_at(of, i))
            told.update(msgspec.json.encode([job.prompt, job.id]))
    assert told.hexdigest()[:16] == "fd8277f477391768"
