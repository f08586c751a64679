"""Power loss, by a model of what a disk may have kept (after ALICE, OSDI '14).

The store's own calls are recorded while they really happen. For every moment at which the power may
fail, each call that no sync has covered yet may have reached the medium or not, in any combination;
a write may also be there in half, without its last byte, as zeros, or with a hole at its start. Each
such state is laid out as files, recovered with the store's own code, and asked for what it promised.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.lowlevel
import pytest

from engine.store import (
    DISK,
    RunDir,
    adopt_orphans,
    create_run,
    open_writer,
    recover,
    save_picture,
    threads,
    verify,
    write_picture,
)
from engine.store.log import append_lines
from engine.store.scan import Settled, read_records
from schemas.record import ImageRecord, encode_line

Kit = Any
T = TypeVar("T")
WRITE_FATES = ("whole", "nothing", "half", "no last byte", "zeros", "hole")
OTHER_FATES = ("whole", "nothing")
SEEDS = range(int(os.environ.get("GROUNDSWELL_POWER_SEEDS", "3")))
"""How many long histories: set more for a long night."""
CALLS = frozenset(name for name in vars(type(DISK)) if not name.startswith("_"))


@dataclass(frozen=True)
class Op:
    """One recorded call. `where` is the inode or the folder whose sync makes it durable."""

    kind: str
    where: Any
    detail: tuple[Any, ...] = ()


@dataclass
class Model:
    """An `Fs` on the real disk below `base` that remembers every call."""

    base: Path
    ops: list[Op] = field(default_factory=list)
    acknowledged: list[tuple[int, Any]] = field(default_factory=list)
    skip: Callable[[str, Path | None], bool] = lambda name, path: False
    """A planted bug: calls that are silently left out."""
    pause: Callable[[], None] = lambda: None
    """Called before each call, to mix up the threads that make them."""
    _fds: dict[int, Path] = field(default_factory=dict)
    _inodes: dict[Path, int] = field(default_factory=dict)
    _count: int = 0
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __getattribute__(self, name: str) -> Any:
        found = object.__getattribute__(self, name)
        if name not in CALLS:
            return found

        def one_at_a_time(*arguments: Any) -> Any:
            self.pause()
            with self._lock:
                return found(*arguments)

        return one_at_a_time

    def __post_init__(self) -> None:
        self.before: dict[Path, bytes | None] = snapshot(self.base)
        """What is durable from the start: files' bytes, folders as None."""
        for path, data in self.before.items():
            if data is not None:
                self._inodes[path] = self._new()
        self.first_contents = {inode: self.before[path] for path, inode in self._inodes.items()}
        self.first_names = dict(self._inodes)

    def acknowledge(self, what: Any) -> None:
        self.acknowledged.append((len(self.ops), what))

    def _new(self) -> int:
        self._count += 1
        return self._count

    def _at(self, path: Path) -> Path:
        return path.relative_to(self.base)

    def _note(self, kind: str, where: Any, *detail: Any) -> None:
        self.ops.append(Op(kind, where, detail))

    def _opened(self, path: Path, fd: int) -> int:
        at = self._at(path)
        if at not in self._inodes:
            self._inodes[at] = self._new()
            self._note("name", at.parent, at, self._inodes[at])
        self._fds[fd] = at
        return fd

    def create(self, path: Path) -> int:
        return self._opened(path, DISK.create(path))

    def append_to(self, path: Path) -> int:
        return self._opened(path, DISK.append_to(path))

    def open_existing(self, path: Path) -> int:
        return self._opened(path, DISK.open_existing(path))

    def write(self, fd: int, data: Any) -> int:
        at = os.fstat(fd).st_size
        written = DISK.write(fd, data)
        self._note("write", self._inodes[self._fds[fd]], at, bytes(data)[:written])
        return written

    def truncate(self, fd: int, size_bytes: int) -> None:
        DISK.truncate(fd, size_bytes)
        self._note("truncate", self._inodes[self._fds[fd]], size_bytes)

    def sync(self, fd: int) -> None:
        if not self.skip("sync", self._fds[fd]):
            self._note("sync", self._inodes[self._fds[fd]])

    def close(self, fd: int) -> None:
        del self._fds[fd]
        DISK.close(fd)

    def rename(self, source: Path, target: Path) -> None:
        DISK.rename(source, target)
        old, new = self._at(source), self._at(target)
        inode = self._inodes.pop(old)
        self._inodes[new] = inode
        self._note("rename", new.parent, old, new, inode)

    def unlink(self, path: Path) -> None:
        DISK.unlink(path)
        at = self._at(path)
        self._inodes.pop(at, None)
        self._note("unlink", at.parent, at)

    def mkdir(self, path: Path) -> None:
        DISK.mkdir(path)
        self._note("folder", self._at(path).parent, self._at(path))

    def sync_dir(self, path: Path) -> None:
        if path != self.base.parent and not self.skip("sync_dir", self._at(path)):
            self._note("sync_dir", self._at(path))

    def states(self, *, most: int, rng: random.Random) -> Iterator[tuple[list[Any], dict[Path, bytes | None]]]:
        """Every state that a power loss may leave, with what had been acknowledged by then.

        All combinations of fates at each moment; a random `most` of them where there are more.
        """
        seen: set[bytes] = set()
        for end in range(len(self.ops) + 1):
            done = self.ops[:end]
            acknowledged = [what for at, what in self.acknowledged if at <= end]
            pending = [n for n, op in enumerate(done) if not op.kind.startswith("sync") and not _synced(done, n)]
            fates = [WRITE_FATES if done[n].kind == "write" else OTHER_FATES for n in pending]
            for combination in _some_products(fates, most, rng):
                state = self._state(done, dict(zip(pending, combination, strict=True)))
                key = hashlib.sha256(repr((acknowledged, sorted(state.items()))).encode()).digest()
                if key not in seen:
                    seen.add(key)
                    yield acknowledged, state

    def _state(self, done: list[Op], fates: dict[int, str]) -> dict[Path, bytes | None]:
        names: dict[Path, int] = dict(self.first_names)
        folders = {path for path, data in self.before.items() if data is None} | {Path()}
        contents = {inode: bytearray(data or b"") for inode, data in self.first_contents.items()}
        for n, op in enumerate(done):
            fate = fates.get(n, "whole")
            if fate == "nothing":
                continue
            if op.kind == "name":
                names[op.detail[0]] = op.detail[1]
            elif op.kind == "folder":
                folders.add(op.detail[0])
            elif op.kind == "unlink":
                names.pop(op.detail[0], None)
            elif op.kind == "rename":
                old, new, inode = op.detail
                names.pop(old, None)
                names[new] = inode
            elif op.kind == "truncate":
                held = contents.setdefault(op.where, bytearray())
                held[:] = held[: op.detail[0]].ljust(op.detail[0], b"\0")
            elif op.kind == "write":
                at, data = op.detail
                held = contents.setdefault(op.where, bytearray())
                data = _fated(data, fate)
                held[:] = held.ljust(at, b"\0")
                held[at : at + len(data)] = data
        state: dict[Path, bytes | None] = {}
        for folder in sorted(folders):
            if all(parent in folders for parent in folder.parents):
                state[folder] = None
        for path, inode in names.items():
            if path.parent in state:
                state[path] = bytes(contents.get(inode, b""))
        return state


