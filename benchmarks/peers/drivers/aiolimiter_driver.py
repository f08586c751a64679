"""google-genai on aiohttp with aiolimiter in front and tenacity around it.

The plain variant is the one in aiolimiter's documentation (a minute's worth at once); `paced` lets one
call at a time in.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import nullcontext

import genai
from aiolimiter import AsyncLimiter
from google.genai import errors
from tenacity import retry, retry_if_exception, stop_after_attempt, wait_random_exponential
from work import work

AGAIN = (408, 429, 500, 502, 503, 504)


async def main() -> None:
    task = work()
    client = genai.client(task)
    gate = asyncio.Semaphore(task.concurrency)
    if not task.rpm:
        limiter = nullcontext()
    elif task.variant == "paced":
        limiter = AsyncLimiter(1, 60 / task.rpm)
    else:
        limiter = AsyncLimiter(task.rpm, 60)

    @retry(
        retry=retry_if_exception(lambda e: isinstance(e, errors.APIError) and e.code in AGAIN),
        stop=stop_after_attempt(6),
        wait=wait_random_exponential(multiplier=1, max=60),
        reraise=True,
    )
    async def ask(n: int) -> bytes | str | None:
        async with limiter:
            return await genai.ask(client, task, n)

    async def one(n: int) -> None:
        async with gate:
            try:
                task.save(n, await ask(n))
            except Exception as error:
                print(f"{n}: {error}", file=sys.stderr)

    await asyncio.gather(*(one(n) for n in task.left()))


asyncio.run(main())
