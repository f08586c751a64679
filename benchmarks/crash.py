"""Kills real runs again and again and looks at what is left.

    python benchmarks/crash.py [--kills 200] [--images 400] [--seed 1] [--power] [--plant log-first|no-sync]

Each session is a process of its own against the loopback simulator, over real HTTP, and dies by SIGKILL: at a random
moment, or before or after the nth operation of one kind on the disk (create, write, sync, rename, sync_dir).
Between sessions a log's tail is torn, zero-filled or followed by garbage, or a bit in the middle is flipped and
`verify --repair` run. After each session:

- every picture of a final `ok` line is there, with the recorded sha256;
- no job is settled twice, attempts count up;
- calls in doubt are at most those that were in flight;

and at the end: one more session finishes the run, the next makes no call, `verify` finds nothing, and calls
paid twice are at most those in flight at the kills plus what tearing tails took away.

With `--power` (needs root) the run lies on an ext4 of its own, which is cut off from its device without a flush at
each kill and mounted again: what was not synced is gone. Sessions note elsewhere which lines were acknowledged; each
must be there afterwards, and every start must succeed without a repair.

`--plant` puts a bug into the sessions, to see that the harness notices: `log-first` acknowledges pictures without
writing them, `no-sync` acknowledges log lines without syncing them. Exits 1 with the first broken promise.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import random
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

OPERATIONS = ("create", "write", "sync", "rename", "sync_dir")
IN_FLIGHT = 6

SESSION = """
import os, signal, sys, threading, anyio
import engine
from engine.store.fs import Disk
url, out, images, operation, nth, when, plant, notes = sys.argv[1:9]
left, lock = [int(nth)], threading.Lock()

def deadly(original):
    def method(self, *args, **kwargs):
        with lock:
            left[0] -= 1
            now = left[0] == 0
        if now and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = original(self, *args, **kwargs)
        if now:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer
    return method

if operation != "none":
    setattr(Disk, operation, deadly(getattr(Disk, operation)))
if plant == "log-first":
    def rename(self, source, target):
        if target.parent.parent.name != "images":
            os.rename(source, target)
    Disk.rename = rename
if plant == "no-sync":
    Disk.sync = lambda self, fd: None
