"""The image stage: a prompt becomes a picture on disk.

A picture is kept byte for byte as it came, once its structure is found whole. Its place in the
run directory and its digest go into the record.
"""

from __future__ import annotations

from typing import Any

from schemas.config import RunConfig
from schemas.job import Job, Request, job_id
from schemas.outcome import Usage
from schemas.prompt import Prompt
from schemas.record import ImageRecord, Record


def image_job(config: RunConfig, prompt: Prompt) -> Job:
    """The job that asks for a prompt's picture."""
    wanted = config.generation
    request = Request(
        model=wanted.model,
        text=prompt.text,
        references=prompt.references,
        aspect_ratio=wanted.aspect_ratio,
        resolution=wanted.resolution,
        temperature=wanted.temperature,
    )
    return Job(
        id=job_id("image", prompt.image_id, request),
        stage="image",
        image_id=prompt.image_id,
        index=prompt.index,
        request=request,
        prompt=prompt,
    )


def image_record(job: Job, common: dict[str, Any], answer: dict[str, Any]) -> Record:
    """The log line of an image attempt; `answer` holds the asset when there is one."""
    prompt = job.prompt
    assert prompt is not None, "an image job carries its prompt"
    return ImageRecord(
        **{"usage": Usage(), **common},
        prompt=job.request.text,  # which says more than the plan's where a complaint goes with it
        source_data=prompt.source_data,
        style=prompt.style,
        complexity=prompt.complexity,
        aspect_ratio=job.request.aspect_ratio,
        resolution=job.request.resolution,
        **answer,
    )
