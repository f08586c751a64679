"""A real file system that fills up while calls are in flight."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1100m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("this user may not mount a file system of its own")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=False)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_disk_that_fills_up_stops_the_run_loses_nothing_paid_and_is_continued(
    tmp_path: Path, small_disk: Path, shell: Any, simulator: Any
) -> None:
    sim = simulator(picture="pool", latency=1.0)
    shell.configure(tmp_path, generation={"num_images": 60}, rate_limiting={"max_in_flight": 8})
    out = small_disk / "out"
    words = ("run", "--out", out, "--stages", "image", "--json")
    # Another program fills the disk once the run has started; some ten pictures fit beside the reserve.
    process = shell.start(*words, cwd=tmp_path, base_url=sim.base_url)
    shell.wait_for(lambda: shell.count(out / "log/images.jsonl") >= 4)
    free = int(
        subprocess.run(["df", "--output=avail", "-B1", small_disk], capture_output=True, text=True).stdout.split()[1]
    )
    subprocess.run(["fallocate", "-l", str(free - 25_000_000), small_disk / "other"], check=True)
    stdout, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    assert b"disk is full" in err
    assert b"Traceback" not in err
    summary = json.loads(stdout)
    assert summary["stopped_by"] == "disk"
    recorded = [x for x in shell.lines(out / "log/images.jsonl") if x["status"] == "ok"]
    assert len(recorded) == sim.stats.paid, "a picture that was paid for did not reach the disk"
    for line in recorded:
        assert hashlib.sha256((out / line["asset"]["path"]).read_bytes()).hexdigest() == line["asset"]["sha256"]
    refused = shell.call(*words, cwd=tmp_path, base_url=sim.base_url)
    assert refused.code == 1
    assert sim.stats.paid == len(recorded), "a run was started that could not fit"
    (small_disk / "other").unlink()
    rest = shell.call(*words, cwd=tmp_path, base_url=sim.base_url)
    assert rest.code == 0, rest.err
    assert sim.stats.paid == 60


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_spent(
    tmp_path: Path, shell: Any, simulator: Any
) -> None:
    sim = simulator()
    (tmp_path / "file").write_text("not a folder")
    done = shell.call("run", "--out", "file/out", "--images", "2", cwd=tmp_path, base_url=sim.base_url)
    assert done.code in (1, 2)
    assert "file" in done.err
    assert "Traceback" not in done.err
    assert sim.stats.calls == 0