if notes != "none":
    from engine.store.log import LogWriter
    append, told = LogWriter.append, os.open(notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def noted(self, record):
        await append(self, record)
        os.write(told, f"{self.path.name} {record.job} {record.attempt} {record.status}\\n".encode())

    LogWriter.append = noted
config = {"generation": {"num_images": int(images)}, "rate_limiting": {"max_in_flight": IN_FLIGHT},
          "metadata": {"num_comments_per_image": 1}}
summary = anyio.run(lambda: engine.run(config, out, base_url=url, api_key="k"))
print(summary.exit_code, summary.images.ok, summary.metadata.ok)
""".replace("IN_FLIGHT", str(IN_FLIGHT))


class BrokenPromise(Exception):
    """A promise that was not kept."""


def lines(path: Path) -> list[dict[str, Any]]:
    raw = path.read_bytes() if path.exists() else b""
    found = []
    for line in raw[: raw.rfind(b"\n") + 1].splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def check(out: Path) -> int:
    """The invariants; gives the number of calls in doubt."""
    for log in ("images", "metadata"):
        finals: Counter[str] = Counter()
        newest: dict[str, dict[str, Any]] = {}
        for line in lines(out / f"log/{log}.jsonl"):
            finals[line["job"]] += line["final"] - (
                not line["final"] and newest.get(line["job"], {}).get("final", False)
            )
            newest[line["job"]] = line
            if finals[line["job"]] > 1:
                raise BrokenPromise(f"{line['image_id']} was settled twice in {log}.jsonl")
        if log == "images":
            for line in newest.values():
                if line["status"] != "ok":
                    continue
                path = out / line["asset"]["path"]
                if not path.exists():
                    raise BrokenPromise(f"{line['asset']['path']} is recorded and not there")
                if hashlib.sha256(path.read_bytes()).hexdigest() != line["asset"]["sha256"]:
                    raise BrokenPromise(f"{line['asset']['path']} is not what was recorded")
    # Of each job the newest attempt counts: a line that repair took away may have ended an older one.
    started: dict[str, tuple[int, int]] = {}
    for line in lines(out / "log/attempts.jsonl"):
        attempt, calls = started.get(line["job"], (0, 0))
        if line["attempt"] >= attempt:
            before = calls if line["attempt"] == attempt else 0
            started[line["job"]] = line["attempt"], before + (1 if line["status"] == "start" else -1)
    for log in ("images", "metadata"):
        for line in lines(out / f"log/{log}.jsonl"):
            if line["attempt"] >= started.get(line["job"], (0, 0))[0]:
                started.pop(line["job"], None)
    return sum(calls > 0 for _, calls in started.values())


def tamper(out: Path, rng: random.Random) -> tuple[str, int]:
    """Damage a tail as a crash might; gives what was done and how many whole lines it took away."""
    path = out / "log" / rng.choice(["images.jsonl", "metadata.jsonl", "attempts.jsonl"])
    if not path.exists() or path.stat().st_size < 4000:
        return "nothing", 0
    how = rng.choice(["nothing", "garbage", "zeros", "half line", "chop", "flip"])
    before = path.read_bytes().count(b"\n")
    with path.open("r+b") as file:
        size = file.seek(0, 2)
        match how:
            case "garbage":
                file.write(rng.randbytes(rng.randint(1, 400)).replace(b"\n", b"x"))
            case "zeros":
                file.write(bytes(rng.randint(1, 4096)))
            case "half line":
                file.write(b'{"v":1,"job":"00","status":"ok","sta')
            case "chop":
                file.truncate(size - rng.randint(1, 60))
            case "flip":
                at = rng.randint(0, size * 2 // 3)
                file.seek(at)
                byte = file.read(1)[0] ^ (1 << rng.randrange(8))
                if byte != 10:
                    file.seek(at)
                    file.write(bytes([byte]))
            case _:
                pass
    return how, max(0, before - path.read_bytes().count(b"\n"))


class Volume:
    """An ext4 of its own, on a file, whose power can be cut."""

    SHUTDOWN, WITHOUT_FLUSH = 0x8004587D, struct.pack("I", 2)

    def __init__(self, folder: Path) -> None:
        self.path, self.image = folder / "volume", folder / "volume.img"
        self.path.mkdir()
        with self.image.open("wb") as file:
            file.truncate(600 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-J", "size=4", str(self.image)], check=True)
        self.mount()

    def mount(self) -> None:
        subprocess.run(["mount", "-o", "loop", str(self.image), str(self.path)], check=True)

    def unmount(self) -> None:
        subprocess.run(["umount", str(self.path)], check=True)

    def cut(self) -> None:
        """Nothing more reaches the medium, and what was not synced never did."""
        fd = os.open(self.path, os.O_RDONLY)
        fcntl.ioctl(fd, self.SHUTDOWN, self.WITHOUT_FLUSH)
        os.close(fd)


@contextmanager
def a_place(folder: Path, power: bool) -> Generator[tuple[Path, Volume | None]]:
    """Where the run lies."""
    if not power:
        yield folder, None
        return
    volume = Volume(folder)
    try:
        yield volume.path, volume
    finally:
        volume.unmount()


def check_acknowledged(out: Path, notes: Path) -> int:
    """Every line that a session was told is written must be there; gives their number."""
    there = {
        f"{name} {line['job']} {line['attempt']} {line['status']}"
        for name in ("attempts.jsonl", "images.jsonl", "metadata.jsonl")
        for line in lines(out / "log" / name)
    }
    told = notes.read_text().splitlines() if notes.exists() else []
    for each in told:
        if each not in there:
            raise BrokenPromise(f"acknowledged and gone: {each}")
    return len(told)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plant", choices=["log-first", "no-sync"], default="")
    parser.add_argument("--power", action="store_true", help="cut the power at each kill (needs root)")
    args = parser.parse_args()
    from engine.simulator import Simulator

    rng = random.Random(args.seed)
    told: Counter[str] = Counter()
    with (
        tempfile.TemporaryDirectory(prefix="groundswell-crash-") as folder,
        Simulator.in_thread(picture="tiny", latency=0.04) as simulator,
        a_place(Path(folder), args.power) as (place, volume),
    ):
        out = place / "run"
        notes = Path(folder) / "notes"

        def session(operation: str = "none", nth: int = 1, when: str = "before") -> subprocess.Popen[str]:
            words = [simulator.base_url, out, args.images, operation, nth, when, args.plant or "none"]
            words.append(notes if args.power else "none")
            return subprocess.Popen(
                [sys.executable, "-c", SESSION, *map(str, words)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )

        lost = kills = repairs = doubtful = 0
        began = time.monotonic()
        try:
            while kills < args.kills:
                if rng.random() < 0.5:
                    process = session()
                    at = time.monotonic() + 30
                    marker = out / "log/attempts.jsonl"
                    size = marker.stat().st_size if marker.exists() else 0
                    while (marker.stat().st_size if marker.exists() else 0) <= size and process.poll() is None:
                        if time.monotonic() > at:
                            raise BrokenPromise("a session made no progress in 30 s")
                        time.sleep(0.005)
                    time.sleep(rng.uniform(0.0, 0.25))
                    process.send_signal(signal.SIGKILL)
                    told["killed at a random moment"] += 1
                else:
                    operation, when = rng.choice(OPERATIONS), rng.choice(["before", "after"])
                    process = session(operation, rng.randint(1, 60), when)
                    told[f"killed {when} {operation}"] += 1
                _, err = process.communicate(timeout=60)
                kills += 1
                if volume is not None:  # not earlier: a sync in the instant of the cut may lie, as no real disk does
                    volume.cut()
                    volume.unmount()
                    volume.mount()
                if process.returncode not in (0, -signal.SIGKILL):
                    raise BrokenPromise(f"a session ended with {process.returncode}: {err[-600:]}")
                if process.returncode == 0:
                    told["ended before it was killed"] += 1
                if not (out / "run.json").exists():
                    continue
                doubts = check(out)
                if doubts > max(2 * IN_FLIGHT, doubtful):
                    raise BrokenPromise(f"{doubts} calls in doubt with {2 * IN_FLIGHT} in flight, {doubtful} before")
                if volume is not None:
                    told["lines acknowledged"] = check_acknowledged(out, notes)
                    continue
                how, gone = tamper(out, rng)
                lost += gone
                told[f"tail: {how}"] += how != "nothing"
                if how == "flip":
                    verify = [sys.executable, "-m", "engine", "verify", str(out), "--repair"]
                    mended = subprocess.run(verify, capture_output=True, text=True, check=False)
                    if mended.returncode != 0:
                        raise BrokenPromise(
                            f"verify --repair ended with {mended.returncode}: {(mended.stdout + mended.stderr)[-900:]}"
                        )
                    repairs += 1
                doubtful = check(out)  # a line taken away leaves its call in doubt until a session lives to settle it
            last = session()
            answer, err = last.communicate(timeout=300)
            if last.returncode != 0 or answer.split() != ["0", str(args.images), str(args.images)]:
                failures = Counter(
                    str(line["error"])[:200]
                    for log in ("images", "metadata")
                    for line in lines(out / f"log/{log}.jsonl")
                    if line["status"] == "failed"
                )
                raise BrokenPromise(f"the run did not finish: {answer} {err[-600:]} {failures.most_common(3)}")
            check(out)
            calls = simulator.stats.calls
            again = session()
            again.communicate(timeout=60)
            if simulator.stats.calls != calls:
                raise BrokenPromise("a finished run made a call")
            verified = subprocess.run(
                [sys.executable, "-m", "engine", "verify", str(out)], capture_output=True, text=True, check=False
            )
            if verified.returncode != 0:
                raise BrokenPromise(f"verify: {verified.stdout[-600:]}")
            twice = simulator.stats.paid - 2 * args.images
            allowed = kills * 2 * IN_FLIGHT + lost + repairs
            if twice > allowed:
                raise BrokenPromise(f"{twice} calls were paid twice; at most {allowed} were in doubt")
        except BrokenPromise as broken:
            print(f"BROKEN after {kills} kills (seed {args.seed}): {broken}")
            return 1
        print(
            json.dumps(
                {
                    "kills": kills,
                    "images": args.images,
                    "paid_again": twice,
                    "paid_again_per_kill": round(twice / max(1, kills), 2),
                    "in_flight_max": 2 * IN_FLIGHT,
                    "lines_torn_away": lost,
                    "repairs": repairs,
                    "seconds": round(time.monotonic() - began),
                    "what": dict(told),
                },
                indent=1,
            )
        )
    return 0


if __name__ == "__main__":
    os.environ.pop("GOOGLE_GEMINI_BASE_URL", None)
    sys.exit(main())
