"""`groundswell qa`, what it prints and returns, and what people's decisions change."""

from __future__ import annotations

import argparse
import json

import pytest

from engine.cli import qa_command
from engine.errors import ConfigError, StoreError
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


def test_files_that_no_record_names_are_told_and_left_alone(sound, capsys):
    stranger = sound.root / "images" / "holiday.png"
    stranger.write_bytes(b"not ours")
    assert called(str(sound.root)) == 0
    assert "1 files in images/ that no record names (such as images/holiday.png)" in capsys.readouterr().out
    assert stranger.read_bytes() == b"not ours"


def test_a_run_without_images_says_that_there_is_nothing_to_judge(make_run, capsys):
    run = make_run({"generation": {"num_images": 1}})
    assert called(str(run.root)) == 0
    out = capsys.readouterr().out
    assert out.startswith("Nothing to judge yet")
    assert "1 image is not settled yet" in out
    assert "No images yet" in (run.root / "qa" / "report.html").read_text()


def test_thresholds_and_targets_can_be_given_for_one_pass(sound, tmp_path, capsys):
    called(str(sound.root), "--json", "--set", "validation.thresholds.dark_p99=255")
    assert json.loads(capsys.readouterr().out)["flags"]["dark"] == 3
    mine = tmp_path / "strict.yaml"
    mine.write_text("validation: {thresholds: {dark_p99: 255}}\nqa: {targets: {time_of_day: {night: 1.0}}}\n")
    called(str(sound.root), "--json", "--config", str(mine))
    report = json.loads(capsys.readouterr().out)
    assert report["flags"]["dark"] == 3
    assert report["statistics"]["targets"][0]["category"] == "time_of_day"
    with pytest.raises(ConfigError, match="only be given keys of validation and qa"):
        called(str(sound.root), "--set", "generation.num_images=9")


def test_every_field_of_the_originals_report_is_there(sound):
    report = json.loads(run_qa(sound.root).json())
    assert {"total", "valid", "invalid", "validation_rate", "results"} <= report["images"].keys()
    for part in ("metadata", "captions", "labels", "comments"):
        assert {"total_files", "coverage_percent"} <= report[part].keys()
    assert report["summary"]["dataset_quality"] in {"Excellent", "Good", "Acceptable", "Needs Improvement"}


def test_recommended_commands_are_quoted_and_say_what_the_run_needs(make_run, draw, encode):
    import shlex

    import msgspec

    from engine.qa.model import Options
    from schemas.record import RunManifest

    run = make_run()
    manifest = msgspec.json.decode((run.root / "run.json").read_bytes(), type=RunManifest)
    fingerprints = {"answers": "simulator", "prompts": "prompt-file"}
    odd = run.root.with_name("my run; rm -rf")
    run.root.rename(odd)
    run.root = odd
    told = msgspec.structs.replace(manifest, fingerprints=fingerprints)
    (odd / "run.json").write_bytes(msgspec.json.encode(told))
    run.image(1, encode(draw(1)))
    next((odd / "images").rglob("*.png")).write_bytes(b"")
    report = run_qa(odd, options=Options(html=False))
    command = next(a.command for a in report.actions if a.command and "--redo qa" in a.command)
    assert shlex.split(command) == [
        "groundswell", "run", "--out", str(odd), "--config", str(odd / "run.json"), "--prompts", "YOUR_PROMPT_FILE",
        "--images", "50", "--simulate", "--redo", "qa",
    ]  # fmt: skip
