"""What the far side really allows: a limit that is learned from its refusals.

A configured quota may be wrong, shared with others, or changed during the run. Two ways to learn:
a refusal that names its limit is believed at once (`told`); one that does not starts a search
(`cut`) along a cubic curve as in CUBIC congestion control: down by a tenth, back at the level that
failed after `RETURN_S`, flat around it, then faster and faster above it. So most of the time is
spent close under the real limit, and a limit that was raised is found.
"""

from __future__ import annotations

from msgspec import Struct

__all__ = ["RETURN_S", "Learned", "cut", "limit_at", "return_s", "told"]

RETURN_S = 600.0
"""From a cut until the level that failed is tried again."""
RETURN_S_MAX = 1800.0
"""However dear a refusal is: a limit that was raised must be found within the hour."""
BLIND = 0.1
"""A cut's depth when the refusal did not say what the limit is."""
SURE = 0.05
"""A blind cut's depth when the level that failed is about the one that failed before."""
NUDGE = 0.03
"""A cut's depth when the refusal named a limit that we had kept: others use the quota too."""
TOLD_RETURN_S_MAX = 1200.0
"""A limit that was named twice is taken as true for at most so long."""
TRUST = 0.5
"""However little was accepted, one refusal takes off no more than this part."""
FLOOR = 0.01
"""No limit is learned below this part of the first one."""


class Learned(Struct, frozen=True):
    """A limit, in units per window. `configured` None: no limit of ours; `ceiling` None: nothing learned."""

    configured: float | None = None
    ceiling: float | None = None
    """The level at which the far side refused."""
    cut_at: float = 0.0
    depth: float = BLIND
    floor: float = 0.0
    return_s: float = RETURN_S
    flat: bool = False
    """Named twice: kept exactly until `return_s` is over, then probed."""


def limit_at(learned: Learned, now: float) -> float | None:
    """The limit that holds at `now`; None is no limit at all. Never above the configured one."""
    ceiling = learned.ceiling
    if ceiling is None:
        return learned.configured
    x = (now - learned.cut_at) / learned.return_s - 1.0
    lowest = 0.0 if learned.flat else -1.0
    limit = max(learned.floor, ceiling * (1.0 + learned.depth * (x if x > lowest else lowest) ** 3))
    return limit if learned.configured is None or limit < learned.configured else learned.configured


def cut(learned: Learned, now: float, used: float, *, whole: bool = True, pause_s: float = 0.0) -> Learned:
    """The limit after a refusal that named none. `used`: what was accepted in the last window.

    What was accepted is evidence too. It places the ceiling when there was no limit yet, or when the
    limit was far above what the far side took (unless the window was not `whole`: others may have used
    it before us). And while more was accepted than the limit now allows, a refusal is an echo of the
    time before the last cut, and cuts nothing. `pause_s`: what the refusal costs, see `return_s`.
    """
    current = limit_at(learned, now)
    if current is None:
        ceiling = max(used, 1.0)
    elif used > current:
        return learned
    else:
        ceiling = max(used, current * TRUST) if whole else current
    floor = learned.floor or FLOOR * (learned.configured or FLOOR * ceiling)
    known = learned.ceiling is not None and abs(ceiling - learned.ceiling) <= SURE * learned.ceiling
    depth = SURE if known and learned.depth <= BLIND else BLIND
    ceiling = max(ceiling, floor)
    return Learned(learned.configured, ceiling, now, depth, floor, return_s(pause_s))


def return_s(pause_s: float) -> float:
    """Until the level that failed is tried again, when a refusal costs a pause of `pause_s`.

    Servers that answer a call too many with a whole minute's pause are probed more rarely.
    """
    return min(RETURN_S_MAX, RETURN_S * (1.0 + pause_s / 20.0))


def told(learned: Learned, now: float, limit: float, used: float = 0.0, *, pause_s: float = 0.0) -> Learned:
    """The limit after a refusal that named it. Obeyed exactly when it is news; probed much later.

    A limit that we had kept is left a little, since others use the quota too; unless it is an echo.
    """
    current = limit_at(learned, now)
    floor = learned.floor or FLOOR * min(limit, learned.configured or limit)
    after_s = min(TOLD_RETURN_S_MAX, return_s(pause_s))
    if current is None or limit < current:
        again = learned.ceiling is not None and abs(limit - learned.ceiling) <= 0.01 * limit
        since = now if again else now - after_s
        return Learned(learned.configured, limit, since, BLIND, floor, after_s, again)
    if used > current:
        return learned
    return Learned(learned.configured, current, now, NUDGE, floor, after_s)
