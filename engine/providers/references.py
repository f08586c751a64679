"""Pictures that are sent along with a request."""

from __future__ import annotations

import errno
import os
import stat
from hashlib import sha256

from engine.errors import ProviderError, StoreError
from engine.offload import Offload
from engine.providers.classify import tidy
from schemas.job import Request
from schemas.outcome import ErrorKind

_OF_THE_PICTURE = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENXIO}
)


async def read_references(request: Request, offload: Offload) -> list[bytes]:
    """The request's pictures, read off the loop and checked: a job's id speaks of these bytes and no others.

    Raises ProviderError for a picture that is gone or another one, StoreError where this machine cannot read.
    """
    if not request.references:
        return []
    return await offload(lambda: [_read_reference(r.path, r.sha256) for r in request.references])


def _read_reference(path: str, digest: str) -> bytes:
    try:
        data = _all_of(path)
    except OSError as error:
        if error.errno not in _OF_THE_PICTURE:  # the disk's or the machine's: another picture would fare no better
            raise StoreError(
                f"reference picture {path}: cannot be read: {error.strerror or error}; check the disk and the limit of "
                "open files (ulimit -n), then run the same command again to continue"
            ) from error
        raise ProviderError(ErrorKind.INVALID, tidy(f"reference picture {path}: {error.strerror or error}")) from None
    if sha256(data).hexdigest() != digest:
        raise ProviderError(ErrorKind.INVALID, tidy(f"reference picture {path}: changed since it was planned"))
    return data


def _all_of(path: str) -> bytes:
    """What the file holds, without the buffers and questions of `open`, which take a third of the time."""
    # O_NONBLOCK: a named pipe in the place of a picture must not hold a thread for ever.
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):  # of folders the system says it best
            raise ProviderError(ErrorKind.INVALID, tidy(f"reference picture {path}: is no plain file"))
        pieces: list[bytes] = []
        while piece := os.read(file, status.st_size + 1):
            pieces.append(piece)
        return b"".join(pieces)
    finally:
        os.close(file)
