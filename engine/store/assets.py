"""Pictures on disk: whole, durable and under their final name before any log line speaks of them.

Order: check, temporary file in the same folder, write, sync, rename, sync of the folder. Pictures that come together go
step by step together: the first sync commits the file system's journal for all of them, and a folder is synced once.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from msgspec import Struct

from engine.errors import StoreError
from engine.store.fs import DISK, AnyPath, Buffer, Durability, Fs, begin_new, end_new, refused, take_back, write_new
from engine.store.layout import RunDir, image_name
from engine.store.picture import BadPicture, Picture, check_picture
from engine.store.recovery import make_quarantine, stamp
from schemas.outcome import Asset

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_chance = count(int.from_bytes(os.urandom(4), "big"))
"""Numbers for the names of temporary files, unlike those that a killed process left."""


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
    portion = _Portion(run, fs, durability != "none")
    pictures = [_Saving(one) for one in arrivals]
    try:
        for step in (portion.write, portion.sync, portion.rename):
            for picture in pictures:
                if picture.failure is None:
                    try:
                        step(picture)
                    except OSError as error:
                        portion.refuse(picture, error)
                    except (BadPicture, StoreError) as error:
                        picture.failure = error
        portion.sync_folders(pictures)
    finally:
        for picture in pictures:
            if picture.temporary:  # a fault of ours
                portion.take_back(picture)
    return [picture.failure or picture.asset(run) for picture in pictures]


class _Saving:
    """A picture on its way to its place."""

    __slots__ = ("digest", "failure", "fd", "folder", "kept", "one", "path", "picture", "temporary")

    def __init__(self, one: Arrival) -> None:
        self.one = one
        self.failure: BadPicture | StoreError | None = None
        self.temporary = ""
        """The file that it is in, until it has its name."""
        self.fd = -1
        self.kept = False
        """The same bytes lie in its place already."""
        self.folder: Path
        self.path: str
        self.digest: str
        self.picture: Picture

    def asset(self, run: RunDir) -> Asset:
        return describe(run, self.path, self.digest, len(self.one.data), self.picture)


class _Portion:
    """The steps that pictures go together. Paths are texts here: pathlib takes longer than half the rest of it."""

    def __init__(self, run: RunDir, fs: Fs, sync: bool) -> None:
        self._run = run
        self._fs = fs
        self._sync = sync
        self._folders: list[Path] = []
        """Those that were looked at."""

    def write(self, picture: _Saving) -> None:
        one, run, fs = picture.one, self._run, self._fs
        whole = picture.picture = check_picture(one.data)
        folder = picture.folder = run.image_folder(one.index)
        path = picture.path = f"{folder}/{image_name(one.image_id, whole.suffix)}"
        picture.digest = hashlib.sha256(one.data).hexdigest()
        if folder not in self._folders:
            run.ensure_folder(folder, durable=self._sync, fs=fs)
            self._folders.append(folder)
        found = _found(path)
        if found is not None:
            if _holds(path, found, one.data, picture.digest):
                picture.kept = True
                return
            move_aside(run, Path(path), "replaced", fs=fs)
        temporary = f"{folder}/.{one.image_id}.{next(_chance) & 0xFFFFFFFF:08x}.tmp"
        picture.fd = begin_new(fs, temporary, [one.data], sync=self._sync)
        picture.temporary = temporary

    def sync(self, picture: _Saving) -> None:
        if not picture.kept:
            fd, picture.fd = picture.fd, -1
            end_new(self._fs, fd, sync=self._sync)
        elif self._sync:
            make_certain(picture.path, self._fs)

    def rename(self, picture: _Saving) -> None:
        if not picture.kept:
            self._fs.rename(picture.temporary, picture.path)
            picture.temporary = ""

    def sync_folders(self, pictures: Sequence[_Saving]) -> None:
        for folder in self._folders if self._sync else ():
            saved = [picture for picture in pictures if picture.failure is None and picture.folder == folder]
            try:
                if saved:
                    self._fs.sync_dir(folder)
            except OSError as error:
                for picture in saved:
                    self.refuse(picture, error)

    def refuse(self, picture: _Saving, error: OSError) -> None:
        """Give one up; what the disk has of it goes, but for what has its name already."""
        picture.failure = refused(picture.path, "save the picture", error)
        if picture.temporary:
            self.take_back(picture)

    def take_back(self, picture: _Saving) -> None:
        take_back(self._fs, picture.temporary, picture.fd)
        picture.temporary = ""


def describe(run: RunDir, path: AnyPath, digest: str, size_bytes: int, picture: Picture) -> Asset:
    """The Asset of a picture that lies at `path`."""
    return Asset(
        path=run.relative(path),
        sha256=digest,
        size_bytes=size_bytes,
        mime_type=picture.mime_type,
        width=picture.width,
        height=picture.height,
    )


def make_certain(path: AnyPath, fs: Fs = DISK) -> None:
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


def _found(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None


def _holds(path: str, found: os.stat_result, data: Buffer, digest: str) -> bool:
    """Whether a regular file of these very bytes lies there."""
    if not stat.S_ISREG(found.st_mode) or found.st_size != len(data):
        return False
    return hashlib.sha256(Path(path).read_bytes()).hexdigest() == digest
