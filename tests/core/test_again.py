"""A complaint goes through the log's message unharmed, and into the text that is asked, not into the job's id."""

from __future__ import annotations

import pytest

from engine.core.again import asking_again, complaint_in, message
from schemas.job import Job, Request, job_id


@pytest.mark.parametrize("complaint", ["", "It was dark.", 'The caption ("a): b") was short. Write more.'])
def test_a_message_gives_back_its_complaint(complaint: str) -> None:
    assert complaint_in(message("rejected", complaint)) == complaint


@pytest.mark.parametrize("said", ["", "asked again on request (rejected)", "HTTP 500 (server): try again"])
def test_other_messages_hold_no_complaint(said: str) -> None:
    assert complaint_in(said) == ""


@pytest.mark.parametrize("stage", ["image", "metadata"])
def test_the_text_says_more_and_the_job_stays_the_same(stage: str) -> None:
    request = Request(model="m", text="A crowd in a square.")
    job = Job(id=job_id(stage, "a", request), stage=stage, image_id="a", index=1, request=request)
    again = asking_again(job, "It was dark.")
    assert again.id == job.id
    assert again.request.text.startswith(request.text)
    assert "It was dark." in again.request.text
    assert asking_again(job, "") is job
