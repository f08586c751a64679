"""CRC-32 as zlib computes it, at a tenth of the time where ISA-L is installed.

A PNG of 1.5 MB takes 0.02 to 0.04 ms instead of 0.2 to 0.34, a log line of 1.5 KB 0.06 µs instead of 0.35.
"""

from __future__ import annotations

import contextlib
import importlib
import zlib
from collections.abc import Callable

import pybase64

__all__ = ["clear_registers", "crc32"]

crc32: Callable[..., int] = zlib.crc32
"""`crc32(data, value=0)`, of zlib or of ISA-L."""
with contextlib.suppress(ImportError):  # no wheel for this machine: zlib is as right, and slower
    crc32 = importlib.import_module("isal.isal_zlib").crc32

_SOME = pybase64.b64encode(bytes(96))


def clear_registers() -> None:
    """Call it after checksums of much data, before other work on much data.

    ISA-L leaves the upper halves of x86's vector registers in use, and SHA-256 takes a sixth longer from then on, until
    something clears them. A base64 decoder does when it ends.
    """
    pybase64.b64decode(_SOME, validate=True)
