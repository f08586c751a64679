"""The script that users write today: google-genai with its defaults and a semaphore; failed calls are printed."""

from __future__ import annotations

import asyncio
import sys

import genai
from work import work


async def main() -> None:
    task = work()
    client = genai.client(task)
    gate = asyncio.Semaphore(task.concurrency)

    async def one(n: int) -> None:
        async with gate:
            try:
                task.save(n, await genai.ask(client, task, n))
            except Exception as error:
                print(f"{n}: {error}", file=sys.stderr)

    await asyncio.gather(*(one(n) for n in task.left()))


asyncio.run(main())
