"""litellm: `aimage_generation` and `acompletion` with its own retries, behind a semaphore."""

from __future__ import annotations

import asyncio
import base64
import sys

import litellm
from work import prompt, work


async def main() -> None:
    task = work()
    gate = asyncio.Semaphore(task.concurrency)
    common = {
        "model": f"gemini/{task.model}",
        "api_base": f"{task.base_url}/v1beta",
        "api_key": "bench",
        "num_retries": 5,
    }

    async def ask(n: int) -> bytes | str | None:
        if task.mode == "text":
            said = await litellm.acompletion(messages=[{"role": "user", "content": prompt(n)}], **common)
            return said.choices[0].message.content
        drawn = await litellm.aimage_generation(prompt=prompt(n), **common)
        return base64.b64decode(drawn.data[0].b64_json)

    async def one(n: int) -> None:
        async with gate:
            try:
                task.save(n, await ask(n))
            except Exception as error:
                print(f"{n}: {error}", file=sys.stderr)

    await asyncio.gather(*(one(n) for n in task.left()))


asyncio.run(main())
