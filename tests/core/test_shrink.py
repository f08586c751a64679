"""A request that was too large: half of its pictures, never none of them, and words that say so."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.shrink import fewer_references, too_large
from engine.errors import ProviderError
from schemas.job import Request
from schemas.outcome import ErrorKind
from schemas.prompt import Reference


def asking(pictures: int) -> Request:
    references = tuple(Reference(path=f"{n}.png", sha256=f"{n:064x}", mime_type="image/png") for n in range(pictures))
    return Request(model="m", text="A square", references=references)


@given(st.integers(0, 20))
def test_the_first_half_of_the_pictures_goes_and_nothing_else_changes(pictures: int) -> None:
    request = asking(pictures)
    smaller = fewer_references(request)
    if pictures < 2:
        assert smaller is None
    else:
        assert smaller is not None
        assert smaller.references == request.references[: pictures // 2]
        assert msgspec.structs.replace(smaller, references=request.references) == request


@pytest.mark.parametrize(
    ("pictures", "shrunk", "kind", "words"),
    [
        (4, False, ErrorKind.TOO_LARGE, "to be asked once more with 2 of 4 reference pictures"),
        (4, True, ErrorKind.INVALID, "even with 2 of 4 reference pictures: give fewer or smaller ones"),
        (1, False, ErrorKind.INVALID, "its one reference picture cannot be left out: give a smaller one"),
        (0, False, ErrorKind.INVALID, "there is no reference picture to leave out: shorten the prompt"),
        (0, True, ErrorKind.INVALID, "there is no reference picture to leave out: shorten the prompt"),
    ],
)
def test_what_follows_is_told_in_the_error(pictures: int, shrunk: bool, kind: ErrorKind, words: str) -> None:
    error = ProviderError(ErrorKind.TOO_LARGE, "413: too large.", http_status=413)
    told = too_large(error, asking(pictures), shrunk=shrunk)
    assert told.kind is kind
    assert told.message == f"413: too large; {words}"
    assert told.http_status == 413