def _synced(done: list[Op], n: int) -> bool:
    wanted = "sync" if done[n].kind in ("write", "truncate") else "sync_dir"
    return any(op.kind == wanted and op.where == done[n].where for op in done[n + 1 :])


def _fated(data: bytes, fate: str) -> bytes:
    half = len(data) // 2
    return {
        "whole": data,
        "half": data[:half],
        "no last byte": data[:-1],
        "zeros": bytes(len(data)),
        "hole": bytes(half) + data[half:],
    }[fate]


def _some_products(fates: list[tuple[str, ...]], most: int, rng: random.Random) -> Iterator[tuple[str, ...]]:
    count = 1
    for each in fates:
        count *= len(each)
    if count <= most:
        yield from itertools.product(*fates)
        return
    yield tuple("whole" for _ in fates)
    yield tuple("nothing" for _ in fates)
    for _ in range(most - 2):
        yield tuple(rng.choice(each) for each in fates)


def snapshot(base: Path) -> dict[Path, bytes | None]:
    return {
        path.relative_to(base): None if path.is_dir() else path.read_bytes()
        for path in sorted(base.rglob("*"))
        if path.is_dir() or path.is_file()
    }


def lay_out(state: dict[Path, bytes | None], base: Path) -> None:
    for path, data in sorted(state.items()):
        if data is None:
            (base / path).mkdir(exist_ok=True)
        else:
            (base / path).write_bytes(data)


