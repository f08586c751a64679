"""A dozen kills at the steps of the write path, and proof that the harness would notice a bug."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HARNESS = Path(__file__).parents[2] / "benchmarks" / "crash.py"


def harness(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(HARNESS), *words], capture_output=True, text=True, check=False, timeout=170
    )


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_run_killed_and_torn_again_and_again_keeps_its_promises() -> None:
    done = harness("--kills", "10", "--images", "60", "--seed", "7")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["kills"] == 10


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_harness_notices_a_picture_that_is_recorded_and_not_there() -> None:
    done = harness("--kills", "6", "--images", "40", "--seed", "2", "--plant", "log-first")
    assert done.returncode == 1
    assert "recorded and not there" in done.stdout
