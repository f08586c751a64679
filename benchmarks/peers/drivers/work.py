"""What every driver is given and has to leave behind, so that the harness can treat all peers alike.

A driver is called as `driver.py base_url n rpm concurrency mode out_dir [variant]`: make n images (or text
answers) of the prompts 1 to n. `rpm` 0 means that no limit is known. It leaves one file per image whose
stem ends with the prompt's number, or lines `{"n": …}` in `saved.jsonl`. Standard library only.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

IMAGE_MODEL = "gemini-nano-banana-2.1"
TEXT_MODEL = "gemini-3.1-flash-lite"


@dataclass(frozen=True)
class Work:
    """The command line, read."""

    base_url: str
    n: int
    rpm: int
    concurrency: int
    mode: str
    out: Path
    variant: str

    @property
    def model(self) -> str:
        return TEXT_MODEL if self.mode == "text" else IMAGE_MODEL

    def path(self, n: int) -> Path:
        return self.out / f"{n:06d}.jpg"

    def left(self) -> list[int]:
        """The prompts without a file yet: the resume of scripts that have no other."""
        return [n for n in range(1, self.n + 1) if self.mode == "text" or not self.path(n).exists()]

    def save(self, n: int, answer: bytes | str | None) -> None:
        """As scripts do it: an image is written at once, a text appended."""
        if isinstance(answer, bytes):
            with open(self.path(n), "wb") as file:
                file.write(answer)
        elif answer:
            with open(self.out / "saved.jsonl", "a") as file:
                file.write(json.dumps({"n": n, "text": answer}) + "\n")


def prompt(n: int) -> str:
    """The nth prompt, about 60 words."""
    return f"Photograph number {n} of a series. " + "A vigil at dusk on a square, seen from the side. " * 6


def work() -> Work:
    """What the harness asks for."""
    base_url, n, rpm, concurrency, mode, out, *rest = sys.argv[1:]
    Path(out).mkdir(parents=True, exist_ok=True)
    return Work(base_url, int(n), int(rpm), int(concurrency), mode, Path(out), rest[0] if rest else "")
