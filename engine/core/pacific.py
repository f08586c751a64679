"""The Pacific day: Gemini's daily quotas turn at midnight in Los Angeles.

Pure: the time zone is handed in, because reading zone data reads files.
"""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo

__all__ = ["ZONE", "day_bounds"]

ZONE = "America/Los_Angeles"


def day_bounds(wall_at: float, zone: tzinfo) -> tuple[float, float]:
    """Start and end, as Unix times, of the day in `zone` that holds `wall_at`. 23 or 25 hours on DST days."""
    local = datetime.fromtimestamp(wall_at, zone)
    start = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    # Adding a day to local time keeps the clock at midnight; the zone then gives its own offset.
    end = (start + timedelta(days=1)).replace(fold=0)
    return start.timestamp(), end.timestamp()
