"""Simulated and real pictures never share a run directory; and a command line names one directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.cli.main import call


def groundswell(*words: str) -> int:
    return call(["run", "--images", "2", "--stages", "image", "--quiet", *words])


def test_simulated_and_real_pictures_never_share_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, simulator: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GEMINI_API_KEY", "AIza-a-real-key")
    far_side = simulator()
    assert groundswell("--simulate", "--out", "rehearsal") == 0
    assert groundswell("--simulate", "--out", "rehearsal") == 0
    assert groundswell("--base-url", far_side.base_url, "--out", "rehearsal") == 2
    assert "made with --simulate; choose another --out" in capfd.readouterr().err
    assert groundswell("--base-url", far_side.base_url, "--out", "real") == 0
    assert groundswell("--simulate", "--out", "real") == 2
    assert "without --simulate" in capfd.readouterr().err


def test_two_run_directories_in_one_command_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert groundswell("one", "--out", "two", "--simulate") == 2
    assert "one and --out two" in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []
