"""A run from opening to summary: `open_run` for those who watch it, `run` for those who wait.

Everything a run starts lives in one task group inside one `async with`; nothing outlives the block.
The library starts no loop, handles no signal and touches neither logging nor environment of its host.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import AsyncGenerator, Collection, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypedDict, Unpack

import anyio

from engine import settings as settings_
from engine.core.retry import policy_of
from engine.errors import ConfigError
from engine.observe.events import Observer, RunEnded, RunOpened, fan_out
from engine.observe.logs import EventLog
from engine.providers.base import Provider
from engine.runtime import recovering
from engine.runtime.admission import Admission
from engine.runtime.feeds import Prompts, image_work, metadata_work
from engine.runtime.kits import Growth, stage_kits
from engine.runtime.lease import Lease
from engine.runtime.live import Run, Wall, settled_jobs
from engine.runtime.opening import STAGES, open_directory
from engine.runtime.prompting import choose_prompts
from engine.runtime.runner import Context, Work
from engine.runtime.summary import Summary
from engine.stages import metadata as metadata_stage
from engine.store import (
    DISK,
    PICTURE_THREADS,
    Fs,
    Offload,
    Reserve,
    RunDir,
    RunLock,
    check_handles,
    check_space,
    load_manifest,
    open_writer,
    threads,
)
from schemas.config import RunConfig
from schemas.job import Stage
from schemas.record import Record

GRACE_S = 60.0
"""How long calls in flight may take to end once a run is left or stopped."""
WORKERS_MAX = 4096
SIMULATED_KEY = "key-of-the-simulator"
"""The key that goes to the simulator, and to nobody else. Keys are hidden in answers: it is no word of theirs."""
BYTES_PER_IMAGE_MIN = {"0.5K": 60_000, "1K": 150_000, "2K": 500_000, "4K": 1_500_000}
"""The least a picture takes; a disk that cannot even hold this is told before anything is spent."""


def _origin(settings: settings_.Settings, prompts: str | Path | None) -> dict[str, str]:
    given = {} if prompts is None else {"prompts": str(Path(prompts).absolute())}
    return {"project": str(settings.base_dir.absolute()), **given}


@asynccontextmanager
async def open_run(
    out: str | Path | None = None,
    config: RunConfig | Mapping[str, Any] | str | Path | None = None,
    *,
    provider: Provider | None = None,
    observer: Observer | None = None,
    prompts: str | Path | None = None,
    stages: Iterable[Stage] | str = STAGES,
    overrides: Mapping[str, Any] | None = None,
    base_url: str | None = None,
    api_key: str | None = None,
    redo: str | Collection[str] | None = None,
    wait_for_day: bool = True,
    share: float = 1.0,
    lease: str | Path | None = None,
    wall: Wall = time.time,
    rng: random.Random | None = None,
    offload: Offload | None = None,
) -> AsyncGenerator[Run]:
    """Start a run, or take it up where it stopped; the block holds it.

    Args:
        out: the run directory; `output.output_dir` of the configuration if None.
        config: a RunConfig, a mapping, or the path of a YAML file; None looks for config/generation_config.yaml.
        provider: who answers; by default Gemini, with the key of the environment or the .env files.
        observer: called with every event.
        prompts: a JSONL, CSV or Parquet file with prompts, instead of the three sources; all its rows, or the
            first `generation.num_images` of `overrides`.
        stages: which of `image` and `metadata` to do; a text such as `image,metadata` will do, too.
        overrides: dotted keys that win over the configuration.
        base_url, api_key: where and with what to ask; they win over the environment.
        redo: ask again for all that is `failed` or `refused`, for the images with these ids, or for what was written
            about them: `id:texts`, `id:caption`, `id:labels`, `id:comments`. A mapping tells the model what was
            wrong with each; `engine.qa.to_redo` gives one.
        wait_for_day: False ends the run when a daily quota is used up instead of waiting for midnight Pacific.
        share: the part of every limit this process may use.
        lease: a file through which several processes of this machine share the whole limits.
        wall, rng, offload: the clock, the chance and the threads, for tests.

    Leaving the block early, by an error, too, stops new calls, lets those in flight end (a minute at most: they are
    paid for), and leaves a resumable run. Cancelling it drops them: the next session asks again what was in doubt.
    Raises ConfigError, RunMismatch, RunLocked, SourceError, StoreError, LogDamaged.
    """
    settings = settings_.load(config, overrides=overrides or {})
    wanted: tuple[Any, ...] = tuple(stages.split(",")) if isinstance(stages, str) else tuple(stages)
    if not wanted or any(stage not in STAGES for stage in wanted):
        raise ConfigError(f"stages is {', '.join(map(str, wanted)) or 'empty'}; choose from image, metadata")
    resolved = settings.config
    run = RunDir(Path(out) if out is not None else settings.resolve(resolved.output.output_dir))
    offload = offload or threads(PICTURE_THREADS)
    rng = rng or random.Random()
    async with AsyncExitStack() as stack:
        manifest = await offload(lambda: load_manifest(run) if run.run_json.exists() else None)
        run_date = manifest.run_date if manifest is not None else time.strftime("%Y%m%d", time.gmtime(wall()))
        # Of a prompt file all rows are meant, unless a number was said beside it and not just in the configuration.
        at_most = (overrides or {}).get("generation.num_images")
        chosen: Prompts = await offload(lambda: choose_prompts(settings, prompts, run, run_date, at_most))
        if prompts is not None:
            resolved = resolved.model_copy(
                update={"generation": resolved.generation.model_copy(update={"num_images": chosen.count})}
            )
        answers = None
        if provider is None:
            answers = "simulator" if api_key == SIMULATED_KEY else "gemini"
            provider = await stack.enter_async_context(_gemini(settings, base_url, api_key))
        models = (resolved.generation.model, resolved.metadata.model)
        in_flight_max = _in_flight_max(resolved, models)
        if manifest is None:  # before anything is made, so that a run that cannot fit leaves no trace
            missing = chosen.count if "image" in wanted else 0
            await offload(lambda: _preflight(run, resolved, in_flight_max, missing))
        stack.enter_context(RunLock(run))
        opened = await offload(
            lambda: open_directory(
                run, manifest, resolved, chosen.fingerprint, wall(), run_date, answers, _origin(settings, prompts)
            )
        )
        await offload(lambda: recovering.reopen(opened, redo, wall()))
        images = opened.ledgers["image"]
        missing = max(0, chosen.count - settled_jobs(images)) if "image" in wanted else 0
        if opened.resumed:
            await offload(lambda: _preflight(run, resolved, in_flight_max, missing))
        log = EventLog(
            *([run.events] if resolved.logging.log_to_file else []),
            *([settings.resolve(resolved.logging.log_file)] if resolved.logging.log_file else []),
            level=resolved.logging.level,
            redact=partial(settings_.redact, secret=_key(settings, api_key)),
        )
        stack.callback(log.close)
        emit = fan_out(log, *([observer] if observer is not None else []))
        admission = Admission(
            {model: resolved.limits_for(model) for model in models},
            budget_usd=resolved.budget.usd,
            spent_usd=sum(ledger.cost_usd for ledger in opened.ledgers.values()),
            past=opened.past,
            wall=wall,
            wait_for_day=wait_for_day,
            share=share,
            lease=Lease(Path(lease)) if lease is not None else None,
            on_event=emit,
            jitter=rng.random,
        )
        durability = resolved.output.durability
        groups = len(metadata_stage.task_groups(resolved.metadata))
        described = settled_jobs(opened.ledgers["metadata"]) >= groups * images.ok or "metadata" not in wanted
        reserve = None if missing == 0 and described else stack.enter_context(Reserve(run))
        disk: Fs = DISK if reserve is None else reserve
        logs = {
            path: await stack.enter_async_context(
                open_writer(path, durability=durability, offload=_log_offload(offload), fs=disk)
            )
            for path in (run.attempts_log, run.images_log, run.metadata_log)
            if path != run.metadata_log or "metadata" in wanted or path.exists()
        }
        context = Context(
            provider=provider,
            admission=admission,
            attempts=logs[run.attempts_log],
            policy=policy_of(resolved.rate_limiting),
            rng=rng,
            wall=wall,
            emit=emit,
            deliver=_nobody,
            prices=resolved.price_table(),
            full=lambda: reserve.refusal() if reserve is not None and reserve.spent else None,
            workers_max=in_flight_max,
        )
        asked: dict[Stage, int] = {"image": chosen.count}
        if "metadata" in wanted:
            asked["metadata"] = chosen.count * groups
        the_run = Run(opened, context, asked, wall)
        stack.callback(the_run.close)
        context.deliver = the_run.deliver
        notes = await recovering.settle_doubts(opened, resolved, chosen, logs, context, offload)
        growth = Growth()
        kits = stage_kits(
            run, resolved, opened, logs[run.images_log], logs.get(run.metadata_log), offload, disk, growth
        )
        feeds: dict[Stage, AsyncGenerator[Work]] = {
            "image": image_work(resolved, chosen, images, opened.complaints["image"]),
            "metadata": metadata_work(
                resolved, run, images, opened.ledgers["metadata"], chosen.count,
                complaints=opened.complaints["metadata"],
                still_growing=lambda: growth.growing, grown=lambda: growth.event,
            ),
        }  # fmt: skip
        growth.growing = "image" in wanted
        emit(
            RunOpened(
                out=str(run.root),
                resumed=opened.resumed,
                asked={stage: asked[stage] for stage in wanted},
                settled={stage: settled_jobs(opened.ledgers[stage]) for stage in wanted},
                notes=(*settings.warnings, *opened.notes, *notes),
            )
        )

        async def finish() -> None:
            await the_run.drive([(kits[stage], feeds[stage]) for stage in wanted], growth.ended)
            emit(RunEnded(summary=the_run.summary()))

        async def leave() -> None:
            the_run.stop_reading()
            if not the_run.finished:
                the_run.stop("left")
                with anyio.move_on_after(GRACE_S):
                    await the_run.until_finished()

        raised: BaseException | None = None
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(_flush, log)
                group.start_soon(finish)
                try:
                    yield the_run
                except Exception as error:
                    raised = error
                    await leave()
                    raise
                except BaseException as error:  # cancelled: whoever cancels wants it to end now
                    raised = error
                    context.stop("left")
                    raise
                await leave()
                group.cancel_scope.cancel()
            the_run.raise_error()
        except BaseExceptionGroup:
            if raised is not None and not isinstance(raised, BaseExceptionGroup):
                raise raised from None  # the caller's own error, not wrapped in our task group
            raise


class RunOptions(TypedDict, total=False):
    """The options of `open_run`, which explains them."""

    provider: Provider | None
    observer: Observer | None
    prompts: str | Path | None
    stages: Iterable[Stage] | str
    overrides: Mapping[str, Any] | None
    base_url: str | None
    api_key: str | None
    redo: str | Collection[str] | None
    wait_for_day: bool
    share: float
    lease: str | Path | None
    wall: Wall
    rng: random.Random | None
    offload: Offload | None


async def run(
    config: RunConfig | Mapping[str, Any] | str | Path | None = None,
    out: str | Path | None = None,
    **options: Unpack[RunOptions],
) -> Summary:
    """Do a whole run and give its summary: what came of it, what it cost, and why it stopped.

    `options` are those of `open_run`: provider, observer, prompts, stages, overrides, base_url, api_key, redo …
    Raises as `open_run` does; what the far side does is told in the summary (`stopped_by`, `message`, `exit_code`).
    """
    async with open_run(out, config, **options) as the_run:
        return await the_run.wait()


def _key(settings: settings_.Settings, api_key: str | None) -> str | None:
    """The key in force, given or found."""
    if api_key:
        return api_key
    found = settings_.find_credentials(settings.base_dir, os.environ).key
    return None if found is None else found.reveal()


@asynccontextmanager
async def _gemini(settings: settings_.Settings, base_url: str | None, api_key: str | None) -> AsyncGenerator[Provider]:
    from engine.providers.gemini import open_gemini  # google-genai costs a second to import

    found = settings_.find_credentials(settings.base_dir, os.environ)
    config = settings.config
    key = _key(settings, api_key)
    told_all = bool(api_key and base_url)  # whom to ask and as whom: a project of the environment has no part in it
    backend = "vertex" if found.vertex else config.generation.backend
    async with open_gemini(
        api_key=key,
        backend=backend,
        base_url=base_url or found.base_url,
        project=None if told_all else found.project,
        location=None if told_all else found.location,
        transport=config.transport,
        timeout_s=config.rate_limiting.call_timeout_s,
    ) as provider:
        yield provider


def _in_flight_max(config: RunConfig, models: Iterable[str]) -> int:
    """The most calls that a stage may have in flight: what the most generous model allows."""
    return min(WORKERS_MAX, max(config.limits_for(model).max_in_flight or WORKERS_MAX for model in models))


def _preflight(run: RunDir, config: RunConfig, in_flight_max: int, missing: int) -> None:
    check_space(run, missing * BYTES_PER_IMAGE_MIN.get(config.generation.resolution, 150_000))
    check_handles(min(in_flight_max, max(1, missing)))


def _log_offload(offload: Offload) -> Offload | None:
    """Logs commit on a thread of their own, unless the caller's offload is no thread at all."""
    from engine.store import inline

    return inline if offload is inline else None


async def _flush(log: EventLog) -> None:
    while True:
        await anyio.sleep(1.0)
        log.flush()


async def _nobody(_record: Record) -> None:
    return None
