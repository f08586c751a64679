"""groundswell and its peers at the same work, against the same server, each in an environment of its own.

    python benchmarks/peers/run.py                                   all peers, all scenarios
    python benchmarks/peers/run.py groundswell litellm --scenario quota
    python benchmarks/peers/run.py --list

- throughput: 1030 JPEG images of about 150 KB, a server without latency; driver and server on a core each, peers take
  turns, medians. CPU per image is what 1000 further images cost after 30, so that start-up counts on its own.
- quota: 600 prompts, 600 requests per minute (a bucket that holds 60), 1 s latency. `used` is the accepted calls as
  a part of what the bucket gave from the first to the last of them, `pace` those calls as a part of the rate alone.
- kill: 300 prompts, 0.5 s latency; SIGKILL at the first 120 paid calls, then once more with the peer's own resume.
  Peers without one skip files that exist.

Environments are made in the user's cache folder, or in --cache.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import environments
import measure

HERE = Path(__file__).parent
SMALL, LARGE = 30, 1030
PROMPTS = {"quota": 600, "kill": 300}
KILL_AT = 120
RPM, BURST = 600, 60


@dataclass(frozen=True)
class Peer:
    """How a peer is driven."""

    package: str
    """Its environment and requirements."""
    variant: str = ""
    mode: str = "image"
    route: str = "gemini"
    scenarios: tuple[str, ...] = ("throughput", "quota", "kill")

    @property
    def driver(self) -> str:
        return str(HERE / "drivers" / f"{self.package.replace('-', '_')}_driver.py")


PEERS = {
    "groundswell": Peer("groundswell"),
    "plain": Peer("plain"),
    "aiolimiter": Peer("aiolimiter"),
    "aiolimiter paced": Peer("aiolimiter", "paced", scenarios=("quota",)),
    "async-batch-llm": Peer("async-batch-llm"),
    "async-batch-llm tuned": Peer("async-batch-llm", "tuned", scenarios=("quota",)),
    "genai-processors": Peer("genai-processors"),
    "litellm": Peer("litellm"),
    "data-designer": Peer("data-designer", route="openai"),
    "data-designer 100": Peer("data-designer", "100", route="openai", scenarios=("kill",)),
    "plain text": Peer("plain", mode="text"),
    "litellm text": Peer("litellm", mode="text"),
    "curator text": Peer("curator", mode="text"),
}


class Bench:
    """Interpreters, folders and limits of one call."""

    def __init__(self, pythons: dict[str, str], cache: Path, folder: Path, limit_s: float) -> None:
        self._pythons, self._cache, self._folder, self.limit_s = pythons, cache, folder, limit_s

    def out(self, name: str, run: str) -> Path:
        return self._folder / f"{name.replace(' ', '_')}-{run}"

    def drive(
        self,
        name: str,
        server: measure.Far,
        out: Path,
        *,
        n: int,
        rpm: int = 0,
        concurrency: int,
        core: int | None = None,
        until: Callable[[], bool] | None = None,
    ) -> measure.Spent:
        peer = PEERS[name]
        url = server.openai if peer.route == "openai" else server.gemini
        command = [self._pythons[peer.package], peer.driver, url, str(n), str(rpm), str(concurrency), peer.mode]
        command += [str(out), *([peer.variant] if peer.variant else [])]
        log, home = out.with_suffix(".log"), self._cache / "home"
        return measure.drive(command, log, home, limit_s=self.limit_s, core=core, until=until)


def throughput(bench: Bench, names: list[str], runs: int) -> list[dict[str, Any]]:
    """Peers take turns, so that a busy machine is busy for all of them."""
    results: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for turn in range(runs):
        for name in names:
            costs: dict[int, measure.Spent] = {}
            for n in (SMALL, LARGE):
                out = bench.out(name, f"throughput-{turn}-{n}")
                with measure.far(["--picture", "pool"], core=1) as server:
                    costs[n] = bench.drive(name, server, out, n=n, concurrency=32, core=0)
            kept, accepted = measure.saved(out), server.seen["accepted"]
            if not kept:
                words = out.with_suffix(".log").read_text(errors="replace")[-500:]
                sys.exit(f"{name} saved nothing (exit code {costs[LARGE].code}): {words}")
            span_s = max(end for _, end in accepted) - accepted[0][0]
            further_s = costs[LARGE].cpu_s - costs[SMALL].cpu_s
            results[name].append(
                {
                    "images_per_s": len(accepted) / span_s,
                    "cpu_ms_per_image": 1000 * further_s / (LARGE - SMALL),
                    "start_cpu_s": costs[SMALL].cpu_s - SMALL * further_s / (LARGE - SMALL),
                    "rss_mb": costs[LARGE].rss_mb,
                    "in_flight_max": server.seen["in_flight_max"],
                    "lost": LARGE - kept,
                }
            )
            say(name, results[name][-1])
    rows: list[dict[str, Any]] = []
    for name, done in results.items():
        medians = {key: statistics.median(run[key] for run in done) for key in done[0]}
        cpu_ms = [run["cpu_ms_per_image"] for run in done]
        rows.append({"peer": name, **medians, "cpu_ms_min_max": f"{min(cpu_ms):.2f}-{max(cpu_ms):.2f}"})
    return rows


def quota(bench: Bench, name: str) -> dict[str, Any]:
    """One run against a quota that is known to the peer."""
    n, out = PROMPTS["quota"], bench.out(name, "quota")
    with measure.far(["--rpm", str(RPM), "--burst", str(BURST), "--latency", "1"]) as server:
        spent = bench.drive(name, server, out, n=n, rpm=RPM, concurrency=64)
    accepted = server.seen["accepted"]
    row = {
        "peer": name,
        "used": None,
        "pace": None,
        "wall_s": spent.wall_s,
        "rejected": server.seen["rejected"],
        "paid": server.seen["paid"],
        "lost": n - measure.saved(out),
        "in_flight_max": server.seen["in_flight_max"],
        "rss_mb": spent.rss_mb,
        "timed_out": spent.timed_out,
    }
    if len(accepted) > 1:
        at_rate = RPM / 60 * (accepted[-1][0] - accepted[0][0])
        row |= {"used": len(accepted) / (BURST + at_rate), "pace": (len(accepted) - 1) / at_rate}
    say(name, row)
    return row


def kill(bench: Bench, name: str) -> dict[str, Any]:
    """SIGKILL and a second session on the same folder."""
    n, out = PROMPTS["kill"], bench.out(name, "kill")
    with measure.far(["--latency", "0.5"]) as server:
        first = bench.drive(
            name, server, out, n=n, concurrency=32, until=lambda: server.stats()["paid_questions"] >= KILL_AT
        )
        at_kill = server.stats()
        again = bench.drive(name, server, out, n=n, concurrency=32)
        stats = server.stats()
    row = {
        "peer": name,
        "killed": first.code == -9 and not first.timed_out,
        "paid_at_kill": at_kill["paid"],
        "in_flight_at_kill": at_kill["in_flight"],
        "paid_twice": stats["paid_twice"],
        "lost": n - measure.saved(out),
        "second_wall_s": again.wall_s,
        "timed_out": again.timed_out,
    }
    say(name, row)
    return row


def say(name: str, row: dict[str, Any]) -> None:
    """Progress; the table comes at the end."""
    print(name, json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()}), file=sys.stderr)


def table(rows: list[dict[str, Any]]) -> str:
    """As Markdown."""
    head = list(rows[0])
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(cell(row[key]) for key in head) + " |" for row in rows])


def cell(value: object) -> str:
    """One value."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.2f}" if value < 30 else f"{value:.0f}"
    return "-" if value is None else str(value)


