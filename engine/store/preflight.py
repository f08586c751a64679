"""Questions to ask before the first paid call: will it fit, may we write, are there handles enough."""

from __future__ import annotations

import os
import resource
from pathlib import Path

from engine.errors import StoreError
from engine.store.fs import DISK, Fs, refused
from engine.store.layout import RunDir, make_root

SPARE_BYTES = 64 << 20
"""Left free beside what a run needs: logs, reports, the rest of the machine."""
HANDLES_SPARE = 64
HANDLES_PER_CALL = 4


def free_bytes(path: Path) -> int:
    """Bytes an ordinary user may still write at `path`, or at its nearest parent that exists."""
    at = path.absolute()
    while not at.exists() and at != at.parent:
        at = at.parent
    try:
        found = os.statvfs(at)
    except OSError as error:
        raise refused(path, "ask for its free space", error) from error
    return found.f_bavail * found.f_frsize


def check_space(run: RunDir, needed_bytes: int, *, spare_bytes: int = SPARE_BYTES) -> int:
    """The free bytes; StoreError if less is free than needed and some to spare.

    Before a run, and now and then during it for the calls in flight: a picture that was paid for must
    find its place. Quotas of a user are not visible here.
    """
    free = free_bytes(run.root)
    if free < needed_bytes + spare_bytes:
        raise StoreError(
            f"{run.root}: {_size(free)} free, {_size(needed_bytes)} needed and {_size(spare_bytes)} to spare; "
            "free space, or choose another --out, then run the same command again to continue"
        )
    return free


def check_writable(run: RunDir, *, fs: Fs = DISK) -> None:
    """Write, rename and remove a small file, so that a read-only place is found before anything is paid for."""
    probe = run.root / f".probe.{os.urandom(4).hex()}.tmp"
    try:
        make_root(run.root, sync=False, fs=fs)
        fd = fs.create(probe)
        try:
            fs.write(fd, b"groundswell\n")
        finally:
            fs.close(fd)
            fs.unlink(probe)
    except OSError as error:
        raise refused(run.root, "write in it", error) from error


def check_handles(calls_in_flight: int) -> int:
    """The limit of open files; StoreError if so many calls at a time would exceed it."""
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return calls_in_flight * HANDLES_PER_CALL + HANDLES_SPARE
    needed = calls_in_flight * HANDLES_PER_CALL + HANDLES_SPARE
    if limit < needed:
        ceiling = "any number" if most == resource.RLIM_INFINITY else f"up to {most}"
        raise StoreError(
            f"open files: the limit is {limit}, {calls_in_flight} calls in flight may need {needed}; "
            f"run `ulimit -n {needed}` ({ceiling} is allowed) or lower rate_limiting.max_in_flight"
        )
    return limit


def _size(size_bytes: int) -> str:
    value = float(size_bytes)
    for unit in ("B", "KB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"
