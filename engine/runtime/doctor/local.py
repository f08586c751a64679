"""Questions to this machine: versions, packages, configuration, key, folders, disk, clock."""

from __future__ import annotations

import json
import os
import platform
import re
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from importlib import metadata
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from engine.errors import StoreError
from engine.runtime.doctor.check import Check
from engine.runtime.estimate import disk_bytes
from engine.settings import Credentials, Settings, keys
from engine.store import is_live
from engine.store.layout import RunDir, load_manifest
from engine.store.preflight import SPARE_BYTES, check_handles, check_writable, free_bytes
from schemas.config import RunConfig

PYTHON_MIN = (3, 11)
SYNCS = 12
SYNC_SLOW_S = 0.050
"""A sync slower than this is felt with durability strict, although calls share each one."""
_SHOWN = ("google-genai", "aiohttp", "pydantic", "msgspec", "pillow", "polars")
"""Packages whose versions people ask for first."""


def versions() -> Iterator[Check]:
    """Python and groundswell themselves."""
    python = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} CPUs"
    good = sys.version_info[:2] >= PYTHON_MIN
    yield Check(
        name="python",
        status="ok" if good else "fail",
        detail=python,
        next_step=None if good else "install Python 3.11 or newer",
    )
    try:
        yield Check(name="groundswell", status="ok", detail=f"version {metadata.version('groundswell')}")
    except metadata.PackageNotFoundError:
        yield Check(
            name="groundswell", status="warn", detail="not installed, run from a folder", next_step="pip install ."
        )


def packages() -> Iterator[Check]:
    """Everything that groundswell needs, installed or not."""
    try:
        wanted = metadata.requires("groundswell") or []
    except metadata.PackageNotFoundError:
        return
    names = [re.split(r"[\s;<>=!~\[(]", requirement, maxsplit=1)[0] for requirement in wanted if ";" not in requirement]
    missing = [name for name in names if not _version(name)]
    if missing:
        yield Check(
            name="packages",
            status="fail",
            detail=f"missing: {', '.join(missing)}",
            next_step="pip install -r requirements.lock, or pip install --force-reinstall groundswell",
        )
    else:
        shown = ", ".join(f"{name} {_version(name)}" for name in _SHOWN)
        yield Check(name="packages", status="ok", detail=f"all {len(names)} there: {shown} and others")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def configuration(settings: Settings) -> Iterator[Check]:
    """Where the configuration came from, and what there is to say about it."""
    config = settings.config
    origin = (
        str(settings.path) if settings.path else "built-in defaults (no config/generation_config.yaml here or above)"
    )
    yield Check(
        name="configuration",
        status="ok",
        detail=f"{origin}: {config.generation.num_images} images with {config.generation.model} at "
        f"{config.generation.resolution}, {config.generation.aspect_ratio}; metadata by {config.metadata.model}",
    )
    changed = [
        f"{'.'.join(path)} = {json.dumps(settings.get('.'.join(path)), default=str)}"
        for path, info in keys.fields()
        if settings.get(".".join(path)) != info.get_default(call_default_factory=True, validated_data={})
    ]
    if changed:
        yield Check(name="configuration", status="ok", detail="not as built in: " + "; ".join(changed))
    for warning in settings.warnings:
        # A key of the original without effect does no harm; the rest wants a look.
        moot = "has no effect here" in warning
        yield Check(name="configuration", status="ok" if moot else "warn", detail=warning)


def key(found: Credentials, backend: str, *, given: bool) -> Check:
    """Whether there is a key. It is never shown."""
    notes = "; ".join(found.notes)
    if given:
        return Check(name="key", status="ok", detail="the simulator's")
    if backend == "vertex":
        if not found.project:
            return Check(
                name="key",
                status="fail",
                detail="Vertex AI needs a project" + (f"; {notes}" if notes else ""),
                next_step="set GOOGLE_CLOUD_PROJECT (and GOOGLE_CLOUD_LOCATION), and sign in with "
                "`gcloud auth application-default login`",
            )
        where = found.location or "the SDK's default location"
        return Check(name="key", status="ok", detail=f"Vertex AI, project {found.project}, {where}")
    if found.key is None:
        without = "; without one: groundswell demo, or --simulate"
        copied = "copy config/.env.example to config/.env and put a key from https://aistudio.google.com/apikey there"
        return Check(
            name="key",
            status="fail",
            detail=notes or "no GOOGLE_API_KEY or GEMINI_API_KEY in the environment, config/.env or .env",
            next_step=("put your key in its place" if notes else copied) + without,
        )
    if found.vertex:
        notes = f"GOOGLE_GENAI_USE_VERTEXAI is set, but generation.backend is {backend}" + (
            f"; {notes}" if notes else ""
        )
    return Check(
        name="key",
        status="warn" if notes else "ok",
        detail=f"found: {found.key_from}" + (f"; {notes}" if notes else ""),
        next_step="set generation.backend: vertex, or remove the variable" if found.vertex else None,
    )


