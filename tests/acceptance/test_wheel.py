"""What is shipped is what works: the wheel alone, with no repository beside it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_engine_runs_from_its_wheel_without_the_repository(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", tmp_path, ROOT],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("groundswell-*.whl")
    place = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(place)
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"engine", "schemas"}
    work = tmp_path / "work"
    work.mkdir()
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(place), "LANG": "C.UTF-8"}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, *words], cwd=work, env=env, capture_output=True, text=True, check=False)

    where = run("-c", "import engine, schemas; print(engine.__file__, schemas.__file__)")
    assert where.stdout.count(str(place)) == 2, where.stdout
    demo = run("-m", "engine", "demo", "--images", "2", "--out", "d", "--json")
    assert demo.returncode == 0, demo.stderr
    assert json.loads(demo.stdout)["metadata"]["ok"] == 2
    made = run("-m", "engine", "init")
    assert made.returncode == 0, made.stderr
    assert (work / "config/generation_config.yaml").exists()
