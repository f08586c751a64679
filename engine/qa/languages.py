"""Does a text read as the language it was asked in? By script, and by the small words every sentence has.

No model and no dictionary: of a sentence of eight words or more, a language gives itself away by its script or by its
articles, prepositions and pronouns. A rule that is right about sentences and silent about the rest serves better than
a guess about each.
"""

from __future__ import annotations

import re
from collections import Counter

import polars as pl

from schemas.vocabulary import language_name

WORDS_MIN = 8
LETTERS_MIN = 12
"""Of texts in a script without spaces between words."""
OWN_SHARE = 0.5
"""Of the letters, at least so many in the script of the language."""
LEAD = 2
"""Small words that only another language has must be so many more than twice those that only this one has."""
HAVING = 10
"""A letter that only this language has outweighs so many that it lacks."""
FEW, FEW_ENGLISH = 0.3, 0.15
"""Share of a language's small words below which a text is looked at closely. English shares few with others."""

_SCRIPTS = {
    "ar": r"\p{Arabic}", "fa": r"\p{Arabic}", "ur": r"\p{Arabic}", "ru": r"\p{Cyrillic}", "uk": r"\p{Cyrillic}",
    "bg": r"\p{Cyrillic}", "el": r"\p{Greek}", "he": r"\p{Hebrew}", "hi": r"\p{Devanagari}",
    "ja": r"[\p{Han}\p{Hiragana}\p{Katakana}]",
    "ka": r"\p{Georgian}", "ko": r"\p{Hangul}", "th": r"\p{Thai}", "zh": r"\p{Han}",
}  # fmt: skip
_TELLING = {
    "ru": ("[ыэёъ]", "[іїєґ]"), "uk": ("[іїєґ]", "[ыэёъ]"), "bg": ("ъ", "[ыэёіїєґ]"),
    "ja": (r"[\p{Hiragana}\p{Katakana}]", r"[\p{Han}\p{Hangul}]"),
    "zh": (r"\p{Bopomofo}", r"[\p{Hiragana}\p{Katakana}\p{Hangul}]"),
    "fa": ("[پچژگکی]", "[ةىيكإأٹڈڑںے]"), "ur": ("[ٹڈڑںےہ]", "[ةىيك]"), "ar": ("[ةىيكإأ]", "[پچژگٹڈڑ]"),
}  # fmt: skip
"""Letters that a language has and its neighbours lack, and letters that it lacks."""
_SMALL: dict[str, str] = {
    "en": "the a an of and in on at with is are to by for from their they this that as while its",
    "de": "der die das und in im am mit ist sind ein eine einer einem eines auf vor für von den dem zu wird werden "
    "sich über",
    "fr": "le la les des un une et dans sur avec est sont du de au aux pour par qui leur leurs ce cette devant en",
    "es": "el la los las un una unos y en con es son del de al para por que su sus se este esta frente",
    "pt": "o a os as um uma uns e em com é são do da dos das de no na nos nas ao para por que seu sua seus se",
    "it": "il lo la i gli le un uno una e in con è sono del della dei delle di nel nella al alla per che si su loro "
    "davanti",
    "nl": "de het een en in op met is zijn van voor aan te dat die door over hun er naar bij tegen",
    "pl": "i w z na jest są do o po przed przez się nie że to oraz przy ich jak od za dla",
    "sv": "och i på med är en ett av för till att den det de som sig framför från om sina under",
    "da": "og i på med er en et af for til at den det de som sig foran fra om deres under",
    "no": "og i på med er en et av for til at den det de som seg foran fra om deres under",
    "fi": "ja on ovat joka jotka sekä kun että ei se he hän edessä kanssa mukana ovat yli myös",
    "tr": "ve bir bu ile için de da olan olarak gibi çok önünde ki ne o her daha kadar",
    "az": "və bir bu ilə üçün də da olan kimi çox qarşısında ki nə o hər daha qədər",
    "ro": "și în cu este sunt un o pe la de din care pentru lor sau al a ai ale spre în",
    "cs": "a v ve na s se je jsou do o po před pro z ze že to i u k od za jejich",
    "hu": "a az és egy van vannak hogy nem ez is meg előtt mellett között már csak mint",
    "id": "yang dan di dengan untuk dari ini itu pada ke dalam adalah para sebuah oleh mereka",
    "vi": "và của là một những các trong với cho trên tại người đang được này có không",
    "sw": "na ya wa kwa katika ni la za cha watu huu hii wakiwa mbele kwenye",
}
"""Small words of languages in Latin script."""
KNOWN = frozenset({*_SCRIPTS, *_SMALL})
"""Languages the rule can tell; of others nothing is claimed."""

