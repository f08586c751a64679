"""`groundswell run` as a process of its own on disks that really fail, below Python.

By a preloaded library that makes the C library's calls fail (needs a compiler and no rights), by limits of
the process, and by real file systems that are filled up, frozen, or cut off from their device (needs root).
After each: one clear error, a defined code, few calls more, and the same command finishes the run with
every picture that was recorded.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

import engine
from engine.store import RunDir, verify

IMAGES = 24
IN_FLIGHT = 4
WORDS = ("run", "--out", "out", "--stages", "image", "--json")
EXT4_IOC_SHUTDOWN = 0x8004587D
WITHOUT_FLUSH = struct.pack("I", 2)


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that makes calls fail."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("no C compiler on this machine, or not Linux")
    built = tmp_path_factory.mktemp("shim") / "failing_disk.so"
    source = Path(__file__).with_name("failing_disk.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", built, source, "-ldl"], check=True)
    return built


def failing(shim: Path, call: str, path: str, code: int, after: int, wait_ms: int = 0) -> dict[str, str]:
    """The environment in which these calls fail."""
    return {
        "LD_PRELOAD": str(shim),
        "FAIL_CALL": call,
        "FAIL_PATH": path,
        "FAIL_ERRNO": str(code),
        "FAIL_AFTER": str(after),
        "FAIL_MS": str(wait_ms),
    }


def recorded(out: Path) -> int:
    """Pictures in the log, all of them there and as recorded, no job settled twice."""
    finals: Counter[str] = Counter()
    good = 0
    raw = (out / "log/images.jsonl").read_bytes() if (out / "log/images.jsonl").exists() else b""
    for line in map(json.loads, raw[: raw.rfind(b"\n") + 1].splitlines()):
        finals[line["job"]] += line["final"]
        if line["status"] == "ok":
            good += 1
            data = (out / line["asset"]["path"]).read_bytes()
            assert hashlib.sha256(data).hexdigest() == line["asset"]["sha256"]
    assert max(finals.values(), default=0) <= 1
    return good


def one_error(err: str) -> None:
    """What was told: no traceback, what failed, and how to go on."""
    assert "Traceback" not in err, err
    said = [line for line in err.splitlines() if "to continue" in line or "run the same command again" in line]
    assert 1 <= len(set(said)) <= 2, err


def goes_on(out: Path, sim: Any, shell: Any, paid_again_max: int) -> None:
    """The same question on a healthy disk finishes the run, without a repair."""
    config = {"generation": {"num_images": IMAGES}}
    there = {"base_url": sim.base_url, "api_key": shell.canary, "stages": ["image"]}
    summary = anyio.run(lambda: engine.run(config, out, **there))
    assert (summary.exit_code, summary.images.ok) == (0, IMAGES)
    assert recorded(out) == IMAGES
    assert sim.stats.paid <= IMAGES + paid_again_max, "more was paid again than was in flight"
    assert verify(RunDir(out)).sound


def configure(folder: Path, shell: Any, **more: Any) -> None:
    limits = {"max_in_flight": IN_FLIGHT, "initial_retry_delay": 0.01}
    shell.configure(folder, generation={"num_images": IMAGES}, rate_limiting=limits, **more)


FAULTS = [
    # what fails, where, with what, after how many good ones; how many of the paid pictures may be lost
    ("write", "log/attempts.jsonl", errno.EIO, 6, 0),
    ("write", "log/images.jsonl", errno.EIO, 4, 0),
    ("write", "log/images.jsonl", errno.EDQUOT, 4, 0),
    ("write", "images/0000/", errno.EIO, 5, IN_FLIGHT),
    ("sync", "log/attempts.jsonl", errno.EIO, 6, 0),
    ("sync", "log/images.jsonl", errno.EIO, 4, 0),
    ("sync", "images/0000/", errno.EIO, 5, IN_FLIGHT),
    ("rename", "images/0000/", errno.EIO, 5, IN_FLIGHT),
    ("open", "images/0000/", errno.EROFS, 5, IN_FLIGHT),
]


NAMES = [f"{call}-{path.split('/')[1]}-{errno.errorcode[code]}" for call, path, code, *_ in FAULTS]


@pytest.mark.parametrize(("call", "path", "code", "after", "lost"), FAULTS, ids=NAMES)
def test_a_disk_that_fails_stops_the_run_and_the_next_one_goes_on(
    tmp_path: Path, shell: Any, simulator: Any, shim: Path, call: str, path: str, code: int, after: int, lost: int
) -> None:
    sim = simulator(latency=0.03)
    configure(tmp_path, shell)
    process = shell.start(*WORDS, cwd=tmp_path, base_url=sim.base_url, more=failing(shim, call, path, code, after))
    stdout, stderr = process.communicate(timeout=40)
    err = stderr.decode()
    assert process.returncode == 1, (err, stdout)
    one_error(err)
    assert json.loads(stdout)["stopped_by"] == "disk"
    kept = recorded(tmp_path / "out")
    calls = sim.stats.calls
    assert calls <= after + 2 * IN_FLIGHT + 2, "calls went on after the disk had failed"
    assert sim.stats.paid - kept <= IN_FLIGHT
    goes_on(tmp_path / "out", sim, shell, paid_again_max=lost)


def test_a_sync_that_takes_long_holds_back_new_calls_and_costs_nothing(
    tmp_path: Path, shell: Any, simulator: Any, shim: Path
) -> None:
    sim = simulator(latency=0.01)
    configure(tmp_path, shell)
    slow = failing(shim, "sync", "log/images.jsonl", 0, after=6, wait_ms=400)
    process = shell.start(*WORDS, cwd=tmp_path, base_url=sim.base_url, more=slow)
    shell.wait_for(lambda: shell.count(tmp_path / "out/log/images.jsonl") >= 8)
    stdout, err = process.communicate(timeout=40)
    assert process.returncode == 0, err
    assert json.loads(stdout)["images"]["ok"] == recorded(tmp_path / "out") == sim.stats.paid == IMAGES
    assert sim.stats.in_flight_max <= IN_FLIGHT


def test_a_sync_that_never_ends_keeps_nobody_from_leaving(
    tmp_path: Path, shell: Any, simulator: Any, shim: Path
) -> None:
    sim = simulator(latency=0.01)
    configure(tmp_path, shell)
    hung = failing(shim, "sync", "log/images.jsonl", 0, after=6, wait_ms=600_000)
    process = shell.start(*WORDS, cwd=tmp_path, base_url=sim.base_url, more=hung)
    shell.wait_for(lambda: shell.count(tmp_path / "out/log/images.jsonl") >= 7)
    time.sleep(1.0)
    calls, lines = sim.stats.calls, shell.count(tmp_path / "out/log/images.jsonl")
    assert calls <= lines + 2 * IN_FLIGHT, "calls went on while nothing could be written down"
    time.sleep(0.5)
    assert sim.stats.calls == calls
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
    process.communicate(timeout=10)
    assert process.returncode == 130
    assert sim.stats.calls == calls
    goes_on(tmp_path / "out", sim, shell, paid_again_max=IN_FLIGHT)


def test_a_file_size_limit_is_told_and_the_run_goes_on_without_it(tmp_path: Path, shell: Any, simulator: Any) -> None:
    sim = simulator(latency=0.03)
    configure(tmp_path, shell)
    process = subprocess.Popen(
        [sys.executable, "-m", "engine", *WORDS], cwd=tmp_path,
        env=shell.environment(sim.base_url) | {"PYTHONDONTWRITEBYTECODE": "1"},  # the limit would cut these files, too
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, resource.RLIM_INFINITY)),
    )  # fmt: skip
    stdout, stderr = process.communicate(timeout=40)
    assert process.returncode == 1, stderr
    one_error(stderr.decode())
    assert b"ulimit -f" in stderr
    assert json.loads(stdout)["stopped_by"] == "disk"
    assert 0 < recorded(tmp_path / "out") < IMAGES
    goes_on(tmp_path / "out", sim, shell, paid_again_max=IN_FLIGHT)


class Volume:
    """A small ext4 of its own, on a file."""

    def __init__(self, folder: Path, image: Path) -> None:
        self.path = folder / "volume"
        self.image = image
        self.path.mkdir()
        made = ["mkfs.ext4", "-q", "-F", "-J", "size=4", "-E", "lazy_itable_init=1", image]
        if os.geteuid() != 0:
            pytest.skip("only root may mount a file system of its own")
        if shutil.which("mkfs.ext4") is None or subprocess.run(made, capture_output=True, check=False).returncode != 0:
            pytest.skip("mkfs.ext4 is not there")
        self.mount()

    def mount(self) -> None:
        done = subprocess.run(["mount", "-o", "loop", self.image, self.path], capture_output=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"no ext4 on a file may be mounted here: {done.stderr.decode().strip()[:100]}")

    def unmount(self) -> None:
        subprocess.run(["umount", "-l", self.path], capture_output=True, check=False)

    def cut_off(self) -> None:
        """From now on everything fails, and what was not synced is gone: the kernel's own test of a power cut."""
        fd = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, EXT4_IOC_SHUTDOWN, WITHOUT_FLUSH)
        except OSError as error:
            pytest.skip(f"this kernel cannot cut an ext4 off: {error.strerror}")
        finally:
            os.close(fd)


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Volume]:
    image = tmp_path / "volume.img"
    with image.open("wb") as file:
        file.truncate(400 << 20)
    made = Volume(tmp_path, image)
    yield made
    made.unmount()


