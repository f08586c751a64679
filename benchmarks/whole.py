"""(c) groundswell, the whole engine: sources, admission, calls, checks, hashes, fsync, both logs.

For `text` the images are made first, unmeasured and tiny; then their metadata is asked for, with the
picture read from disk and sent along, which the other arms do not do.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import engine


def config(kind: str, concurrency: int, count: int, durability: str) -> dict[str, Any]:
    """Everything at its default but the quota, which is not what is measured here."""
    return {
        "generation": {"num_images": count, "model": "gemini-nano-banana-2.1"},
        "metadata": {"model": "gemini-3.1-flash-lite"},
        "rate_limiting": {"max_in_flight": concurrency},
        "output": {"durability": durability},
        "logging": {"log_to_console": False},
    }


async def main() -> None:
    url, count, warmup, out = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    kind, concurrency = sys.argv[5], int(sys.argv[6])
    durability = "strict"
    options = {"base_url": url, "api_key": "bench"}

    async def run(total: int, folder: Path, stage: str) -> Any:
        summary = await engine.run(config(kind, concurrency, total, durability), folder, stages=(stage,), **options)
        done = summary.images if stage == "image" else summary.metadata
        assert done.ok == total, f"{done} of {total}: {summary}"

    stage = "metadata" if kind == "text" else "image"
    if kind == "text":
        await run(warmup, out / "warm", "image")
        await run(count, out / "run", "image")
    await run(warmup, out / "warm", stage)
    started, cpu = time.perf_counter(), time.process_time()
    await run(count, out / "run", stage)
    spent, took = time.process_time() - cpu, time.perf_counter() - started
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"cpu_ms": 1000 * spent / count, "per_s": count / took, "rss_mb": rss}))


if __name__ == "__main__":
    asyncio.run(main())
