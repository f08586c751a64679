"""Pictures that a crash left without a log line: paid for, so they are taken up again if they are whole.

A call in doubt has a `start` line and no end. Its picture, if it came that far, lies under the job's
own name or under a temporary one beside it; nowhere else needs to be looked at when a run starts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from msgspec import Struct

from engine.store.assets import describe, make_certain, move_aside
from engine.store.fs import DISK, Fs, refused
from engine.store.layout import SUFFIXES, RunDir
from engine.store.picture import SIZE_BYTES_MAX, BadPicture, check_picture
from schemas.outcome import Asset


class Adoption(Struct, frozen=True):
    """What was found for the calls in doubt."""

    assets: dict[str, Asset]
    """By image id: whole pictures, durable, under their final names. Record them with `adopted`."""
    kept_aside: tuple[Path, ...]
    """Files that were not whole, now in quarantine/."""


def adopt_orphans(
    run: RunDir, in_doubt: Iterable[tuple[int, str]], *, known: Iterable[str] = (), fs: Fs = DISK
) -> Adoption:
    """Take up the pictures of calls in doubt, given as (index, image id). Hold the run's lock.

    `known` are recorded asset paths (relative to the run), which are never touched. What is not whole
    is moved to quarantine/; empty temporary files are removed. Raises StoreError. Blocks.
    """
    assets: dict[str, Asset] = {}
    kept: list[Path] = []
    recorded = {run.root / path for path in known}
    wanted: dict[Path, dict[str, int]] = {}
    for index, image_id in in_doubt:
        wanted.setdefault(run.image_folder(index), {})[image_id] = index
    for folder, ids in wanted.items():
        try:
            for image_id, path in _candidates(folder, ids):
                if path in recorded:
                    continue
                asset = None if image_id in assets else _adopt(run, ids[image_id], image_id, path, fs)
                if asset is not None:
                    assets[image_id] = asset
                elif is_temporary(path) and path.lstat().st_size == 0:
                    fs.unlink(path)
                else:
                    kept.append(move_aside(run, path, "orphan", fs=fs))
        except OSError as error:
            raise refused(folder, "take up the pictures of an interrupted run", error) from error
    return Adoption(assets, tuple(kept))


def is_temporary(path: Path) -> bool:
    """Whether a file is one that `write_picture` had not renamed yet."""
    return path.name.startswith(".") and path.name.endswith(".tmp")


def temporary_owner(path: Path) -> str:
    """The image id that a temporary file was written for."""
    return path.name[1:].removesuffix(".tmp").rpartition(".")[0]


def _candidates(folder: Path, ids: dict[str, int]) -> Iterator[tuple[str, Path]]:
    """Files of these images in one folder: final names first, then temporary ones."""
    if folder.is_symlink() or not folder.is_dir():
        return
    for image_id in ids:
        for suffix in SUFFIXES:
            path = folder / (image_id + suffix)
            if path.is_symlink() or path.exists():
                yield image_id, path
    for path in sorted(folder.glob(".*.tmp")):
        if (owner := temporary_owner(path)) in ids:
            yield owner, path


def _adopt(run: RunDir, index: int, image_id: str, path: Path, fs: Fs) -> Asset | None:
    if path.is_symlink() or not path.is_file() or path.stat().st_size > SIZE_BYTES_MAX:
        return None
    data = path.read_bytes()
    try:
        picture = check_picture(data)
    except BadPicture:
        return None
    final = run.image_path(index, image_id, picture.suffix)
    if path != final and final.exists():
        return None
    make_certain(path, fs)
    if path != final:
        fs.rename(path, final)
    run.ensure_folder(final.parent, durable=True, fs=fs)
    fs.sync_dir(final.parent)
    return describe(run, final, hashlib.sha256(data).hexdigest(), len(data), picture)
