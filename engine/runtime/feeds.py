"""Where work comes from: the jobs implied by the input, less what the ledger has settled.

Both feeds are lazy, so a plan of a million prompts costs no memory; they let the loop breathe while
they skip what is done.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Iterator, Mapping
from typing import Protocol

import anyio
import anyio.lowlevel
import msgspec

from engine.core.again import asking_again
from engine.core.ledger import OK, Ledger, slot
from engine.errors import RunMismatch
from engine.latch import Latch
from engine.runtime.runner import Work
from engine.stages.image import image_job
from engine.stages.metadata import jobs_about, questions, read_picture
from engine.store import RunDir, follow
from schemas.config import RunConfig
from schemas.job import Job
from schemas.prompt import Prompt

CHUNK_BYTES = 1 << 20
"""Of the image log, read at a time."""
BREATH = 500
"""Skipped items between two looks at the loop."""


class Prompts(Protocol):
    """The prompts of a run: a seekable plan, or a file."""

    @property
    def count(self) -> int: ...
    @property
    def fingerprint(self) -> str:
        """What they depend on; constant for a file, whose rows are compared one by one."""
        ...

    @property
    def trusted(self) -> bool:
        """Whether an equal fingerprint means equal prompts, so that settled ones need not be rebuilt."""
        ...

    def at(self, index: int) -> Prompt:
        """Prompt `index`, from 1."""
        ...

    def stream(self) -> Iterator[Prompt]:
        """All of them in order."""
        ...

    def pick(self, indexes: Collection[int]) -> dict[int, Prompt]:
        """Some of them, by index; those that are not there are left out."""
        ...


def _work(ledger: Ledger, place: int, job: Job, complaints: Mapping[int, str]) -> Work:
    if (complaint := complaints.get(place)) is not None:
        job = asking_again(job, complaint)
    return Work(job=job, attempt=ledger.last_attempt(place) + 1, shrunk=place in ledger.too_large)


async def image_work(
    config: RunConfig, prompts: Prompts, ledger: Ledger, complaints: Mapping[int, str]
) -> AsyncGenerator[Work]:
    """Image jobs that are not settled, those asked again with what was wrong.

    Raises RunMismatch where a settled place now asks something else.
    """
    indexes: Iterable[int | Prompt] = ledger.unsettled(prompts.count) if prompts.trusted else prompts.stream()
    for n, item in enumerate(indexes):
        if n % BREATH == 0:
            await anyio.lowlevel.checkpoint()
        prompt = prompts.at(item) if isinstance(item, int) else item
        job = image_job(config, prompt)
        place = slot(prompt.index)
        if not ledger.asks_the_same(place, job.id):
            raise RunMismatch(
                f"prompt {prompt.index} ({prompt.image_id}) is not the one this run was made with; restore the prompt "
                "file, append new prompts at its end, or choose another --out"
            )
        if not ledger.settled(place):
            yield _work(ledger, place, job, complaints)


class _Seen(msgspec.Struct, frozen=True, gc=False):
    """The part of an image line that says whether there is a picture to describe."""

    index: int
    status: str
    final: bool
    attempt: int


async def metadata_work(
    config: RunConfig,
    run: RunDir,
    images: Ledger,
    ledger: Ledger,
    index_max: int,
    *,
    complaints: Mapping[int, str],
    still_growing: Callable[[], bool],
    grown: Callable[[], Latch],
) -> AsyncGenerator[Work]:
    """Metadata jobs for the pictures in the image log, following it while it grows.

    A picture that was made anew after it had been described is described again.
    """
    look = msgspec.json.Decoder(_Seen).decode
    asked = questions(config)
    root = os.path.join(run.root, "")  # noqa: PTH118 - a Path per picture costs ten times as much
    offset = skipped = 0
    # The ledger knows all lines up to here. A later line is visible before its ledger entry is made, and is
    # the newest of its job: no picture is made twice in one session.
    folded = run.images_log.stat().st_size
    while True:
        growing, event = still_growing(), grown()
        known = offset < folded
        limit_bytes = min(CHUNK_BYTES, folded - offset) if known else CHUNK_BYTES
        lines, offset = follow(run.images_log, offset, limit_bytes=limit_bytes)
        for line in lines:
            seen = look(line)
            if seen.status != "ok" or not seen.final or seen.index > index_max:
                continue
            place = slot(seen.index)
            if known and (images.code(place) != OK or seen.attempt < images.last_attempt(place)):
                continue  # made anew since, or about to be
            redone = place in images.reopened
            if not redone and all(ledger.settled(slot(seen.index, question.tasks)) for question in asked):
                skipped += 1
                if skipped % BREATH == 0:
                    await anyio.lowlevel.checkpoint()
                continue
            picture = read_picture(line)
            for job in jobs_about(picture, root + picture.asset.path, asked):
                at = slot(job.index, job.tasks)
                same = ledger.asks_the_same(at, job.id)
                if not ledger.settled(at) or not same:
                    # Of a picture made anew nothing has been said that could be wrong.
                    yield _work(ledger, at, job, complaints if same else {})
        if lines:
            await anyio.lowlevel.checkpoint()
        elif not growing:
            return
        else:
            await event.wait()
