"""`groundswell qa`, what it prints and returns, and what people's decisions change."""

from __future__ import annotations

import argparse
import json

import pytest

from engine.cli import qa_command
from engine.errors import StoreError
from engine.qa import rejected, rejected_ids, run_qa
from schemas.record import encode_line


def called(*words: str) -> int:
    parser = argparse.ArgumentParser()
    qa_command.add_arguments(parser)
    return qa_command.run(parser.parse_args(list(words)))


@pytest.fixture
def sound(make_run, draw, encode):
    run = make_run({"generation": {"num_images": 3}})
    for i in range(1, 4):
        run.image(i, encode(draw(i)))
        run.answer(i)
    return run


def test_a_sound_run_exits_zero_and_says_so_in_words(sound, capsys):
    assert called(str(sound.root)) == 0
    out = capsys.readouterr().out
    assert "Excellent" in out
    assert "3 of 3 valid" in out
    assert "report.html" in out
    assert (sound.root / "qa" / "report.html").stat().st_size > 10_000


def test_json_is_one_object_on_stdout_and_nothing_else(sound, capsys):
    called(str(sound.root), "--json")
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    original = {"validation_timestamp", "output_directory", "images", "metadata", "captions", "labels", "comments",
                "duplicates", "summary"}  # fmt: skip
    assert original <= report.keys()
    assert report["summary"].keys() == {
        "total_images", "valid_images", "validation_rate", "metadata_complete", "captions_complete",
        "labels_complete", "comments_complete", "duplicates_found", "dataset_quality",
    }  # fmt: skip
    assert {"num_duplicates", "duplicate_pairs"} <= report["duplicates"].keys()
    assert captured.err == ""


def test_critical_findings_exit_three(sound):
    next((sound.root / "images").rglob("*0002.png")).write_bytes(b"")
    assert called(str(sound.root), "--no-html") == 3
    assert not (sound.root / "qa" / "report.html").exists()
    assert rejected_ids(sound.root) == ("sm_20260121_0002",)


def test_two_passes_over_the_same_run_differ_in_their_timestamp_only(sound):
    first = json.loads(run_qa(sound.root).json())
    page = (sound.root / "qa" / "report.html").read_text()
    second = json.loads(run_qa(sound.root).json())
    again = (sound.root / "qa" / "report.html").read_text()
    assert page.replace(first["validation_timestamp"], "") == again.replace(second["validation_timestamp"], "")
    first.pop("validation_timestamp")
    second.pop("validation_timestamp")
    assert first == second


def test_what_to_make_again_is_not_known_before_qa_has_run(sound):
    with pytest.raises(StoreError, match="groundswell qa"):
        rejected(sound.root)


def test_an_image_that_is_asked_again_is_not_missed(sound):
    """Reopening appends a line that is not final; the old picture is set aside."""
    sound.image(2, None, status="retry", final=False, attempt=1)
    next((sound.root / "images").rglob("*0002.png")).unlink()
    report = run_qa(sound.root)
    assert "missing" not in report.flags
    assert report.summary["total_images"] == 2


def decision(run, index: int, status: str, reviewer: str = "ann", **more) -> None:
    from engine.core.reviews import Decision

    line = Decision(
        status=status, image_id=f"sm_20260121_{index:04d}", index=index, id=f"{reviewer}-{index:06d}",
        generated_at="2026-01-22T10:00:00Z", reviewer=reviewer, drawn="sample", **more,
    )  # fmt: skip
    with (run.root / "log" / "reviews.jsonl").open("ab") as log:
        log.write(encode_line(line))


def test_what_people_reject_is_critical_and_made_again(sound):
    decision(sound, 1, "reject")
    decision(sound, 2, "accept")
    decision(sound, 3, "accept")
    report = run_qa(sound.root)
    assert report.flags == {"rejected": 1}
    assert report.exit_code == 3
    assert rejected_ids(sound.root) == ("sm_20260121_0001",)
    assert report.reviews is not None
    assert report.reviews["acceptance"]["share"] == pytest.approx(2 / 3)
    assert report.reviews["acceptance"]["low"] < 2 / 3 < report.reviews["acceptance"]["high"]


def test_a_persons_yes_outweighs_a_rule_about_quality(make_run, draw, encode):
    run = make_run()
    for index in (1, 2):
        run.image(index, encode(draw(index).point(lambda v: v // 8)))
    decision(run, 1, "accept")
    report = run_qa(run.root)
    assert report.flags["dark"] == 2
    assert rejected_ids(run.root) == ("sm_20260121_0002",)


def test_agreement_of_two_reviewers_is_told_with_its_kappa(sound):
    for index, (one, other) in enumerate((("accept", "accept"), ("reject", "reject"), ("accept", "reject")), start=1):
        decision(sound, index, one, "ann")
        decision(sound, index, other, "bob")
    report = run_qa(sound.root)
    assert report.reviews is not None
    (pair,) = report.reviews["agreement"]["pairs"]
    assert (pair["images"], pair["agreed"]) == (3, 2)
    assert pair["kappa"] == pytest.approx(0.4)
