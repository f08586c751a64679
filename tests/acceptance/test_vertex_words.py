"""An environment set up for Vertex AI: what works all the same, and what is said where it cannot."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

VERTEX = {"GOOGLE_GENAI_USE_VERTEXAI": "true", "GOOGLE_CLOUD_LOCATION": "us-central1"}


def groundswell(*words: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    kept = {"PATH": os.environ["PATH"], "HOME": str(cwd), "PYTHONWARNINGS": "error::ResourceWarning"}
    return subprocess.run(
        [sys.executable, "-m", "engine", *words],
        cwd=cwd, env=kept | VERTEX | more, capture_output=True, text=True, timeout=55, check=False,
    )  # fmt: skip


def test_the_simulator_asks_for_no_google_credentials(tmp_path: Path) -> None:
    done = groundswell(
        "run", "--simulate", "--images", "1", "--out", "r", "--json", cwd=tmp_path, GOOGLE_CLOUD_PROJECT="some-project"
    )
    assert done.returncode == 0, done.stderr
    assert '"images":{"asked":1,"ok":1' in done.stdout


def test_missing_google_credentials_are_told_with_the_next_step(tmp_path: Path) -> None:
    gone = {"GOOGLE_CLOUD_PROJECT": "some-project", "GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "gone.json")}
    done = groundswell("run", "--images", "1", "--out", "r", cwd=tmp_path, **gone)
    assert done.returncode == 2
    assert "gcloud auth application-default login" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Unclosed" not in done.stderr
