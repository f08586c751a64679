"""A container's CPU quota counts, so that work is not spread over cores that are not ours."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.store import cores as cores_
from engine.store.cores import cores, cpu_quota


def world(tmp_path: Path, groups: str, files: dict[str, str]) -> tuple[Path, Path]:
    """/proc/self/cgroup and /sys/fs/cgroup as they would be."""
    (tmp_path / "cgroup").write_text(groups)
    for name, text in files.items():
        path = tmp_path / "sys" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "cgroup", tmp_path / "sys"


@pytest.mark.parametrize(
    ("groups", "files", "quota"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "400000 100000\n"}, 4.0),
        ("0::/a/b\n", {"a/b/cpu.max": "50000 100000\n", "a/cpu.max": "400000 100000\n"}, 0.5),
        ("0::/../../outside\n", {"cpu.max": "200000 100000\n"}, 2.0),
        (
            "4:memory:/m\n3:cpu,cpuacct:/docker/x\n",
            {"cpu,cpuacct/cpu.cfs_quota_us": "300000\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"},
            3.0,
        ),
        ("3:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ("0::/\n", {"cpu.max": "nonsense"}, None),
        ("", {}, None),
    ],
)
def test_the_tightest_quota_of_our_control_groups_counts(
    tmp_path: Path, groups: str, files: dict[str, str], quota: float | None
) -> None:
    assert cpu_quota(*world(tmp_path, groups, files)) == quota


def test_where_there_are_no_control_groups_nothing_limits(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path / "none", tmp_path) is None


@pytest.mark.parametrize(("quota", "count"), [(None, 8), (0.3, 1), (1.5, 2), (2.0, 2), (64.0, 8)])
def test_cores_are_those_of_affinity_and_quota_together(
    monkeypatch: pytest.MonkeyPatch, quota: float | None, count: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)), raising=False)
    monkeypatch.setattr(cores_, "cpu_quota", lambda: quota)
    assert cores() == count
