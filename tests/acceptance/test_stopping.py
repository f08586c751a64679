"""Signals and sleep, on real processes: what each one may cost, and that each leaves a run to be continued."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HUNG_DISK = """
import os, sys, time
from engine.cli.main import call
from engine.store.fs import Disk
sync = Disk.sync
def hang(self, fd):
    if os.path.exists("hang") and "images.jsonl" in os.readlink(f"/proc/self/fd/{fd}"):
        open("hangs", "w").close()
        time.sleep(60)
    sync(self, fd)
Disk.sync = hang
sys.exit(call(sys.argv[1:]))
"""


def started(out: Path) -> int:
    path = out / "log/attempts.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_the_third_ctrl_c_leaves_at_once_even_when_the_disk_hangs(tmp_path: Path, shell: Any, simulator: Any) -> None:
    sim = simulator(latency=0.2)
    (tmp_path / "hang").touch()
    words = ("run", "--out", "out", "--stages", "image", "--images", "3", "--set", "validation.auto_validate=false")
    process = subprocess.Popen(
        [sys.executable, "-c", HUNG_DISK, *words],
        cwd=tmp_path, env=shell.environment(sim.base_url), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    shell.wait_for(lambda: (tmp_path / "hangs").exists())
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.4)
        assert process.poll() is None, "an answer that is being written is not given up yet"
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    _, err = process.communicate(timeout=10)
    assert time.monotonic() - began < 2
    assert process.returncode == 130, err
    assert b"Traceback" not in err
    (tmp_path / "hang").unlink()
    rest = shell.call(*words, "--json", cwd=tmp_path, base_url=sim.base_url)
    assert rest.code == 0, rest.err
    assert json.loads(rest.out)["images"]["ok"] == 3


def test_sigterm_stops_as_ctrl_c_does(tmp_path: Path, shell: Any, simulator: Any) -> None:
    sim = simulator(latency=0.4)
    words = ("run", "--out", "out", "--stages", "image", "--images", "12", "--json")
    words += ("--set", "rate_limiting.max_in_flight=4")
    process = shell.start(*words, cwd=tmp_path, base_url=sim.base_url)
    shell.wait_for(lambda: started(tmp_path / "out") >= 5)
    process.terminate()
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    summary = json.loads(out)
    assert summary["stopped_by"] == "interrupted"
    assert 0 < summary["images"]["ok"] == sim.stats.paid < 12, "a paid call was not kept"
    status = json.loads(shell.call("status", "out", "--json", cwd=tmp_path).out)
    assert status["images"]["in_doubt"] == 0


def test_a_signal_before_the_first_call_ends_in_one_line(tmp_path: Path, shell: Any, simulator: Any) -> None:
    """While the run is still being opened."""
    sim = simulator()
    out = tmp_path / "out"
    slow = """
import sys, time
from engine.cli.main import call
from engine.runtime import recovering
whole = recovering.reopen
def reopen(*a):
    open("opening", "w").close()
    time.sleep(1.0)
    return whole(*a)
recovering.reopen = reopen
sys.exit(call(sys.argv[1:]))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", slow, "run", "--out", "out", "--images", "3"],
        cwd=tmp_path, env=shell.environment(sim.base_url), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    shell.wait_for(lambda: (tmp_path / "opening").exists())
    process.terminate()
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    assert b"Traceback" not in err
    assert b"interrupted" in err.lower()
    assert sim.stats.calls == 0
    assert started(out) == 0


def test_a_process_that_was_stopped_for_a_while_goes_on_as_if_nothing_had_been(
    tmp_path: Path, shell: Any, simulator: Any
) -> None:
    """SIGSTOP, as when a laptop sleeps: no burst afterwards, no call lost, none paid twice."""
    sim = simulator(latency=0.1)
    words = ("run", "--out", "out", "--stages", "image", "--images", "16", "--json")
    words += ("--set", "rate_limiting.requests_per_minute=300")
    process = shell.start(*words, cwd=tmp_path, base_url=sim.base_url)
    shell.wait_for(lambda: sim.stats.calls >= 6)
    os.kill(process.pid, signal.SIGSTOP)
    time.sleep(2.0)
    os.kill(process.pid, signal.SIGCONT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert json.loads(out)["images"] == {"asked": 16, "ok": 16, "refused": 0, "failed": 0}
    assert sim.stats.paid == 16
    arrivals = [seen.at_s for seen in sim.stats.seen]
    slept = max(range(1, len(arrivals)), key=lambda n: arrivals[n] - arrivals[n - 1])
    assert arrivals[slept] - arrivals[slept - 1] > 1.5, "the process did not sleep"
    after = [at - arrivals[slept] for at in arrivals[slept:]]
    assert sum(at < 1.0 for at in after) <= 5 + 3, "the sleep was made up for by a burst"


def test_a_terminal_that_goes_away_costs_no_call_that_was_paid_for(tmp_path: Path, shell: Any, simulator: Any) -> None:
    """The window is closed, or `groundswell run 2>&1 | head` has seen enough: stderr is gone, then SIGHUP comes."""
    sim = simulator(latency=0.3)
    words = ("run", "--out", "out", "--stages", "image", "--images", "400", "--set", "rate_limiting.max_in_flight=4")
    process = shell.start(*words, cwd=tmp_path, base_url=sim.base_url)
    assert process.stderr is not None
    assert process.stdout is not None
    process.stderr.close()
    process.stdout.close()
    shell.wait_for(lambda: started(tmp_path / "out") >= 9)
    assert process.poll() is None, "the run ended because nobody reads what it says"
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=20) == 130
    kept = [line for line in shell.lines(tmp_path / "out/log/images.jsonl") if line["status"] == "ok"]
    assert len(kept) == sim.stats.paid > 0, "a paid call was not kept"
