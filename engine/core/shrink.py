"""What is asked after a far side found a request too large: the same with fewer reference pictures, once.

Derived from the job and its history alone, so a run that was killed in between asks the same again.
"""

from __future__ import annotations

import msgspec

from engine.errors import ProviderError
from schemas.job import Request
from schemas.outcome import ErrorKind

__all__ = ["fewer_references", "too_large"]


def fewer_references(request: Request) -> Request | None:
    """The request with the first half of its reference pictures; None where not one would be left.

    Without any picture the question would be another one, and its answer not what was asked for.
    """
    kept = request.references[: len(request.references) // 2]
    return msgspec.structs.replace(request, references=kept) if kept else None


def too_large(error: ProviderError, job: Request, *, shrunk: bool) -> ProviderError:
    """A 413 with what follows from it in its words; of kind INVALID where nothing is left to leave out.

    `shrunk`: the call was made with fewer pictures than the job has.
    """
    had, smaller = len(job.references), fewer_references(job)
    if not shrunk and smaller is not None:
        kind, then = error.kind, f"to be asked once more with {len(smaller.references)} of {had} reference pictures"
    else:
        kind = ErrorKind.INVALID
        if shrunk and smaller is not None:
            then = f"even with {len(smaller.references)} of {had} reference pictures: give fewer or smaller ones"
        elif had:
            then = "its one reference picture cannot be left out: give a smaller one"
        else:
            then = "there is no reference picture to leave out: shorten the prompt"
    return ProviderError(
        kind,
        f"{error.message.rstrip('.')}; {then}",
        http_status=error.http_status,
        retry_after_s=error.retry_after_s,
        usage=error.usage,
    )
