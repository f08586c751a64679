"""Reading a run for export: which lines count, and what happens to those that do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from engine.core.reviews import Decision
from engine.errors import StoreError
from engine.export.reading import RunReading
from schemas.record import ImageRecord, encode_line


def ids(reading: RunReading) -> list[str]:
    return [item.image.image_id for item in reading]


def test_items_come_in_the_order_of_the_run_however_the_log_was_written(run: Any) -> None:
    reading = RunReading(run.dir.root)
    assert [item.image.index for item in reading] == [1, 2, 4]
    assert [item.caption for item in reading] == ["Caption 1.", "Caption 2.", "Caption 4."]
    assert (len(reading), reading.refused, reading.failed) == (3, 1, 0)


def test_separate_calls_are_joined(make_run: Callable[..., Any]) -> None:
    made = make_run()
    made.image(1)
    made.metadata(1, tasks=("comments",))
    made.metadata(1, tasks=("caption",))
    (item,) = RunReading(made.dir.root)
    assert item.caption == "Caption 1."
    assert item.comments is not None
    assert item.labels is None
    assert item.metadata_usd == pytest.approx(0.002)


def test_half_a_line_at_the_end_is_not_there_yet(run: Any) -> None:
    whole = run.dir.images_log.read_bytes()
    run.append(run.dir.images_log, whole.splitlines(keepends=True)[0][:40])
    assert len(RunReading(run.dir.root)) == 3


def test_damaged_lines_are_left_out_and_counted(run: Any) -> None:
    run.append(run.dir.images_log, b'{"v":1,"job":"x","crc":"00000000"}\n')
    reading = RunReading(run.dir.root)
    assert (len(reading), reading.damaged) == (3, 1)


def test_a_picture_that_is_asked_for_again_is_not_exported(run: Any) -> None:
    run.image(1, status="retry", final=False)
    assert ids(RunReading(run.dir.root)) == ["sm_20260121_0002", "sm_20260121_0004"]


def test_texts_of_an_earlier_picture_do_not_describe_the_new_one(run: Any) -> None:
    run.image(1, at="2026-01-22T08:00:00.000Z", colour=(1, 2, 3))
    first = next(iter(RunReading(run.dir.root)))
    assert (first.caption, first.labels, first.comments) == (None, None, None)
    run.metadata(1, at="2026-01-22T08:01:00.000Z")
    assert next(iter(RunReading(run.dir.root))).caption == "Caption 1."


def decide(run: Any, image_id: str, index: int, status: str, sha256: str | None = None) -> None:
    decision = Decision(
        status=status,  # type: ignore[arg-type]
        image_id=image_id,
        index=index,
        id=f"{image_id}-{status}".replace("_", "-"),
        reviewer="ann",
        generated_at="2026-01-23T10:00:00Z",
        sha256=sha256,
    )
    run.append(run.dir.reviews_log, encode_line(decision))


def test_what_people_decided_chooses_the_images(run: Any) -> None:
    decide(run, "sm_20260121_0001", 1, "reject")
    decide(run, "sm_20260121_0002", 2, "accept")
    root = run.dir.root
    assert len(ids(RunReading(root))) == 3
    assert ids(RunReading(root, choice="not-rejected")) == ["sm_20260121_0002", "sm_20260121_0004"]
    assert ids(RunReading(root, choice="accepted")) == ["sm_20260121_0002"]


def test_a_decision_on_a_picture_made_anew_since_does_not_count(run: Any) -> None:
    decide(run, "sm_20260121_0001", 1, "reject", sha256="0" * 64)
    assert len(ids(RunReading(run.dir.root, choice="not-rejected"))) == 3


def test_a_log_that_points_outside_the_run_is_not_followed(make_run: Callable[..., Any]) -> None:
    made = make_run()
    made.image(1)
    lines = made.dir.images_log.read_bytes()
    record = msgspec.json.decode(lines.splitlines()[0], type=ImageRecord)
    moved = msgspec.structs.replace(record, asset=msgspec.structs.replace(record.asset, path="../../etc/passwd"))
    made.dir.images_log.write_bytes(encode_line(moved))
    with pytest.raises(StoreError, match="outside the run"):
        list(RunReading(made.dir.root))