def folder(out: Path, config: RunConfig, *, simulated: bool) -> Iterator[Check]:
    """Whether the run directory can be written or continued, and whether the plan fits on its disk."""
    existed = out.exists()
    made = [p for p in (out, *out.parents) if not p.exists()]
    try:
        check_writable(RunDir(out))
        yield _held(RunDir(out), simulated)
    except StoreError as error:
        yield Check(
            name="output folder",
            status="fail",
            detail=str(error),
            next_step="set output.output_dir or --out to a folder you may write",
        )
        return
    finally:
        if not existed:
            _remove_empty(made)
    free, needed = free_bytes(out), disk_bytes(config, config.generation.num_images)
    fits = free >= needed + SPARE_BYTES
    yield Check(
        name="disk space",
        status="ok" if fits else "fail",
        detail=f"{free / 1e9:.1f} GB free; {config.generation.num_images} images need up to {needed / 1e9:.2f} GB",
        next_step=None if fits else "free space, choose another --out, or ask for fewer images",
    )


def _held(run: RunDir, simulated: bool) -> Check:
    """What is in the run directory already, and whether a run could carry on there."""
    name, out = "output folder", run.root
    if not run.run_json.exists():
        return Check(name=name, status="ok", detail=f"{out} writable")
    before = load_manifest(run).fingerprints.get("answers")
    if before is not None and before != ("simulator" if simulated else "gemini"):
        other = "the simulator" if before == "simulator" else "Gemini"
        return Check(
            name=name,
            status="fail",
            detail=f"{out} holds pictures of {other}, which are never mixed with others",
            next_step="choose another folder: --out, or output.output_dir",
        )
    if is_live(run):
        return Check(
            name=name,
            status="warn",
            detail=f"{out} holds a run that is being made right now",
            next_step=f"groundswell status {out} tells how far it is; another run needs another --out",
        )
    return Check(name=name, status="ok", detail=f"{out} holds a run, which will be continued")


def _remove_empty(folders: list[Path]) -> None:
    """Take away the folders that the check made: a doctor leaves nothing behind."""
    for each in folders:
        try:
            each.rmdir()
        except OSError:
            return


def disk_speed(out: Path, durability: str) -> Check:
    """How long the disk takes to make a small write certain; the price of durability strict."""
    at = next((p for p in (out, *out.parents) if p.is_dir()), Path.cwd())
    probe = at / f".doctor.{os.urandom(4).hex()}.tmp"
    times: list[float] = []
    try:
        fd = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            for _ in range(SYNCS):
                started = time.perf_counter()
                os.write(fd, b"x" * 4096)
                os.fsync(fd)
                times.append(time.perf_counter() - started)
        finally:
            os.close(fd)
            probe.unlink()
    except OSError as error:
        return Check(name="disk speed", status="warn", detail=f"not measured in {at}: {error.strerror}")
    median_s = sorted(times)[len(times) // 2]
    slow = median_s > SYNC_SLOW_S and durability == "strict"
    return Check(
        name="disk speed",
        status="warn" if slow else "ok",
        detail=f"a synced write takes {median_s * 1000:.1f} ms (median of {SYNCS}) with output.durability {durability}",
        next_step="a local disk, or output.durability: batch (a crash may lose a second)" if slow else None,
    )


def handles(config: RunConfig) -> Check:
    """Whether enough files may be open for the calls in flight."""
    calls = config.rate_limiting.max_in_flight or 1000
    try:
        limit = check_handles(calls)
    except StoreError as error:
        return Check(
            name="open files",
            status="fail",
            detail=str(error),
            next_step="lower rate_limiting.max_in_flight, or raise the limit as said",
        )
    return Check(name="open files", status="ok", detail=f"limit {limit}, enough for {calls} calls in flight")


def clock(now: datetime) -> Check:
    """The time here, and when Google's daily quotas turn (midnight Pacific)."""
    try:
        pacific = now.astimezone(ZoneInfo("America/Los_Angeles"))
    except ZoneInfoNotFoundError:
        return Check(name="clock", status="fail", detail="no time zone data", next_step="pip install tzdata")
    turns = (pacific + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    wait = turns - pacific
    hours, minutes = divmod(int(wait.total_seconds()) // 60, 60)
    odd = now.year < 2026
    return Check(
        name="clock",
        status="fail" if odd else "ok",
        detail=f"{now:%Y-%m-%d %H:%M} {now.tzname()}; daily quotas turn in {hours} h {minutes:02d} min, "
        "at midnight Pacific",
        next_step="set the clock: certificates and daily quotas depend on it" if odd else None,
    )
