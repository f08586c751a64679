"""groundswell itself, on the same prompts from a file, resumed by its own log; all else at its default."""

from __future__ import annotations

import asyncio
import json
import sys

from work import IMAGE_MODEL, prompt, work

import engine


async def main() -> int:
    task = work()
    prompts = task.out / "prompts.jsonl"
    if not prompts.exists():
        prompts.write_text("".join(json.dumps({"prompt": prompt(n)}) + "\n" for n in range(1, task.n + 1)))
    config = {
        "generation": {"num_images": task.n, "model": IMAGE_MODEL},
        "rate_limiting": {"requests_per_minute": task.rpm or None, "max_in_flight": task.concurrency},
        "logging": {"log_to_console": False},
    }
    summary = await engine.run(
        config, task.out / "run", prompts=prompts, stages=("image",), base_url=task.base_url, api_key="bench"
    )
    return summary.exit_code


sys.exit(asyncio.run(main()))
