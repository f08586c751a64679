"""Processes beside a pass, one per core, each with the libraries it uses held to that core."""

from __future__ import annotations

import subprocess

from engine.qa.lanczos import ALONE
from engine.store import beside

KEEPING = {"MALLOC_TRIM_THRESHOLD_": str(64 << 20), "MALLOC_MMAP_THRESHOLD_": str(32 << 20)}
"""Environment in which glibc keeps the memory of a picture for the next, instead of 2,000 page faults for each."""

end = beside.end


def start(module: str, **environment: str) -> subprocess.Popen[bytes]:
    """The module's `main` in a process with pipes for stdin and stdout. Raises OSError."""
    return beside.start(module, environment={**ALONE, **environment, "POLARS_MAX_THREADS": "1"})
