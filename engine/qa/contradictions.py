"""Prompt, caption and labels that cannot all be true, where simple rules can see it."""

from __future__ import annotations

import polars as pl

from engine.qa.answers import normal_label
from engine.qa.languages import reads_english
from engine.qa.marks import RULES, said
from engine.qa.statistics import answered
from engine.qa.tables import Tables, slug
from schemas.config import RunConfig

OF_PICTURE = [name for name, rule in RULES.items() if rule[0] == "prompt"]


def contradictions(tables: Tables, config: RunConfig) -> pl.DataFrame:
    """image_id and rule of each contradiction. Marks of texts are joined, never texts."""
    categories = set(config.metadata.label_categories)
    english = reads_english(config.metadata.language)
    rules = {name: rule for name, rule in RULES.items() if rule[2] in categories and (english or rule[0] != "caption")}

    def marks(whose: str) -> list[pl.Expr]:
        return [said(name).fill_null(False).alias(name) for name, rule in rules.items() if rule[0] == whose]

    prompts = pl.scan_parquet(tables.prompts).filter(pl.col("status") == "ok").select("image_id", *marks("prompt"))
    captions = answered(tables, "caption").select("image_id", *marks("caption"))
    seen = [c for c in ("time_of_day", "crowd_size") if c in categories]
    labels = (
        answered(tables, "labels")
        .filter("has_labels")
        .select("image_id", *[normal_label(pl.col("label").struct.field(slug(c))).alias(f"label:{c}") for c in seen])
    )
    both = labels.join(prompts, on="image_id").join(captions, on="image_id", how="left")
    tests = {name: pl.col(name) & pl.col(f"label:{c}").is_in(list(values)) for name, (_, _, c, values) in rules.items()}
    if not tests:
        return pl.DataFrame(schema={"image_id": pl.String, "rule": pl.String})
    return (
        both.select("image_id", rule=pl.concat_list([pl.when(t).then(pl.lit(n)) for n, t in tests.items()]))
        .explode("rule")
        .drop_nulls()
        .collect(engine="streaming")
        .sort("image_id", "rule")
    )
