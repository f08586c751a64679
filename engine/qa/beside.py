"""Processes of our own beside the pass, one per core, for work that Python would hold to one.

They know nothing but what they are told on stdin, and import nothing of the caller's program, so a script without a
main guard or a notebook may start them. They end with the pass: it ends them, or their stdin does.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from engine.qa.lanczos import ALONE

KEEPING = {"MALLOC_TRIM_THRESHOLD_": str(64 << 20), "MALLOC_MMAP_THRESHOLD_": str(32 << 20)}
"""Environment in which glibc keeps the memory of a picture for the next, instead of 2,000 page faults for each."""


def start(module: str, **environment: str) -> subprocess.Popen[bytes]:
    """The module's `main` in a process with pipes for stdin and stdout. Raises OSError."""
    places = os.pathsep.join(p or str(Path.cwd()) for p in sys.path)
    return subprocess.Popen(
        [sys.executable, "-P", "-c", f"from {module} import main; main()"],
        env={**os.environ, **ALONE, **environment, "PYTHONPATH": places, "POLARS_MAX_THREADS": "1"},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C ends it through us alone
    )  # fmt: skip


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill it, if it is still there, and close what led to it."""
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            try:
                stream.close()
            except OSError:  # what was not flushed has no reader any more
                continue
