"""What the store costs: log appends, pictures by number of threads, resuming a long log, checking a picture.

    python -m benchmarks.store [--lines 1000000] [--dir DIR]

Prints one JSON object. Give --dir a folder on the disk that is to be measured.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio

from engine.store import PictureWriter, RunDir, check_picture, create_run, open_writer, recover, threads
from schemas.outcome import Asset, Usage
from schemas.record import ImageRecord, RunManifest, encode_line

PICTURE_BYTES = 1_500_000


def a_picture(seed: int) -> bytes:
    """A PNG by structure, of the size that Gemini sends."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")

    header = bytes.fromhex("0000040000000400") + b"\x08\x02\0\0\0"
    body = random.Random(seed).randbytes(8192)
    chunks = b"".join(chunk(b"IDAT", body) for _ in range(PICTURE_BYTES // len(body)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunks + chunk(b"IEND", b"")


def a_record(index: int) -> ImageRecord:
    return ImageRecord(
        job=f"{index:032x}",
        status="ok",
        stage="image",
        image_id=f"sm_20260121_{index:04d}",
        index=index,
        attempt=1,
        final=True,
        generated_at="2026-01-21T00:00:00.000Z",
        latency_s=8.25,
        model="gemini-nano-banana-2.1",
        usage=Usage(prompt_tokens=150, output_tokens=1290, total_tokens=1440),
        cost_usd=0.039,
        prompt="A crowd of people on a square in the evening light. " * 12,
        source_data={"atropia": {"title": "t" * 80, "excerpt": "e" * 200}, "demographics": {"age": "25-34"}},
        style="realistic",
        complexity="medium",
        aspect_ratio="1:1",
        resolution="1K",
        asset=Asset(
            path=f"images/0000/sm_20260121_{index:04d}.png",
            sha256="0" * 64,
            size_bytes=PICTURE_BYTES,
            mime_type="image/png",
            width=1024,
            height=1024,
        ),
    )


def a_run(place: Path) -> RunDir:
    run = RunDir(Path(tempfile.mkdtemp(dir=place)) / "run")
    manifest = RunManifest(run_id="b", created_at="", run_date="20260121", versions={}, fingerprints={}, config={})
    create_run(run, manifest)
    return run


async def appends(place: Path, durability: Any, count: int, tasks: int) -> dict[str, Any]:
    run = a_run(place)
    records = [a_record(index) for index in range(1, 200)]
    log = open_writer(run.images_log, durability=durability)

    async def task(n: int) -> None:
        for k in range(count // tasks):
            await log.append(records[(n + k) % len(records)])

    started, cpu = time.perf_counter(), time.thread_time()
    async with anyio.create_task_group() as group:
        for n in range(tasks):
            group.start_soon(task, n)
    spent_s, loop_s = time.perf_counter() - started, time.thread_time() - cpu
    await log.aclose()
    shutil.rmtree(run.root.parent)
    return {
        "durability": durability,
        "tasks": tasks,
        "per_s": round(count / spent_s),
        "loop_cpu_us": round(loop_s / count * 1e6, 1),
    }


async def pictures(place: Path, pool: int, count: int, durability: Any = "strict") -> dict[str, Any]:
    run = a_run(place)
    data = [a_picture(n) for n in range(8)]
    writer = PictureWriter(run, durability=durability, offload=threads(pool))
    todo = iter(range(1, count + 1))
    latencies: list[float] = []

    async def task() -> None:
        for index in todo:
            started = time.perf_counter()
            await writer.save(index, f"p{index}", data[index % 8])
            latencies.append(time.perf_counter() - started)

    started, cpu = time.perf_counter(), time.process_time()
    async with anyio.create_task_group() as group:
        for _ in range(64):
            group.start_soon(task)
    spent_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu
    shutil.rmtree(run.root.parent)
    return {
        "durability": durability,
        "threads": pool,
        "per_s": round(count / spent_s, 1),
        "cpu_ms": round(cpu_s / count * 1e3, 2),
    }


def resume(place: Path, lines: int) -> dict[str, Any]:
    log = place / "resume.jsonl"
    with log.open("wb") as file:
        for index in range(1, lines + 1):
            file.write(encode_line(a_record(index)))
    seen = 0
    cost_usd = 0.0

    def take(lines: list[Any]) -> None:
        nonlocal seen, cost_usd
        for line in lines:
            seen += line.final
            cost_usd += line.cost_usd or 0.0

    started, cpu = time.perf_counter(), time.process_time()
    found = recover(log, place / "quarantine", take=take)
    spent_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu
    size = log.stat().st_size
    log.unlink()
    assert found.lines == seen == lines
    return {
        "lines": lines,
        "line_bytes": size // lines,
        "wall_s": round(spent_s, 2),
        "cpu_s": round(cpu_s, 2),
        "rss_max_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def best_ms(call: Callable[[], object]) -> float:
    times: list[float] = []
    for _ in range(30):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return round(min(times) * 1e3, 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--pictures", type=int, default=400)
    parser.add_argument("--dir", type=Path, default=Path(tempfile.gettempdir()))
    options = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="groundswell-bench-", dir=options.dir))
    try:
        result: dict[str, Any] = {"cores": os.cpu_count(), "resume": resume(place, options.lines)}
        data = a_picture(0)
        result["check_picture_ms"] = {"size_bytes": len(data), "best": best_ms(lambda: check_picture(data))}
        result["appends"] = [
            anyio.run(appends, place, *args)
            for args in (
                ("strict", 20_000, 1000),
                ("strict", 2_000, 20),
                ("strict", 200, 1),
                ("batch", 20_000, 200),
                ("none", 50_000, 1000),
                ("none", 3_000, 1),
            )
        ]
        result["pictures"] = [
            anyio.run(pictures, place, pool, options.pictures, durability)
            for durability, pool in (
                ("strict", 1),
                ("strict", 2),
                ("strict", 4),
                ("strict", 8),
                ("strict", 16),
                ("none", 2),
                ("none", 8),
            )
        ]
    finally:
        shutil.rmtree(place)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
