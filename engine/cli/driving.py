"""Driving a run from the command line: live progress, signals, and the last words."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import anyio
import msgspec
import orjson
from anyio.abc import TaskStatus

from engine.observe.console import Progress, duration, stderr_to_nobody
from engine.runtime.live import Run
from engine.runtime.pipeline import open_run
from engine.runtime.summary import Summary
from schemas.config import RunConfig

GRACE_S = 60.0
"""After the first Ctrl-C, how long calls in flight may take before they are cancelled."""


def drive(config: RunConfig, options: Mapping[str, Any], *, quiet: bool = False) -> Summary:
    """Run to the end under the signals' rules; progress goes to stderr."""
    try:
        return anyio.run(_drive, config, options, quiet)
    finally:
        gc.unfreeze()


async def _drive(config: RunConfig, options: Mapping[str, Any], quiet: bool) -> Summary:
    logging = config.logging
    progress = Progress(level=logging.level, timestamps=logging.include_timestamps)
    say: Callable[..., None] = progress.say if not quiet else (lambda *_: None)
    the_run: Run | None = None
    summary: Summary | None = None
    calls = anyio.CancelScope()
    async with anyio.create_task_group() as group:
        # Signals are heard outside of what they cancel, so that a third one is heard while a second one has its effect.
        await group.start(_obey_signals, lambda: the_run, calls, say)
        with calls:
            async with open_run(observer=None if quiet else progress, **options) as the_run:
                gc.freeze()  # what is there by now stays: the collector would stop a busy loop for 0.1 s to find that
                progress.quota = partial(quota_lines, the_run)
                if not quiet and logging.log_to_console:
                    group.start_soon(progress.watch)
                summary = await the_run.wait()
                if not quiet and not progress.live and summary.attempts:  # bars end in these lines anyway
                    for model, told in quota_lines(the_run).items():
                        progress.say(f"{model}: {told}")
        group.cancel_scope.cancel()
    if summary is not None:
        return summary
    if the_run is None:
        raise KeyboardInterrupt  # nothing was asked yet
    # A second Ctrl-C leads here: calls were cancelled, and the log says which are in doubt.
    return msgspec.structs.replace(the_run.summary(), stopped_by="interrupted")


async def _obey_signals(
    run: Callable[[], Run | None],
    calls: anyio.CancelScope,
    say: Callable[..., None],
    *,
    task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        task_status.started()
        seen = 0
        async for _ in signals:
            seen += 1
            if seen == 1 and (the_run := run()) is not None:
                say(
                    "Stopping: no new calls; those in flight are paid for and may end. Ctrl-C again cancels them.",
                    "warning",
                )
                the_run.stop("interrupted")
                _hurry_after(GRACE_S, calls)
            elif seen <= 2:
                if run() is not None:
                    say("Cancelling calls in flight; the next run knows which are in doubt.", "warning")
                calls.cancel()
            else:
                os._exit(130)


def _hurry_after(seconds: float, scope: anyio.CancelScope) -> None:
    scope.deadline = min(scope.deadline, anyio.current_time() + seconds)


def quota_lines(run: Run) -> dict[str, str]:
    """What the scheduler knows of each model, in words."""
    view = run.quota()
    lines: dict[str, str] = {}
    now = anyio.current_time()
    for model, quota in view.models.items():
        limit = quota.requests_per_minute
        pace = f"{quota.requests_last_minute:.0f}" + (f" of {limit:.0f}" if limit else "") + " requests/min"
        told = [pace, f"{quota.in_flight} in flight"]
        if quota.utilisation is not None:
            told.append(f"{quota.utilisation:.0%} of the quota")
        if quota.learned:
            told.append("limit learned")
        if quota.rejected:
            told.append(f"{quota.rejected} turned away")
        if quota.gate_until is not None and quota.gate_until > now:
            told.append(f"waiting {duration(quota.gate_until - now)}")
        lines[model] = ", ".join(told)
    if view.budget_usd is not None:
        lines["budget"] = f"${view.spent_usd:.2f} of ${view.budget_usd:.2f}, ${view.reserved_usd:.2f} in flight"
    return lines


def tell(summary: Summary, *, as_json: bool) -> int:
    """The last words of a run; gives the exit code."""
    if as_json:
        sys.stdout.buffer.write(orjson.dumps({k: v for k, v in summary.as_dict().items() if k != "message"}) + b"\n")
        sys.stdout.buffer.flush()
    lines = [
        f"images    {counts_line(summary.images)}",
        f"metadata  {counts_line(summary.metadata)}",
        f"{summary.attempts} attempts, {summary.rate_limited} turned away by quotas, ${summary.cost_usd:.4f}, "
        f"{duration(summary.elapsed_s)}, {summary.images_per_s:.2f} images/s",
        f"in {summary.run}",
    ]
    if summary.stopped_by is not None:
        carries_on = f"{summary.stopped_by}; the same command carries on"
        lines.insert(0, f"stopped: {summary.message or carries_on}")
    elif summary.exit_code == 3:
        lines.append("some jobs failed for good: see `groundswell status`, and `groundswell run --redo failed`")
    try:
        sys.stderr.write("".join(line + "\n" for line in lines))
        sys.stderr.flush()
    except OSError:
        stderr_to_nobody()  # the exit code says it, too
    return summary.exit_code


def counts_line(counts: Any) -> str:
    """`48 of 50 ok, 1 refused, 1 failed`."""
    rest = "".join(f", {n} {word}" for word, n in (("refused", counts.refused), ("failed", counts.failed)) if n)
    return f"{counts.ok} of {counts.asked} ok{rest}"
