"""Texts against what was asked: each fault has a name, and a proper answer has none."""

from __future__ import annotations

import polars as pl
import pytest

from engine.qa import run_qa
from engine.qa.near_texts import near_texts

LONG = "People walk down the avenue carrying banners while others watch from the pavement. " * 8


@pytest.fixture
def flags_after(make_run, draw, encode):
    def check(config=None, **answer) -> set[str]:
        run = make_run(config)
        run.image(1, encode(draw(1)))
        if "caption" in answer and "captions" not in answer:
            answer["captions"] = (answer["caption"],) if answer["caption"] else ()
        run.answer(1, **answer)
        run_qa(run.root)
        return set(pl.read_parquet(run.root / "qa" / "answers.parquet")["flags"][0])

    return check


def test_a_proper_answer_has_no_finding(flags_after):
    assert flags_after() == set()


@pytest.mark.parametrize(
    ("caption", "flag"),
    [
        ("   ", "caption_empty"),
        ("A march", "caption_short"),
        (LONG, "caption_long"),
        ("Lorem ipsum dolor sit amet, consectetur.", "caption_placeholder"),
        ("I'm sorry, I cannot assist with describing this image today.", "caption_placeholder"),
        ("[insert caption here] of a march in the street", "caption_placeholder"),
        ("Manifestantes caminan por una avenida con pancartas y flores", "language"),
    ],
)
def test_a_faulty_caption_is_told_by_name(flags_after, caption, flag):
    assert flag in flags_after(caption=caption)


def test_labels_outside_their_vocabulary_and_missing_ones_are_told(flags_after, make_run):
    labels = {"scene_type": "carnival", "setting": "street", "activity_level": "high"}
    assert flags_after(labels=labels) == {"labels_unknown", "labels_missing"}


def test_labels_may_be_spelled_as_people_do(flags_after):
    from itertools import chain

    labels = {
        "scene_type": "Sit in", "setting": "Government Building", "activity_level": "HIGH", "crowd_size": ">1000",
        "time_of_day": "day", "sentiment": "hopeful", "primary_subjects": ["a"], "digital text": "none",
        "informational": True, "illustrations": False,
    }  # fmt: skip
    assert list(chain(flags_after(labels=labels))) == []


@pytest.mark.parametrize(
    ("comments", "flag"),
    [
        (("one fine comment",) * 5, "comments_repeated"),
        (("only one of five",), "comments_count"),
        (("a", "b", "c", "d", "  "), "comments_empty"),
        (("a b", "b c", "c d", "d e", "Comment 5"), "comments_placeholder"),
    ],
)
def test_faulty_comments_are_told_by_name(flags_after, comments, flag):
    assert flag in flags_after(comments=comments)


def test_hashtags_and_emojis_count_only_when_switched_off(flags_after):
    assert not flags_after() & {"hashtags", "emojis"}
    off = {"metadata": {"include_hashtags": False, "include_emojis": False}}
    assert flags_after(off) == {"hashtags", "emojis"}


def test_missing_texts_are_counted_by_image_even_without_an_answer(make_run, draw, encode):
    run = make_run()
    run.image(1, encode(draw(1)))
    run.image(2, encode(draw(2)))
    run.answer(1, caption=None, captions=())
    report = run_qa(run.root)
    assert report.flags["no_caption"] == 2
    assert report.flags["no_labels"] == 1
    assert report.captions["coverage_percent"] == 0
    assert report.labels["coverage_percent"] == 50


def test_what_was_not_asked_for_is_not_missed(make_run, draw, encode):
    run = make_run({"metadata": {"tasks": ["caption"]}})
    run.image(1, encode(draw(1)))
    run.answer(1, tasks=("caption",), labels=None, comments=None)
    report = run_qa(run.root)
    assert report.flags == {}
    assert report.summary["dataset_quality"] == "Excellent"


