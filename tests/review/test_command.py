"""`groundswell review`: its export and its merge, as a user types them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import msgspec
import pytest

from engine.cli.review_command import add_arguments, run
from engine.core.reviews import Decision
from engine.errors import ConfigError
from engine.review import notebook_html, open_board


def review(*words: object) -> int:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return run(parser.parse_args([str(word) for word in words]))


def test_a_file_holds_the_whole_page(run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert review(run_dir, "--static", tmp_path / "out" / "page.html", "--sample", "4", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    page = Path(told["path"]).read_text(encoding="utf-8")
    assert told["images"] == 4
    assert page.count("data:image/jpeg;base64,") == 4
    assert "<script src" not in page
    assert "http://" not in page.replace("http://127.0.0.1", "")
    assert 'src="review.js"' not in page
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["page.html"]


def test_a_folder_holds_the_originals(run_dir: Path, tmp_path: Path) -> None:
    assert review(run_dir, "--static", tmp_path / "out", "--draw", "all") == 0
    assert review(run_dir, "--static", tmp_path / "out", "--draw", "all") == 0  # again, in its place
    pictures = tmp_path / "out/large"
    assert len(list(pictures.glob("*.png"))) == 12
    original = (run_dir / "images/0000/sm_20260121_0001.png").read_bytes()
    assert (pictures / "sm_20260121_0001.png").read_bytes() == original


def test_a_folder_with_something_else_is_left_alone(run_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/thesis.txt").write_text("words", encoding="utf-8")
    with pytest.raises(ConfigError, match="holds something else"):
        review(run_dir, "--static", tmp_path / "precious")


def test_an_exported_page_does_not_tell_what_others_decided(run_dir: Path, tmp_path: Path) -> None:
    board, _ = open_board(run_dir)
    board.log.append(
        [
            Decision(
                status="reject",
                image_id="sm_20260121_0001",
                index=1,
                id="decision-1",
                reviewer="a colleague",
                generated_at="2026-01-21T10:00:00.000Z",
                notes="not to be seen",
            )
        ]
    )
    review(run_dir, "--static", tmp_path / "page.html", "--draw", "all")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "not to be seen" not in page
    assert "a colleague" not in page


def test_a_missing_picture_is_named_and_the_rest_exported(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run_dir / "images/0000/sm_20260121_0005.png").unlink()
    assert review(run_dir, "--static", tmp_path / "page.html", "--draw", "all") == 0
    assert "sm_20260121_0005" in capsys.readouterr().err


def test_merging_twice_adds_nothing(run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    decision = Decision(
        status="accept",
        image_id="sm_20260121_0002",
        index=2,
        id="decision-2",
        reviewer="ana",
        generated_at="2026-01-21T10:00:00.000Z",
    )
    file = tmp_path / "reviews.jsonl"
    file.write_bytes(msgspec.json.encode(decision) + b"\n")
    assert review(run_dir, "--merge", file, "--json") == 0
    assert review(run_dir, "--merge", file) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert json.loads(first)["added"] == 1
    assert second == "0 decisions added, 1 known already"


@pytest.mark.parametrize(
    ("words", "why"),
    [(["--sample", "0"], "--sample 0"), (["--reviewer", " "], "--reviewer"), (["--reviewer", "x" * 65], "--reviewer")],
)
def test_what_makes_no_sense_is_named(run_dir: Path, words: list[str], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        review(run_dir, *words)


def test_a_notebook_gets_one_escaped_frame(run_dir: Path) -> None:
    frame = notebook_html(*open_board(run_dir))
    assert frame.startswith('<iframe srcdoc="&lt;!doctype html')
    assert frame.count("<") == 2  # the frame's own tags alone
