"""A caption in another language than asked for is seen, and one in the right language never is."""

from __future__ import annotations

import polars as pl
import pytest

from engine.qa.languages import KNOWN, reads_otherwise

TEXTS = {
    "en": "A crowd of workers marches along the avenue with red banners while others watch from the pavement.",
    "de": "Eine Menge von Arbeitern zieht mit roten Bannern die Allee entlang, während andere vom Gehweg aus zusehen.",
    "fr": "Une foule de travailleurs défile le long de l'avenue avec des banderoles rouges devant les passants.",
    "es": "Una multitud de trabajadores marcha por la avenida con pancartas rojas mientras otros miran desde la acera.",
    "pt": "Uma multidão de trabalhadores marcha pela avenida com faixas vermelhas enquanto outros olham da calçada.",
    "it": "Una folla di lavoratori sfila lungo il viale con striscioni rossi mentre altri guardano dal marciapiede.",
    "nl": "Een menigte van arbeiders loopt met rode spandoeken over de laan terwijl anderen vanaf de stoep toekijken.",
    "pl": "Tłum robotników idzie aleją z czerwonymi transparentami, a inni patrzą na nich z chodnika obok.",
    "sv": "En folkmassa av arbetare går längs gatan med röda fanor medan andra ser på från trottoaren.",
    "tr": "Kırmızı pankartlar taşıyan bir işçi kalabalığı cadde boyunca yürüyor ve diğerleri kaldırımdan izliyor.",
    "ru": "Толпа рабочих с красными знамёнами идёт по проспекту, а прохожие смотрят на них с тротуара.",
    "uk": "Натовп робітників із червоними прапорами йде проспектом, а перехожі дивляться на них із тротуару.",
    "ar": "حشد من العمال يسير في الشارع الرئيسي رافعا لافتات حمراء بينما يراقب آخرون من الرصيف.",
    "fa": "گروهی از کارگران با پرچم‌های قرمز در خیابان راهپیمایی می‌کنند و دیگران از پیاده‌رو تماشا می‌کنند.",
    "zh": "一群工人举着红色横幅沿着大街游行，其他人在人行道上观看。",
    "ja": "赤い横断幕を掲げた労働者の群れが大通りを行進し、歩道から人々が見ている。",
    "ko": "붉은 현수막을 든 노동자들이 대로를 따라 행진하고 다른 사람들은 인도에서 지켜본다.",
    "el": "Ένα πλήθος εργατών βαδίζει στη λεωφόρο με κόκκινα πανό ενώ άλλοι κοιτούν από το πεζοδρόμιο.",
    "he": "קהל של עובדים צועד לאורך השדרה עם שלטים אדומים ואחרים צופים מהמדרכה.",
    "hi": "लाल बैनर लिए मज़दूरों की भीड़ सड़क पर मार्च कर रही है और लोग फुटपाथ से देख रहे हैं।",
}


def told(language: str, *texts: str | None) -> list[bool | None]:
    frame = pl.DataFrame({"t": pl.Series("t", texts, dtype=pl.String)})
    return frame.select(reads_otherwise(pl.col("t"), language)).to_series().to_list()


@pytest.mark.parametrize("asked", sorted(TEXTS))
def test_each_language_is_told_from_all_others(asked: str) -> None:
    others = {name: text for name, text in TEXTS.items() if name != asked}
    assert told(asked, TEXTS[asked]) == [False]
    assert dict(zip(others, told(asked, *others.values()), strict=True)) == dict.fromkeys(others, True)


def test_what_is_too_short_is_not_judged() -> None:
    assert told("en", "Viva la huelga", None) == [False, None]
    assert told("ja", "OK") == [False]


def test_a_quoted_slogan_does_not_make_a_caption_foreign() -> None:
    caption = (
        'A woman on the square holds a sign that reads "Pan y trabajo para todos los vecinos" in front of the hall.'
    )
    assert told("en", caption) == [False]


def test_of_a_language_it_does_not_know_the_rule_claims_nothing() -> None:
    assert "qu" not in KNOWN
    assert told("qu", TEXTS["en"]) == [False]


def test_the_language_asked_for_decides_and_rules_that_read_english_say_so(make_run, draw, encode) -> None:
    from engine.qa import run_qa

    run = make_run({"metadata": {"language": "de"}})
    for index, language in ((1, "de"), (2, "en")):
        run.image(index, encode(draw(index)))
        comments = (TEXTS[language],) * 4 + (TEXTS[language] + " !",)
        run.answer(index, caption=TEXTS[language], captions=(TEXTS[language],), comments=comments)
    report = run_qa(run.root)
    assert report.flags["language"] == 1
    assert "contradiction" not in report.flags
    assert any("Contradictions" in note and "German" in note for note in report.method["not_applied"])
    assert report.bias["representation"] == []
    assert "German" in (run.root / "qa" / "report.html").read_text()
