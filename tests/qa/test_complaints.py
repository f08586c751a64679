"""What is told to the model: exact where a number or a word helps, silent where it did nothing wrong."""

from __future__ import annotations

from typing import Any

import pytest

from engine.qa.complaints import of_picture, of_texts
from engine.qa.model import FLAGS, INTEGRITY
from schemas.config import Metadata


def answer(**more: Any) -> dict[str, Any]:
    return {"caption": "A march of many.", "captions": 1, "comments": ["Strong!"] * 5, "label": {}, **more}


@pytest.mark.parametrize(
    ("flag", "told", "more"),
    [
        ("caption_short", "had 5 characters; it needs at least 10", {"caption": " Crowd "}),
        ("caption_long", "had 600 characters; at most 500", {"caption": "x" * 600}),
        ("caption_placeholder", '"Lorem ipsum"', {"caption": "Lorem\nipsum"}),
        ("no_caption", "missing", {"caption": None}),
        ("comments_count", "2 comments came; exactly 5", {"comments": ["a", "b"]}),
        ("comments_count", "0 comments came", {"comments": None}),
        (
            "labels_unknown",
            '"humongous" is no value of crowd_size: choose from',
            {"label": {"crowd_size": "humongous"}},
        ),
        ("labels_missing", "no value for weather", {"label": {"crowd_size": ">1000", "weather": " "}}),
        ("language", "in German", {}),
        ("contradiction", "night in the caption, day in the labels", {}),
    ],
)
def test_a_complaint_names_what_was_wrong(flag: str, told: str, more: dict[str, Any]) -> None:
    asked = Metadata(language="de", label_categories=["crowd_size", "weather"])
    rules = ["night in the caption, day in the labels"]
    assert told in of_texts(answer(**more), [flag], asked, rules)


def test_every_fault_of_a_text_that_is_asked_for_again_is_told() -> None:
    asked = Metadata(label_categories=["crowd_size"])
    spoilt = answer(label={"crowd_size": "humongous"}, caption="x")
    faults = [name for name, flag in FLAGS.items() if flag.redo and flag.subject != "image"]
    assert all(of_texts(spoilt, [name], asked) for name in faults)


def test_a_broken_file_is_no_fault_of_the_prompt_and_a_poor_picture_is_told() -> None:
    assert of_picture(INTEGRITY) == ""
    assert of_picture(["rejected"]) == ""
    poor = [name for name, flag in FLAGS.items() if flag.redo and flag.subject == "image" and name not in INTEGRITY]
    assert all(of_picture([name]) for name in poor if name != "rejected")


def test_no_sentence_for_a_prompt_reads_as_asking_for_night_or_day() -> None:
    """Contradictions between prompt and labels are looked for in the whole prompt."""
    import re

    from engine.qa.marks import RULES

    sentences = of_picture(["blank", "dark", "light", "blurred", "duplicate"]).lower()
    assert not [name for name, rule in RULES.items() if re.search(rule[1], sentences)]
