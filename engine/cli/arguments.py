"""Kinds of argument that several commands take."""

from __future__ import annotations

import argparse


def how_many(text: str) -> int:
    """A whole number from 1; `50_000` and `50,000` are read, too."""
    try:
        number = int(text.replace("_", "").replace(",", ""))
    except ValueError:
        number = 0
    if not 0 < number <= 1_000_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0; give one, such as 500")
    return number
