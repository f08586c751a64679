"""How many processor cores are ours: what a notebook server or a container grants is less than what the machine has."""

from __future__ import annotations

import math
import os
from pathlib import Path, PurePosixPath


def cores() -> int:
    """How many we may use: by affinity, and by the CPU quota of our control groups; at least one."""
    granted = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota()
    return granted if quota is None else max(1, min(granted, math.ceil(quota)))


def cpu_quota(groups: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """CPU seconds per second that the tightest of our control groups allows; None where nothing limits us.

    Reads version 2 (`cpu.max`) and version 1 (`cpu.cfs_quota_us`). Every group up to the root counts: in a container
    the names may be those of the world outside, and the root is its own group.
    """
    try:
        lines = groups.read_text().splitlines()
    except (OSError, ValueError):
        return None
    found: list[float] = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, name = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / (controllers if (root / controllers).exists() else "cpu")  # version 2 names none
        group = PurePosixPath(name)
        for place in (group, *group.parents):
            quota = _quota(top / str(place).lstrip("/"))
            if quota is not None:
                found.append(quota)
    return min(found, default=None)


def _quota(folder: Path) -> float | None:
    try:
        if (both := folder / "cpu.max").exists():
            quota, period = both.read_text().split()
        else:
            quota, period = ((folder / f"cpu.cfs_{what}_us").read_text() for what in ("quota", "period"))
        return int(quota) / int(period) if int(quota) > 0 and int(period) > 0 else None
    except (OSError, ValueError):  # none there, or "max": no limit
        return None
