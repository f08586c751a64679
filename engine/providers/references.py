"""Pictures that are sent along with a request."""

from __future__ import annotations

import asyncio
import os
import stat
from hashlib import sha256

from engine.errors import ProviderError
from engine.providers.classify import tidy
from schemas.job import Request
from schemas.outcome import ErrorKind


async def read_references(request: Request) -> list[bytes]:
    """The request's pictures, read off the loop and checked: a job's id speaks of these bytes and no others."""
    if not request.references:
        return []
    return await asyncio.to_thread(lambda: [_read_reference(r.path, r.sha256) for r in request.references])


def _read_reference(path: str, digest: str) -> bytes:
    try:
        # O_NONBLOCK: a named pipe in the place of a picture must not hold a thread for ever.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ProviderError(ErrorKind.INVALID, tidy(f"reference picture {path}: is no plain file"))
            data = file.read()
    except OSError as error:
        raise ProviderError(ErrorKind.INVALID, tidy(f"reference picture {path}: {error.strerror or error}")) from None
    if sha256(data).hexdigest() != digest:
        raise ProviderError(ErrorKind.INVALID, tidy(f"reference picture {path}: changed since it was planned"))
    return data
