"""WorkQueue: what to try next. Turned away first, then retries that are due, then fresh work.

Bounded on both sides: `room` says how much fresh work may be put in, and it is none while too many
retries are waiting, so that a far side that fails half of all calls does not fill the memory.
"""

from __future__ import annotations

import heapq
from collections import deque
from typing import Generic, TypeVar

from engine.core.retry import RetryBudget

__all__ = ["WorkQueue"]

T = TypeVar("T")


class WorkQueue(Generic[T]):
    """A queue of items for one model. Pure: every call takes `now` where it needs it.

    Items that were in flight come back by `requeue` or `retry` whatever the bounds: they have a
    place already. Only `push` is bounded.
    """

    def __init__(self, *, fresh_max: int = 1024, retries_max: int = 10_000, budget: RetryBudget | None = None) -> None:
        self._fresh: deque[T] = deque()
        self._returned: deque[T] = deque()
        self._turned_away: list[tuple[float, int, T]] = []
        self._retries: list[tuple[float, int, T]] = []
        self._count = 0
        self.fresh_max = fresh_max
        self.retries_max = retries_max
        self.budget = budget

    def __len__(self) -> int:
        return len(self._fresh) + len(self._returned) + len(self._turned_away) + len(self._retries)

    @property
    def room(self) -> int:
        """How many fresh items may be pushed now."""
        if len(self._retries) >= self.retries_max:
            return 0
        return max(0, self.fresh_max - len(self._fresh))

    @property
    def retries(self) -> int:
        """How many items wait for their next try."""
        return len(self._retries)

    def push(self, item: T) -> None:
        """Add fresh work at the tail. Raises OverflowError beyond `room`."""
        if not self.room:
            raise OverflowError(f"the queue holds {len(self._fresh)} fresh items and {len(self._retries)} retries")
        self._fresh.append(item)

    def requeue(self, item: T, at: float | None = None) -> None:
        """Put an item back before everything else, from `at` on: it was turned away, not tried."""
        if at is None:
            self._returned.append(item)
        else:
            self._count += 1
            heapq.heappush(self._turned_away, (at, self._count, item))

    def retry(self, item: T, at: float) -> None:
        """Have an item tried again at `at`, or as soon after as the retry budget allows."""
        self._count += 1
        heapq.heappush(self._retries, (at, self._count, item))

    def pop(self, now: float) -> T | None:
        """The item to try now; None when there is none that is due."""
        if self._returned:
            return self._returned.popleft()
        if self._turned_away and self._turned_away[0][0] <= now:
            return heapq.heappop(self._turned_away)[2]
        if self._retries and self._retries[0][0] <= now and self._affordable(now) <= now:
            if self.budget is not None:
                self.budget.spend(now)
            return heapq.heappop(self._retries)[2]
        if self._fresh:
            if self.budget is not None:
                self.budget.fresh()
            return self._fresh.popleft()
        return None

    def next_moment(self, now: float) -> float | None:
        """When `pop` will give something: `now`, a later moment, or None when the queue is empty."""
        if self._returned or self._fresh:
            return now
        moments = [self._turned_away[0][0]] if self._turned_away else []
        if self._retries:
            moments.append(max(self._retries[0][0], self._affordable(now)))
        return max(now, min(moments)) if moments else None

    def _affordable(self, now: float) -> float:
        return now if self.budget is None else self.budget.earliest(now)
