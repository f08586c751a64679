"""The prompt stream: prompt i as a function of the plan and i alone, for any i, without end.

A plan holds everything prompts depend on, and a fingerprint of it, so that a run that asks
something else is noticed. Neither how many images are wanted nor where files lie is part of it.
"""

from __future__ import annotations

import hashlib
import re
from array import array
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec import Struct

from engine.core.context import Context, Guide, News, People
from engine.core.crowd import DEMOGRAPHIC_WORDS, Portrait, as_source_data, casting
from engine.core.moment import TIME_WORDS, moment
from engine.core.sampling import Sizes, combination, share, stratified
from engine.core.scenes import Setting, Theme, setting, theme
from engine.core.template import CROWD_SIZES, Stage, Told, compose, copying, cue, staged
from engine.core.wording import Line, clipped, first_of, without_clauses
from schemas.config import RunConfig
from schemas.prompt import Prompt, Reference

GRAMMAR: Final = 1
"""Counts up when the same configuration would give other prompts."""

STAGES_KEPT: Final = 4096
"""Of so many pairs of theme and setting, what they settle is kept."""

_CUE_WORDS: Final = {"simple": 0, "medium": 16, "complex": 32}
_PLACE_WORDS: Final = 8
_SLOGANS: Final = ("Hear Our Voice", "Together For Change", "We Deserve Better", "Listen To Us")


class Plan(Struct, frozen=True, kw_only=True):
    """What the stream is made of. Build it with `build_plan`."""

    seed: int
    run_date: str
    """YYYYMMDD, for image ids."""
    style: str
    complexity: str
    temporal: bool
    crowd_sizes: tuple[int, ...]
    categories: frozenset[str]
    """What may be said of people; empty if nothing."""
    themes: tuple[Theme, ...]
    settings: tuple[Setting, ...]
    stage: Callable[[int, int], Stage]
    """The stage of a theme and a setting, by their places."""
    news: Sequence[News]
    news_told: Sequence[dict[str, Any]]
    """The news as records keep it."""
    spoken: Sequence[News]
    """The news in words that may be said."""
    guides: Sequence[Guide]
    guides_told: Sequence[dict[str, Any]]
    cues: Sequence[tuple[Line, Line]]
    """The guides in words that may be said: in a place, and on a screen."""
    pictures: Sequence[tuple[Reference, ...]]
    """The pictures that go along with each guide; empty if none do."""
    people: People
    cast: Callable[[int, int], list[Portrait]]
    """Who is drawn from a point on, and for how many points, as far as something may be said of them."""
    sizes: Sizes
    fingerprint: str
    """32 hex digits over everything prompts depend on."""

    @property
    def combinations(self) -> int:
        """How many prompts come before a combination of theme, setting, news and guide comes again."""
        return self.sizes.combinations

    def __repr__(self) -> str:
        return (
            f"Plan(seed={self.seed}, combinations={self.combinations}, people={len(self.people)}, {self.fingerprint})"
        )


def build_plan(config: RunConfig, sources: Context, run_date: str) -> Plan:
    """The plan of a configuration and its sources. `run_date` is YYYYMMDD."""
    prompts = config.prompts
    social = config.source_data.social_media
    allowed = (
        frozenset(config.source_data.worldbank.demographic_categories)
        if prompts.include_demographics
        else frozenset[str]()
    )
    pictures = social.references_per_prompt if social.mode == "images" else 0
    silenced = _silenced(prompts.include_temporal_context, prompts.include_demographics)
    cue_words = _CUE_WORDS[prompts.complexity]
    graphic = [guide.kind == "graphic" for guide in sources.references]
    cues = [_cue(guide, silenced, cue_words) for guide in sources.references]
    themes = tuple(theme(name) for name in dict.fromkeys(prompts.themes))
    settings = tuple(setting(name) for name in dict.fromkeys(prompts.settings))
    temporal = prompts.include_temporal_context

    @lru_cache(maxsize=STAGES_KEPT)
    def stage(theme: int, setting: int) -> Stage:
        return staged(prompts.style, prompts.complexity, themes[theme], settings[setting], temporal=temporal)

    return Plan(
        seed=config.generation.seed,
        run_date=run_date,
        style=prompts.style,
        complexity=prompts.complexity,
        temporal=temporal,
        crowd_sizes=CROWD_SIZES[prompts.complexity],
        categories=allowed,
        themes=themes,
        settings=settings,
        stage=stage,
        news=sources.news,
        news_told=tuple(item.as_source_data() for item in sources.news),
        spoken=tuple(_spoken(item, silenced) for item in sources.news),
        guides=sources.references,
        guides_told=tuple(guide.as_source_data() for guide in sources.references),
        cues=tuple(
            (cue(text, graphic=drawn, digital=False), cue(text, graphic=drawn, digital=True))
            for text, drawn in zip(cues, graphic, strict=True)
        ),
        pictures=_pictures(sources.references, pictures),
        people=sources.people,
        cast=casting(sources.people, allowed, config.generation.seed),
        sizes=Sizes(len(themes), len(settings), len(sources.news), len(sources.references)),
        fingerprint=_fingerprint(config, sources, pictures),
    )