@pytest.mark.parametrize(
    ("caption", "labels"),
    [
        ("A crowd with candles gathers at night before the town hall.", {"time_of_day": "day"}),
        ("Thousands march through the streets of the old town today.", {"crowd_size": "1-5"}),
        ("A lone protester stands in the middle of the square.", {"crowd_size": ">1000"}),
    ],
)
def test_texts_that_contradict_each_other_are_seen(make_run, draw, encode, caption, labels):
    from schemas.record import MetadataRecord  # noqa: F401  the shape the fixture writes

    run = make_run()
    run.image(1, encode(draw(1)))
    base = {
        "scene_type": "march", "setting": "street", "activity_level": "high", "crowd_size": "21-100",
        "time_of_day": "day", "sentiment": "hopeful", "primary_subjects": ["a"], "digital_text": "none",
        "informational": "no", "illustrations": "no",
    }  # fmt: skip
    run.answer(1, caption=caption, captions=(caption,), labels={**base, **labels})
    assert run_qa(run.root).flags == {"contradiction": 1}


def test_nearly_equal_texts_are_paired_and_different_ones_are_not():
    base = (
        "a long line of workers walks along the river carrying red and white banners under a grey morning sky in spring"
    )
    texts = [
        base,
        base.replace("spring", "autumn"),
        base.upper(),
        "something else entirely is said in this short text here",
    ]
    texts += [f"text number {i} speaks of {i * 7} birds over {i * 3} houses near lake {i}" for i in range(200)]
    frame = pl.LazyFrame({"image_id": [f"i{n}" for n in range(len(texts))], "text": texts})
    found = {(a, b): j for a, b, j in near_texts(frame, "text").iter_rows()}
    assert found[("i0", "i2")] == 1
    assert found[("i0", "i1")] >= 0.8
    assert len(found) == 2


def test_a_caption_that_repeats_another_is_named_with_it_and_shown(make_run, draw, encode):
    line = "A long line of workers walks along the river carrying red banners under a grey morning sky in early {}"
    told = {1: line.format("spring"), 2: line.format("autumn"), 3: line.format("spring").upper()}
    run = make_run()
    for index in range(1, 6):
        run.image(index, encode(draw(index)))
        caption = told.get(index, f"Text {index} speaks of {index * 7} birds over {index * 3} houses near lake {index}")
        run.answer(index, caption=caption, captions=(caption,))
    report = run_qa(run.root)
    found = pl.read_parquet(run.root / "qa" / "near_texts").filter(pl.col("texts") == "captions")
    pairs = {(a[-1], b[-1]): j for a, b, j in found.select("image_a", "image_b", "jaccard").iter_rows()}
    assert list(pairs) == [("1", "2"), ("1", "3")]
    assert 0.8 <= pairs["1", "2"] < pairs["1", "3"] == 1
    answers = pl.read_parquet(run.root / "qa" / "answers.parquet")
    flagged = answers.filter(pl.col("flags").list.contains("caption_repeated"))["index"].to_list()
    assert flagged == [2, 3]
    assert report.flags == {"caption_repeated": 2}
    page = (run.root / "qa" / "report.html").read_text(encoding="utf-8")
    assert "early <mark>spring</mark>" in page
    assert "early <mark>autumn</mark>" in page


def test_a_fault_goes_with_the_text_that_had_it(make_run, draw, encode):
    run = make_run()
    run.image(1, encode(draw(1)))
    run.answer(1, caption="A march", captions=("A march",), comments=("only one of five",))
    run.answer(1, attempt=2, tasks=("caption",), labels=None, comments=None)
    assert run_qa(run.root).flags == {"comments_count": 1}


def test_of_many_texts_a_sample_is_compared_and_the_page_says_of_how_many(make_run, draw, encode, monkeypatch):
    for name in ("near_texts.NEAR_TEXTS_MAX", "texts.WORDS_SAMPLE"):
        monkeypatch.setattr(f"engine.qa.{name}", 20)
    monkeypatch.setattr("engine.qa.statistics.NEAR_TEXTS_MAX", 20)
    run = make_run()
    for index in range(1, 41):
        run.image(index, encode(draw(index)))
        run.answer(index)
    captions = run_qa(run.root).statistics["texts"]["captions"]
    assert 5 < captions["compared"] < 35
    assert 5 < captions["words"]["texts"] < 35
    assert (captions["lengths"]["n"], captions["repeated"]) == (40, 0)
    page = (run.root / "qa" / "report.html").read_text(encoding="utf-8")
    assert f"among {captions['compared']} of 40 captions" in page
    assert f"Counted in {captions['words']['texts']} of 40 texts" in page


def test_texts_are_not_judged_when_switched_off(flags_after):
    assert flags_after({"validation": {"validate_metadata": False}}, caption="short") == set()
