"""Where context comes from: fictional news, synthetic demographics, visual references, prompt files."""

from __future__ import annotations

from pathlib import Path

from engine.errors import SourceError
from engine.sources import atropia, guides, survey
from engine.sources.models import Origin, Sources
from schemas.config import RunConfig

__all__ = ["Origin", "Sources", "load"]


def load(config: RunConfig, base_dir: Path, cache_dir: Path | None = None) -> Sources:
    """The three contexts of a configuration.

    Relative paths in the configuration count from `base_dir`. In mode images, sanitised pictures are
    kept in `cache_dir`; without one they are only checked, and prompts name no file. Raises one
    SourceError with the problems of all three sources.
    """
    data, seed = config.source_data, config.generation.seed
    problems: list[str] = []
    found: list[object] = []
    for read in (
        lambda: atropia.load(data.atropia, base_dir, seed),
        lambda: survey.load(data.worldbank, base_dir, seed),
        lambda: guides.load(data.social_media, base_dir, seed, cache_dir),
    ):
        try:
            found.append(read())
        except SourceError as error:
            problems.append(str(error))
        except OSError as error:
            problems.append(f"{error.filename or 'a source'} cannot be read: {error.strerror or error}")
    if problems:
        raise SourceError("\n".join(problems))
    (news, of_news), (people, of_people), (references, of_references) = found  # pyright: ignore[reportGeneralTypeIssues]
    return Sources(news=news, people=people, references=references, origins=(of_news, of_people, of_references))
