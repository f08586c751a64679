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


NEVER_ENDING = ("--set", "validation.min_image_size_kb=0")
SPOILED = {2: "placeholder_texts", 3: "terse_texts", 4: "foreign_texts"}


def texts_of(shell: Any, run: Path) -> dict[str, list[dict[str, Any]]]:
    """The lines of the metadata log by image."""
    found: dict[str, list[dict[str, Any]]] = {}
    for line in shell.lines(run / "log/metadata.jsonl"):
        found.setdefault(line["image_id"], []).append(line)
    return found


def described(tmp_path: Path, shell: Any, simulator: Any, faults: dict[int, str], *, images: int = 6) -> Any:
    """A run whose nth metadata calls were answered with bad sentences, and QA's verdict on it."""
    from engine.simulator import Faults

    sim = simulator(faults=Faults(script={images + n: kind for n, kind in faults.items()}), picture="drawn")
    words = ("run", "--out", "o", "--images", images, "--json", *NEVER_ENDING)
    assert shell.call(*words, "--stages", "image", cwd=tmp_path, base_url=sim.base_url).code == 0
    first = shell.call(*words, cwd=tmp_path, base_url=sim.base_url)
    assert first.code == 0, first.err
    return sim, words


def test_bad_texts_are_written_anew_and_the_newest_counts_everywhere(
    tmp_path: Path, shell: Any, simulator: Any
) -> None:
    from engine.export.reading import RunReading
    from engine.review.catalogue import Catalogue

    sim, words = described(tmp_path, shell, simulator, SPOILED)
    run = tmp_path / "o"
    before = json.loads(shell.call("qa", "o", "--json", cwd=tmp_path).out)
    assert before["flags"]["caption_placeholder"] == 1
    assert before["flags"]["caption_short"] == 1
    assert before["flags"]["language"] == 1
    old = texts_of(shell, run)
    redone = shell.call(*words, "--redo", "qa", cwd=tmp_path, base_url=sim.base_url)
    assert redone.code == 0, redone.err
    assert "the texts of 3" in redone.err
    assert sim.stats.paid == 6 + 6 + 3, "three texts, and no picture"
    new = texts_of(shell, run)
    changed = [image_id for image_id in new if len(new[image_id]) > 1]
    assert len(changed) == 3
    for image_id in changed:
        assert new[image_id][:1] == old[image_id], "the old text stays in the log"
        assert [line["status"] for line in new[image_id]] == ["ok", "retry", "ok"]
        assert [line["attempt"] for line in new[image_id]] == [1, 1, 2]
    newest = {image_id: lines[-1]["caption"] for image_id, lines in new.items()}
    assert {item.image.image_id: item.caption for item in RunReading(run)} == newest
    catalogue = Catalogue(run / "log/images.jsonl", run / "log/metadata.jsonl")
    catalogue.refresh()
    assert {i: catalogue.metadata(catalogue.position(i))["caption"].caption for i in newest} == newest
    after = json.loads(shell.call("qa", "o", "--json", cwd=tmp_path).out)
    assert not {"caption_placeholder", "caption_short", "language"} & after["flags"].keys()
    status = json.loads(shell.call("status", "o", "--json", cwd=tmp_path).out)["metadata"]
    assert (status["ok"], status["pending"], status["attempts"], status["reopened"]) == (6, 0, 9, 3)
    again = shell.call(*words, "--redo", "qa", cwd=tmp_path, base_url=sim.base_url)
    assert again.code == 0, again.err
    assert sim.stats.paid == 15, "a text was written anew twice for one finding"
    assert shell.call("verify", "o", cwd=tmp_path).code == 0


def test_what_stays_bad_is_asked_for_a_bounded_number_of_times(tmp_path: Path, shell: Any, simulator: Any) -> None:
    from engine.simulator import Faults

    sim = simulator(faults=Faults({"terse_texts": 1.0}), picture="drawn")
    words = ("run", "--out", "o", "--images", "2", "--json", *NEVER_ENDING, "--set", "qa.max_redo=2")
    assert shell.call(*words, cwd=tmp_path, base_url=sim.base_url).code == 0
    paid = [sim.stats.paid]
    for _ in range(4):
        report = json.loads(shell.call("qa", "o", "--json", cwd=tmp_path).out)
        assert report["flags"]["caption_short"] == 2
        assert shell.call(*words, "--redo", "qa", cwd=tmp_path, base_url=sim.base_url).code == 0
        paid.append(sim.stats.paid)
    assert paid == [4, 6, 8, 8, 8]
    assert any("raise qa.max_redo" in action["reason"] for action in report["actions"])


def test_a_redo_of_texts_keeps_to_the_budget_and_the_old_texts_count_until_new_ones_are_there(
    tmp_path: Path, shell: Any, simulator: Any
) -> None:
    sim, words = described(tmp_path, shell, simulator, SPOILED)
    shell.call("qa", "o", cwd=tmp_path)
    spent = json.loads(shell.call("status", "o", "--json", cwd=tmp_path).out)["cost_usd"]
    stopped = shell.call(*words, "--redo", "qa", "--budget", f"{spent + 1e-6:.6f}", cwd=tmp_path, base_url=sim.base_url)
    assert stopped.code == 4, stopped.err
    assert sim.stats.paid == 12
    report = json.loads(shell.call("qa", "o", "--json", cwd=tmp_path).out)
    assert report["captions"]["coverage_percent"] == 100
    resumed = shell.call(*words, cwd=tmp_path, base_url=sim.base_url)
    assert resumed.code == 0, resumed.err
    assert sim.stats.paid == 15, "what was asked for again is not forgotten"
    report = json.loads(shell.call("qa", "o", "--json", cwd=tmp_path).out)
    assert "caption_short" not in report["flags"]