@pytest.fixture
def scratch(memory: Path) -> Callable[[], Path]:
    """Makes new empty folders, in memory."""
    count = itertools.count()

    def new() -> Path:
        path = memory / str(next(count))
        path.mkdir()
        return path

    return new


async def yielding(work: Callable[[], T], /) -> T:
    """An offload without threads that lets the other tasks go first, as a thread would."""
    for _ in range(3):
        await anyio.lowlevel.checkpoint()
    return work()


def history(
    base: Path,
    kit: Kit,
    *,
    images: int,
    workers: int = 1,
    durability: Any = "strict",
    first: int = 1,
    skip: Callable[[str, Path | None], bool] = lambda name, path: False,
    line_first: bool = False,
    offload: Any = None,
    pause: Callable[[], None] = lambda: None,
) -> Model:
    """Let a run happen, and give its recording. Jobs `first` … are done by so many workers at a time."""
    run = RunDir(base / "run")
    model = Model(base, skip=skip, pause=pause)
    offload = offload or yielding

    async def main() -> None:
        create_run(run, kit.MANIFEST, durability=durability, fs=model)
        attempts = open_writer(
            run.attempts_log, durability=durability, fs=model, offload=offload, later=lambda s, f: lambda: None
        )
        log = open_writer(
            run.images_log, durability=durability, fs=model, offload=offload, later=lambda s, f: lambda: None
        )
        todo = iter(range(first, first + images))

        async def one(index: int) -> None:
            await attempts.append(kit.a_start(index))
            model.acknowledge(("start", index))
            data = kit.a_picture(index, 16)

            async def save() -> Any:
                return await save_picture(
                    run, index, kit.image_id(index), data, durability=durability, offload=offload, fs=model
                )

            if line_first:  # a planted bug: the line speaks of a picture that is not there yet
                digest = hashlib.sha256(data).hexdigest()
                path = run.relative(run.image_path(index, kit.image_id(index), ".png"))
                asset = kit.Asset(
                    path=path, sha256=digest, size_bytes=len(data), mime_type="image/png", width=16, height=16
                )
                await log.append(kit.an_image_line(index, asset))
                await save()
            else:
                await log.append(kit.an_image_line(index, await save()))
            model.acknowledge(("ok", index))

        async def worker() -> None:
            for index in todo:
                await one(index)

        async with anyio.create_task_group() as group:
            for _ in range(workers):
                group.start_soon(worker)
        for each in (attempts, log):
            await each.aclose()

    anyio.run(main)
    return model


