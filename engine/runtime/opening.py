"""Opening a run directory: what was asked before, what is settled, what is in doubt.

Blocking work, done in a thread before the first call. The order matters: nothing is created before
the question is known to be sound, and nothing is asked before the logs are whole and folded.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from engine.core.ledger import Ledger, slot
from engine.errors import LogDamaged, RunMismatch
from engine.runtime.past import Past
from engine.store import Recovery, RunDir, Settled, create_run, repair, write_atomic
from schemas.config import RunConfig
from schemas.job import Stage
from schemas.record import RunManifest

STAGES: tuple[Stage, ...] = ("image", "metadata")
FROM_FILE = "prompt-file"
"""The fingerprint of prompts that come from a file: its rows are compared one by one."""


@dataclass(slots=True)
class Opened:
    """A run directory, locked, recovered and folded."""

    run: RunDir
    manifest: RunManifest
    ledgers: dict[Stage, Ledger]
    past: Past
    notes: list[str]
    resumed: bool
    doubtful: dict[Stage, list[Settled]]
    """The start lines of calls that never ended, newest per job."""
    complaints: dict[Stage, dict[int, str]] = field(default_factory=lambda: {stage: {} for stage in STAGES})
    """What was wrong with what is asked for again, by place."""


def fingerprints(config: RunConfig, prompts: str) -> dict[str, str]:
    """Digests of what is asked. Limits, folders, budgets and the number of images are not among it."""
    wanted = config.generation
    image = [wanted.model, wanted.resolution, wanted.aspect_ratio, wanted.temperature]
    metadata = config.metadata.model_dump(mode="json")
    if metadata["language"] is None:
        del metadata["language"]  # runs from before this key existed asked the same
    asked = {"prompts": prompts, "image": image, "metadata": metadata}
    return {
        name: value
        if isinstance(value, str)
        else hashlib.blake2b(msgspec.json.encode(value), digest_size=16).hexdigest()
        for name, value in asked.items()
    }


def new_manifest(config: RunConfig, prompts: str, now: float, run_date: str) -> RunManifest:
    """The manifest of a run that begins now (seconds since the epoch)."""
    created = datetime.fromtimestamp(now, UTC)
    digests = fingerprints(config, prompts)
    named = hashlib.blake2b(msgspec.json.encode([digests, created.isoformat()]), digest_size=6).hexdigest()
    return RunManifest(
        run_id=f"{run_date}-{named}",
        created_at=created.isoformat(timespec="seconds").replace("+00:00", "Z"),
        run_date=run_date,
        versions=_versions(),
        fingerprints=digests,
        config=config.model_dump(mode="json"),
    )


def _versions() -> dict[str, str]:
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in ("groundswell", "google-genai", "aiohttp", "polars", "pillow"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


def check_same_question(manifest: RunManifest, config: RunConfig, prompts: str, run: RunDir) -> None:
    """Refuse to mix two questions in one directory. Raises RunMismatch with what differs."""
    digests = fingerprints(config, prompts)
    differing = [name for name, digest in digests.items() if manifest.fingerprints.get(name) not in (None, digest)]
    if not differing:
        return
    changed = [
        f"{key} was {old!r} and is now {new!r}"
        for key, old, new in _differences(manifest.config, config.model_dump(mode="json"))
        if _belongs(key, differing)
    ] or [_unnamed(name, manifest.fingerprints.get(name), digests[name]) for name in differing]
    raise RunMismatch(
        [
            f"{run.root}: this run was made by asking something else: {'; '.join(changed[:8])}. "
            "Choose another --out for the new question, or set the old values back to continue this one"
        ]
    )


def _check_same_answers(manifest: RunManifest, answers: str | None, run: RunDir) -> None:
    """Refuse to mix simulated pictures with real ones: nothing could tell them apart afterwards."""
    before = manifest.fingerprints.get("answers")
    if before is not None and answers is not None and before != answers:
        other = "with --simulate" if before == "simulator" else "by Gemini itself, without --simulate"
        raise RunMismatch(f"{run.root}: this run was made {other}; choose another --out, so that the two do not mix")


def _unnamed(name: str, old: str | None, new: str) -> str:
    """What changed, where no key of the configuration says it."""
    if FROM_FILE in {old, new}:
        return "its prompts came from " + (
            "a file, give it again with --prompts" if old == FROM_FILE else "the three sources, leave out --prompts"
        )
    return f"the {name} settings or their source files changed"


def _belongs(key: str, differing: list[str]) -> bool:
    section = key.split(".", 1)[0]
    return {
        "generation": key != "generation.num_images" and ("image" in differing or key == "generation.seed"),
        "prompts": "prompts" in differing,
        "source_data": "prompts" in differing,
        "metadata": "metadata" in differing,
    }.get(section, False)


def _differences(old: Mapping[str, Any], new: Mapping[str, Any], at: str = "") -> Iterable[tuple[str, Any, Any]]:
    for key in {**old, **new}:
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from _differences(before, after, f"{at}{key}.")
        elif before != after:
            yield f"{at}{key}", before, after


def open_directory(
    run: RunDir,
    manifest: RunManifest | None,
    config: RunConfig,
    prompts: str,
    now: float,
    run_date: str,
    answers: str | None = None,
    origin: Mapping[str, str] = MappingProxyType({}),
) -> Opened:
    """Create the run or take it up. Hold its lock. Raises RunMismatch, LogDamaged, StoreError.

    `answers`: who gives them (`gemini` or `simulator`), None where a caller's own provider does.
    `origin`: where the configuration and the prompts come from, for `RunManifest.origin`.
    """
    durability = config.output.durability
    resumed = manifest is not None
    if manifest is None:
        manifest = msgspec.structs.replace(new_manifest(config, prompts, now, run_date), origin=dict(origin))
        if answers is not None:
            manifest = msgspec.structs.replace(manifest, fingerprints={**manifest.fingerprints, "answers": answers})
        create_run(run, manifest, durability=durability)
    else:
        _check_same_answers(manifest, answers, run)
        check_same_question(manifest, config, prompts, run)
        resolved = config.model_dump(mode="json")
        newest = msgspec.structs.replace(manifest, config=resolved, origin=dict(origin))
        if manifest != newest:  # more images, other limits, a larger budget: what the newest session goes by
            manifest = newest
            write_atomic(run.run_json, msgspec.json.format(msgspec.json.encode(manifest)), durability=durability)
    opened = Opened(
        run, manifest, {stage: Ledger() for stage in STAGES}, Past(now), [], resumed, {stage: [] for stage in STAGES}
    )
    _fold(opened)
    return opened


def _fold(opened: Opened) -> None:
    run = opened.run
    recoveries: list[Recovery] = []
    holes: list[str] = []

    def take_up(path: Path, take: Callable[[list[Settled]], object]) -> None:
        found, mended = repair.take_up(run, path, take=take)
        recoveries.append(found)
        if mended is not None:
            size_bytes = sum(hole.size_bytes for hole in found.holes)
            holes.append(
                f"{path.name}: a power loss left a hole of {size_bytes} bytes in lines that were still on their way, "
                f"{mended}; the calls they spoke of are in doubt"
            )

    paths: dict[Stage, Path] = {"image": run.images_log, "metadata": run.metadata_log}
    for stage, path in paths.items():
        take_up(path, opened.ledgers[stage].fold)
    starts = _Starts(opened)
    take_up(run.attempts_log, starts.take)
    starts.finish()
    damage = [
        f"{found.path}: line {bad.line} (byte {bad.offset}, {bad.size_bytes} bytes) is damaged"
        for found in recoveries
        for bad in found.damaged
    ]
    if damage:
        raise LogDamaged(
            "; ".join(damage[:5])
            + (f"; and {len(damage) - 5} more" if len(damage) > 5 else "")
            + ". A failing disk does this, or another program. Nothing is asked until it is mended: run "
            f"`groundswell verify {run.root} --repair`, which keeps the bytes aside and makes the jobs behind them due "
            "again, then run the same command again"
        )
    opened.notes += [
        f"{found.path.name}: cut {found.cut_bytes} bytes of a torn tail, kept at {found.kept_at}"
        for found in recoveries
        if found.cut_bytes
    ] + holes


class _Starts:
    """Folds attempts.jsonl: which calls are in doubt, and which count against quotas."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._open: dict[tuple[Stage, int], Settled] = {}

    def take(self, lines: list[Settled]) -> None:
        """Some lines, in order."""
        past, ledgers = self._opened.past, self._opened.ledgers
        images, texts = ledgers["image"], ledgers["metadata"]
        for line in lines:
            place = slot(line.index, line.tasks)
            ledger = texts if line.stage == "metadata" else images
            if line.status == "start":
                if ledger.started(place, line.attempt):
                    self._open["metadata" if ledger is texts else "image", place] = line
                past.add(line)
            else:
                ledger.rejected(place, line.attempt)
                past.drop(line)
                self._open.pop(("metadata" if ledger is texts else "image", place), None)

    def finish(self) -> None:
        for (stage, _), line in sorted(self._open.items()):
            self._opened.doubtful[stage].append(line)
