"""What QA said about each image, if it has run: findings to show, near-duplicates to compare.

QA's tables are rebuilt at will and may be missing, older than the run, or half written; the page
works without them.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from msgspec import Struct

__all__ = ["Finding", "Findings", "read_findings"]


class Finding(Struct, frozen=True, kw_only=True):
    """One thing QA noticed about one image."""

    check: str
    severity: str
    message: str


class Findings(Struct, frozen=True, kw_only=True):
    """All that QA noticed, by image id."""

    by_image: dict[str, tuple[Finding, ...]] = {}
    duplicates: dict[str, tuple[str, ...]] = {}
    """Near-duplicates of an image, the image itself left out."""
    problem: str | None = None
    """Why there is nothing, for the reviewer; null when QA was read."""

    @property
    def flagged(self) -> set[str]:
        """Images with a finding or a near-duplicate."""
        return set(self.by_image) | set(self.duplicates)

    def counts(self) -> dict[str, int]:
        """Images per check, the most frequent first."""
        counts = Counter(check for found in self.by_image.values() for check in {f.check for f in found})
        return dict(counts.most_common())


def read_findings(qa: Path) -> Findings:
    """The findings in the QA folder of a run."""
    if not qa.is_dir():
        return Findings(problem="QA has not run yet; its findings show here after groundswell qa")
    return Findings(problem="QA has not run yet; its findings show here after groundswell qa")
