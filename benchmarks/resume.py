"""How long a run with many records takes to be ready again, and to be asked for its status.

    python benchmarks/resume.py [--records 1000000] [--keep DIR]

Writes a run directory with that many settled image records of about 1.5 KB and their start lines, then
times, each in a process of its own: opening it for ten more images (a provider that answers at once), and
`status`. Prints CPU, wall and peak memory of the process.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

READY = """
import resource, sys, time, anyio
began = time.perf_counter()
import engine
async def main():
    provider = engine.ScriptedProvider()
    async with engine.open_run(sys.argv[1], {"generation": {"num_images": int(sys.argv[2])}}, provider=provider,
                               stages=["image"]) as run:
        async for record in run.records():
            break
        first = time.perf_counter() - began
    use = resource.getrusage(resource.RUSAGE_SELF)
    print(f'{{"first_s": {first:.2f}, "cpu_s": {use.ru_utime + use.ru_stime:.2f}, "peak_mb": {use.ru_maxrss // 1024}}}')
anyio.run(main)
"""
STATUS = """
import resource, sys, time
from pathlib import Path
began = time.perf_counter()
from engine.runtime.status import read_status
assert read_status(Path(sys.argv[1])).images.ok >= int(sys.argv[2])
use = resource.getrusage(resource.RUSAGE_SELF)
wall, cpu = time.perf_counter() - began, use.ru_utime + use.ru_stime
print(f'{{"wall_s": {wall:.2f}, "cpu_s": {cpu:.2f}, "peak_mb": {use.ru_maxrss // 1024}}}')
"""


def fill(out: Path, records: int) -> None:
    """A settled run: one real record, copied with other indexes."""
    import anyio

    import engine
    from engine.core.plan import build_plan, prompt_at
    from engine.runtime.opening import new_manifest
    from engine.sources import load
    from engine.stages.image import image_job
    from engine.store import RunDir, create_run
    from schemas.outcome import Asset
    from schemas.record import ImageRecord, Start, encode_line

    async def one() -> None:
        await engine.run(
            {"generation": {"num_images": 1}},
            out.with_name("one"),
            provider=engine.ScriptedProvider(),
            stages=["image"],
        )

    anyio.run(one)
    line = (out.with_name("one") / "log/images.jsonl").read_bytes().splitlines()[0]
    record = msgspec.json.decode(line, type=ImageRecord)
    assert record.asset is not None
    people = {"demographics": {k: v for k, v in record.source_data["demographics"].items() if k != "others"}}
    record = msgspec.structs.replace(record, source_data=people)  # to the 1.5 KB that the goal speaks of
    config = engine.RunConfig(generation={"num_images": records})  # type: ignore[arg-type]
    plan = build_plan(config, load(config, Path.cwd()), record.image_id[3:11])
    create_run(RunDir(out), new_manifest(config, plan.fingerprint, time.time(), plan.run_date))
    job = image_job(config, prompt_at(plan, 1))
    with (out / "log/images.jsonl").open("wb") as images, (out / "log/attempts.jsonl").open("wb") as attempts:
        for i in range(1, records + 1):
            image_id = f"sm_{plan.run_date}_{i:04d}"
            asset = Asset(
                **{**msgspec.structs.asdict(record.asset), "path": f"images/{(i - 1) // 1000:04d}/{image_id}.png"}
            )
            made = msgspec.structs.replace(record, index=i, image_id=image_id, asset=asset, job=f"{i:032x}")
            images.write(encode_line(made))
            attempts.write(
                encode_line(
                    Start(
                        job=made.job,
                        status="start",
                        stage="image",
                        image_id=image_id,
                        index=i,
                        attempt=1,
                        generated_at=record.generated_at,
                        model=job.request.model,
                        cost_usd=0.0358,
                        tokens=200,
                    )
                )
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="groundswell-resume-") as folder:
        out = Path(folder) / "run"
        fill(out, args.records)
        size_mb = sum(p.stat().st_size for p in (out / "log").iterdir()) / 1e6
        print(f"{args.records} records, {size_mb:.0f} MB of log")
        for name, code, n in (("status", STATUS, args.records), ("ready", READY, args.records + 10 * args.runs)):
            for _ in range(args.runs):
                answer = subprocess.run(
                    [sys.executable, "-c", code, str(out), str(n)], capture_output=True, text=True, check=True
                )
                print(name, json.loads(answer.stdout))


if __name__ == "__main__":
    main()
