"""A pass does not hold what it looks at: three times as many pictures take about as much memory."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.qa import candidates
from engine.qa.cache import keep
from engine.qa.candidates import Nearest, Search
from engine.qa.hamming import Workers
from engine.qa.hashes import THUMB_PX, VARIANTS
from engine.qa.look import Look
from schemas.outcome import Asset, Usage
from schemas.record import ImageRecord, encode_line

PASS = """
import resource, sys
from engine.qa import run_qa
from engine.qa.model import Options
report = run_qa(sys.argv[1], options=Options(html=False))
print(report.summary["total_images"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def write_seen(root: Path, count: int) -> None:
    """An image log of so many pictures, and a cache that holds a look at each: no file has to be there."""
    rng = np.random.default_rng(1)
    looks = root / "qa" / "looks"
    looks.mkdir(parents=True)
    rows: list[tuple[dict[str, object], Look]] = []
    with (root / "log" / "images.jsonl").open("wb") as log:
        for index in range(1, count + 1):
            asset = Asset(
                path=f"images/{index // 1000:04d}/sm_20260121_{index:07d}.png", sha256=f"{index:064x}",
                size_bytes=1_000_000, mime_type="image/png", width=1024, height=1024,
            )  # fmt: skip
            log.write(encode_line(ImageRecord(
                job=f"{index:032x}", status="ok", stage="image", image_id=f"sm_20260121_{index:07d}", index=index,
                attempt=1, final=True, generated_at="2026-01-21T00:00:00Z", latency_s=1.0, model="m", usage=Usage(),
                cost_usd=0.039, prompt=f"A march, number {index}, with banners", source_data={}, style=None,
                complexity=None, aspect_ratio="1:1", resolution="1K", asset=asset,
            )))  # fmt: skip
            hashes: list[int] = rng.integers(0, 2**64, len(VARIANTS), dtype=np.uint64).tolist()
            look = Look(
                integrity=[], mime_found="image/png", width_found=1024, height_found=1024, luma_mean=120.0,
                luma_std=50.0, luma_p5=10.0, luma_p99=250.0, entropy_bits=7.0, sharpness=2.0, chroma_std=30.0,
                phash=hashes[0], variants=hashes[1:], thumb=bytes(THUMB_PX**2),
            )  # fmt: skip
            rows.append(({"path": asset.path, "sha256": asset.sha256, "file_bytes": -1, "file_mtime_ns": -1}, look))
            if len(rows) == 5_000 or index == count:
                keep(looks, rows)
                rows = []


@pytest.mark.timeout(180)
@pytest.mark.skipif(sys.platform != "linux", reason="the unit of the peak is Linux's")
def test_three_times_as_many_pictures_take_about_as_much_memory(make_run: Callable[..., Any]) -> None:
    peaks: list[int] = []
    for count in (20_000, 60_000):
        run = make_run()
        write_seen(run.root, count)
        done = subprocess.run([sys.executable, "-c", PASS, run.root], check=True, capture_output=True, text=True)
        images, peak = done.stdout.split()
        assert int(images) == count
        peaks.append(int(peak))
    further = (peaks[1] - peaks[0]) / 40_000
    assert further < 1_400, f"{further:.0f} bytes for each further picture"  # 800, and 2,100 where tables are held


def test_a_crowd_of_look_alikes_is_searched_without_holding_its_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    most = 10_000
    monkeypatch.setattr(candidates, "CANDIDATES_MAX", most)
    rng = np.random.default_rng(2)
    bits = rng.integers(0, 64, (3_000, 4)).astype(np.uint64)
    crowd = np.unique(np.bitwise_xor.reduce(np.uint64(1) << bits, axis=1))
    with Workers(2) as workers:
        tracemalloc.start()
        search = Search(crowd, workers)
        search.plain(8)
        found = search.candidates()
        held = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    pairs = len(crowd) * (len(crowd) - 1) // 2
    assert pairs > 4_000_000
    assert held < 25_000_000, "all pairs take 45 MB and more"
    assert found.count == most
    apart = np.sort(np.bitwise_count(crowd[found.a] ^ crowd[found.b]))
    every = np.concatenate([np.bitwise_count(crowd[i + 1 :] ^ crowd[i]) for i in range(len(crowd))])
    assert apart.tolist() == np.sort(np.partition(every, most)[:most]).tolist(), "the nearest are kept"


@pytest.mark.parametrize("most", [1, 20, 1_000])
def test_of_each_pair_the_nearest_way_is_kept_and_of_all_pairs_the_nearest(
    monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(candidates, "WAITING_MAX", 7)  # chosen anew again and again
    rng = np.random.default_rng(most)
    pairs = np.array([*combinations(range(40), 2)])
    nearest = Nearest(most)
    told: dict[tuple[int, int], tuple[int, int, int, int]] = {}
    for _ in range(60):
        some = pairs[rng.integers(0, len(pairs), 25)]
        some = np.where(rng.random(len(some))[:, None] < 0.5, some, some[:, ::-1])
        variant = int(rng.integers(0, 10))
        distance = rng.integers(0, 17, len(some)).astype(np.uint8)
        nearest.add(some[:, 0], some[:, 1], distance, variant)
        for (a, b), d in zip(some.tolist(), distance.tolist(), strict=True):
            pair = (min(a, b), max(a, b))
            told[pair] = min(told.get(pair, (99, 99, 99, 99)), (d, variant, a, b))
    found = nearest.result()
    sides = (found.distance, found.variant, found.a, found.b)
    assert sorted(zip(*(side.tolist() for side in sides), strict=True)) == sorted(told.values())[:most]
