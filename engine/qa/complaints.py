"""What to tell the model when QA asks again: what was wrong, in a sentence that it can act on.

A picture's sentences become part of its prompt, so they say what shall be seen, and name no image: a name would be
painted. A broken file needs no word: the model did nothing wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.qa.answers import CAPTION_CHARS_MAX, CAPTION_CHARS_MIN
from schemas.config import Metadata
from schemas.metadata import VOCABULARY, slug
from schemas.vocabulary import language_name, plain_label

QUOTED_CHARS_MAX = 60
_OF_PICTURES = {
    "blank": "Show the whole scene in full detail: an earlier attempt was one plain colour.",
    "dark": "Light the scene well, so that everything in it can be made out: an earlier attempt was far too dark.",
    "light": "Keep the exposure moderate, with real shadows: an earlier attempt was far too bright.",
    "blurred": "Keep the main subjects in sharp focus: an earlier attempt was blurred all over.",
    "duplicate": "Choose another viewpoint and another arrangement of the scene: an earlier attempt looked the "
    "same as another picture of the series.",
}


def of_picture(flags: Sequence[str]) -> str:
    """What to add to the prompt; empty where there is nothing to tell."""
    return " ".join(_OF_PICTURES[flag] for flag in flags if flag in _OF_PICTURES)


def of_texts(answer: dict[str, Any], flags: Sequence[str], asked: Metadata, at_odds: Sequence[str] = ()) -> str:
    """What was wrong with an answer; a row of the metadata table, and the rules that it contradicts."""
    caption: str = answer["caption"] or ""
    comments: list[str | None] = answer["comments"] or []
    told = {
        "no_caption": "The caption was missing.",
        "caption_empty": "The caption was empty.",
        "caption_short": f"The caption had {len(caption.strip())} characters; it needs at least {CAPTION_CHARS_MIN}.",
        "caption_long": f"The caption had {len(caption.strip())} characters; at most {CAPTION_CHARS_MAX} are wanted.",
        "caption_placeholder": f"The caption was no description ({_quoted(caption)}); say what this picture shows.",
        "caption_variations": f"Of {asked.num_caption_variations} captions that differ only {answer['captions']} came.",
        "no_labels": "The labels were missing.",
        "labels_missing": f"There was no value for {', '.join(_lacking(answer, asked))}.",
        "labels_unknown": " ".join(_outside(answer, asked)),
        "no_comments": "The comments were missing.",
        "comments_count": f"{len(comments)} comments came; exactly {asked.num_comments_per_image} are wanted.",
        "comments_empty": "A comment was empty.",
        "comments_placeholder": "A comment was boilerplate; write what people would say about this picture.",
        "comments_repeated": "The same comment came more than once; each must be its own.",
        "hashtags": "There were hashtags; leave them out.",
        "emojis": "There were emojis; leave them out.",
        "language": f"The language was another one; write captions and comments in {language_name(asked.language)}.",
        "contradiction": f"Caption and labels disagreed ({'; '.join(at_odds)}); look again which is true."
        if at_odds
        else "Caption and labels disagreed; look again which is true.",
    }
    return " ".join(told[flag] for flag in flags if flag in told)


def _quoted(text: str) -> str:
    plain = " ".join(text.split())
    return f'"{plain[:QUOTED_CHARS_MAX]}…"' if len(plain) > QUOTED_CHARS_MAX else f'"{plain}"'


def _labels(answer: dict[str, Any], asked: Metadata) -> dict[str, str]:
    found: dict[str, str | None] = answer.get("label") or {}
    return {category: found.get(slug(category)) or "" for category in asked.label_categories}


def _lacking(answer: dict[str, Any], asked: Metadata) -> list[str]:
    return [slug(category) for category, value in _labels(answer, asked).items() if value.strip() in {"", "[]"}]


def _outside(answer: dict[str, Any], asked: Metadata) -> list[str]:
    return [
        f"{_quoted(value)} is no value of {slug(category)}: choose from {', '.join(VOCABULARY[category])}."
        for category, value in _labels(answer, asked).items()
        if value and category in VOCABULARY and plain_label(value) not in {v.lower() for v in VOCABULARY[category]}
    ]
