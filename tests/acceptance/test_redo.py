"""A set converges on a clean one: what QA or people reject is asked for again, once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from engine.store.log import append_lines
from schemas.record import encode_line


def test_what_qa_rejects_is_made_anew_and_only_once(tmp_path: Path, shell: Any, simulator: Any) -> None:
    from engine.simulator import Faults

    sim = simulator(faults=Faults(script={2: "blank_picture"}), picture="drawn")
    words = (
        "run",
        "--out",
        "o",
        "--images",
        "5",
        "--stages",
        "image",
        "--json",
        "--set",
        "validation.min_image_size_kb=0",
    )
    first = shell.call(*words, cwd=tmp_path, base_url=sim.base_url)
    assert first.code == 0, first.err
    checked = shell.call("qa", "o", "--json", cwd=tmp_path)
    assert checked.code == 3, "a blank picture is a critical finding"
    redone = shell.call(*words, "--redo", "qa", cwd=tmp_path, base_url=sim.base_url)
    assert redone.code == 0, redone.err
    assert sim.stats.paid == 6
    again = shell.call(*words, "--redo", "qa", cwd=tmp_path, base_url=sim.base_url)
    assert again.code == 0, again.err
    assert sim.stats.paid == 6, "an image was made anew twice for one finding"
    assert list((tmp_path / "o/quarantine").rglob("*.png"))
    assert shell.call("qa", "o", "--json", cwd=tmp_path).code == 0
    assert shell.call("verify", "o", cwd=tmp_path).code == 0


def test_what_people_reject_is_made_anew(tmp_path: Path, shell: Any, simulator: Any) -> None:
    from engine.core.reviews import Decision

    sim = simulator()
    words = ("run", "--out", "o", "--images", "3", "--json")
    assert shell.call(*words, cwd=tmp_path, base_url=sim.base_url).code == 0
    line = shell.lines(tmp_path / "o/log/images.jsonl")[0]
    decision = Decision(
        id="decision-0001", job=line["job"], status="reject", image_id=line["image_id"], index=line["index"],
        reviewer="ada", generated_at="2026-11-22T10:00:00.000Z", ms=900, sha256=line["asset"]["sha256"],
    )  # fmt: skip
    append_lines(tmp_path / "o/log/reviews.jsonl", [encode_line(decision)])
    redone = shell.call(*words, "--redo", "review", cwd=tmp_path, base_url=sim.base_url)
    assert redone.code == 0, redone.err
    assert json.loads(redone.out)["images"]["ok"] == 3
    assert sim.stats.paid == 8, "one picture and its metadata, no more"
    shell.call(*words, "--redo", "review", cwd=tmp_path, base_url=sim.base_url)
    assert sim.stats.paid == 8
