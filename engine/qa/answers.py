"""Captions, labels and comments against what was asked: there, whole, in the vocabulary, not boilerplate.

The rules are polars expressions over answers, evaluated where the log is read (`marks`); here they are collected.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from engine.qa.languages import reads_otherwise
from engine.qa.rows import TASKS
from schemas.config import Metadata
from schemas.metadata import VOCABULARY, slug

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


def answer_flags(asked: Metadata) -> dict[str, list[pl.Expr]]:
    """By task, expressions over a row of answers, each a flag's name where it applies and null elsewhere.

    They hold as far as the row speaks for the task.
    """
    element = pl.element()
    caption, comments = pl.col("caption"), pl.col("comments")
    there, told, labelled = caption.is_not_null(), comments.is_not_null(), pl.col("labels").is_not_null()
    chars = caption.str.strip_chars().str.len_chars()
    tests: dict[str, dict[str, pl.Expr]] = {
        "caption": {
            "no_caption": ~there,
            "caption_empty": there & (chars == 0),
            "caption_short": there & chars.is_between(1, CAPTION_CHARS_MIN - 1),
            "caption_long": there & (chars > CAPTION_CHARS_MAX),
            "caption_placeholder": there & caption.str.contains(PLACEHOLDER),
            "language": there & reads_otherwise(caption, asked.language or "en"),
        },
        "labels": {
            "no_labels": ~labelled,
            "labels_missing": labelled & _missing(asked.label_categories),
            "labels_unknown": labelled & _unknown(asked.label_categories),
        },
        "comments": {
            "comments_count": told & (comments.list.len() != asked.num_comments_per_image),
            "comments_empty": told & _any(comments, _blank(element)),
            "comments_placeholder": told & _any(comments, element.str.contains(PLACEHOLDER)),
            "comments_repeated": told
            & (comments.list.eval(element.str.to_lowercase()).list.n_unique() < comments.list.len()),
        },
    }
    if asked.num_caption_variations > 1:
        tests["caption"]["caption_variations"] = there & (pl.col("captions") < asked.num_caption_variations)
    if asked.num_comments_per_image:
        tests["comments"]["no_comments"] = ~told
    if asked.language is not None:  # otherwise comments may be in anybody's language
        joined = comments.list.join(" ", ignore_nulls=True)
        tests["comments"]["language"] = told & reads_otherwise(joined, asked.language)
    if not asked.include_hashtags:
        tests["comments"]["hashtags"] = told & _any(comments, element.str.contains(HASHTAG))
    if not asked.include_emojis:
        tests["comments"]["emojis"] = told & _any(comments, element.str.contains(EMOJI))
    return {task: [pl.when(test).then(pl.lit(name)) for name, test in some.items()] for task, some in tests.items()}


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


def flagged_answers(metadata: Path) -> pl.LazyFrame:
    """image_id, index and `flags` of each answer in force, with what it speaks for and whether it has it; no texts."""
    none = pl.lit([], pl.List(pl.String))
    flags = [pl.when(f"for_{task}").then(f"{task}_flags").otherwise(none) for task in TASKS]
    return pl.scan_parquet(metadata).select(
        "image_id",
        "index",
        "line",
        "status",
        "newest_attempt",
        "redone",
        *[f"for_{task}" for task in TASKS],
        *[(pl.col(f"for_{task}") & pl.col(f"has_{task}")).alias(f"has_{task}") for task in TASKS],
        flags=pl.concat_list(flags).list.unique(maintain_order=True),  # caption and comments share `language`
    )
