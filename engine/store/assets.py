"""Pictures on disk: whole, durable and under their final name before any log line speaks of them.

Order: check, temporary file in the same folder, write, sync, rename, sync of the folder. All of it runs
in one of a few threads, which is also the group commit for pictures: a journaling file system merges
the commits of threads that sync at the same time.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from pathlib import Path

from engine.offload import Offload
from engine.store.fs import DISK, Buffer, Durability, Fs, refused, write_new
from engine.store.layout import RunDir
from engine.store.picture import Picture, check_picture
from engine.store.recovery import make_quarantine, stamp
from schemas.outcome import Asset

PICTURE_THREADS = 8
"""Writers of pictures at a time. Pictures of 1.5 MB per second, strict, on two cores (benchmarks/store.py):
343 with 1 thread, 421 with 2, 433 with 4, 500 with 8, 430 with 16."""
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


async def save_picture(
    run: RunDir,
    index: int,
    image_id: str,
    data: Buffer,
    *,
    durability: Durability = "strict",
    offload: Offload,
    fs: Fs = DISK,
) -> Asset:
    """Check a picture and put it where it belongs; returns when it may be recorded.

    Raises BadPicture when the bytes are no whole picture (nothing is written), StoreError when the disk
    refuses. A different file under that name is moved to quarantine/ first; the same bytes are kept.
    `offload` is the run's pool of PICTURE_THREADS.
    """
    return await offload(lambda: write_picture(run, index, image_id, data, durability=durability, fs=fs))


def write_picture(
    run: RunDir, index: int, image_id: str, data: Buffer, *, durability: Durability = "strict", fs: Fs = DISK
) -> Asset:
    """`save_picture` for callers without a loop; blocks."""
    picture = check_picture(data)
    folder, path = run.image_folder(index), run.image_path(index, image_id, picture.suffix)
    digest = hashlib.sha256(data).hexdigest()
    sync = durability != "none"
    try:
        run.ensure_folder(folder, durable=sync, fs=fs)
        found = _found(path)
        if found is None or not _holds(path, found, data, digest):
            if found is not None:
                move_aside(run, path, "replaced", fs=fs)
            temporary = folder / f".{image_id}.{os.urandom(4).hex()}.tmp"
            write_new(fs, temporary, [data], sync=sync)
            try:
                fs.rename(temporary, path)
            except OSError:
                fs.unlink(temporary)
                raise
        elif sync:
            make_certain(path, fs)
        if sync:
            fs.sync_dir(folder)
    except OSError as error:
        raise refused(path, "save the picture", error) from error
    return describe(run, path, digest, len(data), picture)


def describe(run: RunDir, path: Path, digest: str, size_bytes: int, picture: Picture) -> Asset:
    """The Asset of a picture that lies at `path`."""
    return Asset(
        path=run.relative(path),
        sha256=digest,
        size_bytes=size_bytes,
        mime_type=picture.mime_type,
        width=picture.width,
        height=picture.height,
    )


def make_certain(path: Path, fs: Fs = DISK) -> None:
    """Sync a file that an earlier process may not have synced. Raises OSError."""
    fd = fs.open_existing(path)
    try:
        fs.sync(fd)
    finally:
        fs.close(fd)


def quarantine(run: RunDir, name: str, data: Buffer, reason: str, *, fs: Fs = DISK) -> Path:
    """Keep bytes aside that must not be in the set; `name` and `reason` become part of the file's name.

    Blocks: call it through the run's `offload`. Raises StoreError.
    """
    path = run.quarantine / _kept_name(name, reason)
    try:
        make_quarantine(run.quarantine, fs)
        write_new(fs, path, [data], sync=True)
        fs.sync_dir(run.quarantine)
    except OSError as error:
        raise refused(path, "keep bytes aside", error) from error
    return path


def move_aside(run: RunDir, path: Path, reason: str, *, fs: Fs = DISK) -> Path:
    """Move a file of the run to quarantine/, never over another one. A symlink is moved, not followed.

    Raises OSError.
    """
    kept_at = run.quarantine / _kept_name(path.name, reason)
    make_quarantine(run.quarantine, fs)
    fs.rename(path, kept_at)
    fs.sync_dir(run.quarantine)
    fs.sync_dir(path.parent)
    return kept_at


def _kept_name(name: str, reason: str) -> str:
    """`name` up front so that a folder listing sorts by it; moment and chance keep names apart."""
    safe = _UNSAFE.sub("_", name).lstrip(".")[:120] or "unnamed"
    why = _UNSAFE.sub("-", reason)[:40].strip("-") or "unknown"
    stem, dot, suffix = safe.rpartition(".")
    return f"{stem or safe}.{why}.{stamp()}-{os.urandom(2).hex()}" + (dot + suffix if stem else "")


def _found(path: Path) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None


def _holds(path: Path, found: os.stat_result, data: Buffer, digest: str) -> bool:
    """Whether a regular file of these very bytes lies there."""
    if not stat.S_ISREG(found.st_mode) or found.st_size != len(data):
        return False
    return hashlib.sha256(path.read_bytes()).hexdigest() == digest