def broken_promises(base: Path, acknowledged: list[Any], kit: Kit) -> list[str]:
    """Recover a run as the next start does, and say which promises of `strict` it breaks."""
    run = RunDir(base / "run")
    if not run.run_json.exists():
        return [f"acknowledged {acknowledged}, but there is no run"] if acknowledged else []
    wrong: list[str] = []
    started: dict[int, Settled] = {}
    ended: dict[int, Settled] = {}
    recover(run.images_log, run.quarantine, each=lambda line: ended.__setitem__(line.index, line))
    recover(run.attempts_log, run.quarantine, each=lambda line: started.__setitem__(line.index, line), fs=DISK)
    for path in (run.images_log, run.attempts_log):
        again = recover(path, run.quarantine)
        if again.cut_bytes or again.mended:
            wrong.append(f"{path.name}: a second recovery still finds a torn tail")
    for what, index in acknowledged:
        if what == "start" and index not in started:
            wrong.append(f"start {index} was acknowledged and is gone")
        if what == "ok" and index not in ended:
            wrong.append(f"line {index} was acknowledged and is gone")
    for record in read_records(run.images_log, ImageRecord, on_damage=lambda bad: None):
        assert record.asset is not None
        path = run.root / record.asset.path
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != record.asset.sha256:
            wrong.append(f"line {record.index} points at a picture that is not there")
    in_doubt = [(line.index, line.image_id) for index, line in started.items() if index not in ended]
    adopted = adopt_orphans(run, in_doubt).assets
    if adopted:
        lines = [kit.an_image_line(int(image_id[-4:]), asset) for image_id, asset in adopted.items()]
        append_lines(run.images_log, [encode_line(line) for line in lines])
    # A hole in a batch that nobody was told of is found as damage, and may be.
    return wrong + [f"verify: {finding}" for finding in verify(run).findings if finding.kind != "damaged_line"]


def examine(
    model: Model, kit: Kit, scratch: Callable[[], Path], *, most: int = 400, seed: int = 0, stop: bool = False
) -> tuple[int, list[str]]:
    """States looked at, and what was broken in them."""
    count, wrong = 0, []
    for acknowledged, state in model.states(most=most, rng=random.Random(seed)):
        count += 1
        base = scratch()
        lay_out(state, base)
        wrong += broken_promises(base, acknowledged, kit)
        shutil.rmtree(base)
        if wrong and stop:
            break
    return count, wrong


def test_strict_keeps_its_promises_in_every_state_of_short_histories(kit: Kit, scratch: Any) -> None:
    total = 0
    for images, workers in ((1, 1), (2, 1), (2, 2), (3, 3)):
        count, wrong = examine(history(scratch(), kit, images=images, workers=workers), kit, scratch, most=10**6)
        assert wrong == []
        total += count
    print(f"{total} states")
    assert total > 150, "the model must have had something to enumerate"


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_strict_keeps_its_promises_in_long_histories(kit: Kit, scratch: Any, seed: int) -> None:
    """Across two folders, with many workers in real threads that get into each other's way."""
    rng = random.Random(seed)
    model = history(
        scratch(),
        kit,
        images=12,
        workers=6,
        first=996,
        offload=threads(8),
        pause=lambda: time.sleep(rng.random() / 1000),
    )
    count, wrong = examine(model, kit, scratch, most=10, seed=seed)
    assert wrong == []
    print(f"{count} states of {len(model.ops)} calls")
    assert count > 250


def test_a_power_loss_during_recovery_breaks_no_promise_either(kit: Kit, scratch: Any) -> None:
    model = history(scratch(), kit, images=2, workers=2)
    rng = random.Random(7)
    interrupted = nested = 0
    for acknowledged, state in model.states(most=60, rng=rng):
        torn = [path for path, data in state.items() if data and path.suffix == ".jsonl" and not data.endswith(b"}\n")]
        if not torn or Path("run/run.json") not in state:
            continue
        interrupted += 1
        base = scratch()
        lay_out(state, base)
        second = Model(base)
        run = RunDir(base / "run")
        for path in (run.images_log, run.attempts_log):
            recover(path, run.quarantine, fs=second)
        for _, after in second.states(most=40, rng=rng):
            nested += 1
            again = scratch()
            lay_out(after, again)
            assert broken_promises(again, acknowledged, kit) == []
            shutil.rmtree(again)
        shutil.rmtree(base)
    assert interrupted > 10
    assert nested > 50


