"""(c) groundswell, the whole engine: sources, admission, calls, checks, hashes, fsync, both logs.

For `text` the images are made first, unmeasured and tiny; then their metadata is asked for. Each answer is
checked against its schema, each call has a synced line before it and one after it; the other arms ask the same
and sync one line.
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
    options = {"base_url": url, "api_key": "bench"}
    settings = config(kind, concurrency, warmup + count, "strict")
    if kind == "text":
        await engine.run(settings, out, stages=("image",), **options)
    seen = 0
    started = cpu = 0.0
    # Opening the run is not an item's cost: the clocks start when the first items have settled.
    async with engine.open_run(out, settings, stages=("metadata" if kind == "text" else "image",), **options) as run:
        async for record in run.records():
            assert record.status == "ok", record.error
            seen += 1
            if seen == warmup:
                started, cpu = time.perf_counter(), time.process_time()
        spent, took = time.process_time() - cpu, time.perf_counter() - started
    assert seen == warmup + count, seen
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"cpu_ms": 1000 * spent / count, "per_s": count / took, "rss_mb": rss}))


if __name__ == "__main__":
    asyncio.run(main())
