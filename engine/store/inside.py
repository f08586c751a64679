"""Where a recorded path leads: a run directory may come from a stranger, and its links and pipes with it."""

from __future__ import annotations

import stat
from pathlib import Path, PurePosixPath

from engine.errors import StoreError


def plain_file(root: Path, name: str) -> Path:
    """The file that a path in a log means (relative to the run, with forward slashes).

    Raises StoreError where it leads out of the run, through a symbolic link, or to what is no plain file (a
    named pipe would hold its reader for ever); FileNotFoundError and other OSErrors where it cannot be found.
    """
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\0" in name or "\\" in name:
        raise _elsewhere(root, name, "is outside the run")
    path, kind = root, 0
    for part in parts:
        path = path / part
        kind = path.lstat().st_mode
        if stat.S_ISLNK(kind):
            raise _elsewhere(root, name, "is a symbolic link, or behind one")
    if not stat.S_ISREG(kind):
        raise _elsewhere(root, name, "is no plain file")
    return path


def _elsewhere(root: Path, name: str, why: str) -> StoreError:
    return StoreError(f"{root}: the log names {name!r}, which {why}; run `groundswell verify {root}`")
