"""QA measured: planted defects found, pictures per second against the decode limit.

python benchmarks/qa.py planted /tmp/planted     # recall and precision, by kind
python benchmarks/qa.py decode /tmp/pictures     # throughput against decoding alone
python benchmarks/qa.py records /tmp/records --count 1000000  # all statistics over so many records
python benchmarks/qa.py memory /tmp/first --count 100000      # peaks of memory, step by step, of a first pass
python benchmarks/qa.py memory /tmp/seen --count 1000000 --seen  # the same with all pictures looked at already
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from engine.qa import FLAGS, run_qa
from engine.qa.model import Options, Progress
from schemas.config import RunConfig
from schemas.outcome import Asset, Usage
from schemas.record import ImageRecord, RunManifest, encode_line

sys.path.insert(0, str(Path(__file__).parent))
import planted
import records


def peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def planted_run(folder: Path, truth: list[dict[str, Any]]) -> Path:
    """A run directory whose log speaks of the planted files as they were before the damage."""
    (folder / "log").mkdir(exist_ok=True)
    manifest = RunManifest(
        run_id="planted", created_at="2026-01-21T00:00:00Z", run_date="20260121", versions={}, fingerprints={},
        config=RunConfig().model_dump(mode="json"),
    )  # fmt: skip
    (folder / "run.json").write_bytes(msgspec.json.encode(manifest))
    with (folder / "log" / "images.jsonl").open("wb") as log:
        for index, item in enumerate(truth, start=1):
            asset = Asset(
                path=f"images/{item['name']}", sha256=item["sha256"], size_bytes=item["size_bytes"],
                mime_type=item["mime_type"], width=item["width"], height=item["height"],
            )  # fmt: skip
            log.write(encode_line(ImageRecord(
                job=f"{index:032x}", status="ok", stage="image", image_id=item["name"].rsplit(".", 1)[0], index=index,
                attempt=1, final=True, generated_at="2026-01-21T00:00:00Z", latency_s=1.0, model="m", usage=Usage(),
                cost_usd=0.039, prompt=f"prompt {index}", source_data={}, style=None, complexity=None,
                aspect_ratio=None, resolution=None, asset=asset,
            )))  # fmt: skip
    return folder


def found_pairs(truth: list[dict[str, Any]], pairs: set[tuple[str, str]]) -> dict[str, Any]:
    """Recall by kind and precision of pairs of file stems. Damaged and blank pictures are left out of both."""
    skip = {t["name"].rsplit(".", 1)[0] for t in truth if t["kind"] in planted.DAMAGE or "blank" in t["kind"]}
    family = {t["name"].rsplit(".", 1)[0]: t["family"] for t in truth}
    kind = {t["name"].rsplit(".", 1)[0]: t["kind"] for t in truth}
    members: dict[int, list[str]] = defaultdict(list)
    for name, f in family.items():
        members[f].append(name)
    recall: dict[str, str] = {}
    counts = Counter(t["kind"] for t in truth if t["kind"] in planted.EDITS or t["kind"] == "exact")
    hits: Counter[str] = Counter()
    for names in members.values():
        for i, a in enumerate(names):
            for b in names[i + 1 :]:
                if (a, b) in pairs or (b, a) in pairs:
                    hits[kind[b] if kind[b] != "clean" else kind[a]] += 1
    for k, n in counts.items():
        recall[k] = f"{hits[k]}/{n}"
    judged = [(a, b) for a, b in pairs if a not in skip and b not in skip]
    right = sum(family[a] == family[b] for a, b in judged)
    return {
        "recall": recall,
        "recall_all": round(sum(hits[k] for k in counts) / max(1, sum(counts.values())), 4),
        "pairs": len(judged), "false_pairs": len(judged) - right,
        "precision": round(right / max(1, len(judged)), 4),
        "false": [p for p in judged if family[p[0]] != family[p[1]]][:10],
    }  # fmt: skip


def bench_planted(folder: Path) -> dict[str, Any]:
    truth = json.loads((folder / "truth.json").read_text())
    run = planted_run(folder, truth)
    shutil.rmtree(run / "qa", ignore_errors=True)
    wall, cpu = time.perf_counter(), cpu_s()
    run_qa(run, options=Options(html=False))
    wall, cpu = time.perf_counter() - wall, cpu_s() - cpu
    images = pl.read_parquet(run / "qa" / "images.parquet")
    kinds = {t["name"].rsplit(".", 1)[0]: t["kind"] for t in truth}
    integrity = {n for n, f in FLAGS.items() if f.severity == "critical" and f.subject == "image"} - {
        "blank",
        "rejected",
    }
    flags = {i: set(f) for i, f in images.select("image_id", "flags").iter_rows()}
    table: dict[str, Any] = {}
    total = Counter(kinds.values())
    for kind in planted.DAMAGE:
        table[kind] = f"{sum(bool(flags[i] & integrity) for i, k in kinds.items() if k == kind)}/{total[kind]}"
    false_integrity = sum(bool(flags[i] & integrity) for i, k in kinds.items() if k not in planted.DAMAGE)
    quality: dict[str, Any] = {}
    for flag in sorted({f for _, _, f in planted.QUALITY.values()}):
        of = {k for k, (_, _, f) in planted.QUALITY.items() if f == flag}
        hit = [kinds[i] for i, f in flags.items() if flag in f and kinds[i] not in planted.DAMAGE]
        quality[flag] = {
            "recall": f"{sum(k in of for k in hit)}/{sum(total[k] for k in of)}",
            "false": dict(Counter(k for k in hit if k not in of)),
        }
    pairs = pl.read_parquet(run / "qa" / "duplicates.parquet")
    near = found_pairs(truth, {(a, b) for a, b in pairs.select("image_a", "image_b").iter_rows()})
    return {
        "files": len(truth), "wall_s": round(wall, 2), "cpu_s": round(cpu, 2), "peak_mb": peak_mb(),
        "integrity": table, "integrity_false": false_integrity, "quality": quality, "near": near,
    }  # fmt: skip


WARM = 96
"""Looks after which both processes are at work."""


def cpu_s() -> float:
    """Of this process and of those it has waited for."""
    t = os.times()
    return t.user + t.system + t.children_user + t.children_system


def cpu_s_with_children() -> float:
    """Of those that still run, too (Linux)."""
    children = [pid for task in Path("/proc/self/task").glob("*/children") for pid in task.read_text().split()]
    ticks = 0
    for pid in children:
        with contextlib.suppress(OSError):  # it has ended
            user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
            ticks += int(user) + int(system)
    return cpu_s() + ticks / os.sysconf("SC_CLK_TCK")


def bench_decode(folder: Path, images: int, looks: int = 960) -> dict[str, Any]:
    """Everything a pass does to a picture, in its processes, against reading and decoding it in threads.

    Decoding is Pillow's, and QA's own, which is Pillow's with another inflate. A limit is the better of one thread and
    two, in CPU seconds per picture. What it takes to start the processes is left out: it is the same for
    sixty pictures and for a million.
    """
    from concurrent.futures import ThreadPoolExecutor

    from PIL import Image

    from engine.qa.decode import decoded, opened
    from engine.qa.look import SIDE_PX, Expected, look_at
    from engine.qa.lookers import looks_beside

    def pillow(picture: Expected) -> None:
        data = (folder / picture.path).read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            if image.format == "JPEG":
                image.draft("YCbCr", (SIDE_PX, SIDE_PX))
            image.load()

    def own(picture: Expected) -> None:
        data = (folder / picture.path).read_bytes()
        decoded(opened(data), data, SIDE_PX)

    def in_threads(work: Callable[[Expected], Any], threads: int) -> Callable[[list[Expected]], Any]:
        def run(pictures: list[Expected]) -> None:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(work, pictures))

        return run

    def beside(pictures: list[Expected]) -> tuple[float, float]:
        """Per picture, from when both processes are at work."""
        cpu = wall = 0.0
        for done, _ in enumerate(looks_beside(folder, (({}, p) for p in pictures), 2), start=1):
            if done == WARM:
                cpu, wall = cpu_s_with_children(), time.perf_counter()
            elif done == len(pictures):
                cpu, wall = cpu_s_with_children() - cpu, time.perf_counter() - wall
        return cpu / (len(pictures) - WARM), wall / (len(pictures) - WARM)

    def alone(work: Callable[[list[Expected]], Any]) -> Callable[[list[Expected]], tuple[float, float]]:
        def run(pictures: list[Expected]) -> tuple[float, float]:
            cpu, wall = cpu_s(), time.perf_counter()
            work(pictures)
            return (cpu_s() - cpu) / len(pictures), (time.perf_counter() - wall) / len(pictures)

        return run

    out: dict[str, Any] = {}
    for kind in ("png", "jpg"):
        where = folder / kind
        where.mkdir(parents=True, exist_ok=True)
        paths = [where / f"{n}.{kind}" for n in range(images)]
        bases = [planted.scene(n, 1024) for n in range(8)]
        facts: list[Expected] = []
        for n, path in enumerate(paths):
            if not path.exists():
                if kind == "png":
                    bases[n % 8].save(path, compress_level=6)
                else:
                    bases[n % 8].save(path, quality=92)
            data = path.read_bytes()
            name = path.relative_to(folder).as_posix()
            facts.append(Expected(name, hashlib.sha256(data).hexdigest(), len(data), None, None, None))
        many = [facts[n % images] for n in range(looks)]
        ways: dict[str, tuple[Callable[[list[Expected]], tuple[float, float]], list[Expected]]] = {
            **{
                f"{whose} decode in {threads}": (alone(in_threads(work, number)), many[: looks // 4])
                for whose, work in (("Pillow's", pillow), ("own", own))
                for number, threads in enumerate(("one thread", "two threads"), start=1)
            },
            "look in two threads": (alone(in_threads(lambda p: look_at(folder, p), 2)), many[: looks // 4]),
            "look in two processes": (beside, many),
        }
        best: dict[str, tuple[float, float]] = {}
        for _ in range(3):  # in turns, so that what else the machine does falls on all
            for name, (work, pictures) in ways.items():
                cpu, wall = work(pictures)
                before = best.get(name, (cpu, wall))
                best[name] = min(cpu, before[0]), min(wall, before[1])
        limits = {
            whose: min(cpu for name, (cpu, _) in best.items() if name.startswith(f"{whose} decode"))
            for whose in ("Pillow's", "own")
        }
        out[kind] = {
            "images": images, "mb_each": round(sum(f.size_bytes or 0 for f in facts) / images / 1e6, 2),
            "cpu_ms": {name: round(1000 * cpu, 2) for name, (cpu, _) in best.items()},
            "wall_ms": {name: round(1000 * wall, 2) for name, (_, wall) in best.items()},
            **{
                f"share of {whose} decode limit": {
                    name: round(limit / cpu, 3) for name, (cpu, _) in best.items() if name.startswith("look")
                }
                for whose, limit in limits.items()
            },
        }  # fmt: skip
    return out


def bench_records(folder: Path, count: int) -> dict[str, Any]:
    """Everything a pass does with logs alone, step by step: wall and CPU seconds, and the peaks of memory."""
    from engine.qa.answers import flagged_answers
    from engine.qa.bias import all_bias
    from engine.qa.contradictions import contradictions
    from engine.qa.statistics import all_statistics
    from engine.qa.tables import build_tables

    if not (folder / "run.json").exists():
        records.write_run(folder, count)
    config = RunConfig()
    out: dict[str, Any] = {"records": count, "steps": {}}

    def step(name: str, work: Callable[[], Any]) -> Any:
        wall, cpu = time.perf_counter(), cpu_s()
        result = work()
        out["steps"][name] = {"wall_s": round(time.perf_counter() - wall, 1), "cpu_s": round(cpu_s() - cpu, 1)}
        return result

    qa = folder / "qa"
    qa.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=qa) as work:
        logs = folder / "log" / "images.jsonl", folder / "log" / "metadata.jsonl"
        tables = step(
            "both logs into tables",
            lambda: build_tables(*logs, config.metadata, work=Path(work), out=qa),
        )
    step("texts against what was asked", lambda: flagged_answers(tables.metadata).collect())
    step("contradictions", lambda: contradictions(tables, config))
    step("statistics", lambda: all_statistics(tables, config, 0))
    step("bias", lambda: all_bias(tables, config))
    for unit in ("wall_s", "cpu_s"):
        out[unit] = round(sum(s[unit] for s in out["steps"].values()), 1)
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    return {**out, "peak_mb": peak_mb(), "peak_of_one_reading_process_mb": children}


def bench_memory(folder: Path, count: int, seen: bool) -> dict[str, Any]:
    """A first pass over so many small pictures: peaks of this process, of those beside it, and of all, in each step.

    The first is the kernel's own; the others are sampled, and what processes share is counted once. What a picture
    takes while it is decoded is bounded by its pixels, so small ones show what is kept of each. `seen`: all that comes
    after looking, with a cache that holds a look at each.
    """
    import threading

    if not (folder / "run.json").exists():
        records.write_run(folder, count, side_px=0 if seen else 192, seen=seen)
    shutil.rmtree(folder / "qa", ignore_errors=True)
    if seen:
        shutil.copytree(folder / "looks", folder / "qa" / "looks", copy_function=os.link)
    steps: dict[str, dict[str, int]] = {}
    now = ["start"]
    over = threading.Event()

    def kilobytes(pid: str, file: str, name: str) -> int:
        try:
            found = Path(f"/proc/{pid}/{file}").read_text()
        except OSError:
            return 0  # it has ended
        return next((int(line.split()[1]) for line in found.splitlines() if line.startswith(name)), 0)

    def most(name: str, value: int) -> None:
        peaks = steps.setdefault(now[0], {})
        peaks[name] = max(peaks.get(name, 0), value // 1024)

    def watch() -> None:
        while not over.wait(0.1):
            beside: list[str] = []
            for task in Path("/proc/self/task").glob("*/children"):
                with contextlib.suppress(OSError):  # a thread that has ended
                    beside += task.read_text().split()
            shares = [kilobytes(pid, "smaps_rollup", "Pss:") for pid in ("self", *beside)]
            most("together_mb", sum(shares))
            most("beside_mb", sum(shares[1:]))

    def told(progress: Progress) -> None:
        if progress.step != now[0]:
            most("peak_mb", kilobytes("self", "status", "VmHWM:"))
            Path("/proc/self/clear_refs").write_text("5")  # the next step's peak is its own
            now[0] = progress.step

    watching = threading.Thread(target=watch)
    watching.start()
    wall, cpu = time.perf_counter(), cpu_s()
    try:
        run_qa(folder, options=Options(on_progress=told))
    finally:
        over.set()
        watching.join()
    told(Progress("end", 0, 0))
    peaks = {
        name: max(step.get(name, 0) for step in steps.values()) for name in ("peak_mb", "beside_mb", "together_mb")
    }
    return {
        "images": count, "wall_s": round(time.perf_counter() - wall, 1), "cpu_s": round(cpu_s() - cpu, 1),
        **peaks, "steps": steps,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("planted", "decode", "records", "memory"))
    parser.add_argument("folder", type=Path, nargs="?", default=Path(tempfile.gettempdir()) / "groundswell-planted")
    parser.add_argument("--images", type=int, default=2_000)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--count", type=int, default=None)
    parser.add_argument("--seen", action="store_true", help="memory: as if every picture had been looked at already")
    args = parser.parse_args()
    if args.what == "records":
        print(json.dumps(bench_records(args.folder, args.count or 1_000_000), indent=1))
    elif args.what == "memory":
        print(json.dumps(bench_memory(args.folder, args.count or 100_000, args.seen), indent=1))
    elif args.what == "planted":
        if not (args.folder / "truth.json").exists():
            planted.write_set(args.folder, args.images, args.size)
        print(json.dumps(bench_planted(args.folder), indent=1))
    else:
        print(json.dumps(bench_decode(args.folder, min(args.images, 120)), indent=1))


if __name__ == "__main__":
    main()
