"""A process that looks at pictures for a pass: a few at a time are told on stdin, a look at each is told on stdout.

Messages are msgpack after their length; an empty one says that the process runs.
"""

from __future__ import annotations

import contextlib
import os
import struct
import sys
from pathlib import Path
from typing import IO, Any

import msgspec
from msgspec import Struct

from engine.qa.look import Expected, looks_at

FRAME = struct.Struct("<I")


class Portion(Struct, frozen=True):
    """Pictures to look at, in order."""

    root: bytes
    """As the file system spells it."""
    pictures: list[Expected]


def send(stream: IO[bytes], message: Any) -> None:
    """Write a message now. Raises OSError."""
    data = msgspec.msgpack.encode(message)
    stream.write(FRAME.pack(len(data)) + data)
    stream.flush()


def main() -> None:
    """Look at what is asked for until stdin ends."""
    asked, told = sys.stdin.buffer, sys.stdout.buffer
    decode = msgspec.msgpack.Decoder(Portion).decode
    with contextlib.suppress(BrokenPipeError):
        told.write(FRAME.pack(0))
        told.flush()
        while len(size := asked.read(FRAME.size)) == FRAME.size:
            portion = decode(asked.read(*FRAME.unpack(size)))
            root = Path(os.fsdecode(portion.root))
            for look in looks_at(root, portion.pictures):
                send(told, look)