def test_a_redo_of_texts_that_is_killed_is_taken_up_without_asking_twice(
    tmp_path: Path, shell: Any, simulator: Any
) -> None:
    images = 12
    sim, words = described(
        tmp_path, shell, simulator, dict.fromkeys(range(1, images + 1), "terse_texts"), images=images
    )
    shell.call("qa", "o", cwd=tmp_path)
    log = tmp_path / "o/log/metadata.jsonl"
    slow = ("--set", "rate_limiting.max_in_flight=1")
    before = shell.count(log)
    process = shell.start(*words, *slow, "--redo", "qa", cwd=tmp_path, base_url=sim.base_url)
    shell.wait_for(lambda: shell.count(log) >= before + images + 3)
    process.kill()
    process.communicate()
    redone = shell.call(*words, "--redo", "qa", cwd=tmp_path, base_url=sim.base_url)
    assert redone.code == 0, redone.err
    lines = texts_of(shell, tmp_path / "o")
    assert all(sum(line["error"] is not None and line["error"]["kind"] == "redo" for line in of) == 1
               for of in lines.values())  # fmt: skip
    assert all(of[-1]["status"] == "ok" and len(of[-1]["caption"]) > 10 for of in lines.values())
    assert sim.stats.paid <= 2 * images + images + 1, "at most the one call in flight is paid twice"
    report = json.loads(shell.call("qa", "o", "--json", cwd=tmp_path).out)
    assert "caption_short" not in report["flags"]


def test_a_picture_is_asked_for_again_with_what_was_wrong_and_the_record_says_so(
    tmp_path: Path, shell: Any, simulator: Any
) -> None:
    from engine.simulator import Faults

    # Whoever asks with these words gets a blank picture once more, so that it shows who does.
    sim = simulator(
        faults=Faults(script={2: "blank_picture"}, when={"one plain colour": "blank_picture"}), picture="drawn"
    )
    words = ("run", "--out", "o", "--images", "4", "--stages", "image", "--json", *NEVER_ENDING)
    assert shell.call(*words, cwd=tmp_path, base_url=sim.base_url).code == 0
    shell.call("qa", "o", "--json", "--set", "validation.check_duplicates=false", cwd=tmp_path)
    assert shell.call(*words, "--redo", "qa", cwd=tmp_path, base_url=sim.base_url).code == 0
    assert sim.stats.by_fault["blank_picture"] == 2
    lines = shell.lines(tmp_path / "o/log/images.jsonl")
    first, reopened, second = (line for line in lines if line["image_id"] == lines[-1]["image_id"])
    assert "one plain colour" in reopened["error"]["message"]
    assert second["prompt"].startswith(first["prompt"])
    assert "one plain colour" in second["prompt"], "the record holds the prompt that was sent"
    assert first["job"] == reopened["job"] == second["job"], "it is the same job, asked again"
    again = shell.call(*words, cwd=tmp_path, base_url=sim.base_url)
    assert again.code == 0, again.err
    assert sim.stats.paid == 5, "nothing is left to ask"
    assert shell.call("verify", "o", cwd=tmp_path).code == 0


def test_texts_are_asked_for_again_with_what_was_wrong_whoever_takes_up_the_run(
    tmp_path: Path, shell: Any, simulator: Any
) -> None:
    from engine.simulator import Faults

    images = 8
    script = {images + n: "terse_texts" for n in range(1, images + 1)}
    sim = simulator(faults=Faults(script=script, when={"The caption had": "terse_texts"}), picture="drawn")
    words = ("run", "--out", "o", "--images", images, "--json", *NEVER_ENDING)
    assert shell.call(*words, "--stages", "image", cwd=tmp_path, base_url=sim.base_url).code == 0
    assert shell.call(*words, cwd=tmp_path, base_url=sim.base_url).code == 0
    shell.call("qa", "o", "--json", cwd=tmp_path)
    log = tmp_path / "o/log/metadata.jsonl"
    slow = ("--set", "rate_limiting.max_in_flight=1")
    process = shell.start(*words, *slow, "--redo", "qa", cwd=tmp_path, base_url=sim.base_url)
    shell.wait_for(lambda: shell.count(log) >= 2 * images + 2)
    process.kill()
    process.communicate()
    resumed = shell.call(*words, cwd=tmp_path, base_url=sim.base_url)
    assert resumed.code == 0, resumed.err
    lines = texts_of(shell, tmp_path / "o")
    for of in lines.values():
        told = [line["error"]["message"] for line in of if line["error"] and line["error"]["kind"] == "redo"]
        assert len(told) == 1
        assert "it needs at least 10" in told[0]
        assert len({line["job"] for line in of}) == 1
        assert of[-1]["status"] == "ok"
        assert len(of[-1]["caption"]) < 10, "it was asked without the complaint"
