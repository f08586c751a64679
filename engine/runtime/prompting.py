"""Which prompts a run has: the plan made of the three sources, or a file of the user's own."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from engine import sources
from engine.core.plan import Plan, build_plan, prompt_at
from engine.runtime.feeds import Prompts
from engine.runtime.opening import FROM_FILE
from engine.settings import Settings
from engine.sources.promptfile import PromptFile, open_promptfile
from engine.store import RunDir
from schemas.prompt import Prompt


@dataclass(frozen=True, slots=True)
class PlannedPrompts:
    """The first `count` prompts of a plan."""

    plan: Plan
    count: int
    trusted: bool = True

    @property
    def fingerprint(self) -> str:
        return self.plan.fingerprint

    def at(self, index: int) -> Prompt:
        return prompt_at(self.plan, index)

    def stream(self) -> Iterator[Prompt]:
        return (prompt_at(self.plan, i) for i in range(1, self.count + 1))

    def pick(self, indexes: Collection[int]) -> dict[int, Prompt]:
        return {i: prompt_at(self.plan, i) for i in indexes if i <= self.count}


@dataclass(frozen=True, slots=True)
class FilePrompts:
    """The rows of a prompt file. Rows already asked are compared one by one, so appending is allowed."""

    file: PromptFile
    at_most: int | None = None
    """Only so many of the first rows, if somebody said so."""
    fingerprint: str = FROM_FILE
    trusted: bool = False

    @property
    def count(self) -> int:
        return self.file.count if self.at_most is None else min(self.file.count, self.at_most)

    def at(self, index: int) -> Prompt:
        return next(self.file.prompts(start=index))

    def stream(self) -> Iterator[Prompt]:
        return islice(self.file.prompts(), self.count)

    def pick(self, indexes: Collection[int]) -> dict[int, Prompt]:
        if not indexes:
            return {}
        last = max(indexes)
        found: dict[int, Prompt] = {}
        for prompt in self.file.prompts(start=min(indexes)):
            if prompt.index in indexes and prompt.index <= self.count:
                found[prompt.index] = prompt
            if prompt.index >= last:
                break
        return found


def choose_prompts(
    settings: Settings, path: str | Path | None, run: RunDir, run_date: str, at_most: int | None = None
) -> Prompts:
    """The prompts of a configuration, or `at_most` so many of a file's.

    Blocks: sources are read and checked. Raises SourceError.
    """
    config = settings.config
    if path is not None:
        return FilePrompts(open_promptfile(Path(path), run_date), at_most)
    loaded = sources.load(config, settings.base_dir, cache_dir=run.root / "references")
    return PlannedPrompts(build_plan(config, loaded, run_date), config.generation.num_images)
