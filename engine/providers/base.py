"""The provider protocol: one call, one answer, one kind of error."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from schemas.job import Request
from schemas.outcome import Usage


class Picture(Struct, frozen=True, kw_only=True):
    """A picture as it was received. Not yet checked: the bytes may be anything."""

    data: bytes
    mime_type: str
    """What the answer claimed, such as "image/png". The bytes decide."""

    def __repr__(self) -> str:
        return f"Picture({self.mime_type}, {len(self.data)} bytes)"


class Response(Struct, frozen=True, kw_only=True):
    """A usable answer. `picture` is set when one was asked for, else `text` is."""

    picture: Picture | None = None
    extra_pictures: int = 0
    """Pictures that came beside the first and were left out. Thoughts do not count."""
    text: str | None = None
    """All text parts that are not thoughts, in their order; None when there was none."""
    usage: Usage = Usage()
    finish_reason: str | None = None
    model_version: str | None = None


class Provider(Protocol):
    """Where pictures and texts come from."""

    async def call(self, request: Request) -> Response:
        """The answer to one request. Cancellation passes through.

        Raises `ProviderError`; and `StoreError` before anything was sent, where a picture to be sent cannot be read.
        """
        ...

    async def aclose(self) -> None:
        """Closes what the provider holds open."""
        ...
