"""The page that names a test for each fault cannot name one that is gone."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]


def test_every_test_that_the_page_names_exists() -> None:
    page = (TESTS.parent / "docs" / "durability.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+)`", page))
    there = {name for path in TESTS.rglob("test_*.py") for name in re.findall(r"def (test_\w+)\(", path.read_text())}
    assert len(named) > 60
    assert named <= there, f"named and not there: {sorted(named - there)}"
