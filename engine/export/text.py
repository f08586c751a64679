"""Text as the workshop's next steps want it: emoji in words, hashtags split, case and space even."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache

_HASHTAG = re.compile(r"[#＃](\w+)")
_MENTION = re.compile(r"(?<!\w)@\w+")
_LINK = re.compile(r"https?://\S+|www\.\S+")
_SILENT = {
    "\u200d",
    "\ufe0e",
    "\ufe0f",
    "\u20e3",
    *map(chr, range(0x1F3FB, 0x1F400)),
    *map(chr, range(0xE0020, 0xE0080)),
}
"""Joiners, variation selectors, skin tones and tags: they change how an emoji looks, and are no words."""


def hashtags(text: str) -> list[str]:
    """The hashtags of a text, without `#`, as they were written."""
    return _HASHTAG.findall(text)


def emoji(text: str) -> list[str]:
    """The emoji of a text, one by one."""
    return [c for c in text if is_emoji(c)]


def is_emoji(char: str) -> bool:
    """Whether a character is a pictograph. Signs such as © and arrows are not."""
    code = ord(char)
    return (
        0x1F300 <= code <= 0x1FAFF
        or 0x2600 <= code <= 0x27BF
        or 0x1F1E6 <= code <= 0x1F1FF
        or code in (0x2B50, 0x2B55, 0x231A, 0x231B, 0x23F0, 0x23F3)
    ) and char not in _SILENT


def split_hashtag(tag: str) -> str:
    """`ClimateStrikeNow2024` as "climate strike now 2024"; `BLMMarch` as "blm march"."""
    words = [part for chunk in tag.split("_") for part in _split(chunk)]
    return " ".join(words).lower()


def _split(chunk: str) -> list[str]:
    words: list[str] = []
    start = 0
    for i in range(1, len(chunk)):
        before, here = chunk[i - 1], chunk[i]
        after = chunk[i + 1] if i + 1 < len(chunk) else ""
        camel = here.isupper() and not before.isupper()
        acronym_ends = before.isupper() and here.isupper() and after.islower()
        digits = before.isdigit() != here.isdigit()
        if camel or acronym_ends or digits:
            words.append(chunk[start:i])
            start = i
    words.append(chunk[start:])
    return [w for w in words if w]


@lru_cache(maxsize=4096)
def emoji_words(char: str) -> str:
    """An emoji's Unicode name in lower case: "raised fist"."""
    return unicodedata.name(char, "emoji").lower().removesuffix(" sign").replace("-", " ")


def without_emoji(text: str) -> str:
    """The text with emoji as words in colons, as `emoji.demojize` writes them: ":raised_fist:"."""
    return "".join(f":{emoji_words(c).replace(' ', '_')}:" if is_emoji(c) else "" if c in _SILENT else c for c in text)


def normalise(text: str) -> str:
    """Lower case, hashtags split, emoji as words, links and mentions taken out, one space between words."""
    text = unicodedata.normalize("NFKC", text)
    text = _LINK.sub(" ", text)
    text = _MENTION.sub(" ", text)
    text = _HASHTAG.sub(lambda m: f" {split_hashtag(m.group(1))} ", text)
    text = "".join(f" {emoji_words(c)} " if is_emoji(c) else "" if c in _SILENT else c for c in text)
    return " ".join(text.lower().split())


def lemmatiser() -> Callable[[str], str] | None:
    """Turns words into their base forms, if the package simplemma is installed; else None."""
    try:
        import simplemma  # type: ignore[import-not-found]  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    lemma: Callable[..., str] = simplemma.lemmatize
    return lambda text: " ".join(lemma(word, lang="en") for word in re.findall(r"\w+", text))
