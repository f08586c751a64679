"""genai-processors: one GenaiModel, a semaphore, a file per image. It retries by itself and streams.

Its cache cannot hold answers of this google-genai (they are not JSON serialisable), so a restart skips files.
"""

from __future__ import annotations

import asyncio
import sys

import genai
from genai_processors.core.genai_model import GenaiModel
from google.genai import types
from work import prompt, work


async def main() -> None:
    task = work()
    model = GenaiModel(
        api_key="bench",
        model_name=task.model,
        generate_content_config=genai.settings(task),
        http_options=types.HttpOptions(base_url=task.base_url),
    )
    gate = asyncio.Semaphore(task.concurrency)

    async def one(n: int) -> None:
        async with gate:
            try:
                parts = [part async for part in model(prompt(n))]
            except Exception as error:
                print(f"{n}: {error}", file=sys.stderr)
                return
            if task.mode == "text":
                task.save(n, "".join(part.text for part in parts))
            elif pictures := [part.bytes for part in parts if part.mimetype.startswith("image/")]:
                task.save(n, pictures[0])

    await asyncio.gather(*(one(n) for n in task.left()))


asyncio.run(main())