def prepare(packages: list[str], cache: Path) -> dict[str, str]:
    """Interpreters; a peer that cannot be installed is named and left out."""
    pythons: dict[str, str] = {}
    for package in packages:
        try:
            pythons[package] = environments.python_of(package, cache)
        except (RuntimeError, OSError) as error:
            print(f"{package} is left out, it could not be installed: {error}", file=sys.stderr)
    return pythons


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peers", nargs="*", metavar="PEER", help="by default all; see --list")
    parser.add_argument("--scenario", action="append", choices=("throughput", "quota", "kill"))
    parser.add_argument("--runs", type=int, default=3, help="turns of throughput")
    parser.add_argument("--jobs", type=int, default=1, help="quota and kill runs at once; they mostly wait")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds after which a driver is stopped")
    parser.add_argument("--cache", type=Path, default=environments.cache_folder(), help="for the environments")
    parser.add_argument("--dir", help="where results are written and thrown away; a real disk, not tmpfs")
    parser.add_argument("--keep", action="store_true", help="leave drivers' output and logs there")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    if options.list:
        print("\n".join(f"{name:24} {', '.join(peer.scenarios)}" for name, peer in PEERS.items()))
        return
    if unknown := [name for name in options.peers if name not in PEERS]:
        parser.error(f"unknown peer {', '.join(unknown)}; choose from {', '.join(PEERS)}")
    chosen = options.peers or list(PEERS)
    pythons = prepare(sorted({PEERS[name].package for name in chosen}), options.cache)
    folder = Path(tempfile.mkdtemp(dir=options.dir, prefix="peers-"))
    bench = Bench(pythons, options.cache, folder, options.limit)
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} CPUs, Python {platform.python_version()}")
    for scenario in options.scenario or ("throughput", "quota", "kill"):
        names = [name for name in chosen if PEERS[name].package in pythons and scenario in PEERS[name].scenarios]
        if not names:
            continue
        if scenario == "throughput":
            rows = throughput(bench, names, options.runs)
        else:
            one = quota if scenario == "quota" else kill
            with ThreadPoolExecutor(options.jobs) as pool:
                rows = list(pool.map(lambda name, one=one: one(bench, name), names))
        print(f"\n{scenario}, load {os.getloadavg()[0]:.1f}\n\n{table(rows)}", flush=True)
    if options.keep:
        print(f"kept in {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
