"""Does anything stay behind? Calls by the hundred thousand with tiny answers; memory and live objects along the way.

    python benchmarks/leak.py [--calls 100000] [--transport fast] [--tls]

Pictures and texts by turns, and one answer in ten is of no use, so that errors are counted too. After a warm-up the
calls come in ten parts; after each, garbage is collected, and live objects are counted by type. One object left per
call would show as tens of thousands. Exits with 1 when more than 500 are left, and more than one per hundred calls.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import subprocess
import sys
import time
from collections import Counter

from inflight import rss_mb
from throughput import machine, server

from engine.errors import ProviderError
from engine.providers.gemini import open_gemini
from schemas.job import Request

PROMPT = "A vigil at dusk on a square. " * 12
PICTURE = Request(model="gemini-nano-banana-2.1", text=PROMPT, aspect_ratio="1:1", resolution="1K")
TEXT = Request(model="gemini-3.1-flash-lite", text=PROMPT, answer_schema={"type": "object"})
USELESS = Request(model="gemini-3.1-flash-lite", text=PROMPT, aspect_ratio="1:1", resolution="1K")
"""Asks for a picture and gets a text."""
TURN = [PICTURE, TEXT] * 4 + [PICTURE, USELESS]
PARTS = 10
CONCURRENCY = 32


def live() -> Counter[str]:
    """Live objects that the collector knows of, by type."""
    gc.collect()
    return Counter(f"{type(thing).__module__}.{type(thing).__qualname__}" for thing in gc.get_objects())


async def client(options: argparse.Namespace) -> bool:
    """Prints a row per part; whether nothing was left behind."""
    async with open_gemini(api_key="bench", base_url=options.client, transport=options.transport) as provider:

        async def calls(total: int) -> None:
            left = iter(range(total))

            async def work() -> None:
                for n in left:
                    with contextlib.suppress(ProviderError):
                        await provider.call(TURN[n % len(TURN)])

            await asyncio.gather(*(work() for _ in range(CONCURRENCY)))

        await calls(options.calls // PARTS)
        before = live()
        rss_before = rss_mb()
        print("| calls after warm-up | live objects | RSS MB | CPU ms per call |\n|---|---|---|---|")
        print(f"| 0 | {before.total()} | {rss_before:.1f} | |", flush=True)
        after = before
        for part in range(1, PARTS + 1):
            cpu = time.process_time()
            await calls(options.calls // PARTS)
            spent = 1000 * (time.process_time() - cpu) / (options.calls // PARTS)
            after = live()
            row = f"| {part * options.calls // PARTS} | {after.total()} | {rss_mb():.1f} | {spent:.2f} |"
            print(row, flush=True)
    grown = after - before
    print(f"\n{options.transport}: {after.total() - before.total():+} objects, {rss_mb() - rss_before:+.1f} MB")
    for name, count in grown.most_common(8):
        print(f"    {count:+} {name}")
    return grown.total() < max(500, options.calls / 100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--transport", default="fast", choices=("fast", "sdk"))
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--client", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client:
        sys.exit(not asyncio.run(client(options)))
    print(machine())
    with server("text", ["--tls", "--chunked"] if options.tls else []) as far:
        environment = dict(os.environ) | ({"SSL_CERT_FILE": far["certificate"]} if options.tls else {})
        command = ["taskset", "-c", "0", sys.executable, __file__, *sys.argv[1:], "--client", far["url"]]
        sys.exit(subprocess.run(command, env=environment, check=False).returncode)


if __name__ == "__main__":
    main()
