"""(b) The plain script: google-genai with its defaults, a semaphore, `open().write()`. As users write it today.

`pip install google-genai` brings httpx2 and no aiohttp, which is an extra; but where aiohttp can be imported, as in our
environment, the SDK sends with it, and costs half as much. So it is hidden from the SDK, unless a last argument
`aiohttp` says that the user installed that extra, too.

For `text` it asks what the metadata stage asks, reads the picture for each call and sends it along, and appends
a synced line for each answer, as the other arms do.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
from pathlib import Path

from asked import PROMPT, text_request

if "aiohttp" not in sys.argv:
    sys.modules["aiohttp"] = None  # type: ignore[assignment]
from google import genai
from google.genai import types


async def main() -> None:
    url, count, warmup, out = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    kind, concurrency = sys.argv[5], int(sys.argv[6])
    out.mkdir(parents=True)  # noqa: ASYNC240
    client = genai.Client(api_key="bench", http_options=types.HttpOptions(base_url=url))
    assert client._api_client._use_aiohttp() == ("aiohttp" in sys.argv)
    gate = asyncio.Semaphore(concurrency)
    records = []
    asked = text_request(out) if kind == "text" else None
    log = open(out / "metadata.jsonl", "a") if kind == "text" else None  # noqa: ASYNC230

    async def one(n: int) -> None:
        async with gate:
            if asked is not None and log is not None:
                with open(asked.references[0].path, "rb") as file:  # noqa: ASYNC230
                    picture = types.Part.from_bytes(data=file.read(), mime_type="image/png")
                response = await client.aio.models.generate_content(
                    model="gemini-3.1-flash-lite",
                    contents=[asked.text, picture],
                    config=types.GenerateContentConfig(
                        system_instruction=asked.system,
                        response_mime_type="application/json",
                        response_json_schema=asked.answer_schema,
                        max_output_tokens=asked.output_tokens_max,
                    ),
                )
                log.write(json.dumps({"n": n, "prompt": PROMPT, **json.loads(response.text or "{}")}) + "\n")
                log.flush()
                os.fdatasync(log.fileno())
                return
            response = await client.aio.models.generate_content(
                model="gemini-nano-banana-2.1",
                contents=PROMPT,
                config=types.GenerateContentConfig(response_modalities=["IMAGE"]),
            )
            for part in response.candidates[0].content.parts:  # type: ignore[index, union-attr]
                if part.inline_data:
                    with open(out / f"{n}.img", "wb") as file:  # noqa: ASYNC230
                        file.write(part.inline_data.data)  # type: ignore[arg-type]
                    records.append({"n": n, "prompt": PROMPT})

    await asyncio.gather(*(one(n) for n in range(warmup)))
    started, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(one(n) for n in range(warmup, warmup + count)))
    (out / "metadata.json").write_text(json.dumps(records, indent=2))
    spent, took = time.process_time() - cpu, time.perf_counter() - started
    await client.aio.aclose()
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"cpu_ms": 1000 * spent / count, "per_s": count / took, "rss_mb": rss}))


if __name__ == "__main__":
    asyncio.run(main())
