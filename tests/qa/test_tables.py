"""Logs into tables: in one process or several, with damage, with shapes that are the user's own."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.qa import tables as tables_module
from engine.qa.tables import Tables, build_tables
from schemas.config import Metadata

ASKED = Metadata(label_categories=("setting", "primary_subjects", "digital text"))


def tabulated(run: Any, name: str = "out") -> Tables:
    work, out = run.root / "work", run.root / name
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    out.mkdir()
    return build_tables(run.root / "log/images.jsonl", run.root / "log/metadata.jsonl", ASKED, work=work, out=out)


def rows(table: Path) -> pl.DataFrame:
    return pl.scan_parquet(table).collect().sort("line")


@pytest.fixture
def long_run(make_run: Callable[..., Any]) -> Any:
    run = make_run()
    for index in range(1, 301):
        run.image(index, None, status="ok" if index % 7 else "refused")
        run.answer(index)
    return run


def test_two_processes_make_the_same_tables_as_one(long_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    log = long_run.root / "log/images.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    lines[220] = lines[220].replace(b"banners", b"bananas", 1)
    log.write_bytes(b"".join(lines) + b'{"torn":')
    alone = tabulated(long_run, "alone")
    monkeypatch.setattr(tables_module, "BYTES_PER_PROCESS", 1)
    monkeypatch.setattr(tables_module, "cores", lambda: 2)
    told: list[int] = []
    shutil.rmtree(long_run.root / "work")
    (long_run.root / "work").mkdir()
    (long_run.root / "shared").mkdir()
    shared = build_tables(
        log, long_run.root / "log/metadata.jsonl", ASKED, work=long_run.root / "work",
        out=long_run.root / "shared", tick=lambda stage, lines: told.append(lines) if stage == "image" else None,
    )  # fmt: skip
    assert told[-1] == 300
    for reading in (alone.images_log, shared.images_log):
        assert (reading.lines, reading.damaged, reading.pending_bytes) == (300, 1, 8)
        assert (reading.damage[0].line, reading.damage[0].reason) == (221, "checksum")
        assert reading.damage[0].offset == sum(map(len, lines[:220]))
    assert rows(shared.prompts).equals(rows(alone.prompts))
    assert rows(shared.metadata).equals(rows(alone.metadata))
    assert rows(shared.attempts).height == 599


def test_a_process_that_cannot_be_had_costs_time_and_nothing_else(
    long_run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tables_module, "BYTES_PER_PROCESS", 1)
    monkeypatch.setattr(tables_module, "cores", lambda: 2)
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\nexit 9\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    assert rows(tabulated(long_run).prompts).height == 300


def test_source_data_of_a_prompt_file_may_have_any_shape(make_run: Callable[..., Any]) -> None:
    run = make_run()
    shapes = [
        {"atropia": "a word", "demographics": [1, 2], "theme": 7, "setting": None},
        {"atropia": {"theme": "strike", "location": ["x"]}, "demographics": {"gender": "Female", "others": [3]}},
        {"demographics": {"gender": "MALE", "age_group": 40, "others": [{"gender": "female"}, {"gender": "Male"}]}},
        {},
    ]
    for index, source in enumerate(shapes, start=1):
        run.image(index, None, source_data=source)
    found = rows(tabulated(run).prompts)
    assert found["theme"].to_list() == ["7", "strike", None, None]
    assert found["location"].to_list() == [None, '["x"]', None, None]
    assert found["gender"].to_list() == [None, "female", "male", None]
    assert found["age_group"].to_list() == [None, None, "40", None]
    assert found["women_asked"].to_list() == [0, 1, 1, 0]
    assert found["men_asked"].to_list() == [0, 0, 2, 0]


def test_labels_of_any_shape_arrive_as_text_under_either_name(make_run: Callable[..., Any]) -> None:
    run = make_run()
    run.answer(1, labels={"setting": "street", "primary_subjects": ["a", "b"], "digital_text": "STOP"})
    run.answer(2, labels={"setting": True, "primary_subjects": {"x": 1}, "digital text": "GO"}, comments=("one",))
    run.answer(3, labels=None, comments=None, caption=None)
    found = rows(tabulated(run).metadata)
    assert found["label"].struct.field("setting").to_list() == ["street", "true", None]
    assert found["label"].struct.field("primary_subjects").to_list() == ['["a","b"]', '{"x":1}', None]
    assert found["label"].struct.field("digital_text").to_list() == ["STOP", "GO", None]
    assert [len(c) if c is not None else None for c in found["comments"].to_list()] == [5, 1, None]


def test_a_line_that_is_no_record_is_counted_and_left_out(make_run: Callable[..., Any]) -> None:
    run = make_run()
    run.image(1, None)
    run.image(2, None, attempt="first")
    run.image(3, None)
    tables = tabulated(run)
    assert rows(tables.prompts)["index"].to_list() == [1, 3]
    assert [(d.line, d.reason) for d in tables.images_log.damage] == [(2, "not a record of this version")]


def test_a_run_without_logs_has_empty_tables(make_run: Callable[..., Any]) -> None:
    tables = tabulated(make_run())
    assert rows(tables.prompts).height == rows(tables.metadata).height == 0
    assert tables.images_log.lines == 0
