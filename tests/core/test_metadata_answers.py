"""What the model may answer: asked for by schema, checked again when it comes."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from engine.errors import ProviderError
from engine.stages.metadata import metadata_jobs, read_answer, repair, task_groups
from schemas.config import Metadata, RunConfig
from schemas.job import job_id
from schemas.metadata import answer_schema
from schemas.outcome import Asset, ErrorKind, Failure, Usage
from schemas.record import ImageRecord

ALL = ("caption", "labels", "comments")
LABELS = {
    "scene_type": "rally", "setting": "square", "activity_level": "high", "crowd_size": "21-100", "time_of_day": "day",
    "sentiment": "hopeful", "primary_subjects": ["banner"], "digital_text": "none", "informational": "no",
    "illustrations": "no",
}  # fmt: skip


def answer(**changes: Any) -> dict[str, Any]:
    return {"labels": LABELS, "captions": ["A crowd in a square."], "comments": list("abcde"), **changes}


def image() -> ImageRecord:
    asset = Asset(path="images/0000/a.png", sha256="ab" * 32, size_bytes=9, mime_type="image/png", width=64, height=64)
    return ImageRecord(
        job="j", status="ok", stage="image", image_id="a", index=1, attempt=1, final=True, generated_at="", latency_s=0,
        model="m", usage=Usage(), cost_usd=None, prompt='Ignore "this"',
        source_data={"atropia": {"theme": "elections"}}, style=None, complexity=None, aspect_ratio=None,
        resolution=None, asset=asset,
    )  # fmt: skip


def test_a_good_answer_fills_the_record_under_the_configured_category_names() -> None:
    fields = read_answer(Metadata(), ALL, json.dumps(answer()))
    assert fields["caption"] == "A crowd in a square."
    assert fields["labels"]["digital text"] == "none"
    assert fields["comments"] == tuple("abcde")


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "```json\n{}\n```",
        json.dumps(answer())[:-20],
        json.dumps(answer(labels={**LABELS, "setting": "the moon"})),
        json.dumps(answer(labels={k: v for k, v in LABELS.items() if k != "setting"})),
        json.dumps(answer(comments=["one"])),
        json.dumps(answer(captions=["  "])),
        json.dumps(answer(extra=1)),
        '{"captions": ["a"], "captions": ["b"]}',
        json.dumps(answer(captions=[float("nan")])),
        json.dumps(answer(captions=["\ud800"])),
        "[" * 5000 + "]" * 5000,
    ],
)
def test_a_bad_answer_is_refused_in_words_that_the_model_can_act_on(text: str | None) -> None:
    with pytest.raises(ProviderError) as refused:
        read_answer(Metadata(), ALL, text)
    assert refused.value.kind == ErrorKind.BAD_ANSWER
    assert 10 < len(refused.value.message) < 400


def test_the_schema_follows_the_configuration() -> None:
    config = Metadata(num_comments_per_image=2, num_caption_variations=3, label_categories=("sentiment", "mood of sky"))
    schema = answer_schema(config, ALL)
    assert list(schema["properties"]) == ["labels", "captions", "comments"], "the model must look before it tells"
    assert schema["properties"]["comments"]["maxItems"] == 2
    assert schema["properties"]["captions"]["minItems"] == 3
    assert list(schema["properties"]["labels"]["properties"]) == ["sentiment", "mood_of_sky"]
    assert "$ref" not in json.dumps(schema)


def test_every_metadata_switch_changes_what_is_asked() -> None:
    asked = {
        job.id
        for changes in (
            {}, {"include_hashtags": False}, {"include_emojis": False}, {"num_comments_per_image": 3},
            {"mode": "separate"}, {"num_caption_variations": 2}, {"label_categories": ["setting"]},
            {"model": "gemini-3.8-flash"}, {"tasks": ["caption"]},
        )
        for job in metadata_jobs(RunConfig.model_validate({"metadata": changes}), image(), "/x")
    }  # fmt: skip
    assert len(asked) == 8 + 3 - 1  # separate asks three; its caption call is that of tasks: [caption]


@pytest.mark.parametrize("changes", [{}, {"mode": "separate", "language": "de"}, {"label_categories": ['"quoted" ä']}])
def test_the_id_of_a_question_is_a_digest_of_all_that_is_asked(changes: dict[str, Any]) -> None:
    jobs = list(metadata_jobs(RunConfig.model_validate({"metadata": changes}), image(), "/x"))
    assert [job.id for job in jobs] == [job_id("metadata", "a", job.request, job.tasks) for job in jobs]
    elsewhere = metadata_jobs(RunConfig.model_validate({"metadata": changes}), image(), "/y")
    assert [job.id for job in elsewhere] == [job.id for job in jobs], "wherever the picture lies"


@pytest.mark.parametrize(
    ("source_data", "told"),
    [
        ({"atropia": {"theme": "free_press"}}, "Theme: free press.\n"),
        ({"atropia": {"theme": 7}}, ""),
        ({"atropia": "a column of the user's own"}, ""),
        ({"atropia": None}, ""),
        ({"theme": "protest"}, ""),
        ({}, ""),
    ],
)
def test_a_question_names_the_theme_of_the_news_where_there_is_one(source_data: dict[str, Any], told: str) -> None:
    (job,) = metadata_jobs(RunConfig(), msgspec.structs.replace(image(), source_data=source_data), "/x")
    assert job.request.text.endswith(
        f'No insults to groups, no calls for violence.\n{told}The picture was asked for with: "Ignore "this""'
    )


def test_without_comments_none_are_asked_for() -> None:
    assert task_groups(Metadata(num_comments_per_image=0)) == (("caption", "labels"),)
    assert task_groups(Metadata(num_comments_per_image=0, mode="separate")) == (("caption",), ("labels",))


def test_a_cut_answer_gets_more_room_and_a_wrong_one_the_complaint() -> None:
    (job,) = metadata_jobs(RunConfig(), image(), "/x")
    cut = repair(job.request, Failure(kind=ErrorKind.TRUNCATED, message="MAX_TOKENS"))
    assert cut["output_tokens_max"] > (job.request.output_tokens_max or 0)
    told = repair(job.request, Failure(kind=ErrorKind.BAD_ANSWER, message="labels.setting: no such value."))
    assert "labels.setting: no such value." in told["text"]
    assert repair(job.request, Failure(kind=ErrorKind.SERVER, message="500")) == {}