def test_what_is_cut_off_in_recovery_is_kept_aside_whole_whenever_the_power_fails(kit: Kit, scratch: Any) -> None:
    tail = b'{"v":1,"job":"half a line' + bytes(3000)
    base = scratch()
    run = RunDir(base / "run")
    create_run(run, kit.MANIFEST)
    good = encode_line(kit.a_start(1))
    run.attempts_log.write_bytes(good + tail)
    model = Model(base)
    recover(run.attempts_log, run.quarantine, fs=model)
    for _, state in model.states(most=10**6, rng=random.Random(0)):
        log = state[Path("run/log/attempts.jsonl")]
        kept = [data for path, data in state.items() if path.parts[:2] == ("run", "quarantine")]
        assert log == good + tail or (log == good and tail in kept)


def test_a_power_loss_during_repair_loses_no_good_byte(kit: Kit, scratch: Any) -> None:
    base = scratch()
    run = RunDir(base / "run")
    create_run(run, kit.MANIFEST)
    assets = [write_picture(run, n, kit.image_id(n), kit.a_picture(n, 16)) for n in (1, 2, 3)]
    lines = [encode_line(kit.an_image_line(n, asset)) for n, asset in zip((1, 2, 3), assets, strict=True)]
    damaged = lines[1].replace(b"crowd", b"cr\xf0wd")
    run.images_log.write_bytes(lines[0] + damaged + lines[2] + b"half a li")
    (run.root / assets[2].path).write_bytes(b"rubbish")
    model = Model(base)
    assert verify(run, repair=True, fs=model).sound
    rng = random.Random(3)
    count = 0
    for _, state in model.states(most=200, rng=rng):
        count += 1
        again = scratch()
        lay_out(state, again)
        held = b"\n".join(data for data in state.values() if data)
        for whole in (lines[0], lines[2], damaged, b"half a li", b"rubbish"):
            assert whole.rstrip(b"\n") in held
        same = RunDir(again / "run")
        verify(same, repair=True)
        assert verify(same).sound
        assert {line.index for line in read_records(same.images_log, Settled)} >= {1, 3}
        shutil.rmtree(again)
    assert count > 20


def test_batch_may_lose_lines_of_the_last_second_but_none_points_at_a_missing_picture(kit: Kit, scratch: Any) -> None:
    model = history(scratch(), kit, images=2, workers=2, durability="batch")
    _, wrong = examine(model, kit, scratch, most=200)
    assert not [each for each in wrong if "points at a picture" in each or "second recovery" in each]
    assert [each for each in wrong if "was acknowledged and is gone" in each], "what batch may lose, it does lose"


def test_none_may_lose_anything_and_is_recovered_all_the_same(kit: Kit, scratch: Any) -> None:
    model = history(scratch(), kit, images=2, workers=1, durability="none")
    _, wrong = examine(model, kit, scratch, most=25)
    assert not [each for each in wrong if "second recovery" in each]
    assert [each for each in wrong if "was acknowledged and is gone" in each]
    assert [each for each in wrong if "points at a picture that is not there" in each]


@pytest.mark.parametrize(
    ("bug", "options"),
    [
        ("the line is written before the picture", {"line_first": True}),
        ("no folder is ever synced", {"skip": lambda name, path: name == "sync_dir"}),
        ("the pictures' folder is not synced", {"skip": lambda name, path: path == Path("run/images/0000")}),
        ("a new folder's own name is not synced", {"skip": lambda name, path: path == Path("run/images")}),
        ("the run's folders are not synced", {"skip": lambda name, path: name == "sync_dir" and path == Path("run")}),
        ("pictures are not synced", {"skip": lambda name, path: name == "sync" and path and path.suffix == ".tmp"}),
        ("lines are not synced", {"skip": lambda name, path: name == "sync" and path and path.name == "images.jsonl"}),
        (
            "starts are not synced",
            {"skip": lambda name, path: name == "sync" and path and path.name == "attempts.jsonl"},
        ),
    ],
)
def test_the_model_catches_a_planted_bug(kit: Kit, scratch: Any, bug: str, options: dict[str, Any]) -> None:
    model = history(scratch(), kit, images=2, **options)
    _, wrong = examine(model, kit, scratch, stop=True)
    assert wrong, f"not caught: {bug}"
