"""Prompt, caption and labels that cannot all be true, where simple rules can see it."""

from __future__ import annotations

import polars as pl

from engine.qa.answers import normal_label
from engine.qa.languages import reads_english
from engine.qa.statistics import answered
from engine.qa.tables import Tables, slug
from schemas.config import RunConfig

_NIGHT = r"\b(?:at night|by night|night(?:time|fall)|after dark|midnight|night sky)\b"
_DAY = r"\b(?:in daylight|broad daylight|sunny|midday|noon|bright sun(?:light|shine)?|late morning|afternoon sun)\b"
_CROWD = r"\b(?:thousands|hundreds|(?:huge|massive|vast|enormous) crowds?)\b"
_ALONE = r"\b(?:a (?:lone|single|solitary) (?:person|man|woman|protester|figure|speaker)|no people|nobody|deserted)\b"
FEW, MANY = ("1-5",), ("101-1000", ">1000")
RULES = {
    "night in the caption, day in the labels": ("caption", _NIGHT, "time_of_day", ("day",)),
    "day in the caption, night in the labels": ("caption", _DAY, "time_of_day", ("night",)),
    "night in the prompt, day in the labels": ("prompt", _NIGHT, "time_of_day", ("day",)),
    "day in the prompt, night in the labels": ("prompt", _DAY, "time_of_day", ("night",)),
    "a crowd in the caption, 1-5 people in the labels": ("caption", _CROWD, "crowd_size", FEW),
    "one or nobody in the caption, over 100 people in the labels": ("caption", _ALONE, "crowd_size", MANY),
}
"""Rule: (whose text, what it says, label category, values that cannot be). Captions against labels are at odds with
themselves and worth asking again; prompts against labels tell of a picture that is not as asked."""
OF_PICTURE = [name for name, rule in RULES.items() if rule[0] == "prompt"]


def contradictions(tables: Tables, config: RunConfig) -> pl.DataFrame:
    """image_id and rule of each contradiction. Texts are turned into marks before anything is joined."""
    categories = set(config.metadata.label_categories)
    english = reads_english(config.metadata.language)
    rules = {name: rule for name, rule in RULES.items() if rule[2] in categories and (english or rule[0] != "caption")}

    def marks(whose: str, column: str) -> list[pl.Expr]:
        text = pl.col(column).str.to_lowercase()
        return [
            text.str.contains(said).fill_null(False).alias(name)
            for name, (source, said, _, _) in rules.items()
            if source == whose
        ]

    prompts = (
        pl.scan_parquet(tables.prompts)
        .filter(pl.col("status") == "ok")
        .select(
            "image_id",
            *marks("prompt", "prompt"),
        )
    )
    captions = answered(tables, "caption").select("image_id", *marks("caption", "caption"))
    seen = [c for c in ("time_of_day", "crowd_size") if c in categories]
    labels = (
        answered(tables, "labels")
        .filter(pl.col("labels").is_not_null())
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
