"""What is looked at before anything is made: a run that cannot fit leaves no trace."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import pytest

from engine.errors import StoreError
from engine.providers.scripted import ScriptedProvider


def nothing_in(folder: Path) -> bool:
    return not any(folder.iterdir())


async def test_a_run_that_cannot_fit_leaves_nothing_behind(
    tmp_path: Path, runs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.store.preflight.free_bytes", lambda _path: 65_000_000)
    provider = ScriptedProvider()
    with pytest.raises(StoreError, match=r"65.0 MB free, .* to spare; free space, or choose another --out"):
        await runs.run(tmp_path / "a" / "r", provider)
    assert nothing_in(tmp_path)
    assert provider.requests == []


async def test_too_few_file_handles_leave_nothing_behind(
    tmp_path: Path, runs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (70, 1000))
    with pytest.raises(StoreError, match="ulimit -n"):
        await runs.run(tmp_path / "r", ScriptedProvider())
    assert nothing_in(tmp_path)


async def test_a_run_that_is_taken_up_needs_room_for_what_is_missing_only(
    tmp_path: Path, runs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await runs.run(tmp_path / "r", ScriptedProvider(), images=3)
    monkeypatch.setattr("engine.store.preflight.free_bytes", lambda _path: 67_300_000)
    with pytest.raises(StoreError, match="to spare"):
        await runs.run(tmp_path / "r", ScriptedProvider(), images=13)
    summary = await runs.run(tmp_path / "r", ScriptedProvider(), images=4)
    assert summary.images.ok == 4
