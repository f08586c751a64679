"""QA's tables on the page: findings, near-duplicates, and all the ways in which they may not be there."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl

from engine.review.findings import read_findings
from engine.review.queue import Filter
from engine.review.server import open_board


def write_tables(run: Path) -> None:
    (run / "qa").mkdir(exist_ok=True)
    ids = [f"sm_20260121_{i:04d}" for i in range(1, 5)]
    pl.DataFrame(
        {
            "image_id": ids,
            "flags": [["dark"], ["grey"], [], ["dark", "a_check_of_tomorrow"]],
            "fault": ["mean 4", None, None, None],
        },
        schema_overrides={"flags": pl.List(pl.String)},
    ).write_parquet(run / "qa/images.parquet")
    pl.DataFrame({"image_id": [ids[0], ids[0]], "flags": [["contradiction"], []]}).write_parquet(
        run / "qa/answers.parquet"
    )
    pl.DataFrame({"image_id": [ids[0]], "rule": ["night asked for, noon labelled"]}).write_parquet(
        run / "qa/contradictions.parquet"
    )
    pl.DataFrame(
        {"image_a": [ids[2]], "image_b": [ids[3]], "kind": ["edited"], "similarity_percent": [93.75]}
    ).write_parquet(run / "qa/duplicates.parquet")


def test_findings_and_near_duplicates_are_shown(run_dir: Path) -> None:
    write_tables(run_dir)
    board, _ = open_board(run_dir)
    dark = board.shown("sm_20260121_0001", "ana")
    assert {f.title: f.message for f in dark.findings} == {
        "Contradiction": "night asked for, noon labelled",
        "Too dark": "Even the brightest parts are dark. (mean 4)",
    }
    twin = board.shown("sm_20260121_0003", "ana").duplicates
    assert [(t.id, t.kind, t.similarity_percent) for t in twin] == [("sm_20260121_0004", "edited", 93.75)]
    session = board.session()
    assert session["findings"]["dark"] == 2
    assert session["qa_problem"] is None


def test_what_is_flagged_can_be_drawn_and_mere_information_is_not(run_dir: Path) -> None:
    write_tables(run_dir)
    board, _ = open_board(run_dir)
    flagged = board.queue(Filter(draw="flagged"), "ana")
    assert [card.id[-1] for card in flagged.cards] == ["1", "3", "4"]
    assert flagged.drawn == "flagged"
    dark = board.queue(Filter(draw="all", finding="dark"), "ana")
    assert ([card.id[-1] for card in dark.cards], dark.drawn) == (["1", "4"], "filter")


def test_qa_that_runs_during_the_review_shows_in_the_next_queue(run_dir: Path) -> None:
    board, _ = open_board(run_dir)
    assert board.session()["qa_problem"]
    assert board.queue(Filter(draw="flagged"), "ana").total == 0
    write_tables(run_dir)
    assert board.queue(Filter(draw="flagged"), "ana").total == 3


def test_unchanged_tables_are_not_read_again(run_dir: Path) -> None:
    write_tables(run_dir)
    first = read_findings(run_dir / "qa")
    assert read_findings(run_dir / "qa", first) is first
    os.utime(run_dir / "qa/images.parquet", ns=(1, 1))
    assert read_findings(run_dir / "qa", first) is not first


def test_a_damaged_table_is_told_and_hides_nothing_else(run_dir: Path) -> None:
    write_tables(run_dir)
    (run_dir / "qa/answers.parquet").write_bytes(b"PAR1 torn")
    found = read_findings(run_dir / "qa")
    assert "answers.parquet" in (found.problem or "")
    assert len(found.by_image) == 3
