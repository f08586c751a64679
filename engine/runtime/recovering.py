"""What was left open: calls in doubt after a crash, and settled jobs that are to be asked again.

Both end as log lines, so that nothing but the log has to be believed. A call in doubt whose picture
is whole on disk is adopted; otherwise it is written down as an attempt that may have been paid, at its
estimated price, and asked again or, with `in_doubt: skip`, never.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import msgspec

from engine.core.again import REDO, asking_again, complaint_in, message
from engine.core.ledger import FAILED, NONE, REFUSED, Ledger, slot
from engine.core.reviews import standing, verdicts
from engine.errors import ConfigError, leaf_of
from engine.runtime.feeds import Prompts
from engine.runtime.opening import STAGES, Opened
from engine.runtime.runner import Context, Log
from engine.stages.image import image_job, image_record
from engine.store import Offload, RunDir, Settled, adopt_orphans, read_records, scan_settled
from engine.store.assets import move_aside
from engine.store.layout import SUFFIXES
from engine.store.log import append_lines
from engine.store.reviews import read_reviews
from schemas.config import RunConfig
from schemas.job import Stage
from schemas.outcome import Asset, Failure, Usage
from schemas.record import ImageRecord, MetadataRecord, Record, encode_line

_CODES = {"failed": FAILED, "refused": REFUSED}
_TASKS = ("caption", "labels", "comments")
_NO: frozenset[str] = frozenset()


async def settle_doubts(
    opened: Opened,
    config: RunConfig,
    prompts: Prompts,
    logs: Mapping[Path, Log],
    context: Context,
    offload: Offload,
) -> list[str]:
    """Write down what became of the calls in doubt; gives sentences for the user."""
    run, doubtful = opened.run, opened.doubtful
    wanted = [(line.index, line.image_id) for line in doubtful["image"]]
    adoption = await offload(lambda: adopt_orphans(run, wanted))
    picked = await offload(lambda: prompts.pick({line.index for line in doubtful["image"]}))
    adopted = 0
    images: list[Record] = []
    for line in doubtful["image"]:
        prompt = picked.get(line.index)
        job = image_job(config, prompt) if prompt is not None else None
        if job is None or job.id != line.job:
            continue  # no longer asked for; the feed says so where it matters
        asset = adoption.assets.get(line.image_id)
        adopted += asset is not None
        job = asking_again(job, opened.complaints["image"].get(slot(line.index), ""))
        images.append(image_record(job, _doubt(line, config, context.stamp(), asset), {"asset": asset}))
    texts = [
        MetadataRecord(**_doubt(line, config, context.stamp(), None), tasks=line.tasks) for line in doubtful["metadata"]
    ]
    try:
        async with anyio.create_task_group() as group:  # side by side, so that they share syncs: there may be thousands
            for record in images:
                group.start_soon(logs[run.images_log].append, record)
            for record in texts:
                group.start_soon(logs[run.metadata_log].append, record)
    except BaseExceptionGroup as several:
        raise leaf_of(several) from None
    for record in images:
        _take(opened.ledgers["image"], record)
    for record in texts:
        _take(opened.ledgers["metadata"], record)
    doubts = sum(map(len, doubtful.values()))
    if not doubts:
        return []
    rest = "are asked again" if config.rate_limiting.in_doubt == "retry" else "are not asked again (in_doubt: skip)"
    told = [
        f"{doubts} calls were in flight when the last session died: {adopted} pictures adopted, "
        f"{doubts - adopted} {rest}"
    ]
    if adoption.kept_aside:
        told.append(f"{len(adoption.kept_aside)} files of broken-off writes moved to {run.quarantine}")
    return told


def _doubt(line: Settled, config: RunConfig, now: str, asset: Asset | None) -> dict[str, Any]:
    skip = config.rate_limiting.in_doubt == "skip"
    failure = None
    if asset is None:
        failure = Failure(
            kind="in_doubt", message="the process ended before the answer was kept; it may have been paid"
        )
    return {
        "job": line.job,
        "status": "ok" if asset is not None else ("failed" if skip else "retry"),
        "stage": line.stage,
        "image_id": line.image_id,
        "index": line.index,
        "attempt": line.attempt,
        "final": asset is not None or skip,
        "generated_at": now,
        "latency_s": 0.0,
        "model": line.model,
        "usage": Usage(),
        "cost_usd": line.cost_usd,
        "error": failure,
        "adopted": asset is not None,
    }


def _take(ledger: Ledger, record: Record) -> None:
    tasks = getattr(record, "tasks", ())
    place = slot(record.index, tasks)
    kind = None if record.error is None else record.error.kind
    ledger.ended(place, record.job, record.status, record.final, record.attempt, record.cost_usd, kind)


def reopen(opened: Opened, redo: str | Collection[str] | None, now: float) -> None:
    """Make settled jobs pending again: by status (`failed`, `refused`), images by their ids, texts by `id:caption`.

    The line comes first, the old picture is moved to quarantine/ after it, so that no line ever points
    at a picture that is gone; what a crash left between the two is finished here. Old texts stay in the log, and
    count until newer ones are there. A mapping of names tells what was wrong with each.
    """
    run = opened.run
    wrong: Mapping[str, str] = redo if isinstance(redo, Mapping) else {}
    if redo is not None:
        wanted = _CODES.get(redo) if isinstance(redo, str) else None
        if isinstance(redo, str) and wanted is None:
            raise ConfigError(f"redo is {redo!r}; choose failed or refused, or give image ids")
        ids, texts = _named(redo if not isinstance(redo, str) else ())
        stamp = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        paths: dict[Stage, tuple[Path, type[Record]]] = {
            "image": (run.images_log, ImageRecord),
            "metadata": (run.metadata_log, MetadataRecord),
        }
        found: dict[Stage, set[str]] = {"image": set(), "metadata": set()}
        known: set[str] = set()
        for stage in STAGES:
            path, kind = paths[stage]
            ledger = opened.ledgers[stage]
            newest: dict[int, Record] = {}
            for record in read_records(path, kind):
                tasks = getattr(record, "tasks", ())
                place = slot(record.index, tasks)
                by_name = (
                    record.image_id in ids if stage == "image" else bool(texts.get(record.image_id, _NO) & {*tasks})
                )
                if by_name or record.image_id in texts:
                    known.add(record.image_id)
                if record.final and (by_name or wanted is not None) and _to_reopen(ledger.code(place), wanted):
                    newest[place] = record
            for record in newest.values():
                found[stage].add(record.image_id)
            why = redo if isinstance(redo, str) else "rejected"
            _append_reopenings(path, ledger, newest.values(), stamp, lambda r, why=why: message(why, _wrong(r, wrong)))
        missing = (ids | texts.keys()) - known
        if missing:
            raise ConfigError(f"{run.root}: no image is called {', '.join(sorted(missing)[:5])}")
        only_texts = found["metadata"] - found["image"]
        opened.notes.append(
            ("1 image is" if len(found["image"]) == 1 else f"{len(found['image'])} images are")
            + " asked for again"
            + (f", and the texts of {len(only_texts)}" if only_texts else "")
        )
    opened.complaints = {
        "image": _complaints(run.images_log, opened.ledgers["image"]),
        "metadata": _complaints(run.metadata_log, opened.ledgers["metadata"]),
    }
    _clear_reopened(run, opened.ledgers["image"])


def _wrong(record: Record, wrong: Mapping[str, str]) -> str:
    names = [f"{record.image_id}:{task}" for task in getattr(record, "tasks", ())] or [record.image_id]
    return " ".join(dict.fromkeys(wrong[name] for name in names if wrong.get(name)))


def _complaints(log: Path, ledger: Ledger) -> dict[int, str]:
    """What was wrong with what is asked again, as the log has it, so that it is told whoever takes up the run."""
    told: dict[int, str] = {}
    if all(ledger.code(place) != NONE for place in ledger.reopened):
        return told
    for line in scan_settled(log):
        place = slot(line.index, line.tasks)
        if line.final:
            told.pop(place, None)
        elif line.error is not None and line.error.kind == REDO:
            told[place] = complaint_in(line.error.message)
    return told


def _to_reopen(code: int, wanted: int | None) -> bool:
    """Whether a settled place is meant. One that is pending is asked for anyway."""
    return code != NONE if wanted is None else code == wanted


def _named(names: Collection[str]) -> tuple[frozenset[str], dict[str, frozenset[str]]]:
    """Image ids, and the texts to ask for by image id. A picture made anew is described anew without being told."""
    ids = frozenset(name for name in names if ":" not in name)
    texts: dict[str, frozenset[str]] = {}
    for name in names:
        image_id, colon, task = name.partition(":")
        if colon and image_id not in ids:
            if task != "texts" and task not in _TASKS:
                raise ConfigError(f"redo names {name!r}; after the colon give texts, {', '.join(_TASKS)}")
            texts[image_id] = texts.get(image_id, _NO) | (set(_TASKS) if task == "texts" else {task})
    return ids, texts


def _append_reopenings(
    path: Path, ledger: Ledger, records: Collection[Record], stamp: str, why: Callable[[Record], str]
) -> None:
    reopened: list[Record] = []
    for record in records:
        changes: dict[str, Any] = {
            "status": "retry",
            "final": False,
            "generated_at": stamp,
            "latency_s": 0.0,
            "usage": Usage(),
            "cost_usd": 0.0,
            "error": Failure(kind=REDO, message=why(record)),
        }
        if isinstance(record, ImageRecord):
            changes["asset"] = None
        else:
            changes |= {"caption": None, "captions": (), "labels": None, "comments": None}
        reopened.append(msgspec.structs.replace(record, **changes))
    if reopened:
        append_lines(path, [encode_line(record) for record in reopened])
    for record in reopened:
        _take(ledger, record)


def _clear_reopened(run: RunDir, ledger: Ledger) -> None:
    open_places = {p for p in ledger.reopened if ledger.code(p) == NONE and ledger.in_doubt(p) is None}
    if not open_places:
        return
    ids = {r.index: r.image_id for r in read_records(run.images_log, ImageRecord) if slot(r.index) in open_places}
    for index, image_id in ids.items():
        for suffix in SUFFIXES:
            path = run.image_path(index, image_id, suffix)
            if path.exists() or path.is_symlink():
                move_aside(run, path, "redo")


def rejected_by_people(run: RunDir) -> list[str]:
    """Ids of the images that reviewers rejected and that were not made anew since."""
    present = {
        record.image_id: record.asset.sha256
        for record in read_records(run.images_log, ImageRecord, on_damage=lambda _damage: None)
        if record.asset is not None
    }
    found = verdicts(standing(read_reviews(run.reviews_log).decisions, present))
    return sorted(image_id for image_id, verdict in found.items() if verdict.status == "reject" and image_id in present)
