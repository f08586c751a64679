"""The process beside: spans of an open log on stdin, what they hold on stdout. Its argument is the log's handle."""

from __future__ import annotations

import sys

import msgspec

from engine.store.sharing import GREETING, SIZE_BYTES, Span, sifted

_encode = msgspec.msgpack.Encoder().encode


def answer(file: int, asked: bytes) -> bytes:
    """What a span says, for `sharing.Answer`. Raises OSError."""
    span = Span(*map(int, asked.split()))
    parts = [
        {
            "records": list(map(msgspec.structs.astuple, part.records)),
            "end": part.end,
            "newest": part.newest,
            "damage": part.damage,
        }
        for part in sifted(file, span)
    ]
    data = _encode({"start": span.start, "parts": parts})
    return len(data).to_bytes(SIZE_BYTES, "big") + data


def main() -> None:
    """Answer until stdin ends."""
    file, out = int(sys.argv[1]), sys.stdout.buffer
    out.write(GREETING)
    out.flush()
    for asked in sys.stdin.buffer:
        out.write(answer(file, asked))
        out.flush()
