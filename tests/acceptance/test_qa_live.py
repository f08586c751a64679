"""QA beside a run that goes on: it reads what is committed, and the run never notices."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any


def truth(run: Path) -> dict[str, bytes]:
    return {name: (run / name).read_bytes() for name in ("run.json", "log/images.jsonl", "log/metadata.jsonl")}


def test_a_live_run_is_judged_by_its_committed_lines_and_stays_untouched(
    tmp_path: Path, shell: Any, simulator: Any
) -> None:
    sim = simulator(latency=0.2)
    words = ("run", "--out", "o", "--images", "40", "--json", "--set", "rate_limiting.max_in_flight=2")
    process = shell.start(*words, cwd=tmp_path, base_url=sim.base_url)
    run = tmp_path / "o"
    shell.wait_for(lambda: shell.count(run / "log/metadata.jsonl") >= 3)
    before = truth(run)
    checked = shell.call("qa", "o", "--json", cwd=tmp_path)
    after = truth(run)
    assert checked.code in {0, 3}, checked.err
    report = json.loads(checked.out)
    assert report["run"]["log_lines"]["images"] >= before["log/images.jsonl"].count(b"\n")
    assert report["images"]["total"] <= after["log/images.jsonl"].count(b"\n")
    assert after["run.json"] == before["run.json"]
    for name in ("log/images.jsonl", "log/metadata.jsonl"):
        assert after[name].startswith(before[name]), "a log only grows, and only by the run itself"
    assert process.poll() is None, "the run was over before it was looked at"
    _, err = process.communicate(timeout=40)
    assert process.returncode == 0, err
    still = {name: hashlib.sha256(data).hexdigest() for name, data in truth(run).items()}
    pictures = {p: p.stat().st_mtime_ns for p in (run / "images").rglob("*") if p.is_file()}
    shell.call("qa", "o", cwd=tmp_path)
    assert {name: hashlib.sha256(data).hexdigest() for name, data in truth(run).items()} == still
    assert {p: p.stat().st_mtime_ns for p in (run / "images").rglob("*") if p.is_file()} == pictures
    assert len(shell.lines(run / "log/images.jsonl")) == 40
