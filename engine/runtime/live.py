"""A run in progress, as those who opened it see and steer it."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping

import anyio

from engine.core.ledger import Ledger
from engine.core.retry import TURNED_AWAY_MAX
from engine.errors import EngineError, leaf_of
from engine.latch import Latch, latch
from engine.runtime.admission import AdmissionView
from engine.runtime.opening import STAGES, Opened
from engine.runtime.runner import Context, Kit, StageRun, Work
from engine.runtime.summary import Counts, Summary, counts_of
from schemas.job import Stage
from schemas.record import Record

RECORDS_HELD_MAX = 64
"""Settled records that wait for a slow reader before new calls do."""

Wall = Callable[[], float]


class Run:
    """A run in progress, as `open_run` gives it."""

    def __init__(self, opened: Opened, context: Context, asked: Mapping[Stage, int], wall: Wall) -> None:
        self._opened = opened
        self._context = context
        self._asked = dict(asked)
        self._wall = wall
        self._began = anyio.current_time()
        self._before = {stage: opened.ledgers[stage].attempts for stage in STAGES}
        self._settled_before = {stage: settled_jobs(opened.ledgers[stage]) for stage in STAGES}
        self._stages: list[StageRun] = []
        self._raised = False
        self._finished = anyio.Event()
        self._records = _Records()
        self.dir = opened.run

    def __repr__(self) -> str:
        images = self._opened.ledgers["image"]
        return f"<Run {self.dir.root} {images!r}{' finished' if self.finished else ''}>"

    @property
    def finished(self) -> bool:
        """Nothing is in flight and nothing will be."""
        return self._finished.is_set()

    def records(self) -> AsyncIterator[Record]:
        """Settled records as they come, images and metadata alike. A slow reader slows the run."""
        return self._records

    async def wait(self) -> Summary:
        """Let the run end without looking at its records."""
        async for _ in self.records():
            pass
        await self._finished.wait()
        self.raise_error()
        return self.summary()

    def raise_error(self) -> None:
        """Raise, once, what ended the run although nobody asked for it: a prompt file that changed, say."""
        if self._context.stopped_by == "error" and self._context.error is not None and not self._raised:
            self._raised = True
            raise self._context.error

    async def until_finished(self) -> None:
        """Return when nothing is in flight any more; records must be read, or not be wanted."""
        await self._finished.wait()

    def stop(self, reason: str = "interrupted") -> None:
        """No new calls; those in flight end and are kept. Returns at once; a run that has ended stays as it is."""
        if self.finished:
            return
        self._context.stop(reason)

    def quota(self) -> AdmissionView:
        """What the scheduler knows: requests, rejections, learned limits, money, per model."""
        return self._context.admission.snapshot()

    def summary(self) -> Summary:
        """The state of the run as of now."""
        ledgers, elapsed_s = self._opened.ledgers, max(1e-9, anyio.current_time() - self._began)
        images, texts = self._counts()
        stopped_by, message = self._context.stopped_by, _told(self._context.error)
        if stopped_by is None and self.finished and (left := self._left_over(images, texts)):
            stopped_by, message = "incomplete", left
        new_images = settled_jobs(ledgers["image"]) - self._settled_before["image"]
        return Summary(
            run=str(self.dir.root),
            images=images,
            metadata=texts,
            attempts=sum(ledger.attempts for ledger in ledgers.values()),
            rate_limited=sum(stage.rejected for stage in self._stages),
            cost_usd=round(sum(ledger.cost_usd for ledger in ledgers.values()), 6),
            elapsed_s=round(elapsed_s, 3),
            images_per_s=round(new_images / elapsed_s, 3),
            stopped_by=stopped_by,
            message=message,
        )

    def _counts(self) -> tuple[Counts, Counts]:
        count, ledgers = self._asked["image"], self._opened.ledgers
        return counts_of(ledgers["image"], ledgers["metadata"], count, self._asked.get("metadata", 0) // max(1, count))

    def _left_over(self, images: Counts, texts: Counts) -> str:
        """What is still open although nothing stopped the run, and what to do; empty when nothing is."""
        wanted = {stage.stage for stage in self._stages}
        if not ("image" in wanted and images.pending) and not ("metadata" in wanted and texts.pending):
            return ""
        if open_ := sum(stage.left_open for stage in self._stages):
            jobs = "1 job was" if open_ == 1 else f"{open_} jobs were"
            return (
                f"{jobs} turned away more than {TURNED_AWAY_MAX} times and left open. Next: run the same command later"
            )
        if "image" not in wanted and images.pending:
            missing = "1 image is" if images.pending == 1 else f"{images.pending} images are"
            return f"{missing} not there yet to be described. Next: run with --stages image,metadata"
        return f"{images.pending + texts.pending} jobs are still open. Next: run the same command again"

    async def deliver(self, record: Record) -> None:
        """Hand a settled record to whoever reads, and wait for it; after `stop_reading` to nobody."""
        await self._records.put(record)

    def close(self) -> None:
        """Let go of the records."""
        self._records.forget()

    def stop_reading(self) -> None:
        """Records go nowhere from now on; the log has them."""
        self._records.forget()

    async def drive(self, stages: Iterable[tuple[Kit, AsyncGenerator[Work]]], ended: Callable[[Stage], None]) -> None:
        """Run the stages side by side until all have ended."""

        async def one(stage_run: StageRun, stage: Stage) -> None:
            try:
                await stage_run.run()
            except (EngineError, ExceptionGroup) as raised:
                error = leaf_of(raised)
                if not isinstance(error, EngineError):
                    raise
                self._context.stop("error", error)
            finally:
                ended(stage)

        try:
            async with anyio.create_task_group() as group:
                for kit, work in stages:
                    stage_run = StageRun(self._context, kit, work)
                    self._stages.append(stage_run)
                    group.start_soon(one, stage_run, kit.stage)
        finally:
            self._finished.set()
            self._records.end()


class _Records(AsyncIterator[Record]):
    """Settled records on their way to those who read them, without a turn of the loop where none is needed."""

    def __init__(self) -> None:
        self._held: deque[Record] = deque()
        self._writers: deque[Latch] = deque()
        self._readers: deque[Latch] = deque()
        self._ended = False

    async def put(self, record: Record) -> None:
        """Hand over a record; waits while too many wait to be read. Once nobody will read, it goes nowhere."""
        while len(self._held) >= RECORDS_HELD_MAX and not self._ended:
            await _turn(self._writers)
        if not self._ended:
            self._held.append(record)
            _let_through(self._readers)

    def end(self) -> None:
        """No more will come; those that are held may still be read."""
        self._ended = True
        for waits in (*self._writers, *self._readers):
            waits.set()

    def forget(self) -> None:
        """Nobody reads any more."""
        self._held.clear()
        self.end()

    async def __anext__(self) -> Record:
        while not self._held:
            if self._ended:
                raise StopAsyncIteration
            await _turn(self._readers)
        _let_through(self._writers)
        return self._held.popleft()


async def _turn(line: deque[Latch]) -> None:
    """Wait in a line. Who is cancelled when it is his turn gives it to the next."""
    waits = latch()
    line.append(waits)
    try:
        await waits.wait()
    except BaseException:
        if waits.is_set():
            _let_through(line)
        else:
            line.remove(waits)
        raise


def _let_through(line: deque[Latch]) -> None:
    """The first of a line."""
    if line:
        line.popleft().set()


def _told(error: BaseException | None) -> str | None:
    if error is None or isinstance(error, EngineError):
        return None if error is None else str(error)
    return f"a fault of ours ({type(error).__name__}); events.jsonl has the details, the same command carries on"


def settled_jobs(ledger: Ledger) -> int:
    """How many jobs of a stage are over, well or not."""
    return ledger.ok + ledger.refused + ledger.failed
