"""Captions, labels and comments against what was asked: there, whole, in the vocabulary, not boilerplate.

Everything is a polars expression over the answers in force, so a million answers are one streaming pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from engine.qa.languages import reads_otherwise
from engine.qa.tables import slug
from schemas.config import Metadata
from schemas.metadata import VOCABULARY

SLICE_ROWS = 40_000
CAPTION_CHARS_MIN = 10
CAPTION_CHARS_MAX = 500
PLACEHOLDER = (
    r"(?i)^\W*(?:lorem ipsum|todo|tbd|n/?a|none|null|undefined|placeholder|caption(?: here)?|comment \d*|test|"
    r"\.\.\.|string|text|example|insert .{0,40} here|(?:sample|dummy) (?:caption|comment|text))\W*$"
    r"|(?i)lorem ipsum dolor|as an ai (?:language )?model|i(?:'m| am) (?:sorry|unable)[^.]{0,40}"
    r"(?:cannot|can't|unable|assist|comply|view|see)|i (?:cannot|can't) (?:assist|help|comply|view|see the image)"
    r"|\[(?:insert|your|placeholder)[^\]]{0,60}\]|\{\{[^}]{0,60}\}\}"
)
"""Texts that are no description: template left-overs and refusals dressed as an answer."""
HASHTAG = r"(?:^|\s)#\w{2,}"
EMOJI = r"[\u{1F300}-\u{1FAFF}\u{2600}-\u{27BF}\u{1F1E6}-\u{1F1FF}]"


def _blank(text: pl.Expr) -> pl.Expr:
    return text.str.strip_chars().str.len_chars() == 0


def _any(comments: pl.Expr, test: pl.Expr) -> pl.Expr:
    return comments.list.eval(test).list.any().fill_null(False)


def answer_flags(asked: Metadata) -> list[pl.Expr]:
    """Expressions over a row of metadata.parquet, each a flag's name where it applies and null elsewhere."""
    element = pl.element()
    caption, comments = pl.col("caption"), pl.col("comments")
    for_caption, for_labels, for_comments = pl.col("for_caption"), pl.col("for_labels"), pl.col("for_comments")
    has_caption, has_comments = for_caption & caption.is_not_null(), for_comments & comments.is_not_null()
    has_labels = for_labels & pl.col("labels").is_not_null()
    chars = caption.str.strip_chars().str.len_chars()
    # Comments may be in anybody's language unless one was asked for.
    told = comments.list.join(" ", ignore_nulls=True)
    said_otherwise = pl.lit(False) if asked.language is None else reads_otherwise(told, asked.language)
    tests: dict[str, pl.Expr] = {
        "no_caption": for_caption & caption.is_null(),
        "caption_empty": has_caption & (chars == 0),
        "caption_short": has_caption & chars.is_between(1, CAPTION_CHARS_MIN - 1),
        "caption_long": has_caption & (chars > CAPTION_CHARS_MAX),
        "caption_placeholder": has_caption & caption.str.contains(PLACEHOLDER),
        "language": (has_caption & reads_otherwise(caption, asked.language or "en")) | (has_comments & said_otherwise),
        "caption_variations": has_caption
        & (pl.col("captions") < asked.num_caption_variations)
        & (asked.num_caption_variations > 1),
        "no_labels": for_labels & pl.col("labels").is_null(),
        "labels_missing": has_labels & _missing(asked.label_categories),
        "labels_unknown": has_labels & _unknown(asked.label_categories),
        "no_comments": for_comments & comments.is_null() & (asked.num_comments_per_image > 0),
        "comments_count": has_comments & (comments.list.len() != asked.num_comments_per_image),
        "comments_empty": has_comments & _any(comments, _blank(element)),
        "comments_placeholder": has_comments & _any(comments, element.str.contains(PLACEHOLDER)),
        "comments_repeated": has_comments
        & (comments.list.eval(element.str.to_lowercase()).list.n_unique() < comments.list.len()),
    }
    if not asked.include_hashtags:
        tests["hashtags"] = has_comments & _any(comments, element.str.contains(HASHTAG))
    if not asked.include_emojis:
        tests["emojis"] = has_comments & _any(comments, element.str.contains(EMOJI))
    return [pl.when(test).then(pl.lit(name)) for name, test in tests.items()]


def _value(category: str) -> pl.Expr:
    return pl.col("label").struct.field(slug(category))


def _missing(categories: Sequence[str]) -> pl.Expr:
    empty = [
        _value(c).is_null() | (_value(c).str.strip_chars().str.len_chars() == 0) | (_value(c) == "[]")
        for c in categories
    ]
    return pl.any_horizontal(empty)


def normal_label(value: pl.Expr) -> pl.Expr:
    """A label value as vocabularies spell it: lower case, spaces as underscores, booleans as yes and no."""
    plain = value.str.strip_chars().str.to_lowercase().str.replace_all(r"[\s_]+", "_")
    return plain.replace({"true": "yes", "false": "no"})


def _unknown(categories: Sequence[str]) -> pl.Expr:
    known = [c for c in categories if c in VOCABULARY]
    outside = [
        _value(c).is_not_null() & ~normal_label(_value(c)).is_in([v.lower() for v in VOCABULARY[c]]) for c in known
    ]
    return pl.any_horizontal(outside) if outside else pl.lit(False)


def flagged_answers(metadata: Path, asked: Metadata) -> pl.DataFrame:
    """image_id, index and `flags` of each answer in force, with what it speaks for and whether it has it; no texts."""
    table = pl.scan_parquet(metadata)
    rows = table.select(pl.len()).collect().item()
    # In slices: a streaming scan reads so many row groups of text ahead that memory would follow the log.
    parts = [
        table.slice(start, SLICE_ROWS)
        .select(
            "image_id",
            "index",
            "line",
            "status",
            "newest_attempt",
            "redone",
            "for_caption",
            "for_labels",
            "for_comments",
            has_caption=pl.col("for_caption") & pl.col("caption").is_not_null(),
            has_labels=pl.col("for_labels") & pl.col("labels").is_not_null(),
            has_comments=pl.col("for_comments") & pl.col("comments").is_not_null(),
            flags=pl.concat_list(answer_flags(asked)).list.drop_nulls(),
        )
        .collect()
        for start in range(0, max(rows, 1), SLICE_ROWS)
    ]
    return pl.concat(parts)
