"""The body of an answer while it comes in, pictures decoded on the way.

A picture of 1.5 MB is 2 MB of base64. Kept until the answer is whole, it has left the processor's caches by then: to
put it together, to find its end and to decode it takes longer than all else on the loop. So base64 is decoded where it
was received; what is kept is the picture, and the few hundred bytes of JSON around it with `@n` where the n-th was.
Whatever is not plain base64 is kept as it came, as if nobody had looked.
"""

from __future__ import annotations

import re

import pybase64

_KEY = b'"data"'
"""Cannot match within a JSON string, whose quotes would be escaped."""
_OPENING = re.compile(rb'\s*:\s*"')
_BEGUN = re.compile(rb"\s*:?\s*")
_OPENING_BYTES_MAX = 64
_LOOK_BYTES = 4096
_PICTURE_BYTES_MIN = 384
"""Shorter ones are left to the JSON parser."""


class Body:
    """What came so far: `text`, and `pictures`, those that are whole."""

    __slots__ = ("_ended", "_looking", "_open", "_rest", "_searched", "pictures", "size_bytes", "text")

    def __init__(self, *, looking: bool) -> None:
        self.text = bytearray()
        self.pictures: list[bytes] = []
        self.size_bytes = 0
        """Of all that came."""
        self._looking = looking
        self._searched = 0  # up to here no picture begins in `text`
        self._open: list[bytes] | None = None  # of a picture that has not ended
        self._rest = b""  # of its base64: less than four characters
        self._ended = False  # its base64 was padded: nothing may follow

    def take(self, data: bytearray, at: int, end: int) -> None:
        """These bytes came next; they are copied as far as they are needed."""
        self.size_bytes += end - at
        while at < end:
            at = self._read(data, at, end) if self._open is None else self._decode(data, at, end)

    def close(self) -> None:
        """Nothing more will come: a picture that has not ended is kept as it came."""
        if self._open is not None:
            self._keep_as_it_came()

    def _read(self, data: bytearray, at: int, end: int) -> int:
        stop = min(end, at + _LOOK_BYTES) if self._looking else end
        self.text += memoryview(data)[at:stop]
        while self._looking:
            found = self.text.find(_KEY, self._searched)
            if found < 0:
                self._searched = max(self._searched, len(self.text) - len(_KEY) + 1)
                break
            after = found + len(_KEY)
            opening = _OPENING.match(self.text, after)
            if opening is not None:
                begins = self._searched = opening.end()
                stop -= len(self.text) - begins
                del self.text[begins:]
                self._open = []
                break
            if len(self.text) - after < _OPENING_BYTES_MAX and _BEGUN.fullmatch(self.text, after):  # more is to come
                self._searched = found
                break
            self._searched = after
        return stop

    def _decode(self, data: bytearray, at: int, end: int) -> int:
        assert self._open is not None
        stop = data.find(b'"', at, end)
        closes, stop = stop >= 0, stop if stop >= 0 else end
        with memoryview(data) as whole, whole[at:stop] as view:
            ahead = -len(self._rest) % 4
            first, view_rest = self._rest + bytes(view[:ahead]), view[ahead:]
            even = len(view_rest) & ~3
            groups, rest = ([first], b"") if len(first) == 4 else ([], first)
            rest += bytes(view_rest[even:])
            try:
                if closes and rest:
                    raise ValueError("not whole groups of four")
                pieces = self._plain([*groups, view_rest[:even]])
            except ValueError:
                self._keep_as_it_came()
                return at
        self._open += pieces
        self._rest = rest
        if closes:
            self._close(self._open)
        return stop

    def _plain(self, groups: list[bytes | memoryview]) -> list[bytes]:
        pieces: list[bytes] = []
        for encoded in groups:
            if encoded:
                if self._ended:
                    raise ValueError("base64 goes on after its padding")
                pieces.append(pybase64.b64decode(encoded, validate=True))
                self._ended = encoded[-1] == ord("=")
        return pieces

    def _close(self, pieces: list[bytes]) -> None:
        picture = b"".join(pieces)
        if len(picture) < _PICTURE_BYTES_MIN:
            self.text += pybase64.b64encode(picture)
        else:
            self.text += b"@%d" % len(self.pictures)
            self.pictures.append(picture)
        self._open, self._rest, self._ended = None, b"", False
        self._searched = len(self.text)

    def _keep_as_it_came(self) -> None:
        """The base64 so far goes back into `text`; it was valid, so encoding gives what came."""
        assert self._open is not None
        self.text += pybase64.b64encode(b"".join(self._open)) + self._rest
        self._open, self._looking = None, False
