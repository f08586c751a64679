"""A picture to be sent along that cannot be read just now: the machine's fault, and no verdict on the job."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

import engine
from engine.providers import references
from engine.providers.scripted import tiny_png
from engine.simulator import Simulator


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class SickOs:
    """The module os, with an `open` that fails while `code` is set."""

    code: int | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: str, flags: int) -> int:
        if self.code is not None:
            raise OSError(self.code, os.strerror(self.code))
        return os.open(path, flags)


@pytest.mark.parametrize("code", [errno.EMFILE, errno.EIO, errno.ESTALE])
async def test_a_picture_that_cannot_be_read_just_now_stops_the_run_and_fails_no_job(
    tmp_path: Path, runs: Any, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    sick = SickOs()
    monkeypatch.setattr(references, "os", sick)
    (tmp_path / "ref.png").write_bytes(tiny_png(b"r"))
    path = tmp_path / "p.jsonl"
    rows = [{"prompt": f"A quiet square, number {n}", "reference_images": ["ref.png"]} for n in range(5)]
    path.write_text("\n".join(map(json.dumps, rows)))
    out = tmp_path / "r"
    async with Simulator(picture="tiny") as sim:
        there: dict[str, Any] = {"base_url": sim.base_url, "api_key": "k", "prompts": path, "stages": ["image"]}
        sick.code = code
        summary = await engine.run(runs.config(5), out, **there)
        assert (summary.stopped_by, summary.exit_code) == ("disk", 1)
        assert "ref.png: cannot be read: " in str(summary.message)
        assert str(summary.message).endswith("then run the same command again to continue")
        assert sim.stats.calls == 0
        assert runs.lines(out / "log/images.jsonl") == [], "a job was given up for what the machine lacked"
        statuses = [line["status"] for line in runs.lines(out / "log/attempts.jsonl")]
        assert statuses.count("start") == statuses.count("rejected"), "what was never sent is in doubt"
        sick.code = None
        summary = await engine.run(runs.config(5), out, **there)
        assert (summary.images.ok, sim.stats.paid) == (5, 5)


async def test_a_picture_that_is_gone_fails_its_job_alone(
    tmp_path: Path, runs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sick = SickOs()
    sick.code = errno.ENOENT
    monkeypatch.setattr(references, "os", sick)
    (tmp_path / "ref.png").write_bytes(tiny_png(b"r"))
    path = tmp_path / "p.jsonl"
    rows = [{"prompt": "A quiet square", "reference_images": ["ref.png"]}, {"prompt": "A loud square"}]
    path.write_text("\n".join(map(json.dumps, rows)))
    async with Simulator(picture="tiny") as sim:
        there: dict[str, Any] = {"base_url": sim.base_url, "api_key": "k", "prompts": path, "stages": ["image"]}
        summary = await engine.run(runs.config(2), tmp_path / "r", **there)
    assert (summary.images.ok, summary.images.failed) == (1, 1)
