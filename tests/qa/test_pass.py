"""A whole pass over small runs: what a user reads in report.json."""

from __future__ import annotations

import errno
import json
from types import SimpleNamespace

import polars as pl
import pytest

from engine.errors import RunLocked, StoreError
from engine.qa import duplicates, parts, pictures, run_qa, tabulate
from engine.qa.model import Options


def test_a_whole_run_is_found_excellent_and_exits_zero(make_run, draw, encode):
    run = make_run({"generation": {"num_images": 5}})
    for i in range(1, 6):
        run.image(i, encode(draw(i)))
        run.answer(i)
    report = run_qa(run.root)
    assert report.summary["total_images"] == report.summary["valid_images"] == 5
    assert report.summary["dataset_quality"] == "Excellent"
    assert report.flags == {}
    assert report.exit_code == 0
    written = json.loads((run.root / "qa" / "report.json").read_bytes())
    assert written["captions"] == {"total_files": 5, "coverage_percent": 100.0, "asked": True}
    assert pl.read_parquet(run.root / "qa" / "images.parquet").height == 5


def test_a_run_that_has_not_begun_gives_an_empty_report(make_run):
    report = run_qa(make_run().root)
    assert report.summary["total_images"] == 0
    assert report.exit_code == 0


def test_a_directory_without_a_run_is_refused_with_its_name(tmp_path):
    with pytest.raises(StoreError, match="holds no run"):
        run_qa(tmp_path)


def test_a_damaged_line_is_counted_and_the_others_are_read(make_run, draw, encode):
    run = make_run()
    run.image(1, encode(draw(1)))
    run.write("image", b'{"v":1,"job":"x"\xff torn\n')
    run.image(2, encode(draw(2)))
    report = run_qa(run.root)
    assert report.summary["total_images"] == 2
    assert report.flags["log_damaged"] == 1
    assert report.exit_code == 3


def test_a_line_that_is_being_written_is_left_alone(make_run, draw, encode):
    run = make_run()
    run.image(1, encode(draw(1)))
    before = (run.root / "log" / "images.jsonl").read_bytes()
    run.write("image", b'{"v":1,"job":"00')
    report = run_qa(run.root)
    assert report.summary["total_images"] == 1
    assert "log_damaged" not in report.flags
    assert (run.root / "log" / "images.jsonl").read_bytes() == before + b'{"v":1,"job":"00'


def test_the_newest_final_line_of_an_image_counts(make_run, draw, encode):
    run = make_run()
    run.image(1, None, status="retry", final=False)
    run.image(1, None, status="failed")
    run.image(1, encode(draw(1)), attempt=2)
    run.image(2, encode(draw(2)))
    run.image(2, None, status="failed", attempt=2)
    report = run_qa(run.root)
    assert report.images["asked"]["ok"] == 1
    assert report.images["asked"]["failed"] == 1
    assert report.summary["total_images"] == 1


def test_separate_metadata_calls_are_read_as_one_answer(make_run, draw, encode):
    run = make_run()
    run.image(1, encode(draw(1)))
    run.answer(1, tasks=("caption",), labels=None, comments=None)
    run.answer(1, tasks=("labels",), caption=None, captions=(), comments=None)
    run.answer(1, tasks=("comments",), caption=None, captions=(), labels=None)
    report = run_qa(run.root)
    assert [report.captions["total_files"], report.labels["total_files"], report.comments["total_files"]] == [1, 1, 1]
    assert report.flags == {}


def test_a_text_counts_as_long_as_its_picture_is_the_same_and_no_longer(make_run, draw, encode):
    """Made anew, picture 1 came out as it was; picture 2 did not, and what was said of the old one is left out."""
    from engine.export.reading import RunReading
    from engine.review.catalogue import Catalogue

    run = make_run()
    for index in (1, 2):
        run.image(index, encode(draw(index)))
        run.answer(index)
    later = "2026-01-21T11:00:00.000Z"
    for index, picture in ((1, 1), (2, 3)):
        run.image(index, None, status="retry", final=False, generated_at="2026-01-21T10:30:00.000Z")
        run.image(index, encode(draw(picture)), attempt=2, generated_at=later)
    assert run_qa(run.root).captions["total_files"] == 1
    assert [item.caption is not None for item in RunReading(run.root)] == [True, False]
    catalogue = Catalogue(run.root / "log/images.jsonl", run.root / "log/metadata.jsonl")
    catalogue.refresh()
    assert [bool(catalogue.metadata(position)) for position in (0, 1)] == [True, False]


