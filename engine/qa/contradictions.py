"""Prompt, caption and labels that cannot all be true, where simple rules can see it."""

from __future__ import annotations

import polars as pl

from engine.qa.answers import normal_label
from engine.qa.by_image import KEY, by_image
from engine.qa.languages import reads_english
from engine.qa.marks import RULES, said
from engine.qa.parts import each, few
from engine.qa.statistics import LABELLED
from engine.qa.tables import OK, Tables, slug
from schemas.config import RunConfig

OF_PICTURE = [name for name, rule in RULES.items() if rule[0] == "prompt"]


def contradictions(tables: Tables, config: RunConfig) -> pl.DataFrame:
    """image_id and rule of each contradiction. Marks of texts are joined, never texts."""
    categories = set(config.metadata.label_categories)
    english = reads_english(config.metadata.language)
    rules = {name: rule for name, rule in RULES.items() if rule[2] in categories and (english or rule[0] != "caption")}

    def marks(whose: str) -> list[pl.Expr]:
        return [said(name).fill_null(False).alias(name) for name, rule in rules.items() if rule[0] == whose]

    tests = {name: pl.col(name) & pl.col(f"label:{c}").is_in(list(values)) for name, (_, _, c, values) in rules.items()}
    if not tests:
        return pl.DataFrame(schema={"image_id": pl.String, "rule": pl.String})
    prompts = by_image(tables.prompts, lambda rows: rows.filter(OK).select(KEY, *marks("prompt")))
    captions = by_image(tables.metadata, lambda rows: rows.filter("for_caption").select(KEY, *marks("caption")))
    seen = [c for c in ("time_of_day", "crowd_size") if c in categories]
    values = [normal_label(pl.col("label").struct.field(slug(c))).alias(f"label:{c}") for c in seen]
    rule = pl.concat_list([pl.when(test).then(pl.lit(name)) for name, test in tests.items()])

    def found(rows: pl.DataFrame) -> pl.DataFrame:
        both = prompts.beside(rows.with_columns(captions.if_known(rows)))
        return both.select("image_id", rule=rule).explode("rule").drop_nulls()

    labels = each(tables.metadata, lambda rows: rows.filter(LABELLED).select("image_id", KEY, *values))
    return few(found(some) for some in labels).sort("image_id", "rule")
