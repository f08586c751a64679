"""Pictures that are sent along with a request."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from pathlib import Path

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
        data = Path(path).read_bytes()
    except OSError as error:
        raise ProviderError(ErrorKind.INVALID, tidy(f"reference picture {path}: {error.strerror or error}")) from None
    if sha256(data).hexdigest() != digest:
        raise ProviderError(ErrorKind.INVALID, tidy(f"reference picture {path}: changed since it was planned"))
    return data