def test_a_pass_finds_the_same_however_small_its_slices_are(make_run, draw, encode, monkeypatch):
    """Images come in any order, some are made again, some are copies; what is found is in the run's order."""
    run = make_run()
    for index in (7, 3, 11, 1, 9, 5, 2, 12, 4, 10, 8, 6):
        run.image(index, encode(draw(index % 5)))
        run.answer(index)
    run.image(3, None, status="retry", final=False, attempt=2)
    run.image(3, encode(draw(20)), attempt=2)
    whole = run_qa(run.root)
    names = ("images", "answers", "duplicates", "clusters", "contradictions")
    tables = {name: pl.read_parquet(run.root / "qa" / f"{name}.parquet") for name in names}
    assert tables["images"]["index"].to_list() == [*range(1, 13)]
    assert tables["clusters"]["keep"].sum() == 4
    monkeypatch.setattr(pictures, "SLICE_ROWS", 2)
    monkeypatch.setattr(duplicates, "SLICE_ROWS", 2)
    monkeypatch.setattr(parts, "PARTS_AT_ONCE", 1)
    monkeypatch.setattr(tabulate, "ROWS_PER_PART", 1)
    sliced = run_qa(run.root)
    for name, table in tables.items():
        assert table.equals(pl.read_parquet(run.root / "qa" / f"{name}.parquet")), name
    assert (sliced.flags, sliced.duplicates, sliced.captions) == (whole.flags, whole.duplicates, whole.captions)


@pytest.mark.parametrize(
    ("said", "free_bytes"),
    [
        (pl.exceptions.ComputeError("parquet: underlying IO error: No space left on device (os error 28)"), 1 << 40),
        (pl.exceptions.ComputeError("parquet: Invalid thrift: transport error"), 4096),
        (OSError(errno.ENOSPC, "No space left on device"), 1 << 40),
    ],
    ids=["said in passing", "a table cut short", "said by the system"],
)
def test_a_disk_that_fills_up_during_a_pass_is_told_and_leaves_the_run_as_it_was(
    make_run, draw, encode, monkeypatch, said, free_bytes
):
    run = make_run()
    run.image(1, encode(draw(1)))

    def full(*_: object, **__: object) -> None:
        raise said

    with monkeypatch.context() as patch:
        patch.setattr(pl.LazyFrame, "sink_parquet", full)
        patch.setattr("engine.qa.run.shutil.disk_usage", lambda _: SimpleNamespace(free=free_bytes))
        with pytest.raises(StoreError, match=r"qa: the disk is full; free space .*run the same command again"):
            run_qa(run.root)
    assert not list((run.root / "qa").glob(".work-*"))
    assert run_qa(run.root).summary["valid_images"] == 1


def test_a_fault_in_a_query_is_not_called_a_full_disk(make_run, draw, encode, monkeypatch):
    run = make_run()
    run.image(1, encode(draw(1)))

    def faulty(*_: object, **__: object) -> None:
        raise pl.exceptions.ComputeError("no such thing")

    monkeypatch.setattr(pl.LazyFrame, "sink_parquet", faulty)
    with pytest.raises(pl.exceptions.ComputeError, match="no such thing"):
        run_qa(run.root)


def test_a_second_pass_at_the_same_time_is_refused_and_harms_nothing(make_run, draw, encode):
    run = make_run()
    run.image(1, encode(draw(1)))
    refused = []

    def meanwhile(_: object) -> None:
        with pytest.raises(RunLocked, match="another pass of QA is at work there"):
            run_qa(run.root)
        refused.append(True)

    assert run_qa(run.root, options=Options(on_progress=meanwhile)).summary["valid_images"] == 1
    assert refused
    assert run_qa(run.root).summary["valid_images"] == 1
