"""Which images come before a reviewer, and in which order. Pure, and the same for the same seed.

A sample is stratified by theme and shuffled, so that the part that was judged when a reviewer
stops is itself a fair sample.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Annotated, Literal

from msgspec import Meta, Struct

from engine.core.reviews import Drawn

__all__ = ["SAMPLE_IMAGES_MIN", "SAMPLE_SHARE", "Filter", "allocate", "sample_size", "stratified_sample"]

SAMPLE_IMAGES_MIN = 10
SAMPLE_SHARE = 0.05
"""The original looked at max(10, 5 %)."""

Words = Annotated[str, Meta(max_length=500)]


class Filter(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a reviewer asks to see. Null: no condition."""

    draw: Literal["sample", "flagged", "all"] = "sample"
    theme: Words | None = None
    category: Words | None = None
    """A label category, together with `label`, its value."""
    label: Words | None = None
    finding: Words | None = None
    """The name of a QA check."""
    reviewer: Words | None = None
    """With `decision`: whose."""
    decision: Literal["undecided", "accept", "reject", "unsure", "disputed", "decided"] | None = None

    @property
    def drawn(self) -> Drawn:
        """What a decision on these images says of how they were drawn."""
        if self.theme or self.category or self.finding or self.reviewer or self.decision not in (None, "undecided"):
            return "filter"
        return self.draw


def sample_size(images: int, wanted: int | None = None) -> int:
    """How many images a sample has: what is wanted, else max(10, 5 %), never more than there are."""
    size = wanted if wanted is not None else max(SAMPLE_IMAGES_MIN, math.ceil(SAMPLE_SHARE * images))
    return min(size, images)


def stratified_sample(strata: Mapping[str, Sequence[str]], size: int, seed: int) -> list[str]:
    """`size` ids, shared out over the strata by their sizes, in an order of chance fixed by `seed`."""
    shares = allocate({name: len(ids) for name, ids in strata.items()}, size)
    chosen: list[tuple[bytes, str]] = []
    for name, ids in strata.items():
        keyed = sorted((_chance(seed, image_id), image_id) for image_id in ids)
        chosen.extend(keyed[: shares[name]])
    return [image_id for _, image_id in sorted(chosen)]


def allocate(sizes: Mapping[str, int], total: int) -> dict[str, int]:
    """Places per stratum by largest remainder, at least one each where there are enough of them."""
    total = min(total, sum(sizes.values()))
    filled = {name: n for name, n in sizes.items() if n > 0}
    floor = 1 if total >= len(filled) else 0
    shares: dict[str, int] = defaultdict(int, dict.fromkeys(filled, floor))
    # What is left is shared in proportion to what each stratum still has to give.
    rest = total - sum(shares.values())
    room = {name: n - floor for name, n in filled.items()}
    spare = sum(room.values())
    if rest and spare:
        exact = {name: rest * n / spare for name, n in room.items()}
        for name, quota in exact.items():
            shares[name] += int(quota)
        left = total - sum(shares.values())
        by_remainder = sorted(exact, key=lambda name: (int(exact[name]) - exact[name], name))
        for name in by_remainder[:left]:
            shares[name] += 1
    return {name: shares[name] for name in sizes}


def _chance(seed: int, image_id: str) -> bytes:
    return blake2b(f"{seed}:{image_id}".encode(), digest_size=8).digest()
