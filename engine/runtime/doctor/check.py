"""Check: one question's answer, with what to do about it."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Status = Literal["ok", "warn", "fail", "skip"]


class Check(Struct, frozen=True, kw_only=True):
    """`fail`: a run could not work. `warn`: it could, but look at this. `skip`: not asked."""

    name: str
    status: Status
    detail: str
    next_step: str | None = None
