"""How much of a quota is used, and how many calls it turns away: whole runs over HTTP, in real time.

    python benchmarks/quota.py                 all scenarios, about 12 minutes
    python benchmarks/quota.py 600-50ms …      these only

The server is `engine.simulator` in a process of its own. `used` is what it accepted between the first and
the last call, as a part of its quota in that span; `steady` the same after the first third. Both are
counted from the moments of arrival, so they hold whatever the client believes of itself.
"""

from __future__ import annotations

import asyncio
import json
import logging
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from msgspec import Struct

import engine
from engine.simulator.latency import Latency
from engine.simulator.quotas import Quota

MODEL = "gemini-nano-banana-2.1"


class Scenario(Struct, frozen=True, kw_only=True):
    """One run: what the client is told, what the server does."""

    configured: float | None
    quota: Quota
    latency: Latency
    seconds: float
    images: int | None = None
    """By default what the quota gives in `seconds`."""


def _lognormal(median_s: float) -> Latency:
    return Latency(median_s=median_s, sigma=0.4)


SCENARIOS = {
    "600-50ms": Scenario(configured=600, quota=Quota(rpm=600), latency=_lognormal(0.05), seconds=90),
    "600-50ms-fixed": Scenario(
        configured=600, quota=Quota(rpm=600, window="fixed", phase_s=37), latency=_lognormal(0.05), seconds=90
    ),
    "600-50ms-strict": Scenario(
        configured=600, quota=Quota(rpm=600, count_rejected=True), latency=_lognormal(0.05), seconds=90
    ),
    "600-burst60": Scenario(
        configured=600, quota=Quota(rpm=600, window="bucket", burst=60), latency=_lognormal(0.05), seconds=60
    ),
    "600-8s": Scenario(configured=600, quota=Quota(rpm=600), latency=_lognormal(8.0), seconds=90),
    "3000-8s": Scenario(configured=3000, quota=Quota(rpm=3000), latency=_lognormal(8.0), seconds=75),
    "1000-real-600": Scenario(configured=1000, quota=Quota(rpm=600), latency=_lognormal(0.05), seconds=120),
    "1000-real-600-bare": Scenario(
        configured=1000, quota=Quota(rpm=600, bare=True), latency=_lognormal(0.05), seconds=120
    ),
    "none-real-600": Scenario(configured=None, quota=Quota(rpm=600), latency=_lognormal(0.05), seconds=120),
    "spend": Scenario(
        configured=None,
        # Ten minutes are one here, so that a benchmark need not take an hour.
        quota=Quota(usd_per_10min=10.0, minute_s=6.0),
        latency=_lognormal(0.5),
        seconds=100,
        images=400,
    ),
}


def serve(scenario: Scenario, pipe: Connection) -> None:
    """The far side, until the pipe says it is enough; then its counts."""

    async def main() -> None:
        async with engine.Simulator(
            latency=scenario.latency, quotas=scenario.quota, picture="tiny", seed=1
        ) as simulator:
            pipe.send(simulator.base_url)
            await asyncio.to_thread(pipe.recv)
            seen = simulator.stats.seen
            pipe.send(
                {
                    "accepted": [call.at_s for call in seen if call.status == 200],
                    "rejected": [call.at_s for call in seen if call.status == 429],
                    "in_flight_max": simulator.stats.in_flight_max,
                }
            )

    asyncio.run(main())


async def measure(name: str, scenario: Scenario) -> dict[str, Any]:
    """One scenario's numbers."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(scenario, theirs), daemon=True)
    server.start()
    url = await asyncio.to_thread(ours.recv)
    rpm = scenario.quota.rpm
    images = scenario.images or round((rpm or 600) * scenario.seconds / 60)
    config: dict[str, Any] = {
        "generation": {"num_images": images, "model": MODEL},
        "rate_limiting": {"requests_per_minute": scenario.configured, "max_in_flight": 2000},
        "output": {"durability": "batch"},
        "logging": {"log_to_file": False},
    }
    if scenario.quota.usd_per_10min is not None:
        # The client has ten real minutes for what the server counts in one: a tenth of the time, ten times the money.
        config["rate_limiting"]["usd_per_10_minutes"] = (
            scenario.quota.usd_per_10min * 600 / (10 * scenario.quota.minute_s)
        )
    cpu = time.process_time()
    with tempfile.TemporaryDirectory() as out:
        summary = await engine.run(config, out=Path(out) / "run", stages=("image",), base_url=url, api_key="bench")
    cpu = time.process_time() - cpu
    ours.send("enough")
    seen = await asyncio.to_thread(ours.recv)
    server.join(10)
    accepted, rejected = sorted(seen["accepted"]), seen["rejected"]
    first, last = accepted[0], accepted[-1]
    third = first + (last - first) / 3
    row: dict[str, Any] = {
        "scenario": name,
        "calls": len(accepted),
        "in_flight_max": seen["in_flight_max"],
        "429_per_1000": round(1000 * len(rejected) / (len(accepted) + len(rejected)), 2),
        "429_steady": sum(at > third for at in rejected),
        "lost": images - summary.images.ok,
        "elapsed_s": round(summary.elapsed_s, 1),
        "cpu_ms_per_image": round(1000 * cpu / images, 2),
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    if rpm is not None:
        row["used"] = round((len(accepted) - 1) / ((last - first) * rpm / 60), 4)
        later = [at for at in accepted if at >= third]
        row["steady"] = round((len(later) - 1) / ((last - later[0]) * rpm / 60), 4)
    return row


async def main(names: list[str]) -> None:
    unknown = [name for name in names if name not in SCENARIOS]
    if unknown:
        sys.exit(f"unknown scenario {', '.join(unknown)}; choose from {', '.join(SCENARIOS)}")
    logging.disable()
    for name in names or SCENARIOS:
        row = await measure(name, SCENARIOS[name])
        row["load"] = round(os.getloadavg()[0], 1)
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
