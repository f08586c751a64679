"""English by rule: articles, lists, sentences, word counts, and taking words out of a text.

Small and pure, so that every sentence of a prompt goes through the same few rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

_VOWEL_SOUND = re.compile(r"(?:[aeio]|u(?!ni|s[aeiu]|ti|k|eu)|hono|hones|hour|heir|(?:8|11|18)\b)", re.IGNORECASE)
_CONSONANT_SOUND = re.compile(r"(?:eu|one\b|once\b|ewe)", re.IGNORECASE)
_LETTER_BY_LETTER = re.compile(r"[A-Z]{2,}\b")


def article(phrase: str) -> str:
    """ "a" or "an", by how the phrase sounds."""
    if _LETTER_BY_LETTER.match(phrase):
        return "an" if phrase[0] in "AEFHILMNORSX" else "a"
    if _CONSONANT_SOUND.match(phrase):
        return "a"
    return "an" if _VOWEL_SOUND.match(phrase) else "a"


@lru_cache(maxsize=4096)
def with_article(phrase: str) -> str:
    """The phrase with "a" or "an" before it."""
    return f"{article(phrase)} {phrase}"


def sentence(text: str) -> str:
    """One sentence: capital first, exactly one stop last, single spaces."""
    return _closed(" ".join(text.split()))


def _closed(text: str) -> str:
    text = text.strip(" ,;:")
    if text[-1:].isalnum():
        return f"{text[0].upper()}{text[1:]}."
    if text and text[-1] in ".!?":
        text = text.rstrip(" ,;:.!?") + text[-1]
    if not text.strip(".!?"):
        return ""
    text = text[0].upper() + text[1:]
    if text.endswith(('."', '!"', '?"', ".”", "!”", "?”")):
        return text
    if text[-1] in '"”':
        return text + "."
    return text if text[-1] in ".!?" else text + "."


def listed(items: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"; semicolons where an item has a comma of its own."""
    if len(items) < 2:
        return "".join(items)
    *head, last = items
    listing = "; ".join(head)
    return f"{listing}; and {last}" if "," in listing or "," in last else f"{', '.join(head)} and {last}"


def word_count(text: str) -> int:
    """Words of a text with single spaces."""
    return text.count(" ") + 1 if text else 0


Line = tuple[int, str]
"""A sentence of a prompt, and before it how many words it counts; 0: nothing to say."""


def line(text: str) -> Line:
    """A text as a line. It is put together of tidy words; only where one was empty, two spaces meet."""
    if (
        "A" <= text[:1] <= "Z"
        and (text[-1].isalnum() or (text[-1] == '"' and text[-2:-1].isalnum()))
        and "  " not in text
    ):
        return text.count(" ") + 1, text + "."  # as nearly all are
    return text.count(" ") + 1 if text else 0, sentence(text) if "  " in text else _closed(text)


@lru_cache(maxsize=4096)
def known_line(text: str) -> Line:
    """`line` for a text that comes again: most of a prompt is among a few hundred."""
    return line(text)


@lru_cache(maxsize=1024)
def lines(lead: str, options: tuple[str, ...]) -> tuple[Line, ...]:
    """A line for each of the options, which stands for the braces in `lead`."""
    return tuple(line(lead.format(option)) for option in options)


def clipped(text: str, words_max: int) -> str:
    """The text up to its last whole clause within `words_max` words, or cut there."""
    words = text.split()
    if len(words) <= words_max:
        return " ".join(words)
    cut = " ".join(words[:words_max])
    stop = max(cut.rfind(". "), cut.rfind("; "), cut.rfind(", "))
    if stop >= len(cut) // 3:
        return cut[:stop]
    while words_max > 1 and words[words_max - 1].lower().strip(",;:") in _DANGLING:
        words_max -= 1
    return " ".join(words[:words_max]).rstrip(",;:.-– ")


_DANGLING = frozenset(
    [
        "a",
        "an",
        "the",
        "of",
        "in",
        "on",
        "at",
        "to",
        "and",
        "or",
        "with",
        "for",
        "by",
        "from",
        "as",
        "that",
        "is",
        "are",
        "his",
        "her",
        "their",
        "its",
        "over",
        "under",
        "into",
        "about",
    ]
)


def without_clauses(text: str, words: re.Pattern[str]) -> str:
    """The text without the clauses in which a word matches."""
    kept = [clause for clause in re.split(r"(?<=[,;.!?])\s+", text) if not words.search(clause)]
    return " ".join(kept).strip(" ,;")


def first_of(texts: Iterable[str]) -> str:
    """The first text that is not empty."""
    return next((t for t in texts if t), "")


def readable(key: str) -> str:
    """A configured name as words: "urban_city_center" reads "urban city center"; nothing invisible stays."""
    return " ".join("".join(c if c.isprintable() else " " for c in key.replace("_", " ")).split())
