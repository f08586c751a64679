"""Asking again with what was wrong: how a complaint travels from whoever rejects to the model, by way of the log.

The line that reopens a job carries the complaint in its error, so that a run that is killed and taken up still knows
it. The job stays the same job, and keeps its id; only the text that is sent says more.
"""

from __future__ import annotations

import msgspec

from schemas.job import Job

REDO = "redo"
"""The kind of error of a line that asks again for what was settled."""
_OPENING = "asked again on request ("


def message(why: str, complaint: str = "") -> str:
    """The error message of the line that reopens a job; `why` is a word."""
    return f"{_OPENING}{why})" + (f": {complaint}" if complaint else "")


def complaint_in(said: str) -> str:
    """The complaint of such a message; empty where there is none."""
    return said.partition("): ")[2] if said.startswith(_OPENING) else ""


def asking_again(job: Job, complaint: str) -> Job:
    """The job with the complaint in its text. An image's prompt goes on; an answer's instructions say what it is."""
    if not complaint:
        return job
    text = job.request.text
    if job.stage == "image":
        text = f"{text.rstrip()} {complaint}"
    else:
        text += f"\nAn earlier answer about this picture was turned down. {complaint} Answer anew, complete and valid."
    return msgspec.structs.replace(job, request=msgspec.structs.replace(job.request, text=text))
