"""async-batch-llm: its stream, its JSONL checkpoint, its requests per minute; calls by google-genai on aiohttp.

`tuned` sets what its defaults cost most: a burst of 3 s instead of 60 s, a cooldown of 1 s instead of 300 s.
"""

from __future__ import annotations

import asyncio

import genai
from async_batch_llm import (
    ArtifactIdentity,
    CallableStrategy,
    CallOutcome,
    JsonlArtifactStore,
    ProcessorConfig,
    RateLimitConfig,
    ResumePolicy,
    process_stream,
)
from async_batch_llm.classifiers.gemini import GeminiErrorClassifier
from work import prompt, work


async def main() -> None:
    task = work()
    client = genai.client(task)
    numbers = {prompt(n): n for n in range(1, task.n + 1)}

    async def invoke(text: str, *, attempt: int, timeout: float, state: object) -> CallOutcome[int]:
        n = numbers[text]
        task.save(n, await genai.ask(client, task, n))
        return CallOutcome(n)

    tuned = task.variant == "tuned"
    config = ProcessorConfig(
        concurrency=task.concurrency,
        max_requests_per_minute=task.rpm or None,
        quota_burst_seconds=3.0 if tuned and task.rpm else None,
        rate_limit=RateLimitConfig(cooldown_seconds=1.0) if tuned else RateLimitConfig(),
        max_queue_size=256,
        max_result_queue_size=256,
    )
    identity = ArtifactIdentity(provider="gemini", model=task.model, prompt_version="1")
    strategy = CallableStrategy(invoke, identity=identity, error_classifier=GeminiErrorClassifier())
    store = JsonlArtifactStore(task.out / "checkpoint.jsonl", identity=identity)
    prompts = ((str(n), text) for text, n in numbers.items())
    async for _ in process_stream(
        strategy, prompts, config=config, artifact_store=store, resume=ResumePolicy.REUSE_SUCCESSES
    ):
        pass


asyncio.run(main())
