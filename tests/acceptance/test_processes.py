"""The command line as people use it: killed, interrupted, misused, run twice."""

from __future__ import annotations

import hashlib
import json
import random
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest


def tree(folder: Path) -> dict[str, tuple[str, int]]:
    return {
        str(p.relative_to(folder)): (hashlib.sha256(p.read_bytes()).hexdigest(), p.stat().st_mtime_ns)
        for p in folder.rglob("*")
        if p.is_file() and p.name != "run.lock"
    }


def check_run(shell: Any, out: Path) -> None:
    finals: Counter[str] = Counter()
    for line in shell.lines(out / "log/images.jsonl"):
        finals[line["job"]] += line["final"]
        if line["status"] == "ok":
            data = (out / line["asset"]["path"]).read_bytes()
            assert hashlib.sha256(data).hexdigest() == line["asset"]["sha256"]
    assert max(finals.values(), default=0) <= 1


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_run_killed_three_times_pays_for_nothing_twice_beyond_what_was_in_flight(
    tmp_path: Path, shell: Any, simulator: Any
) -> None:
    sim = simulator(latency=0.15)
    in_flight = 6
    shell.configure(
        tmp_path,
        generation={"num_images": 60},
        rate_limiting={"max_in_flight": in_flight},
        output={"output_dir": "out"},
    )
    out, rng = tmp_path / "out", random.Random(5)
    kills = 0
    for _ in range(3):
        before = shell.count(out / "log/images.jsonl")
        process = shell.start("run", cwd=tmp_path, base_url=sim.base_url)
        target = before + rng.randint(5, 15)
        shell.wait_for(lambda target=target: shell.count(out / "log/images.jsonl") >= target)
        process.kill()
        process.communicate()
        kills += 1
        check_run(shell, out)
    done = shell.call("run", "--json", cwd=tmp_path, base_url=sim.base_url)
    assert done.code == 0, done.err
    summary = json.loads(done.out)
    assert summary["images"] == {"asked": 60, "ok": 60, "refused": 0, "failed": 0}
    assert summary["metadata"]["ok"] == 60
    check_run(shell, out)
    assert sim.stats.paid - 120 <= kills * 2 * in_flight, "more was paid twice than was in flight"
    verified = shell.call("verify", out, cwd=tmp_path)
    assert verified.code == 0, verified.out
    calls, before = sim.stats.calls, tree(out)
    again = shell.call("run", "--json", cwd=tmp_path, base_url=sim.base_url)
    assert again.code == 0
    assert sim.stats.calls == calls, "a finished run made a call"
    assert tree(out) == before, "a finished run changed a byte"


def test_ctrl_c_lets_paid_calls_end_and_the_same_command_carries_on(tmp_path: Path, shell: Any, simulator: Any) -> None:
    sim = simulator(latency=0.4)
    shell.configure(tmp_path, generation={"num_images": 30}, rate_limiting={"max_in_flight": 5})
    words = ("run", "--out", "out", "--stages", "image", "--json")
    process = shell.start(*words, cwd=tmp_path, base_url=sim.base_url)
    shell.wait_for(lambda: shell.count(tmp_path / "out/log/images.jsonl") >= 3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    summary = json.loads(out)
    assert summary["stopped_by"] == "interrupted"
    assert summary["images"]["ok"] == sim.stats.paid, "a paid call was not kept"
    rest = shell.call(*words, cwd=tmp_path, base_url=sim.base_url)
    assert rest.code == 0
    assert sim.stats.paid == 30, "something was paid twice"


def test_a_second_ctrl_c_cancels_and_leaves_a_resumable_run(tmp_path: Path, shell: Any, simulator: Any) -> None:
    sim = simulator(latency=8.0)
    shell.configure(tmp_path, generation={"num_images": 4})
    process = shell.start("run", "--out", "out", cwd=tmp_path, base_url=sim.base_url)
    shell.wait_for(lambda: shell.count(tmp_path / "out/log/attempts.jsonl") == 4)
    process.send_signal(signal.SIGINT)
    shell.wait_for(lambda: True)
    import time

    time.sleep(0.3)  # a second signal within the same instant would be merged with the first
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=6)
    assert process.returncode == 130
    status = json.loads(shell.call("status", "out", "--json", cwd=tmp_path).out)
    assert status["images"]["in_doubt"] == 4


def test_a_second_process_on_a_run_is_refused_and_names_the_first(tmp_path: Path, shell: Any, simulator: Any) -> None:
    sim = simulator(latency=3.0)
    shell.configure(tmp_path, generation={"num_images": 3})
    first = shell.start("run", "--out", "out", cwd=tmp_path, base_url=sim.base_url)
    shell.wait_for(lambda: shell.count(tmp_path / "out/log/attempts.jsonl") >= 1)
    second = shell.call("run", "--out", "out", cwd=tmp_path, base_url=sim.base_url)
    assert second.code == 2
    assert f"pid {first.pid}" in second.err
    first.terminate()
    first.communicate(timeout=20)


def test_every_problem_of_a_configuration_is_told_at_once_and_nothing_is_made(
    tmp_path: Path, shell: Any, simulator: Any
) -> None:
    sim = simulator()
    shell.configure(
        tmp_path,
        generation={"num_images": -3, "model": "black-forest-labs/FLUX.1-schnell", "aspekt_ratio": "1:1"},
        rate_limiting={"requests_per_minute": "fast"},
    )
    done = shell.call("run", "--out", "out", cwd=tmp_path, base_url=sim.base_url)
    assert done.code == 2
    for word in ("num_images", "-3", "FLUX", "gemini-nano-banana-2.1", "aspect_ratio", "requests_per_minute", "fast"):
        assert word in done.err, word
    assert "Traceback" not in done.err
    assert not (tmp_path / "out").exists()
    assert sim.stats.calls == 0