@pytest.mark.parametrize("killed", [False, True], ids=["alive", "killed"])
def test_a_device_that_goes_away_in_mid_run_costs_no_acknowledged_line(
    tmp_path: Path, shell: Any, simulator: Any, volume: Volume, killed: bool
) -> None:
    """A real ext4 without its device: un-synced pages are lost, the journal is replayed by the next mount."""
    sim = simulator(latency=0.03)
    configure(tmp_path, shell)
    out = volume.path / "out"
    words = ("run", "--out", out, *WORDS[3:])
    process = shell.start(*words, cwd=tmp_path, base_url=sim.base_url)
    shell.wait_for(lambda: shell.count(out / "log/images.jsonl") >= 8)
    (volume.path / "never-synced").write_bytes(bytes(100_000))
    if killed:
        process.kill()
    volume.cut_off()
    stdout, stderr = process.communicate(timeout=40)
    if not killed:
        assert process.returncode == 1, stderr
        one_error(stderr.decode())
        assert json.loads(stdout)["stopped_by"] == "disk"
    volume.unmount()
    volume.mount()
    lost = volume.path / "never-synced"
    assert not lost.exists() or lost.stat().st_size < 100_000, "the cut must lose what was not synced"
    # The last batch may not have been acknowledged. A sync in the instant of the cut may say that all is well, which
    # it is not: that is the kernel's, and costs a live process one batch more.
    batches = 1 if killed else 2
    assert recorded(out) >= 8 - batches * IN_FLIGHT, "lines that had been acknowledged are gone"
    goes_on(out, sim, shell, paid_again_max=batches * IN_FLIGHT)


