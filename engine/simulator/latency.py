"""How long the simulated model takes."""

from __future__ import annotations

import math
import random

from msgspec import Struct


class Latency(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Lognormal around a median, in seconds; `sigma` 0 is always the median."""

    median_s: float = 0.0
    sigma: float = 0.0

    def draw_s(self, chance: random.Random) -> float:
        """One waiting time."""
        if self.median_s <= 0:
            return 0.0
        return chance.lognormvariate(math.log(self.median_s), self.sigma) if self.sigma else self.median_s


def latency(value: Latency | float) -> Latency:
    """A plain number means always that many seconds."""
    return value if isinstance(value, Latency) else Latency(median_s=float(value))