def prompt_at(plan: Plan, i: int) -> Prompt:
    """Prompt i, counted from 1."""
    if i < 1:
        raise ValueError(f"prompts are counted from 1, not {i}")
    n = i - 1
    seed = plan.seed
    theme, setting, news, guide, visit = combination(n, plan.sizes, seed)
    stage = plan.stage(theme, setting)
    people = plan.cast(*share(n, plan.crowd_sizes, seed, "crowd-size")) if plan.categories else []
    pictures = plan.pictures[guide] if plan.pictures else ()
    told = Told(
        news=plan.spoken[news],
        cue=plan.cues[guide][stage.digital],
        copying=copying(len(pictures)),
        people=people,
        moment=moment(n, seed, plan.news[news].date) if plan.temporal else None,
        form=stratified(visit + theme * len(plan.settings) + setting, len(stage.shown), seed, "form"),
    )
    return Prompt(
        index=i,
        image_id=f"sm_{plan.run_date}_{i:04d}",
        text=compose(stage, told, seed, n),
        style=plan.style,
        complexity=plan.complexity,
        source_data={
            "atropia": plan.news_told[news].copy(),
            "demographics": as_source_data(people),
            "visual_reference": plan.guides_told[guide].copy(),
            "theme": plan.themes[theme].key,
            "setting": plan.settings[setting].key,
        },
        references=pictures,
    )


def _pictures(guides: Sequence[Guide], per_prompt: int) -> Sequence[tuple[Reference, ...]]:
    """For each guide its own picture and those of the guides after it, so many; () if none go along."""
    count = len(guides)
    if not per_prompt:
        return ()
    turns = ([guides[(first + n) % count].reference for n in range(min(per_prompt, count))] for first in range(count))
    return tuple(tuple(r for r in wanted if r is not None) for wanted in turns)


def _silenced(temporal: bool, demographics: bool) -> tuple[re.Pattern[str], ...]:
    """Patterns of words that the switches keep out of prompts."""
    return (() if temporal else (TIME_WORDS,)) + (() if demographics else (DEMOGRAPHIC_WORDS,))


def _sayable(text: str, silenced: Sequence[re.Pattern[str]]) -> bool:
    return not any(pattern.search(text) for pattern in silenced)


def _spoken(item: News, silenced: Sequence[re.Pattern[str]]) -> News:
    """The item with what the switches forbid taken out, and every gap filled."""
    issue = clipped(item.issue, _PLACE_WORDS)
    known = bool(issue) and _sayable(issue, silenced)
    place = clipped(item.place or (f"in {item.location}" if item.location else ""), _PLACE_WORDS)
    return msgspec.structs.replace(
        item,
        issue=issue if known else "matters of public concern",
        cause=clipped(item.cause or f"over {issue}", _PLACE_WORDS) if known else "over matters of public concern",
        demand=clipped(item.demand, 12) if _sayable(item.demand, silenced) else "",
        actor=clipped(item.actor, 8) if _sayable(item.actor, silenced) else "",
        place=place
        if "Atropia" in place
        else f"{place}, Atropia"
        if place and _sayable(place, silenced)
        else "in Atropia",
        slogans=tuple(" ".join(s.split()) for s in item.slogans if _sayable(s, silenced) and 0 < len(s.split()) <= 4)
        or _SLOGANS,
    )


def _cue(guide: Guide, silenced: Sequence[re.Pattern[str]], words_max: int) -> str:
    if not words_max:
        return ""
    text = guide.description
    for pattern in silenced:
        text = without_clauses(text, pattern)
    labels = ", ".join(label for label in (guide.label_1, guide.label_2) if label)
    return clipped(first_of((text, labels if _sayable(labels, silenced) else "")), words_max)


def _fingerprint(config: RunConfig, sources: Context, pictures: int) -> str:
    hashed = hashlib.blake2b(digest_size=16)
    head: list[Any] = [
        GRAMMAR,
        config.generation.seed,
        config.prompts.model_dump(mode="json"),
        sorted(config.source_data.worldbank.demographic_categories),
        pictures,
    ]
    encoder = msgspec.json.Encoder(order="deterministic")
    hashed.update(encoder.encode(head))
    for item in sources.news:
        hashed.update(encoder.encode(msgspec.to_builtins(item)))
    for guide in sources.references:
        told = msgspec.to_builtins(guide)
        if guide.reference is not None:
            told["reference"] = guide.reference.sha256
        hashed.update(encoder.encode(told))
    for name, column in sorted(sources.people.columns.items()):
        hashed.update(encoder.encode([name, column.labels]))
        hashed.update(column.codes)
    totals = sources.people.cumulative
    hashed.update(memoryview(totals if isinstance(totals, array) else array("Q", totals)).cast("B"))
    return hashed.hexdigest()
