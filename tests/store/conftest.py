"""What the store's tests share: a run, records of it, pictures, and file systems that misbehave."""

from __future__ import annotations

import errno
import hashlib
import io
import itertools
import os
import random
import shutil
import sys
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Struct
from PIL import Image

from engine.store import DISK, RunDir, create_run
from schemas.outcome import Asset, Usage
from schemas.record import ImageRecord, RunManifest, Start

MANIFEST = RunManifest(
    run_id="r", created_at="2026-01-21T00:00:00Z", run_date="20260121", versions={}, fingerprints={}, config={}
)


def image_id(index: int) -> str:
    return f"sm_20260121_{index:04d}"


def a_picture(seed: int = 0, size: int = 24, kind: str = "PNG", **options: object) -> bytes:
    """A small real picture that differs by seed."""
    pixels = random.Random(seed).randbytes(size * size * 3)
    out = io.BytesIO()
    Image.frombytes("RGB", (size, size), pixels).save(out, kind, **options)
    return out.getvalue()


def an_image_line(index: int, asset: Asset | None = None, *, attempt: int = 1, status: str = "ok") -> ImageRecord:
    return ImageRecord(
        job=f"{index:032x}",
        status=status,  # type: ignore[arg-type]
        stage="image",
        image_id=image_id(index),
        index=index,
        attempt=attempt,
        final=status != "retry",
        generated_at="2026-01-21T00:00:00.000Z",
        latency_s=1.5,
        model="gemini-x",
        usage=Usage(prompt_tokens=7, output_tokens=1290, total_tokens=1297),
        cost_usd=0.039,
        prompt=f"A crowd, number {index}, on a square — «fictional»",
        source_data={"atropia": {"title": "t" * 40}, "demographics": {}, "visual_reference": None},
        style="realistic",
        complexity="medium",
        aspect_ratio="1:1",
        resolution="1K",
        asset=asset,
    )


def a_start(index: int, attempt: int = 1) -> Start:
    return Start(
        job=f"{index:032x}",
        status="start",
        stage="image",
        image_id=image_id(index),
        index=index,
        attempt=attempt,
        generated_at="2026-01-21T00:00:00.000Z",
        model="gemini-x",
    )


class Sick:
    """A disk whose calls go through `when(name, nth, path)`, which may raise OSError or shorten a write."""

    def __init__(self, when: Callable[[str, int], int | None]) -> None:
        self._when = when
        self.calls = 0
        self.seen: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., object]:
        real = getattr(DISK, name)

        def call(*arguments: object, **options: object) -> object:
            self.calls += 1
            self.seen.append(name)
            take = self._when(name, self.calls)
            if take is not None:  # a short write, as a full disk makes them
                fd, data = arguments
                return real(fd, memoryview(data)[:take])  # type: ignore[arg-type]
            return real(*arguments, **options)

        return call


def failing(name: str, code: int, *, after: int = 0) -> Sick:
    """A disk on which the call `name` fails with this errno, once `after` such calls have gone well."""
    left = after

    def when(called: str, _: int) -> None:
        nonlocal left
        if called == name:
            left -= 1
            if left < 0:
                raise OSError(code, errno.errorcode[code])

    return Sick(when)


