"""Python processes of our own, for work that one core is too slow for.

They run `main` of a module of ours and import nothing of the caller's program, so a script without a main guard,
a notebook and `python -c` may start them. They end with us: we end them, or their stdin does.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path


def start(
    module: str, *arguments: str, files: Sequence[int] = (), environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """`main` of a module in a process, spoken to over stdin and stdout. Raises OSError.

    It finds what we find on `sys.path`, and has our open `files` and our environment, with changes. What it complains
    of goes nowhere: it should end then, and its part be done here, where the reason shows. Should we be killed, its
    stdin ends: it must end too.
    """
    if not sys.executable or getattr(sys, "frozen", False):
        raise FileNotFoundError("there is no Python to start")
    places = os.pathsep.join(place or str(Path.cwd()) for place in sys.path)
    return subprocess.Popen(
        [sys.executable, "-P", "-c", f"from {module} import main; main()", *arguments],
        env={**os.environ, **(environment or {}), "PYTHONPATH": places},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, pass_fds=files,
        start_new_session=True,  # Ctrl-C ends it through us alone
    )  # fmt: skip


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill it, if it is still there, and close what led to it."""
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(OSError):  # what was not flushed has no reader any more
                stream.close()


@contextmanager
def beside(module: str, *arguments: str, files: Sequence[int] = ()) -> Generator[subprocess.Popen[bytes] | None]:
    """The same for the length of a block; None if it cannot be started."""
    process: subprocess.Popen[bytes] | None = None
    with suppress(OSError, ValueError):
        process = start(module, *arguments, files=files)
    try:
        yield process
    finally:
        if process is not None:
            end(process)
