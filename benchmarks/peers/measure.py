"""One driver as a process, measured from outside: its CPU and memory by the system, its calls by the server."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ENDS = (b"\xff\xd9", b"IEND\xaeB`\x82")
"""Of a whole JPEG, of a whole PNG."""
POLL_S = 0.02


@dataclass
class Far:
    """A running server; `seen` is filled in when it has ended."""

    gemini: str
    openai: str
    seen: dict[str, Any] = field(default_factory=dict)

    def stats(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.gemini}/_sim/stats", timeout=10) as answer:
            return json.load(answer)


@contextmanager
def far(arguments: list[str], *, core: int | None = None) -> Iterator[Far]:
    """A server for the length of the block."""
    pin = [] if core is None else ["taskset", "-c", str(core)]
    command = [*pin, sys.executable, str(HERE / "far.py"), *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    ready = process.stdout.readline()
    if not ready:
        raise SystemExit(f"the server did not start: {' '.join(command)}")
    server = Far(**json.loads(ready))
    try:
        yield server
    finally:
        said, _ = process.communicate()
        server.seen = json.loads(said)


@dataclass(frozen=True)
class Spent:
    """What a process and its children cost."""

    cpu_s: float
    rss_mb: float
    """The largest process of them."""
    wall_s: float
    code: int
    """Exit code; minus the signal for a killed one."""
    timed_out: bool


def drive(
    command: list[str],
    log: Path,
    home: Path,
    *,
    limit_s: float,
    core: int | None = None,
    until: Callable[[], bool] | None = None,
) -> Spent:
    """Run a driver to its end, to its time limit, or until `until` is true: then it dies by SIGKILL."""
    pin = [] if core is None else ["taskset", "-c", str(core)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("GOOGLE_", "GEMINI_", "PYTHON"))}
    home.mkdir(parents=True, exist_ok=True)
    # A home of their own: some write settings there. And no look-ups outside of this machine.
    environment |= {"HOME": str(home), "LITELLM_LOCAL_MODEL_COST_MAP": "True", "NEMO_TELEMETRY_ENABLED": "false"}
    began = time.monotonic()
    timed_out = False
    with open(log, "ab") as output:
        process = subprocess.Popen(
            [*pin, *command], stdout=output, stderr=output, env=environment, start_new_session=True
        )
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            late = time.monotonic() - began > limit_s
            if late or (until is not None and until()):
                timed_out = late
                os.killpg(process.pid, signal.SIGKILL)
                _, status, usage = os.wait4(process.pid, 0)
                break
            time.sleep(POLL_S)
    process.returncode = os.waitstatus_to_exitcode(status)  # so that Popen does not wait for it again
    cpu_s = usage.ru_utime + usage.ru_stime
    return Spent(cpu_s, usage.ru_maxrss / 1024, time.monotonic() - began, process.returncode, timed_out)


def saved(out: Path) -> int:
    """Prompts with a whole image, or with a line in `saved.jsonl`."""
    numbers: set[int] = set()
    for path in out.rglob("*"):
        number = re.search(r"(\d+)$", path.stem)
        if path.suffix in (".jpg", ".jpeg", ".png") and number and path.read_bytes().endswith(ENDS):
            numbers.add(int(number[1]))
    lines = out / "saved.jsonl"
    if lines.exists():
        numbers = set()
        for line in lines.read_text().splitlines():
            try:
                numbers.add(json.loads(line)["n"])
            except json.JSONDecodeError:
                continue  # torn by a kill
    return len(numbers)