# The model of a disk for test_power_loss.py: what may have been kept of each call that no sync covers.
SECTOR_BYTES = 512
"""What reaches the medium whole or not at all."""
WRITE_FATES = ("whole", "nothing", "half", "no last byte", "zeros", "hole", "inner hole")
OTHER_FATES = ("whole", "nothing")
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

        def one_at_a_time(*arguments: Any, **options: Any) -> Any:
            self.pause()
            with self._lock:
                return found(*arguments, **options)

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

    def _at(self, path: str | os.PathLike[str]) -> Path:
        return Path(path).relative_to(self.base)

    def _note(self, kind: str, where: Any, *detail: Any) -> None:
        self.ops.append(Op(kind, where, detail))

    def _opened(self, path: str | os.PathLike[str], fd: int) -> int:
        at = self._at(path)
        if at not in self._inodes:
            self._inodes[at] = self._new()
            self._note("name", at.parent, at, self._inodes[at])
        self._fds[fd] = at
        return fd

    def create(self, path: str | os.PathLike[str], *, direct: bool = False) -> int:
        return self._opened(path, DISK.create(path, direct=direct))

    def append_to(self, path: str | os.PathLike[str]) -> int:
        return self._opened(path, DISK.append_to(path))

    def open_existing(self, path: str | os.PathLike[str]) -> int:
        return self._opened(path, DISK.open_existing(path))

    def write(self, fd: int, data: Any) -> int:
        at = os.fstat(fd).st_size
        written = DISK.write(fd, data)
        self._note("write", self._inodes[self._fds[fd]], at, bytes(data)[:written])
        return written

    def write_direct(self, fd: int, data: Any) -> bool:
        if not DISK.write_direct(fd, data):
            return False
        padded = bytes(data) + bytes(-len(data) % 4096)
        self._note("write", self._inodes[self._fds[fd]], 0, padded)
        self._note("truncate", self._inodes[self._fds[fd]], len(data))
        return True

    def truncate(self, fd: int, size_bytes: int) -> None:
        DISK.truncate(fd, size_bytes)
        self._note("truncate", self._inodes[self._fds[fd]], size_bytes)

    def sync(self, fd: int) -> None:
        if not self.skip("sync", self._fds[fd]):
            self._note("sync", self._inodes[self._fds[fd]])

    def close(self, fd: int) -> None:
        del self._fds[fd]
        DISK.close(fd)

    def rename(self, source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
        DISK.rename(source, target)
        old, new = self._at(source), self._at(target)
        inode = self._inodes.pop(old)
        self._inodes[new] = inode
        self._note("rename", new.parent, old, new, inode)

    def unlink(self, path: str | os.PathLike[str]) -> None:
        DISK.unlink(path)
        at = self._at(path)
        self._inodes.pop(at, None)
        self._note("unlink", at.parent, at)

    def mkdir(self, path: str | os.PathLike[str]) -> None:
        DISK.mkdir(path)
        self._note("folder", self._at(path).parent, self._at(path))

    def sync_dir(self, path: str | os.PathLike[str]) -> None:
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
        meant = {inode: bytearray(data or b"") for inode, data in self.first_contents.items()}
        ragged: dict[Any, tuple[int, int]] = {}
        for n, op in enumerate(done):
            fate = fates.get(n, "whole")
            if op.kind in ("write", "truncate"):
                _apply(meant.setdefault(op.where, bytearray()), op)
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
                _apply(contents.setdefault(op.where, bytearray()), op)
            elif op.kind == "write":
                at, data = op.detail
                held = contents.setdefault(op.where, bytearray())
                if op.where in ragged:  # a sector is whole or not there, wherever the file does not end
                    first, end = ragged.pop(op.where)
                    del held[max(first, end - end % SECTOR_BYTES) :]
                held[:] = held.ljust(at + len(_fated(data, fate)), b"\0")
                for start, end in _kept(at, len(data), fate):
                    start -= start % SECTOR_BYTES
                    held[start:end] = meant[op.where][start:end]
                if fate in ("half", "no last byte"):
                    ragged[op.where] = at, len(held)
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


def _apply(held: bytearray, op: Op) -> None:
    if op.kind == "truncate":
        held[:] = held[: op.detail[0]].ljust(op.detail[0], b"\0")
    else:
        at, data = op.detail
        held[:] = held.ljust(at, b"\0")
        held[at : at + len(data)] = data


def _fated(data: bytes, fate: str) -> bytes:
    """As much of a write as the size of the file tells of."""
    return {"half": data[: len(data) // 2], "no last byte": data[:-1]}.get(fate, data)


def _kept(at: int, size: int, fate: str) -> list[tuple[int, int]]:
    """From where to where a write reached the medium. Where it did not, zeros are read: holes are whole sectors."""
    end = at + size

    def sector(part: float) -> int:
        return min(end, -(-int(at + size * part) // SECTOR_BYTES) * SECTOR_BYTES)

    return {
        "whole": [(at, end)],
        "half": [(at, at + size // 2)],
        "no last byte": [(at, end - 1)],
        "zeros": [],
        "hole": [(sector(0.5), end)],
        "inner hole": [(at, sector(0.2)), (sector(0.7), end)],
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
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "run")
    create_run(run, MANIFEST, durability="none")
    return run


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory where the machine has one: syncs cost nothing there."""
    place = Path("/dev/shm")
    root = Path(tempfile.mkdtemp(prefix="groundswell-test-", dir=place if os.access(place, os.W_OK) else None))
    yield root
    shutil.rmtree(root)


def png_with(*chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of these chunks, each with its right CRC."""
    out = b"\x89PNG\r\n\x1a\n"
    for kind, body in chunks:
        out += len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")
    return out


def to_dict(record: Struct) -> dict[str, Any]:
    return msgspec.json.decode(msgspec.json.encode(record))


@pytest.fixture
def kit() -> object:
    """The functions of this file, for test modules (which cannot import one another)."""
    return sys.modules[__name__]
