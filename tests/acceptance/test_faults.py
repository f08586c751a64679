"""Whole runs against a far side and a disk that fail in every known way: nothing lost, nothing shown."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import pytest

import engine
from engine.simulator import CATALOGUE, Faults
from engine.store import RunDir, verify
from schemas.record import seal

QUICK = (
    "--set", "rate_limiting.initial_retry_delay=0.01",
    "--set", "validation.auto_validate=false",
)  # fmt: skip
ENDS_THE_RUN = {
    "http_401", "http_403", "http_404", "quota_zero", "quota_day", "quota_prepay", "bad_key", "leaked_key",
    "disabled_api", "wrong_region", "no_billing", "finish_pup_limited_disabled",
}  # fmt: skip
SLOW_TO_TELL = {"quota_spend", "quota_disagrees", "http_429", "quota_retry_after", "hang", "stalled_body", "slow_drip"}
"""These have the run wait as long as they say; each has a test of its own."""


def go_on(out: Path, sim: Any, **options: Any) -> engine.Summary:
    """Start or continue a run in this process, the images only."""
    options = {"stages": ["image"], "base_url": sim.base_url, "api_key": "k", **options}
    return anyio.run(lambda: engine.run({}, out, **options))


def images(out: Path, shell: Any) -> list[dict[str, Any]]:
    return shell.lines(out / "log/images.jsonl")


def check_pictures(out: Path, shell: Any) -> int:
    """Every recorded picture is there and as recorded, and nothing else lies in images/; gives their number."""
    recorded = {x["asset"]["path"]: x["asset"]["sha256"] for x in images(out, shell) if x["status"] == "ok"}
    there = {p.relative_to(out).as_posix() for p in (out / "images").rglob("*") if p.is_file()}
    assert there == set(recorded)
    for path, digest in recorded.items():
        assert hashlib.sha256((out / path).read_bytes()).hexdigest() == digest
    return len(recorded)


def numbered(folder: Path, names: list[str]) -> Path:
    """A prompt file whose rows name a fault each."""
    path = folder / "prompts.jsonl"
    rows = ({"prompt": f"A quiet square, kind {name};", "id": name.replace("_", "-")} for name in names)
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.mark.slow
def test_all_faults_in_one_run_settle_every_job_and_show_the_key_nowhere(
    tmp_path: Path, shell: Any, simulator: Any
) -> None:
    names = [name for name in CATALOGUE if name not in ENDS_THE_RUN | SLOW_TO_TELL]
    assert len(names) > 60
    sim = simulator(faults=Faults(when={f"kind {name};": [name] for name in names}))
    done = shell.call(
        "run", "--prompts", numbered(tmp_path, names), "--out", "out", "--json", *QUICK,
        "--set", "rate_limiting.max_retries=1", "--set", "logging.level=DEBUG",
        cwd=tmp_path, base_url=sim.base_url,
    )  # fmt: skip
    out = tmp_path / "out"
    assert done.code == 3, done.err
    summary = json.loads(done.out)
    counts = summary["images"]
    assert counts["ok"] + counts["refused"] + counts["failed"] == counts["asked"] == len(names)
    finals = Counter(x["job"] for x in images(out, shell) if x["final"])
    assert set(finals.values()) == {1}
    assert check_pictures(out, shell) == counts["ok"]
    assert set(sim.stats.by_fault) == set(names), "not every fault happened"
    kept_aside = {p.name.split(".")[0] for p in (out / "quarantine").iterdir()}
    assert kept_aside == {
        "corrupt-picture", "not-a-picture", "truncated-picture", "tiny-picture", "bomb-picture", "invalid-base64",
    }  # fmt: skip
    lost = {"length-long", "truncated-json", "reset-mid-body", "reset-after-headers", "endless-body", "slow-drip"}
    for line in images(out, shell):
        assert line["cost_usd"] or line["image_id"] not in lost, "an answer that was paid for counts as nothing"
    assert verify(RunDir(out)).sound
    told = (done.out + done.err).encode()
    told += b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    assert b"CANARY" not in told
    assert b"Traceback" not in told


@pytest.mark.parametrize("kind", sorted(ENDS_THE_RUN - {"quota_day"}))
def test_what_no_call_can_get_right_ends_the_run_at_once_with_the_next_step(
    kind: str, tmp_path: Path, simulator: Any
) -> None:
    sim = simulator(faults=Faults({kind: 1.0}))
    limits = {"generation.num_images": 5, "rate_limiting.max_in_flight": 1}
    summary = go_on(tmp_path / "out", sim, overrides=limits)
    assert summary.exit_code == 2
    assert summary.stopped_by == "fatal"
    assert len(summary.message or "") > 40, "no next step was told"
    assert sim.stats.calls == 1
    assert go_on(tmp_path / "out", simulator(), overrides=limits).images.ok == 5, "the run cannot be continued"


def test_stalled_answers_end_at_the_deadline_and_are_asked_again(tmp_path: Path, shell: Any, simulator: Any) -> None:
    kinds = ["hang", "stalled_body", "slow_drip"]
    sim = simulator(faults=Faults(when={f"kind {kind};": [kind] for kind in kinds}))
    done = shell.call(
        "run", "--prompts", numbered(tmp_path, [*kinds, "none"]), "--out", "out", "--stages", "image", "--json", *QUICK,
        "--set", "rate_limiting.call_timeout_s=2.5", cwd=tmp_path, base_url=sim.base_url,
    )  # fmt: skip
    assert done.code == 0, done.err
    late = [x for x in images(tmp_path / "out", shell) if x["status"] == "retry"]
    assert {x["image_id"] for x in late} == {"hang", "stalled-body", "slow-drip"}
    for line in late:
        assert line["error"]["kind"] == "unknown"
        assert "within 2.5 s" in line["error"]["message"]
        assert 2.4 <= line["latency_s"] < 5
        assert line["cost_usd"] > 0, "an answer that was lost may have been paid for"
    assert check_pictures(tmp_path / "out", shell) == 4


def test_a_folder_removed_in_mid_run_ends_it_with_one_error(tmp_path: Path, shell: Any, simulator: Any) -> None:
    sim = simulator(latency=0.2)
    process = shell.start(
        "run", "--out", "out", "--images", "500", "--stages", "image", "--set", "rate_limiting.max_in_flight=4",
        cwd=tmp_path, base_url=sim.base_url,
    )  # fmt: skip
    out = tmp_path / "out"
    shell.wait_for(lambda: shell.count(out / "log/images.jsonl") >= 4)
    shutil.move(out, tmp_path / "elsewhere")
    calls = sim.stats.calls
    _, raw = process.communicate(timeout=15)
    err = raw.decode()
    assert process.returncode == 1, err
    assert err.count("stopped:") == 1
    assert str(out.name) in err.split("stopped:")[1].splitlines()[0]
    assert "Traceback" not in err
    assert "Exception ignored" not in err
    assert sim.stats.calls <= calls + 8, "calls were made although nothing could be kept"
    assert not out.exists(), "a folder that somebody removed was made again"


def test_when_file_handles_run_out_the_run_stops_and_is_continued(tmp_path: Path, shell: Any, simulator: Any) -> None:
    sim = simulator(latency=0.3)
    words = ("run", "--out", "out", "--images", "40", "--stages", "image", "--json", *QUICK)
    words += ("--set", "rate_limiting.max_in_flight=4")
    process = shell.start(*words, cwd=tmp_path, base_url=sim.base_url)
    out = tmp_path / "out"
    shell.wait_for(lambda: shell.count(out / "log/images.jsonl") >= 4)
    subprocess.run(["prlimit", "--pid", str(process.pid), "--nofile=12:12"], check=True)
    _, raw = process.communicate(timeout=20)
    err = raw.decode()
    assert process.returncode == 1, err
    assert "open files" in err
    assert "Traceback" not in err
    check_pictures(out, shell)
    assert go_on(out, sim, overrides={"generation.num_images": 40}).exit_code == 0
    assert check_pictures(out, shell) == 40
    assert sim.stats.paid <= 40 + 4, "more was paid twice than was in flight"


def test_too_few_file_handles_are_told_before_anything_is_spent(tmp_path: Path, shell: Any, simulator: Any) -> None:
    sim = simulator()
    process = shell.start("run", "--out", "out", "--images", "300", cwd=tmp_path, base_url=sim.base_url)
    subprocess.run(["prlimit", "--pid", str(process.pid), "--nofile=128:128"], check=True)
    _, raw = process.communicate(timeout=20)
    assert process.returncode == 1
    assert b"ulimit -n" in raw
    assert sim.stats.calls == 0


@pytest.mark.parametrize("durability", ["batch", "none"])
def test_weaker_durability_survives_the_end_of_the_process_as_well(
    durability: str, tmp_path: Path, shell: Any, simulator: Any
) -> None:
    """Only a power loss tells the three apart; in doubt and skipped, nothing is ever paid twice."""
    sim = simulator(latency=0.15)
    words = ("run", "--out", "out", "--images", "20", "--stages", "image", "--json", *QUICK)
    words += ("--set", f"output.durability={durability}", "--set", "rate_limiting.max_in_flight=4")
    words += ("--set", "rate_limiting.in_doubt=skip")
    out = tmp_path / "out"
    process = shell.start(*words, cwd=tmp_path, base_url=sim.base_url)
    shell.wait_for(lambda: shell.count(out / "log/images.jsonl") >= 6)
    process.kill()
    process.communicate()
    kept = {x["job"] for x in images(out, shell) if x["status"] == "ok"}
    assert len(kept) >= 6
    again = {"generation.num_images": 20, "output.durability": durability, "rate_limiting.in_doubt": "skip"}
    summary = go_on(out, sim, overrides=again)
    assert summary.images.settled == 20
    assert summary.images.failed <= 4
    assert sim.stats.paid_twice == 0, "skip paid twice"
    assert sim.stats.paid <= 20
    settled = Counter(x["job"] for x in images(out, shell) if x["final"])
    assert set(settled.values()) == {1}
    assert kept <= set(settled)
    check_pictures(out, shell)
    assert verify(RunDir(out)).sound


def test_a_hole_in_a_log_keeps_the_run_from_starting_until_it_is_repaired(
    tmp_path: Path, shell: Any, simulator: Any
) -> None:
    """Zeros in lines that had been acknowledged: no power loss explains them."""
    sim, out = simulator(), tmp_path / "out"
    assert go_on(out, sim, overrides={"generation.num_images": 6}).exit_code == 0
    log = out / "log/images.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([*lines[:2], bytes(len(lines[2]) - 1) + b"\n", *lines[3:]]))
    words = ("run", "--out", "out", "--images", "6", "--stages", "image")
    refused = shell.call(*words, cwd=tmp_path, base_url=sim.base_url)
    assert refused.code == 3
    for said in (
        "images.jsonl: line 3",
        "failing disk",
        "groundswell verify out --repair",
        "run the same command again",
    ):
        assert said in refused.err
    assert sim.stats.calls == 6
    assert not verify(RunDir(out)).sound
    repaired = shell.call("verify", "out", "--repair", cwd=tmp_path)
    assert repaired.code == 0, repaired.out
    assert go_on(out, sim, overrides={"generation.num_images": 6}).exit_code == 0
    assert check_pictures(out, shell) == 6
    assert sim.stats.paid <= 7


@pytest.mark.parametrize("name", ["attempts", "images"])
def test_a_hole_of_a_power_loss_is_set_aside_and_the_run_goes_on(
    tmp_path: Path, shell: Any, simulator: Any, name: str
) -> None:
    """The last lines were on their way together; some sectors of them reached the disk and one did not."""
    sim, out = simulator(), tmp_path / "out"
    assert go_on(out, sim, overrides={"generation.num_images": 12}).exit_code == 0
    log = out / f"log/{name}.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    synced = sum(map(len, lines[:4]))
    bodies = [line[: line.rindex(b',"synced":')] + b"}" for line in lines]
    data = bytearray(b"".join([*lines[:4], *(seal(body, synced) for body in bodies[4:])]))
    hole = -(-synced // 512) * 512
    data[hole : hole + 512] = bytes(512)
    log.write_bytes(data)
    words = ("run", "--out", "out", "--images", "12", "--stages", "image")
    done = shell.call(*words, cwd=tmp_path, base_url=sim.base_url)
    assert done.code == 0, done.err
    assert f"{name}.jsonl: a power loss left a hole" in done.err
    assert check_pictures(out, shell) == 12
    assert sim.stats.paid == 12, "pictures that were on the disk were paid for again"
    assert bytes(512) in b"".join(path.read_bytes() for path in (out / "quarantine").iterdir())
    assert verify(RunDir(out)).sound
