"""What each text shows on its own: its faults, its size, and the words that rules ask for.

All of it is worked out where the lines of the logs are read, one process per core, and kept in narrow columns beside
the texts; later steps of a pass join and count marks and read no text again.
"""

from __future__ import annotations

import polars as pl

from engine.qa.answers import answer_flags
from engine.qa.texts import MEASURES, measures
from schemas.config import Metadata

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
DESCRIBED: dict[str, dict[str, str]] = {
    "gender": {
        "female": r"\b(?:wom[ae]n|females?|girls?|mothers?|grandmothers?|sisters?|daughters?|lad(?:y|ies)|she|hers?)\b",
        "male": r"\b(?:m[ae]n|males?|boys?|fathers?|grandfathers?|brothers?|sons?|gentlem[ae]n|guys?|he|his|him)\b",
    },
    "age": {
        "young": r"\b(?:young(?:er|sters?)?|youths?|teen(?:s|agers?)?|students?|twenties|girls?|boys?)\b",
        "middle": r"\b(?:middle[- ]aged|thirties|forties)\b",
        "older": r"\b(?:old(?:er)?|elder(?:s|ly)?|seniors?|grey[- ]haired|gray[- ]haired|fifties|sixties|seventies|"
        r"pensioners?|retired|grand(?:mothers?|fathers?|parents?))\b",
    },
    "area": {
        "urban": r"\b(?:cit(?:y|ies)|urban|downtown|streets?|skyline|avenue|plaza|buildings?)\b",
        "rural": r"\b(?:rural|villages?|farms?|fields?|countryside|tractors?|hills?)\b",
    },
}
"""Words by which captions say who or what is seen."""


def _rules(whose: str) -> dict[str, str]:
    return {name: said for name, (source, said, _, _) in RULES.items() if source == whose}


def _says(column: str, patterns: dict[str, str]) -> pl.Expr:
    """The column `says`: whether the text has each of the words asked for; null where there is no text."""
    text = pl.col(column).str.to_lowercase()
    return pl.struct([text.str.contains(said).alias(name) for name, said in patterns.items()]).alias("says")


def said(name: str) -> pl.Expr:
    """One of the marks that `says` holds."""
    return pl.col("says").struct.field(name)


def _size(column: str) -> pl.Expr:
    return pl.col(column).map_batches(measures, return_dtype=MEASURES, is_elementwise=True)


def mark_prompts(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of the image stage with `says` and `prompt_size`."""
    return rows.lazy().with_columns(_says("prompt", _rules("prompt")), prompt_size=_size("prompt")).collect()


def mark_answers(rows: pl.DataFrame, asked: Metadata) -> pl.DataFrame:
    """Rows of the metadata stage with `says`, sizes of their texts, which are there, and the faults of each task."""
    words = {f"{dimension}:{group}": w for dimension, groups in DESCRIBED.items() for group, w in groups.items()}
    size = pl.element().map_batches(measures, return_dtype=MEASURES, is_elementwise=True)
    return (
        rows.lazy()
        .with_columns(
            _says("caption", {**_rules("caption"), **words}),
            *[pl.concat_list(flags).list.drop_nulls().alias(f"{t}_flags") for t, flags in answer_flags(asked).items()],
            caption_size=_size("caption"),
            comment_sizes=pl.col("comments").list.eval(size),
            has_caption=pl.col("caption").is_not_null(),
            has_labels=pl.col("labels").is_not_null(),
            has_comments=pl.col("comments").is_not_null(),
        )
        .collect()
    )
