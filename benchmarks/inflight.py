"""Thousands of calls in flight: loop lag and memory of one process on one core.

    python benchmarks/inflight.py [--calls 3000] [--latency 10-20] [--kind jpeg] [--tls] [--transport fast]

The calls are kept in flight for a while by workers that ask again at once; starts are spread over
`--ramp` seconds, as admission does it. `busy` is the CPU time that the loop's thread spent between two looks at the
clock, so it is the part of the lag that is our own, and not another process's turn on the core.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from throughput import machine, server

from engine.errors import ProviderError
from schemas.job import Request

PICTURE = Request(model="gemini-nano-banana-2.1", text="A vigil at dusk. " * 20, aspect_ratio="1:1", resolution="1K")
TEXT = Request(model="gemini-3.1-flash-lite", text="Describe it. " * 20, answer_schema={"type": "object"})


def rss_mb() -> float:
    """Resident memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


async def client(options: argparse.Namespace) -> dict[str, Any]:
    """Runs in the process on core 0."""
    from engine.providers.gemini import open_gemini

    request = TEXT if options.kind == "text" else PICTURE
    lags: list[float] = []
    busy: list[float] = []
    done = failed = in_flight = in_flight_max = 0
    rss = [0.0]
    async with open_gemini(api_key="bench", base_url=options.client, transport=options.transport) as provider:
        await provider.call(request)
        rss_before = rss_mb()
        loop = asyncio.get_running_loop()
        end = loop.time() + options.ramp + options.seconds

        async def watch() -> None:
            while True:
                before, cpu_before = loop.time(), time.thread_time()
                await asyncio.sleep(0.01)
                lags.append(loop.time() - before - 0.01)
                busy.append(time.thread_time() - cpu_before)
                if len(lags) % 20 == 0:
                    rss.append(rss_mb())

        async def work(n: int) -> None:
            nonlocal done, failed, in_flight, in_flight_max
            await asyncio.sleep(options.ramp * n / options.calls)
            while loop.time() < end:
                in_flight += 1
                in_flight_max = max(in_flight_max, in_flight)
                try:
                    await provider.call(request)
                    done += 1
                except ProviderError as error:
                    failed += 1
                    print(error, file=sys.stderr)
                in_flight -= 1

        watcher = asyncio.create_task(watch())
        cpu, started = time.process_time(), time.perf_counter()
        await asyncio.gather(*(work(n) for n in range(options.calls)))
        took, spent = time.perf_counter() - started, time.process_time() - cpu
        watcher.cancel()
    centiles, busy_centiles = statistics.quantiles(lags, n=1000), statistics.quantiles(busy, n=1000)
    return {
        "in_flight_max": in_flight_max,
        "done": done,
        "failed": failed,
        "per_s": round(done / took, 1),
        "cpu_percent": round(100 * spent / took, 1),
        "cpu_ms_per_call": round(1000 * spent / max(1, done), 3),
        "lag_ms_p50": round(1000 * centiles[499], 2),
        "lag_ms_p99": round(1000 * centiles[989], 2),
        "lag_ms_max": round(1000 * max(lags), 2),
        "busy_ms_p99": round(1000 * busy_centiles[989], 2),
        "busy_ms_max": round(1000 * max(busy), 2),
        "rss_mb_before": round(rss_before),
        "rss_mb_max": round(max(rss)),
        "rss_kb_per_call": round(1024 * (max(rss) - rss_before) / options.calls, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=3000)
    parser.add_argument("--latency", default="10-20")
    parser.add_argument("--kind", default="jpeg", choices=("png", "jpeg", "text"))
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--transport", default="fast", choices=("fast", "sdk"))
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("--ramp", type=float, default=10)
    parser.add_argument("--client", help=argparse.SUPPRESS)
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(8192, 2 * options.calls)), hard))
    if options.client:
        print(json.dumps(asyncio.run(client(options))))
        return
    flags = ["--latency", options.latency, *(["--tls", "--chunked"] if options.tls else [])]
    with server(options.kind, flags) as far:
        command = ["taskset", "-c", "0", sys.executable, __file__, *sys.argv[1:], "--client", far["url"]]
        environment = dict(os.environ) | ({"SSL_CERT_FILE": far["certificate"]} if options.tls else {})
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    print(done.stderr[-500:], file=sys.stderr)
    print(f"{machine()}; {options.calls} calls, {options.latency} s, {options.kind}, {options.transport}")
    for name, value in json.loads(done.stdout).items():
        print(f"{name:18} {value}")


if __name__ == "__main__":
    main()
