"""Pictures on disk: whole, durable and under their final name before any log line speaks of them.

Order: check, temporary file in the same folder, write, sync, rename, sync of the folder. Pictures that come together go
step by step together: the first sync commits the file system's journal for all of them, and a folder is synced once.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from engine.errors import StoreError
from engine.store.fs import DISK, Buffer, Durability, Fs, refused, write_new, writing_new
from engine.store.layout import RunDir
from engine.store.picture import BadPicture, Picture, check_picture
from engine.store.recovery import make_quarantine, stamp
from schemas.outcome import Asset

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


class Arrival(Struct, frozen=True, gc=False):
    """A picture that came and shall be kept."""

    index: int
    image_id: str
    data: Buffer


def write_picture(
    run: RunDir, index: int, image_id: str, data: Buffer, *, durability: Durability = "strict", fs: Fs = DISK
) -> Asset:
    """Check a picture and put it where it belongs; blocks, and returns when it may be recorded.

    Raises BadPicture when the bytes are no whole picture (nothing is written), StoreError when the disk
    refuses. A different file under that name is moved to quarantine/ first; the same bytes are kept.
    """
    (done,) = write_pictures(run, [Arrival(index, image_id, data)], durability=durability, fs=fs)
    if isinstance(done, Asset):
        return done
    raise done


def write_pictures(
    run: RunDir, arrivals: Sequence[Arrival], *, durability: Durability = "strict", fs: Fs = DISK
) -> list[Asset | BadPicture | StoreError]:
    """`write_picture` of several images; for each what it returns or raises."""
    sync = durability != "none"
    under_way = {n: _saving(run, one, sync, fs) for n, one in enumerate(arrivals)}
    done: dict[int, Asset | BadPicture | StoreError] = {}

    def go_on(n: int, step: Callable[[], Path | None]) -> Path | None:
        try:
            return step()
        except StopIteration as end:
            done[n] = end.value
        except (BadPicture, StoreError) as error:
            done[n] = error
        del under_way[n]
        return None

    try:
        folders: dict[int, Path | None] = {}
        for _ in ("written", "synced", "renamed"):
            folders = {n: go_on(n, saving.__next__) for n, saving in tuple(under_way.items())}
        for folder in dict.fromkeys(folders.values()):
            error = None
            if folder is not None and sync:
                try:
                    fs.sync_dir(folder)
                except OSError as raised:
                    error = raised
            for n in [n for n in under_way if folders[n] == folder]:
                saving = under_way[n]
                go_on(n, saving.__next__ if error is None else lambda saving=saving, error=error: saving.throw(error))
    finally:
        for saving in under_way.values():
            saving.close()
    return [done[n] for n in range(len(arrivals))]


def _saving(run: RunDir, one: Arrival, sync: bool, fs: Fs) -> Generator[Path | None, None, Asset]:
    """One picture; pauses when it is written, when it is synced, and when it is renamed: gives the folder to sync."""
    picture = check_picture(one.data)
    folder, path = run.image_folder(one.index), run.image_path(one.index, one.image_id, picture.suffix)
    digest = hashlib.sha256(one.data).hexdigest()
    try:
        run.ensure_folder(folder, durable=sync, fs=fs)
        found = _found(path)
        if found is None or not _holds(path, found, one.data, digest):
            if found is not None:
                move_aside(run, path, "replaced", fs=fs)
            temporary = folder / f".{one.image_id}.{os.urandom(4).hex()}.tmp"
            yield from writing_new(fs, temporary, [one.data], sync=sync)
            try:
                yield
                fs.rename(temporary, path)
            except BaseException:
                with suppress(OSError):
                    fs.unlink(temporary)
                raise
        else:
            yield
            if sync:
                make_certain(path, fs)
            yield
        yield folder
    except OSError as error:
        raise refused(path, "save the picture", error) from error
    return describe(run, path, digest, len(one.data), picture)


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