_LATIN = r"\p{Latin}"
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
_OWNERS: dict[str, list[str]] = {}
for _language, _words in _SMALL.items():
    for _small in _words.split():
        _OWNERS.setdefault(_small, []).append(_language)


def reads_english(language: str | None) -> bool:
    """Whether rules that look for English words may be used on captions."""
    return language in {None, "en"}


def not_applied(language: str | None) -> list[str]:
    """Which rules were left out because of the language of captions, as sentences for the report."""
    if reads_english(language):
        return []
    name = language_name(language)
    told = [
        f"Contradictions between captions and labels were not looked for: the rules read English, and captions were "
        f"asked for in {name}.",
        f"People asked for were not compared with people described: the rules know the English words for people, and "
        f"captions were asked for in {name}.",
    ]
    if language not in KNOWN:
        told.append(f"Whether captions are in {name} was not checked: QA does not know that language.")
    return told


def reads_otherwise(text: pl.Expr, language: str) -> pl.Expr:
    """True where a text plainly is not in `language`, null where it is null; never for a language not in `KNOWN`."""
    if language not in KNOWN:
        return pl.when(text.is_not_null()).then(pl.lit(False))
    letters = text.str.count_matches(r"\p{L}")
    own = text.str.count_matches(_SCRIPTS.get(language, _LATIN))
    if language in _SCRIPTS:
        wrong = own.cast(pl.Float64) < OWN_SHARE * letters
        if language in _TELLING:
            lower = text.str.to_lowercase()
            have, lack = (lower.str.count_matches(which).cast(pl.Int64) for which in _TELLING[language])
            wrong |= (lack > HAVING * have) & (lack > LEAD)
        return (letters >= LETTERS_MIN) & wrong
    return text.map_batches(lambda texts: _suspects(texts, language), return_dtype=pl.Boolean, is_elementwise=True)


def _suspects(texts: pl.Series, language: str) -> pl.Series:
    """Whether each text reads otherwise. A good one in plain letters costs one search: only others are looked at."""
    frame = texts.alias("t").to_frame().with_row_index("at")
    text = pl.col("t")
    few, _ = _few(text, language, text.str.count_matches(" ", literal=True) + 1)
    odd = pl.any_horizontal([text.str.contains(blank, literal=True) for blank in ("\n", "\t", "\r")])
    some = frame.filter(few | odd | (text.str.len_bytes() != text.str.len_chars()))
    verdict = some.select("at", wrong=_looked_at(text, language))
    found = frame.select(wrong=pl.when(text.is_not_null()).then(pl.lit(False)))["wrong"]
    return found.scatter(verdict["at"], verdict["wrong"]).alias(texts.name)


def _few(text: pl.Expr, language: str, words: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    """Whether a text of so many words has suspiciously few small words of this language, and how many it has."""
    small = "|".join(sorted(_SMALL[language].split(), key=len, reverse=True))
    found = text.str.to_lowercase().str.count_matches(rf"\b(?:{small})\b")
    return found.cast(pl.Float64) < (FEW_ENGLISH if language == "en" else FEW) * words, found


def _looked_at(text: pl.Expr, language: str) -> pl.Expr:
    letters = text.str.count_matches(r"\p{L}")
    own = text.str.count_matches(_LATIN)
    words = text.str.count_matches(r"\S+")
    few, found = _few(text, language, words)
    close = pl.when(few).then(text).otherwise(None)
    foreign = close.map_batches(lambda texts: _foreign(texts, language), return_dtype=pl.Boolean).fill_null(False)
    other_script = own.cast(pl.Float64) < OWN_SHARE * letters
    return ((letters >= LETTERS_MIN) & other_script) | ((words >= WORDS_MIN) & ((found == 0) | foreign))


def _foreign(texts: pl.Series, language: str) -> pl.Series:
    """Whether another language's small words are clearly more frequent than this one's."""
    return pl.Series(texts.name, [None if t is None else _other_leads(t, language) for t in texts], dtype=pl.Boolean)


def _other_leads(text: str, language: str) -> bool:
    owners = [found for word in _WORD.findall(text.lower()) if (found := _OWNERS.get(word))]
    only_own = Counter(other for of in owners if language in of for other in _SMALL.keys() - set(of))
    only_theirs = Counter(other for of in owners if language not in of for other in of)
    return any(n >= 2 * only_own[other] + LEAD for other, n in only_theirs.items())
