"""What `groundswell sources` shows: where contexts came from, how they are spread, and what becomes of them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Final

import numpy as np
from msgspec import Struct

from engine import sources
from engine.core.plan import build_plan, prompt_at
from engine.sources.models import Origin
from schemas.config import RunConfig
from schemas.prompt import Prompt

_SHOWN: Final = ("age_group", "gender", "occupation", "education_level", "setting", "household_size", "province")
_SAMPLES: Final = 5
_RUN_DATE: Final = "20260121"


class Preview(Struct, frozen=True, kw_only=True):
    """Plain values; `msgspec.to_builtins` makes JSON of them."""

    origins: tuple[Origin, ...]
    themes: dict[str, int]
    """News items per theme, most first."""
    demographics: dict[str, dict[str, float]]
    """Weighted share of every value, by fact."""
    guides: dict[str, int]
    """Visual guides per first label, most first."""
    people: int
    combinations: int
    """Prompts before a combination of theme, setting, news and guide comes again."""
    prompts: tuple[Prompt, ...]
    """The first prompts of the stream, with what they were made of."""
    words: dict[str, float]
    """min, mean and max words of the first prompts."""
    fingerprint: str
    warnings: tuple[str, ...]


def preview(config: RunConfig, base_dir: Path, samples: int = _SAMPLES) -> Preview:
    """Loads the sources and looks at them; writes nothing. Raises SourceError as `load` does."""
    loaded = sources.load(config, base_dir)
    plan = build_plan(config, loaded, _RUN_DATE)
    prompts = tuple(prompt_at(plan, i) for i in range(1, max(1, samples) + 1))
    lengths = [len(prompt_at(plan, i).text.split()) for i in range(1, 201)]
    return Preview(
        origins=loaded.origins,
        themes=dict(Counter(item.theme for item in loaded.news).most_common()),
        demographics=shares(loaded),
        guides=dict(Counter(guide.label_1 or guide.kind for guide in loaded.references).most_common(20)),
        people=len(loaded.people),
        combinations=plan.combinations,
        prompts=prompts[:samples],
        words={"min": min(lengths), "mean": round(sum(lengths) / len(lengths), 1), "max": max(lengths)},
        fingerprint=plan.fingerprint,
        warnings=loaded.warnings,
    )


def shares(loaded: sources.Sources) -> dict[str, dict[str, float]]:
    """Weighted share of each value of each fact people are told by."""
    people = loaded.people
    totals = np.asarray(people.cumulative, dtype=np.uint64)
    weights = np.diff(totals, prepend=np.uint64(0)).astype(np.float64)
    told: dict[str, dict[str, float]] = {}
    for name in _SHOWN:
        column = people.columns.get(name)
        if column is None:
            continue
        codes = np.frombuffer(column.codes, dtype=np.uint8)
        sums = np.bincount(codes, weights=weights, minlength=len(column.labels)) / weights.sum()
        told[name] = {
            "unknown" if label is None else str(label): round(float(part), 4)
            for label, part in zip(column.labels, sums, strict=True)
            if part
        }
    return told
