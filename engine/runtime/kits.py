"""The two stages as the runner needs them: how an answer is accepted, and what its end changes."""

from __future__ import annotations

from typing import Any

from engine.core.ledger import slot
from engine.errors import ProviderError
from engine.latch import Latch, latch
from engine.providers.base import Response
from engine.runtime.opening import Opened
from engine.runtime.runner import Kit
from engine.stages import image as image_stage
from engine.stages import metadata as metadata_stage
from engine.store import BadPicture, Fs, Offload, PictureWriter, RunDir, quarantine
from schemas.config import RunConfig
from schemas.job import Job, Request, Stage
from schemas.outcome import ErrorKind, Failure
from schemas.record import Record


class Growth:
    """Whether the image log may still grow, and an event for its next line."""

    def __init__(self) -> None:
        self.growing = True
        self._next: Latch | None = None  # made for the first who waits for the next line

    @property
    def event(self) -> Latch:
        if self._next is None:
            self._next = latch()
        return self._next

    def grew(self) -> None:
        if self._next is not None:
            self._next.set()
            self._next = None

    def ended(self, stage: Stage) -> None:
        if stage == "image":
            self.growing = False
            self.grew()


def stage_kits(
    run: RunDir,
    config: RunConfig,
    opened: Opened,
    images: Any,
    metadata: Any,
    offload: Offload,
    fs: Fs,
    growth: Growth,
) -> dict[Stage, Kit]:
    pictures = PictureWriter(run, durability=config.output.durability, offload=offload, fs=fs)

    async def keep_picture(job: Job, response: Response) -> dict[str, Any]:
        picture = response.picture
        if picture is None:
            raise ProviderError(ErrorKind.NO_PICTURE, "the answer holds no picture", usage=response.usage)
        try:
            asset = await pictures.save(job.index, job.image_id, picture.data)
        except BadPicture as bad:
            raise ProviderError(
                ErrorKind.BAD_IMAGE, f"the picture is not usable: {bad}", usage=response.usage, bad_bytes=picture.data
            ) from None
        return {"asset": asset}

    async def read_answer(job: Job, response: Response) -> dict[str, Any]:
        return metadata_stage.read_answer(config.metadata, job.tasks, response.text)

    async def keep_aside(job: Job, attempt: int, data: bytes, reason: str) -> None:
        name = f"{job.image_id}.{job.stage}.{attempt}"
        await offload(lambda: quarantine(run, name, data, reason))

    def image_ended(record: Record) -> None:
        ended(record)
        growth.grew()

    def ended(record: Record) -> None:
        tasks = getattr(record, "tasks", ())
        opened.ledgers[record.stage].ended(
            slot(record.index, tasks), record.job, record.status, record.final, record.attempt, record.cost_usd,
            None if record.error is None else record.error.kind,
        )  # fmt: skip

    def unchanged(_request: Request, _previous: Failure) -> dict[str, Any]:
        return {}

    return {
        "image": Kit("image", images, keep_picture, image_stage.image_record, unchanged, keep_aside, image_ended),
        "metadata": Kit(
            "metadata", metadata, read_answer, metadata_stage.metadata_record, metadata_stage.repair, keep_aside, ended
        ),
    }
