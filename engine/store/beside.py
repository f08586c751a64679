"""Python processes of our own, for work that one core is too slow for.

They run a module of ours and import nothing of the caller's program, so a script without a main guard, a notebook
and `python -c` may start them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path


def cores() -> int:
    """How many we may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def beside(
    module: str, *arguments: str, files: Sequence[int] = (), **environment: str
) -> Generator[subprocess.Popen[bytes] | None]:
    """A process that runs `module`, spoken to over stdin and stdout; None if it cannot be started.

    It finds what we find on `sys.path`, has our open `files`, and is gone after the context. What it complains of
    goes nowhere: it should end then, and its part be done here, where the reason shows. Should we be killed, its
    stdin ends: it must end too.
    """
    process: subprocess.Popen[bytes] | None = None
    with suppress(OSError, ValueError):
        places = os.pathsep.join(place or str(Path.cwd()) for place in sys.path)
        environment = {**os.environ, **environment, "PYTHONPATH": places}
        if sys.executable and not getattr(sys, "frozen", False):
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", module, *arguments], env=environment,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, pass_fds=files,
                start_new_session=True,  # Ctrl-C ends it through us alone
            )  # fmt: skip
    try:
        yield process
    finally:
        if process is not None:
            process.kill()
            with process:  # its pipes closed, its end awaited
                pass
