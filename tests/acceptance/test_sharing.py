"""Two processes on one quota: together they keep the pace of one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.slow
def test_two_processes_share_a_quota_through_a_lease_file(tmp_path: Path, shell: Any, simulator: Any) -> None:
    from engine.simulator import Quota

    sim = simulator(latency=0.1, quotas=Quota(rpm=300, window="sliding"))
    began = time.monotonic()
    processes = [
        shell.start(
            "run", "--out", name, "--images", "25", "--stages", "image", "--lease", tmp_path / "lease.json",
            "--set", "rate_limiting.requests_per_minute=300", cwd=tmp_path, base_url=sim.base_url,
        )
        for name in ("a", "b")
    ]  # fmt: skip
    for process in processes:
        _, err = process.communicate(timeout=50)
        assert process.returncode == 0, err
    took = time.monotonic() - began
    assert sim.stats.paid == 50
    assert sim.stats.rejected == 0
    assert took > 50 / 300 * 60 * 0.8, "together they were faster than the quota"
