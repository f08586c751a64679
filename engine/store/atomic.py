"""Whole files that replace each other in one step: run.json, reports, tables."""

from __future__ import annotations

import os
from pathlib import Path

from engine.store.fs import DISK, Buffer, Durability, Fs, refused, write_new


def write_atomic(path: Path, data: Buffer, *, durability: Durability = "strict", fs: Fs = DISK) -> None:
    """Put `data` at `path` so that readers, and a power loss, see the old file or the new one, never half.

    Raises StoreError when the disk refuses; then the old file is untouched.
    """
    sync = durability != "none"
    temporary = path.with_name(f".{path.name}.{os.urandom(6).hex()}.tmp")
    try:
        write_new(fs, temporary, [data], sync=sync)
        try:
            fs.rename(temporary, path)
        except OSError:
            fs.unlink(temporary)
            raise
        if sync:
            fs.sync_dir(path.parent)
    except OSError as error:
        raise refused(path, "write it", error) from error
