"""Prompt: what one image is asked with, and the context it was made of."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

IMAGE_ID_PATTERN = r"(?!\.)[A-Za-z0-9._-]{1,128}"
"""What an id in a prompt file must match, whole."""


class Reference(Struct, frozen=True, kw_only=True):
    """A picture sent along with a prompt. `path` is read when the call is made."""

    path: str
    sha256: str
    mime_type: str


class Prompt(Struct, frozen=True, kw_only=True):
    """One image to be made. `index` counts from 1 and never changes its meaning within a run."""

    index: int
    image_id: str
    text: str
    style: str | None = None
    complexity: str | None = None
    source_data: dict[str, Any] = {}
    """`atropia`, `demographics` and `visual_reference`, or the further columns of a prompt file."""
    references: tuple[Reference, ...] = ()
