"""What a run's log says about it: progress, rates, costs and failures, also while it is live.

Reads the committed part of the logs once and nothing else, so the answer is the same for the process
that writes the run and for one that only looks.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct

from engine.core.asking import REJECTED
from engine.core.ledger import NOT_ATTEMPTS, Ledger, slot
from engine.core.pacific import ZONE, day_bounds
from engine.runtime.estimate import per_image_usd
from engine.runtime.summary import Counts, counts_of
from engine.stages.metadata import task_groups
from engine.store import RunDir, Settled, is_live, load_manifest, sift_settled
from schemas.config import Metadata, RunConfig
from schemas.job import Stage
from schemas.record import RunManifest

RATE_WINDOW_S = 600.0


class StageStatus(Struct, frozen=True, kw_only=True):
    """One stage of a run."""

    asked: int
    ok: int
    refused: int
    failed: int
    pending: int
    in_doubt: int
    """Calls started without an end: in flight in a live run, maybe paid in a dead one."""
    attempts: int
    rejected: int
    """Calls turned away by quotas."""
    per_minute: float
    """Settled over the last ten minutes of the log."""
    left_s: float | None
    """Forecast at that rate."""
    cost_usd: float
    reopened: int
    """Settled jobs that were asked for again: by --redo, or because their file was lost."""
    failures: dict[str, int]
    """By kind; attempts that were tried again and calls that never arrived among them."""


class ModelStatus(Struct, frozen=True, kw_only=True):
    """The calls to one model, against what was configured for it."""

    requests: int
    """Calls made, over all sessions; those turned away left out."""
    rejected: int
    """Calls turned away by quotas."""
    requests_today: int
    """Since midnight Pacific, when daily quotas begin anew."""
    per_minute: float
    """Calls per minute over the last ten minutes before the newest call."""
    limit_per_minute: float | None
    """The configured quota; None: none."""
    limit_learned: float | None
    """The requests per minute that the far side taught last; None: nothing."""
    utilisation: float | None
    """`per_minute` of `limit_per_minute`, 0 to 1."""


class Status(Struct, frozen=True, kw_only=True):
    """The state of a run."""

    run: str
    run_id: str
    created_at: str
    live: bool
    images: StageStatus
    metadata: StageStatus
    cost_usd: float
    usd_per_image: float | None
    """What an image with its texts has really cost, refusals and retries included; None before the first."""
    usd_per_image_estimated: float | None
    """What `groundswell estimate` says of the same configuration."""
    budget_usd: float | None
    models: dict[str, ModelStatus]
    first_at: str | None
    last_at: str | None
    damaged_lines: int

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return msgspec.to_builtins(self)


@dataclass(slots=True)
class _Calls:
    requests: int = 0
    rejected: int = 0
    today: int = 0
    learned: float | None = None
    at: deque[str] = field(default_factory=lambda: deque(maxlen=100_000))

    def unmade(self, by_quota: bool, midnight: str) -> None:
        """One of the newest calls did not count: a quota turned it away, or it never arrived."""
        self.requests -= 1
        self.rejected += by_quota
        if self.at:
            self.today -= self.at.pop() >= midnight


def _model(made: _Calls, limit: float | None) -> ModelStatus:
    per_minute = rate_per_minute(made.at, shortest_s=60.0)
    return ModelStatus(
        requests=made.requests,
        rejected=made.rejected,
        requests_today=made.today,
        per_minute=round(per_minute, 2),
        limit_per_minute=limit,
        limit_learned=None if made.learned is None else round(made.learned, 1),
        utilisation=None if limit is None else round(per_minute / limit, 4),
    )


def _limit(manifest: RunManifest, model: str) -> float | None:
    limits = manifest.config.get("rate_limiting", {})
    own = limits.get("models", {}).get(model, {}).get("requests_per_minute")
    return own if own is not None else limits.get("requests_per_minute")


def rate_per_minute(moments: Sequence[str], *, shortest_s: float = 0.0) -> float:
    """Events per minute over the last ten minutes before the newest one. Moments as the log has them.

    What took less than `shortest_s` is not spread over more time than it took: a burst of five is five.
    """
    if not moments:
        return 0.0
    end = _moment(moments[-1])
    count, start = 0, end
    for at in reversed(moments):
        moment = _moment(at)
        if moment < end - RATE_WINDOW_S:
            break
        count, start = count + 1, moment
    if count < 2 or end - start <= shortest_s:
        return float(count)
    return (count - 1) * 60.0 / (end - start)


class _Fold:
    """One stage's log, folded."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.failures: Counter[str] = Counter()
        self.rejected = 0
        self.reopened = 0
        self.first_at: str | None = None
        self.last_at: str | None = None
        self.settled_at: deque[str] = deque(maxlen=100_000)

    def take(self, lines: list[Settled]) -> None:
        """Some lines, in order."""
        self.ledger.fold(lines)
        for line in lines:
            if line.error is None:
                continue
            if line.error.kind in NOT_ATTEMPTS:
                self.reopened += 1
            else:
                self.failures[line.error.kind] += 1
        self.first_at = self.first_at or lines[0].generated_at
        self.last_at = lines[-1].generated_at
        self.settled_at.extend([line.generated_at for line in lines if line.final])


