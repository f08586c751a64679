"""CPU per item: the floor, the plain SDK script, the provider alone, and groundswell as a whole.

Each arm is a process of its own on core 0, the server one on core 1; arms take turns, in changing order, medians are
reported, and what counts are the ratios within one run. ext4 looks for a new file's inode past those freed in the last
minutes, which would cost an arm up to 0.4 ms per file for what was removed before it: so what the arms write stays
until the end (some 1.5 GB a run for PNG), and each arm's folder begins in a block group of its own (`chattr +T`).

    python benchmarks/throughput.py [--kinds png,jpeg,text] [--wires plain,tls,tls-gzip] [--runs 5] [--json]
        [--before DIR]    # an earlier checkout, which takes its turn as an arm of its own
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
COUNTS = {"png": 300, "jpeg": 1000, "text": 2500}
WIRES = {
    "plain": [],
    "chunked": ["--chunked"],
    "tls": ["--tls", "--chunked"],
    "tls-gzip": ["--tls", "--chunked", "--gzip"],
}
ARMS: dict[str, list[str]] = {
    "a floor": ["floor.py", "{kind}"],
    "b plain script": ["plain.py", "{kind}", "{concurrency}"],
    "i plain script, with aiohttp": ["plain.py", "{kind}", "{concurrency}", "aiohttp"],
    "c groundswell": ["whole.py", "{kind}", "{concurrency}"],
    "d provider, fast": ["call.py", "{kind}", "{concurrency}", "fast"],
    "e provider, sdk": ["call.py", "{kind}", "{concurrency}", "sdk"],
    "f groundswell, before": ["whole.py", "{kind}", "{concurrency}"],
    "g floor, direct writes": ["floor.py", "{kind}", "direct"],
    "h floor, as durable": ["floor.py", "{kind}", "durable"],
}


@contextmanager
def server(kind: str, flags: list[str]) -> Iterator[dict[str, str]]:
    """The far side on core 1."""
    command = ["taskset", "-c", "1", sys.executable, str(HERE / "server.py"), kind, *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
    finally:
        process.terminate()
        process.wait()


def run(
    arm: str, far: dict[str, str], kind: str, *, count: int, concurrency: int, out: Path, before: str | None
) -> Any:
    """One run of one arm on core 0; what it prints."""
    script, *arguments = (part.format(kind=kind, concurrency=concurrency) for part in ARMS[arm])
    command = ["taskset", "-c", "0", sys.executable, str(HERE / script)]
    command += [far["url"], str(count), str(max(2 * concurrency, count // 10)), str(out), *arguments]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("GOOGLE_", "GEMINI_"))}
    if far.get("certificate"):
        environment["SSL_CERT_FILE"] = far["certificate"]
    if arm[0] == "f" and before is not None:
        environment["PYTHONPATH"] = before
    os.sync()  # what the arm before left to be written would be this one's burden
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=600)
    if done.returncode:
        raise SystemExit(f"{arm}, {kind}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", default="png,jpeg,text")
    parser.add_argument("--wires", default="plain", help=f"of {', '.join(WIRES)}")
    parser.add_argument("--arms", default="abicdegh", help="first letters")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of items per run")
    parser.add_argument("--dir", help="where files are written; a real disk, not tmpfs")
    parser.add_argument("--before", help="a checkout of an earlier version, to be measured beside this one")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    wanted = options.arms + ("f" if options.before else "")
    arms = [arm for arm in ARMS if arm[0] in wanted and (HERE / ARMS[arm][0]).exists()]
    rows: list[dict[str, Any]] = []
    for wire in options.wires.split(","):
        for kind in options.kinds.split(","):
            count = max(20, int(COUNTS[kind] * options.scale))
            results: dict[str, list[Any]] = {arm: [] for arm in arms}
            with server(kind, WIRES[wire]) as far, tempfile.TemporaryDirectory(dir=options.dir) as folder:
                subprocess.run(["chattr", "+T", folder], capture_output=True, check=False)
                for n in range(options.runs):
                    for arm in arms if n % 2 == 0 else arms[::-1]:
                        if (arm[0] in "agh" and "gzip" in wire) or (arm[0] == "g" and kind != "png"):
                            continue
                        out = Path(folder) / f"{n}{arm[0]}"
                        sizes = {"count": count, "concurrency": options.concurrency}
                        results[arm].append(run(arm, far, kind, **sizes, out=out, before=options.before))
            for arm, runs in results.items():
                if runs:
                    medians = {name: statistics.median(r[name] for r in runs) for name in ("cpu_ms", "per_s", "rss_mb")}
                    spread = [min(r["cpu_ms"] for r in runs), max(r["cpu_ms"] for r in runs)]
                    rows.append({"wire": wire, "kind": kind, "arm": arm, **medians, "cpu_ms_min_max": spread})
    if options.json:
        print(json.dumps({"machine": machine(), "runs": options.runs, "rows": rows}))
    else:
        print(table(rows, options))


def machine() -> str:
    """What this was measured on."""
    name = next(
        (x.split(":")[1].strip() for x in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in x), ""
    )
    return f"{name}, {os.cpu_count()} CPUs, Python {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}"


def table(rows: list[dict[str, Any]], options: argparse.Namespace) -> str:
    """The rows as Markdown, with ratios to the floor and to the plain script of the same wire and kind."""
    lines = [
        f"{machine()}; medians of {options.runs}, {options.concurrency} at once",
        "",
        "| wire | item | arm | CPU ms/item (min-max) | × floor | × plain | items/s | RSS MB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        same = {r["arm"][0]: r["cpu_ms"] for r in rows if (r["wire"], r["kind"]) == (row["wire"], row["kind"])}
        ratios = [f"{row['cpu_ms'] / same[arm]:.2f}" if same.get(arm) else "-" for arm in "ab"]
        low, high = row["cpu_ms_min_max"]
        lines.append(
            f"| {row['wire']} | {row['kind']} | {row['arm']} | {row['cpu_ms']:.3f} ({low:.3f}-{high:.3f}) "
            f"| {ratios[0]} | {ratios[1]} | {row['per_s']:.0f} | {row['rss_mb']:.0f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
