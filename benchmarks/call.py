"""(d) The provider alone: `open_gemini` in a loop of workers; answers are dropped, nothing is written."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from pathlib import Path

from asked import PROMPT, text_request

from engine.providers.gemini import open_gemini
from schemas.job import Request

PICTURE = Request(model="gemini-nano-banana-2.1", text=PROMPT, aspect_ratio="1:1", resolution="1K")


async def main() -> None:
    url, count, warmup, out = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    kind, concurrency, transport = sys.argv[5], int(sys.argv[6]), sys.argv[7]
    out.mkdir(parents=True)  # noqa: ASYNC240
    request = text_request(out) if kind == "text" else PICTURE
    async with open_gemini(api_key="bench", base_url=url, transport=transport) as provider:  # type: ignore[arg-type]

        async def calls(total: int) -> None:
            left = iter(range(total))

            async def work() -> None:
                for _ in left:
                    await provider.call(request)

            await asyncio.gather(*(work() for _ in range(concurrency)))

        await calls(warmup)
        started, cpu = time.perf_counter(), time.process_time()
        await calls(count)
        spent, took = time.process_time() - cpu, time.perf_counter() - started
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"cpu_ms": 1000 * spent / count, "per_s": count / took, "rss_mb": rss}))


if __name__ == "__main__":
    asyncio.run(main())