def test_a_file_system_that_is_frozen_for_a_while_only_costs_time(
    tmp_path: Path, shell: Any, simulator: Any, volume: Volume
) -> None:
    sim = simulator(latency=0.03)
    configure(tmp_path, shell)
    out = volume.path / "out"
    process = shell.start("run", "--out", out, *WORDS[3:], cwd=tmp_path, base_url=sim.base_url)
    shell.wait_for(lambda: shell.count(out / "log/images.jsonl") >= 6)
    if subprocess.run(["fsfreeze", "-f", volume.path], capture_output=True, check=False).returncode != 0:
        process.kill()
        pytest.skip("this file system cannot be frozen")
    try:
        time.sleep(0.5)
        calls = sim.stats.calls
        time.sleep(1.5)
        assert sim.stats.calls - calls <= 1, "calls went on while nothing could be written down"
    finally:
        subprocess.run(["fsfreeze", "-u", volume.path], check=True)
    stdout, stderr = process.communicate(timeout=40)
    assert process.returncode == 0, stderr
    assert json.loads(stdout)["images"]["ok"] == recorded(out) == sim.stats.paid == IMAGES


def test_storage_that_promised_more_than_it_has_fails_on_sync_and_the_run_goes_on(
    tmp_path: Path, shell: Any, simulator: Any
) -> None:
    """A thin volume: the file system has room, its device has none, and only the sync tells."""
    pool = tmp_path / "pool"
    pool.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", pool]
    if os.geteuid() != 0 or subprocess.run(options, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root may mount a file system of its own")
    volume = None
    try:
        image = pool / "volume.img"
        with image.open("wb") as file:
            file.truncate(1 << 30)
        volume = Volume(tmp_path, image)
        sim = simulator(picture="pool", latency=0.1)
        configure(tmp_path, shell)
        out = volume.path / "out"
        process = shell.start("run", "--out", out, *WORDS[3:], cwd=tmp_path, base_url=sim.base_url)
        shell.wait_for(lambda: shell.count(out / "log/images.jsonl") >= 3)
        with (pool / "other").open("wb") as other:
            room = os.statvfs(pool)
            os.posix_fallocate(other.fileno(), 0, (room.f_bavail * room.f_frsize) - (6 << 20))
        stdout, stderr = process.communicate(timeout=40)
        assert process.returncode == 1, (stdout, stderr)
        one_error(stderr.decode())
        assert json.loads(stdout)["stopped_by"] == "disk"
        paid = sim.stats.paid
        assert paid < IMAGES
        volume.unmount()
        (pool / "other").unlink()
        volume.mount()
        kept = recorded(out)
        assert paid - kept <= 2 * IN_FLIGHT
        goes_on(out, sim, shell, paid_again_max=2 * IN_FLIGHT)
    finally:
        if volume is not None:
            volume.unmount()
        subprocess.run(["umount", "-l", pool], check=False)
