"""Copies are found, relatives are not, and the report says which to keep."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image, ImageEnhance, ImageOps

from engine.qa import rejected, rejected_ids, run_qa
from engine.qa.duplicates import threshold_distance
from engine.qa.report import grade


def load_planted():
    path = Path(__file__).parents[2] / "benchmarks" / "planted.py"
    spec = importlib.util.spec_from_file_location("planted", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["planted"] = module
    spec.loader.exec_module(module)
    return module


def pairs_of(root: Path) -> dict[tuple[int, int], str]:
    frame = pl.read_parquet(root / "qa" / "duplicates.parquet")
    rows = frame.select("image_a", "image_b", "kind").iter_rows()
    return {(int(a[-4:]), int(b[-4:])): kind for a, b, kind in rows}


def test_edited_copies_are_found_and_scenes_of_one_composition_are_not(make_run, encode):
    planted = load_planted()
    run = make_run()
    kinds = list(planted.EDITS)
    rng = np.random.default_rng(1)
    for index, kind in enumerate(kinds, start=1):
        base = planted.scene(index, 256)
        run.image(index, encode(base))
        run.image(100 + index, encode(planted.EDITS[kind][0](base, rng)))
    for index in range(50, 80):
        run.image(index, encode(planted.scene(index, 256)))
    run_qa(run.root)
    found = pairs_of(run.root)
    copies = {(i, 100 + i) for i in range(1, len(kinds) + 1)}
    assert set(found) <= copies, "a pair that is none"
    missed = [kinds[a - 1] for a, _ in copies - set(found)]
    assert set(missed) <= {"hue"}, missed


def test_the_same_bytes_and_a_re_encoding_are_told_apart(make_run, draw, encode):
    run = make_run()
    data = encode(draw(1))
    run.image(1, data)
    run.image(2, data)
    run.image(3, encode(draw(1), "JPEG", quality=80), suffix=".jpg")
    run.image(4, encode(ImageOps.mirror(draw(1))))
    run.image(5, encode(draw(5)))
    report = run_qa(run.root)
    found = pairs_of(run.root)
    assert found[1, 2] == "file"
    assert found[1, 3] == "same"
    assert found[1, 4] == "edited"
    assert not any(5 in pair for pair in found)
    assert report.duplicates["num_duplicates"] == 2  # as the original counts: hashes alike, mirrors not
    assert report.duplicates["redundant_images"] == 3
    assert report.duplicates["clusters"] == 1
    assert len(rejected_ids(run.root)) == 3


def test_one_of_a_cluster_is_kept_and_the_others_are_made_again(make_run, draw, encode):
    run = make_run()
    for index in range(1, 5):
        run.image(index, encode(ImageEnhance.Brightness(draw(1)).enhance(1 + index / 50)))
    run.image(9, encode(draw(9)))
    run_qa(run.root)
    clusters = pl.read_parquet(run.root / "qa" / "clusters.parquet")
    assert clusters.height == 4
    assert clusters["keep"].sum() == 1
    again = rejected(run.root)
    assert len(again) == 3
    assert {r.reasons for r in again} == {("duplicate",)}


def test_a_crowd_of_blank_pictures_is_set_aside_not_paired(make_run, encode):
    run = make_run()
    for index in range(1, 41):
        run.image(index, encode(Image.new("RGB", (128, 128), (index, 90, 40))))
    report = run_qa(run.root)
    assert report.duplicates["num_duplicates"] == 0
    assert report.duplicates["method"]["blank_set_aside"] == 40
    assert report.flags["blank"] == 40


def test_duplicates_are_not_looked_for_when_switched_off(make_run, draw, encode):
    run = make_run({"validation": {"check_duplicates": False}})
    run.image(1, encode(draw(1)))
    run.image(2, encode(draw(1)))
    report = run_qa(run.root)
    assert report.duplicates["num_duplicates"] == 0
    assert report.duplicates["checked"] is False
    assert "duplicate" not in report.flags


@pytest.mark.parametrize(("percent", "bits"), [(100, 0), (95, 3), (90, 6), (98.5, 0), (50, 32)])
def test_a_threshold_in_percent_is_a_distance_of_64_bits_as_in_the_original(percent, bits):
    assert threshold_distance(percent) == bits


@pytest.mark.parametrize(
    ("rate", "duplicates", "complete", "verdict"),
    [
        (100, 0, True, "Excellent"),
        (95, 0, False, "Good"),
        (96, 1, True, "Good"),
        (92, 3, True, "Acceptable"),
        (79.9, 0, True, "Needs Improvement"),
    ],
)
def test_the_grade_is_what_the_original_meant_it_to_be(rate, duplicates, complete, verdict):
    assert grade(rate, duplicates, complete) == verdict