def _moment(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()


def read_status(root: Path) -> Status:
    """The status of a run directory. Raises NoRun when it is none."""
    run = RunDir(root)
    manifest = load_manifest(run)
    damaged = 0
    folds: dict[Stage, _Fold] = {"image": _Fold(), "metadata": _Fold()}
    paths: dict[Stage, Path] = {"image": run.images_log, "metadata": run.metadata_log}
    for stage, path in paths.items():
        with closing(sift_settled(path)) as parts:
            for part in parts:
                damaged += part.damage is not None
                if part.records:
                    folds[stage].take(part.records)
    calls: dict[str, _Calls] = {}
    start, _end = day_bounds(datetime.now(UTC).timestamp(), ZoneInfo(ZONE))
    midnight = datetime.fromtimestamp(start, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    with closing(sift_settled(run.attempts_log)) as parts:
        for part in parts:
            damaged += part.damage is not None
            for line in part.records:
                _begun(line, folds["metadata" if line.stage == "metadata" else "image"], calls, midnight)
    asked = int(manifest.config.get("generation", {}).get("num_images", 0))
    images, texts = folds["image"].ledger, folds["metadata"].ledger
    groups = len(task_groups(Metadata.model_validate(manifest.config.get("metadata", {}))))
    if not _wants_metadata(folds["metadata"], run):
        groups = 0
    drawn, described = counts_of(images, texts, asked, groups)
    marks = [fold for fold in folds.values() if fold.first_at is not None]
    return Status(
        run=str(root),
        run_id=manifest.run_id,
        created_at=manifest.created_at,
        live=is_live(run),
        images=_stage(folds["image"], drawn),
        metadata=_stage(folds["metadata"], described),
        cost_usd=round(images.cost_usd + texts.cost_usd, 6),
        usd_per_image=round((images.cost_usd + texts.cost_usd) / images.ok, 6) if images.ok else None,
        usd_per_image_estimated=_estimated(manifest),
        budget_usd=manifest.config.get("budget", {}).get("usd"),
        models={name: _model(made, _limit(manifest, name)) for name, made in calls.items()},
        first_at=min((str(fold.first_at) for fold in marks), default=None),
        last_at=max((str(fold.last_at) for fold in marks), default=None),
        damaged_lines=damaged,
    )


def _begun(line: Settled, fold: _Fold, calls: dict[str, _Calls], midnight: str) -> None:
    """Count a line of attempts.jsonl."""
    place = slot(line.index, line.tasks)
    model = calls.get(line.model)
    if model is None:
        model = calls[line.model] = _Calls()
    if line.status == "start":
        fold.ledger.started(place, line.attempt)
        model.requests += 1
        model.today += line.generated_at >= midnight
        model.at.append(line.generated_at)
    else:
        fold.ledger.rejected(place, line.attempt)
        by_quota = line.error_kind in REJECTED
        fold.rejected += by_quota
        if not by_quota and line.error is not None:
            fold.failures[line.error.kind] += 1
        model.unmade(by_quota, midnight)
        model.learned = line.limit_per_minute or model.learned


def _estimated(manifest: RunManifest) -> float | None:
    try:
        usd = per_image_usd(RunConfig.model_validate(manifest.config))
    except ValueError:
        return None  # a configuration of another version
    return None if usd is None else round(usd, 6)


def _wants_metadata(fold: _Fold, run: RunDir) -> bool:
    return fold.ledger.attempts > 0 or run.metadata_log.exists()


def _stage(fold: _Fold, counts: Counts) -> StageStatus:
    ledger = fold.ledger
    # The last line of a burst says nothing about the hour to come: five in a second are five a minute.
    pending, rate = counts.pending, rate_per_minute(fold.settled_at, shortest_s=5.0)
    return StageStatus(
        asked=counts.asked,
        ok=counts.ok,
        refused=counts.refused,
        failed=counts.failed,
        pending=pending,
        in_doubt=sum(1 for _ in ledger.doubts()),
        attempts=ledger.attempts,
        rejected=fold.rejected,
        per_minute=round(rate, 2),
        left_s=0.0 if not pending else (round(pending / rate * 60.0, 1) if rate else None),
        cost_usd=round(ledger.cost_usd, 6),
        reopened=fold.reopened,
        failures=dict(fold.failures.most_common()),
    )
