"""One runner for every stage: jobs in, settled records out.

    jobs ─ fill ─► WorkQueue ─ schedule ─► Admission ─► worker: start line → call → check → log line
                       ▲                                   │
                       └──────── retry, requeue ◄──────────┘

`schedule` is the only task that waits for permission; a worker that is done takes the next call where none has to be
waited for. The number of workers is bounded, so a slow disk or a slow reader of the records holds back new calls.
Between two awaits the world stands still, so the counters need no lock.
"""

from __future__ import annotations

import math
import random
import traceback
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

import anyio
import anyio.lowlevel
import msgspec

from engine.core.asking import REJECTED, UNPAID
from engine.core.cost import estimate_usd, input_tokens_estimate, price
from engine.core.queue import WorkQueue
from engine.core.retry import Leave, Requeue, Retry, RetryBudget, RetryPolicy, Settle, decide
from engine.core.shrink import fewer_references, too_large
from engine.errors import EngineError, ProviderError, StoreError
from engine.latch import Latch, latch
from engine.observe.events import AttemptEnded, AttemptStarted, Event, Notice, Rejected, StageEnded
from engine.providers.base import Provider, Response
from engine.runtime import clock
from engine.runtime.admission import Admission, Ask, Feedback, Grant, Stopped
from schemas.job import Job, Request, Stage
from schemas.models import MODELS, ModelInfo
from schemas.outcome import ErrorKind, Failure, Usage
from schemas.record import Record, Start

FRESH_MAX = 64
"""Fresh jobs held ready; the rest of the plan stays unread."""

_OF_ONE_MODEL = frozenset({"budget", "daily_quota", "down"})
"""Reasons to stop that leave work for other models: an image drawn with the last dollar is still described."""


class Log(Protocol):
    """An append-only log; `append` returns when the line is as durable as was asked."""

    async def append(self, record: msgspec.Struct, /) -> None: ...


@dataclass(frozen=True, slots=True)
class Kit:
    """What makes a stage: where its lines go, and how an answer becomes one."""

    stage: Stage
    log: Log
    accept: Callable[[Job, Response], Awaitable[dict[str, Any]]]
    """Check the answer, keep what must be kept, give the record's own fields; or raise ProviderError."""
    record: Callable[[Job, dict[str, Any], dict[str, Any]], Record]
    repair: Callable[[Request, Failure], dict[str, Any]]
    """What changes in the request after a failure worth telling the model."""
    reject: Callable[[Job, int, bytes, str], Awaitable[None]]
    """Keep bad bytes aside."""
    ended: Callable[[Record], None]
    """Told once the line is on disk, before anybody else."""


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """A job on its way through the runner."""

    job: Job
    attempt: int
    """Number of the coming attempt, over all sessions of the run."""
    tries: int = 1
    """The same within this session: what the retry policy counts."""
    turned_away: int = 0
    """How often a quota turned it away in this session."""
    previous: Failure | None = None
    shrunk: bool = False
    """The far side found the whole request too large: it goes with fewer reference pictures."""


@dataclass(slots=True)
class Context:
    """What all stages of a run share."""

    provider: Provider
    admission: Admission
    attempts: Log
    policy: RetryPolicy
    rng: random.Random
    wall: Callable[[], float]
    emit: Callable[[Event], None]
    deliver: Callable[[Record], Awaitable[None]]
    workers_max: int
    prices: Mapping[str, ModelInfo] = field(default_factory=lambda: MODELS)
    full: Callable[[], StoreError | None] = lambda: None
    """Says when the disk was found full and only the reserve saved what was under way."""
    stopped_by: str | None = None
    closed: bool = False
    """No stage goes on."""
    error: BaseException | None = None
    wake: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])
    """Has each stage look again whether to go on."""
    stamped: tuple[int, str] = (-1, "")
    """The last second that was put into words: many lines share it."""

    def stop(self, reason: str, error: BaseException | None = None) -> None:
        """No new calls; those in flight end. The first reason is the one that is told."""
        self.run_out(reason, error)
        self.closed = True
        self.admission.close(reason)
        for stage in self.wake:
            stage()

    def run_out(self, reason: str, error: BaseException | None) -> None:
        """One stage cannot go on, for money or quota of its model; the others do what they still can."""
        if self.stopped_by is None:
            self.stopped_by, self.error = reason, error

    def stamp(self) -> str:
        """The moment, as log lines have it."""
        wall = self.wall()
        second = math.floor(wall)
        if second != self.stamped[0]:
            self.stamped = (second, f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}")
        return f"{self.stamped[1]}.{int((wall - second) * 1000):03d}Z"


