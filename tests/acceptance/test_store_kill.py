"""SIGKILL at random moments, torn and zeroed tails: what was acknowledged is there, the rest is taken up."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.store import RunDir, adopt_orphans, create_run, read_records, recover, verify
from engine.store.log import append_lines
from schemas.outcome import Usage
from schemas.record import ImageRecord, RunManifest, Start, encode_line

KILLS = int(os.environ.get("GROUNDSWELL_KILLS", "12"))
WORKERS = 8

WRITER = """
import io, random, sys
import anyio
from PIL import Image
from engine.store import PICTURE_THREADS, RunDir, RunLock, PictureWriter, open_writer, threads
from schemas.outcome import Usage
from schemas.record import ImageRecord, Start

def picture(index):
    out = io.BytesIO()
    Image.frombytes("RGB", (64, 64), random.Random(index).randbytes(64 * 64 * 3)).save(out, "PNG")
    return out.getvalue()

def common(index, attempt):
    return dict(job=f"{index:032x}", stage="image", image_id=f"sm_{index:04d}", index=index, attempt=attempt,
                generated_at="2026-01-21T00:00:00Z", model="m")

async def main(root, todo):
    run = RunDir(root)
    pictures = PictureWriter(run, offload=threads(PICTURE_THREADS))
    todo = iter(todo)
    with RunLock(run):
        async with open_writer(run.attempts_log) as attempts, open_writer(run.images_log) as log:
            async def worker():
                for index, attempt in todo:
                    await attempts.append(Start(status="start", **common(index, attempt)))
                    asset = await pictures.save(index, f"sm_{index:04d}", picture(index))
                    await log.append(ImageRecord(status="ok", final=True, latency_s=0, usage=Usage(), cost_usd=0.039,
                        prompt="p" * 500, source_data={}, style=None, complexity=None, aspect_ratio=None,
                        resolution=None, asset=asset, **common(index, attempt)))
                    print(index, flush=True)
            async with anyio.create_task_group() as group:
                for _ in range(int(sys.argv[3])):
                    group.start_soon(worker)

anyio.run(main, sys.argv[1], [tuple(map(int, each.split(":"))) for each in sys.argv[2].split(",")])
"""


def adopted_line(start: Start, asset: object) -> ImageRecord:
    return ImageRecord(
        job=start.job,
        status="ok",
        stage="image",
        image_id=start.image_id,
        index=start.index,
        attempt=start.attempt,
        final=True,
        generated_at="2026-01-21T00:00:00Z",
        latency_s=0,
        model="m",
        usage=Usage(),
        cost_usd=None,
        adopted=True,
        prompt="p",
        source_data={},
        style=None,
        complexity=None,
        aspect_ratio=None,
        resolution=None,
        asset=asset,  # type: ignore[arg-type]
    )


@pytest.mark.slow
def test_killed_again_and_again_a_run_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    rng = random.Random(11)
    run = RunDir(tmp_path / "run")
    create_run(
        run, RunManifest(run_id="r", created_at="", run_date="20260121", versions={}, fingerprints={}, config={})
    )
    target = 60 * KILLS
    promised: set[int] = set()
    attempts: dict[int, int] = {}
    kills = asked = adopted_total = torn_total = 0
    while True:
        ended: set[int] = set()
        started: dict[int, Start] = {}
        for path, kind in ((run.images_log, ImageRecord), (run.attempts_log, Start)):
            recovery = recover(path, run.quarantine)
            assert recovery.damaged == ()
            torn_total += recovery.cut_bytes > 0
            for line in read_records(path, kind):
                if isinstance(line, Start):
                    started[line.index] = line
                    attempts[line.index] = line.attempt
                else:
                    assert line.index not in ended, "settled twice"
                    ended.add(line.index)
        assert promised <= ended, "an acknowledged line is gone"
        in_doubt = [start for index, start in started.items() if index not in ended]
        assert len(in_doubt) <= WORKERS, "more calls in doubt than were in flight"
        found = adopt_orphans(run, [(start.index, start.image_id) for start in in_doubt]).assets
        adopted = [start for start in in_doubt if start.image_id in found]
        if adopted:
            append_lines(run.images_log, [encode_line(adopted_line(start, found[start.image_id])) for start in adopted])
            adopted_total += len(adopted)
        ended |= {start.index for start in adopted}
        assert verify(run).findings == ()
        todo = [f"{index}:{attempts.get(index, 0) + 1}" for index in range(1, target + 1) if index not in ended]
        if not todo:
            break
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(run.root), ",".join(todo), str(WORKERS)],
            stdout=subprocess.PIPE,
            text=True,
        ) as writer:
            assert writer.stdout is not None
            told: list[str] = []
            while line := writer.stdout.readline():
                told.append(line)
                if kills < KILLS and len(told) == 1:
                    time.sleep(rng.random() * 0.06)  # a random moment of a real process
                    writer.kill()
                    kills += 1
            writer.wait()
        asked += len(told)
        promised |= {int(line) for line in told if line.endswith("\n")}
        if kills < KILLS:  # what a crash of the machine may add: junk after the last acknowledged byte
            with run.images_log.open("ab") as log:
                log.write(rng.choice([b"", b'{"v":1,"job":"' + rng.randbytes(9).hex().encode(), bytes(700)]))
    assert kills == KILLS
    assert len(promised) + adopted_total >= target * 0.9
    assert torn_total > 0
    print(f"{kills} kills, {target} images, {adopted_total} adopted, {torn_total} torn tails")