def test_without_a_key_the_next_step_is_told(tmp_path: Path, shell: Any) -> None:
    done = shell.call("run", "--out", "out", cwd=tmp_path)
    assert done.code == 2
    assert "GEMINI_API_KEY" in done.err
    assert not (tmp_path / "out").exists()


def test_a_prompt_file_makes_any_image_set(tmp_path: Path, shell: Any, simulator: Any) -> None:
    sim = simulator()
    rows = [
        {"prompt": f"A red bicycle number {n} against a white wall", "id": f"bike-{n}", "shop": n} for n in range(7)
    ]
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, rows)))
    done = shell.call("run", "--prompts", "p.jsonl", "--out", "out", "--json", cwd=tmp_path, base_url=sim.base_url)
    assert done.code == 0, done.err
    assert json.loads(done.out)["images"]["ok"] == 7
    assert (tmp_path / "out/images/0000/bike-3.png").exists()
    line = next(x for x in shell.lines(tmp_path / "out/log/images.jsonl") if x["image_id"] == "bike-3")
    assert line["source_data"]["shop"] == 3
    with (tmp_path / "p.jsonl").open("a") as file:
        file.write('\n{"prompt": "A blue bicycle in the rain, seen from above"}\n')
    more = shell.call("run", "--prompts", "p.jsonl", "--out", "out", "--json", cwd=tmp_path, base_url=sim.base_url)
    assert json.loads(more.out)["images"]["ok"] == 8
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, [{**rows[0], "prompt": "Something else"}, *rows[1:]])))
    other = shell.call("run", "--prompts", "p.jsonl", "--out", "out", cwd=tmp_path, base_url=sim.base_url)
    assert other.code == 2
    assert "bike-0" in other.err


def test_a_broken_prompt_file_names_its_line(tmp_path: Path, shell: Any) -> None:
    (tmp_path / "p.jsonl").write_text('{"prompt": "A fine picture of a tree"}\n{"prompt": ""}\n{"id": "x"}\nnot json\n')
    done = shell.call("run", "--prompts", "p.jsonl", "--out", "out", "--simulate", cwd=tmp_path)
    assert done.code == 2
    for number in (2, 3, 4):
        assert f"{number}" in done.err
    assert not (tmp_path / "out").exists()


def test_the_budget_stops_a_run_with_code_4(tmp_path: Path, shell: Any, simulator: Any) -> None:
    sim = simulator()
    done = shell.call(
        "run", "--out", "o", "--images", "20", "--budget", "0.2", "--json", cwd=tmp_path, base_url=sim.base_url
    )
    assert done.code == 4, done.err
    summary = json.loads(done.out)
    assert summary["stopped_by"] == "budget"
    assert 0 < summary["cost_usd"] <= 0.2


def test_json_is_one_object_with_the_pinned_members(tmp_path: Path, shell: Any) -> None:
    done = shell.call("run", "--simulate", "--images", "3", "--out", "o", "--json", cwd=tmp_path)
    assert done.code == 0, done.err
    (only,) = done.out.splitlines()
    assert list(json.loads(only)) == [
        "run", "images", "metadata", "attempts", "rate_limited", "cost_usd", "elapsed_s", "images_per_s", "stopped_by",
    ]  # fmt: skip


def test_faults_of_every_kind_never_show_the_key_anywhere(tmp_path: Path, shell: Any, simulator: Any) -> None:
    from engine.simulator import Faults

    kinds = {"http_500": 0.1, "http_429_minute": 0.0, "html_200": 0.05, "reset_mid_body": 0.05, "truncated_json": 0.05}
    from engine.simulator.faults import CATALOGUE

    known = {k: p for k, p in kinds.items() if k in CATALOGUE and p}
    assert known, f"the catalogue knows none of these: {sorted(CATALOGUE)}"
    sim = simulator(faults=Faults(known, seed=3))
    shell.configure(tmp_path, generation={"num_images": 30}, rate_limiting={"initial_retry_delay": 0.05})
    done = shell.call("run", "--out", "out", "--json", cwd=tmp_path, base_url=sim.base_url)
    assert done.code in (0, 3), done.err
    told = (done.out + done.err).encode() + b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    assert shell.canary.encode() not in told
    assert b"CANARY" not in told
    check_run(shell, tmp_path / "out")


def test_the_demo_ends_by_saying_where_everything_is(tmp_path: Path, shell: Any) -> None:
    done = shell.call("demo", "--images", "4", "--out", "d", cwd=tmp_path)
    assert done.code == 0, done.err
    for word in ("d/images", "d/log/images.jsonl", "d/qa/report.json"):
        assert word in done.err
    assert len(list((tmp_path / "d/images/0000").glob("sm_*_*.*"))) == 4


def test_unknown_commands_and_bad_options_are_usage_errors(tmp_path: Path, shell: Any) -> None:
    for words in (("paint",), ("run", "--imges", "3"), ("run", "--stages", "images,musik"), ("status", "nowhere")):
        done = shell.call(*words, cwd=tmp_path)
        assert done.code == 2, (words, done.err)
        assert "Traceback" not in done.err