class StageRun:
    """One stage of one run. `await run()` returns when nothing is left or the run was stopped."""

    def __init__(self, context: Context, kit: Kit, jobs: AsyncGenerator[Work]) -> None:
        self._context = context
        self._kit = kit
        self._jobs = jobs
        self._queue: WorkQueue[Work] = WorkQueue(fresh_max=FRESH_MAX, budget=RetryBudget())
        self._changed = latch()
        self._wanted = latch()
        """Enough of the fresh work is gone to make more of it."""
        self._filled = False
        self._admitting = False
        """The scheduler waits for permission, or has been told that there is none: no worker goes before it."""
        self._flying = 0
        self._granted: deque[tuple[Work, Grant]] = deque()
        """Calls that may be made, until a worker takes them."""
        self._idle: list[Latch] = []
        """Wakes a worker, each; the one that worked last is last."""
        self.counts = {"ok": 0, "refused": 0, "failed": 0}
        self.attempts = 0
        self.rejected = 0
        self.left_open = 0
        """Jobs that were turned away too often for this session."""
        self.cost_usd = 0.0
        context.wake.append(self._tell)

    @property
    def stage(self) -> Stage:
        """Which stage this is."""
        return self._kit.stage

    async def run(self) -> None:
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._fill)
                while (work := await self._next()) is not None:
                    self._admitting = True
                    try:
                        grant = await self._context.admission.admit(self._ask(self._request(work)))
                    except Stopped as stop:
                        ends = self._context.run_out if stop.reason in _OF_ONE_MODEL else self._context.stop
                        ends(stop.reason, stop)
                        break  # and `_admitting` stays: nor do workers take anything any more
                    self._admitting = False
                    self._flying += 1
                    self._granted.append((work, grant))
                    if self._idle:
                        self._idle.pop().set()
                    else:
                        group.start_soon(self._work)
                while self._flying:
                    await self._change()
                group.cancel_scope.cancel()
        finally:
            for _, grant in self._granted:  # cancelled before a worker was awake
                self._context.admission.withdraw(grant)
        self._context.emit(StageEnded(stage=self._kit.stage, counts=dict(self.counts)))

    def _rejection(self, start: Start, failure: Failure | None) -> Start:
        view = self._context.admission.snapshot().models.get(start.model)
        taught = view.requests_per_minute if view is not None and view.learned else None
        return msgspec.structs.replace(
            start, status="rejected", generated_at=self._context.stamp(), error=failure, limit_per_minute=taught
        )

    def _request(self, work: Work) -> Request:
        """What is asked this time: the job's request, less or more what its history calls for."""
        request = work.job.request
        if work.shrunk:
            request = fewer_references(request) or request
        if work.previous is not None and (changes := self._kit.repair(request, work.previous)):
            request = msgspec.structs.replace(request, **changes)
        return request

    def _ask(self, request: Request) -> Ask:
        return Ask(
            model=request.model,
            tokens=input_tokens_estimate(request),
            images=int(request.wants_picture),
            usd=estimate_usd(request, models=self._context.prices) or 0.0,
        )

    async def _fill(self) -> None:
        try:
            async with aclosing(self._jobs) as jobs:
                async for work in jobs:
                    if not self._queue.room:
                        # Many at a time: prompts one by one cost half as much again, with their code and data
                        # out of the processor's caches, and a task is woken for each.
                        while self._queue.room < FRESH_MAX // 2:
                            self._wanted = latch()
                            await self._wanted.wait()
                    self._queue.push(work)
                    self._tell()
        except EngineError as error:
            self._context.stop("error", error)  # and not raised: the calls in flight are paid for and shall end
        self._filled = True
        self._tell()

    async def _next(self) -> Work | None:
        """The next job that is due once a worker is free for it, or None when no more will come."""
        while not self._context.closed:
            if self._flying >= self._context.workers_max:
                await self._change()
                continue
            now = clock.now()
            if (work := self._due(now)) is not None:
                return work
            due = self._queue.next_moment(now)
            if due is None and self._filled and not self._flying:
                return None
            with anyio.move_on_after(None if due is None else max(0.0, due - now)):
                await self._change()
        return None

    def _due(self, now: float) -> Work | None:
        work = self._queue.pop(now)
        if work is not None and self._queue.room >= FRESH_MAX // 2:
            self._wanted.set()
        return work

    def _at_once(self) -> tuple[Work, Grant] | None:
        """The next call, if it may be made now: a worker that is done takes it without a turn of the scheduler."""
        if self._context.closed or self._admitting or self._granted:
            return None
        work = self._due(clock.now())
        if work is None:
            return None
        grant = self._context.admission.at_once(self._ask(self._request(work)))
        if grant is None:
            self._queue.requeue(work)
            return None
        return work, grant

    def _tell(self) -> None:
        self._changed.set()

    async def _change(self) -> None:
        if self._changed.is_set():
            self._changed = latch()
        await self._changed.wait()

    async def _work(self) -> None:
        await anyio.lowlevel.checkpoint()  # begun when all was cancelled, it ends here and calls nobody
        granted: tuple[Work, Grant] | None = None
        with anyio.CancelScope() as scope:  # one for all calls of a worker: each by itself would take 7 µs
            while True:
                while granted is None:
                    if self._granted:
                        granted = self._granted.popleft()
                    else:
                        awake = latch()
                        self._idle.append(awake)
                        await awake.wait()
                (work, grant), granted = granted, None
                try:
                    if self._context.closed:
                        self._context.admission.withdraw(grant)  # stopped while it waited for a worker
                    else:
                        await self._attempt(work, grant, scope)
                    granted = self._at_once()
                finally:
                    if granted is None:
                        self._flying -= 1
                        self._tell()

    async def _attempt(self, work: Work, grant: Grant, scope: anyio.CancelScope) -> None:
        context, job = self._context, work.job
        request = self._request(work)
        start = Start(
            job=job.id, status="start", stage=job.stage, image_id=job.image_id, index=job.index, attempt=work.attempt,
            generated_at=context.stamp(), model=request.model, tokens=grant.ask.tokens, tasks=job.tasks,
            cost_usd=grant.ask.usd or estimate_usd(request, models=context.prices),
        )  # fmt: skip
        settled = False
        try:
            await context.attempts.append(start)
            context.emit(AttemptStarted(stage=job.stage, image_id=job.image_id, attempt=work.attempt))
            began = clock.now()
            answer: dict[str, Any] = {}
            response: Response | None = None
            error: ProviderError | None = None
            record: Record | None = None
            try:
                response = await context.provider.call(request)
            except ProviderError as raised:
                error = raised
                if error.kind is ErrorKind.TOO_LARGE:
                    error = too_large(error, job.request, shrunk=work.shrunk)
            except StoreError as unreadable:  # nothing was sent, so nothing is in doubt
                await context.attempts.append(self._rejection(start, Failure(kind="disk", message=str(unreadable))))
                raise
            latency_s = clock.now() - began
            # A paid-for answer reaches the disk even when the run is cancelled meanwhile.
            scope.shield = True
            try:
                if response is not None:
                    try:
                        answer = await self._kit.accept(job, response)
                    except ProviderError as raised:
                        error = raised
                usage = response.usage if response is not None else (error.usage if error is not None else None)
                cost = price(request.model, usage, models=context.prices) if usage is not None else None
                if usage is None and error is not None and (error.kind not in UNPAID or _cut_off(error)):
                    cost = start.cost_usd  # lost on the way, maybe paid for: counted at its estimate
                settled = True
                context.admission.settle(grant, Feedback(error=error, usage=usage, cost_usd=cost, latency_s=latency_s))
                record = await self._ended(work, start, error, response, answer, usage, cost, latency_s)
            finally:
                scope.shield = False
            if (refusal := context.full()) is not None:
                context.stop("disk", refusal)
            if record is not None and record.final:
                await context.deliver(record)
        except StoreError as broken:
            context.stop("disk", broken)
        except Exception as bug:  # noqa: BLE001 - a fault of ours stops the run with its traceback in the events
            context.emit(
                Notice(level="error", message=f"internal error: {bug!r}", data={"traceback": traceback.format_exc()})
            )
            context.stop("internal", bug)
        finally:
            if not settled:
                context.admission.settle(grant, Feedback(error=None, usage=None, cost_usd=None, latency_s=0.0))

    async def _ended(
        self,
        work: Work,
        start: Start,
        error: ProviderError | None,
        response: Response | None,
        answer: dict[str, Any],
        usage: Usage | None,
        cost: float | None,
        latency_s: float,
    ) -> Record | None:
        """Decide what follows, write it down, then tell. None when the call was no attempt."""
        context, job = self._context, work.job
        failure = None
        status, final = "ok", True
        again: Work | None = None
        at = 0.0
        if error is not None:
            failure = Failure(kind=error.kind, message=error.message, http_status=error.http_status)
            if error.bad_bytes:
                await self._kit.reject(job, work.attempt, error.bad_bytes, error.message)
            verdict = decide(
                context.policy, work.tries, error.kind, error.retry_after_s,
                now=clock.now(), jitter=context.rng.random(), turned_away=work.turned_away,
                shrinkable=not work.shrunk,
            )  # fmt: skip
            match verdict:
                case Requeue() | Leave():
                    await context.attempts.append(self._rejection(start, failure))
                    self.rejected += error.kind in REJECTED
                    context.emit(
                        Rejected(stage=job.stage, image_id=job.image_id, kind=str(error.kind), message=error.message)
                    )
                    if isinstance(verdict, Requeue):
                        again = msgspec.structs.replace(work, turned_away=work.turned_away + 1)
                        self._queue.requeue(again, verdict.at)
                        self._tell()
                    else:
                        self.left_open += 1
                    return None
                case Retry(at=at):
                    status, final = "retry", False
                    shrunk = error.kind is ErrorKind.TOO_LARGE
                    again = msgspec.structs.replace(
                        work,
                        attempt=work.attempt + 1,
                        tries=1 if shrunk else work.tries + 1,
                        previous=failure,
                        shrunk=work.shrunk or shrunk,
                    )
                case Settle(status=status):
                    pass
                case _:
                    # The far side will answer nothing more: leave the job open for the next session.
                    await context.attempts.append(self._rejection(start, failure))
                    self.rejected += error.kind in REJECTED
                    context.stop("fatal", context.admission.stopped or error)
                    return None
        common: dict[str, Any] = {
            "job": job.id,
            "status": status,
            "stage": job.stage,
            "image_id": job.image_id,
            "index": job.index,
            "attempt": work.attempt,
            "final": final,
            "generated_at": context.stamp(),
            "latency_s": round(latency_s, 4),
            "model": job.request.model,
            "model_version": response.model_version if response is not None else None,
            "finish_reason": response.finish_reason
            if response is not None
            else (error.finish_reason if error else None),
            "usage": usage or Usage(),
            "cost_usd": cost,
            "error": failure,
        }
        record = self._kit.record(job, common, answer)
        await self._kit.log.append(record)
        self._kit.ended(record)
        self.attempts += 1
        self.cost_usd += cost or 0.0
        if final:
            self.counts[status] += 1
        context.emit(AttemptEnded(record=record))
        if again is not None and error is not None and error.kind is ErrorKind.TOO_LARGE:
            self._queue.requeue(again, at)  # nobody is in trouble: the budget of retries is for those who are
            self._tell()
        elif again is not None:
            self._queue.retry(again, at)
            self._tell()
        return record


def _cut_off(error: ProviderError) -> bool:
    """An answer that we gave up because it was too large came from a model that had worked."""
    return error.kind is ErrorKind.INVALID and error.http_status == 200


__all__ = ["Context", "ErrorKind", "Kit", "Log", "StageRun", "Work"]
