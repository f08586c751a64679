"""The page leads with the score in words; the original's grade stands beside it as what it is."""

from __future__ import annotations

import re

import pytest

from engine.qa import run_qa
from engine.qa.score import verdict


@pytest.mark.parametrize(
    ("score", "critical", "word", "level"),
    [
        (99, 0, "Ready", "good"),
        (99, 1, "Nearly ready", "fair"),
        (70, 0, "Nearly ready", "fair"),
        (38, 0, "Not ready yet", "poor"),
        (0, 9, "Not ready yet", "poor"),
    ],
)
def test_a_score_has_a_word_and_a_colour_that_agree(score, critical, word, level):
    assert (verdict(score, critical).word, verdict(score, critical).level) == (word, level)


def test_a_low_score_is_not_headed_by_a_better_sounding_grade(make_run, draw, encode):
    run = make_run({"generation": {"num_images": 400}})
    for index in range(1, 21):
        run.image(index, encode(draw(index)))
    report = run_qa(run.root)
    page = (run.root / "qa" / "report.html").read_text(encoding="utf-8")
    heading, lead, grade = re.search(r"<h1>(.*?)</h1><p[^>]*>(.*?)</p>(<p[^>]*>.*?</p>)", page).groups()
    assert report.score < 40
    assert report.summary["dataset_quality"] == "Good"  # the original's field stays what it was
    assert heading == "Not ready yet"
    assert "No critical findings" in lead
    assert "What costs most points" in lead
    assert "<b>100.0 % valid: grade Good</b> by the rule of the original pipeline" in grade
