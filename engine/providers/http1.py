"""An HTTP/1.1 answer while it comes in: pure bytes, no socket.

A picture is one long body that nobody looks at before its end, so this reader is made for that: some ten steps of
Python per chunk, where aiohttp's, made for callers who read piece by piece, takes forty.
"""

from __future__ import annotations

import importlib
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from engine.providers.body import Body

BODY_BYTES_MAX = 64 * 1024 * 1024
"""A 4K PNG is about 30 MB on the wire; more than this is no picture of ours."""
HEAD_BYTES_MAX = 64 * 1024
LINE_BYTES_MAX = 4096
"""The line before a chunk: its size, and what else nobody needs."""

_OTHERS = rb"(?:(?!(?i:con(?:nection|tent-(?:encoding|length))|transfer-encoding):)[!-9;-~]++:[^\r\n\0]*+\r\n)*+"
_USUAL = re.compile(
    rb"HTTP/1\.1 200(?: [^\r\n\0]*+)?\r\n" + _OTHERS + rb"(?i:content-length:[ \t]*+([0-9]{1,18})"
    rb"|transfer-encoding:[ \t]*+chunked)[ \t]*+\r\n" + _OTHERS + rb"\r\n"
)
"""A good answer's whole head, as nearly all are: of what says how to read on, one line and no other."""
_HEAD_END = re.compile(rb"\n\r?\n")
_STATUS = re.compile(r"HTTP/1\.([01]) ([1-9][0-9]{2})(?: .*)?")
_LENGTH = re.compile(r"([0-9]{1,18})(?:[ \t]*,[ \t]*\1)*")
"""One number, however often it is told; two that differ leave open where the next answer begins."""
_CLOSE = re.compile(r"(?i)(?:^|,)[ \t]*close[ \t]*(?:,|$)")
_NEXT_CHUNK = re.compile(rb"\r\n([0-9A-Fa-f]{1,8})\r\n")
"""A chunk's end and the next one's size, as nearly all are."""
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r]*)?\r")
_FRAMING = frozenset({"connection", "content-encoding", "content-length", "transfer-encoding"})
_PLAIN = ("identity", "")
_LINE_END = b"\r\n"


class NotHttp(Exception):
    """What came cannot be read as an answer; the connection is of no more use."""


class BodyTooLarge(Exception):
    """An answer went over BODY_BYTES_MAX; its connection has been closed."""


class Reply:
    """An HTTP answer, whole."""

    __slots__ = ("body", "headers", "pictures", "status")

    def __init__(
        self, status: int, headers: Mapping[str, str], body: bytes | bytearray, pictures: Sequence[bytes] = ()
    ) -> None:
        self.status = status
        self.headers = headers
        """Lower-case names; of repeated ones the last, except for those that say how the answer is read."""
        self.body = body
        self.pictures = pictures
        """Those decoded on the way, which `body` names as `@0`, `@1` … in their places."""


class _Headers(Mapping[str, str]):
    """Headers of a head that is known to be right, put apart when somebody looks: nobody does at a good answer's."""

    __slots__ = ("_head", "_read")

    def __init__(self, head: bytes | bytearray) -> None:
        self._head = head
        self._read: dict[str, str] | None = None

    def _all(self) -> dict[str, str]:
        if self._read is None:
            self._read = _parsed(self._head)[1]
        return self._read

    def __getitem__(self, name: str) -> str:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


def _parsed(head: bytes | bytearray) -> tuple[re.Match[str], dict[str, str]]:
    """The status line and the headers; without the empty line after them."""
    text = head.decode("utf-8", "surrogateescape").replace("\r\n", "\n")
    if "\r" in text or "\0" in text:
        raise NotHttp("its head holds what no head may hold")
    first, *lines = text.split("\n")
    found = _STATUS.fullmatch(first)
    if found is None:
        raise NotHttp("its first line is no status line")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise NotHttp("a line of its head is no header")
        name = name.lower()
        if name in headers and name in _FRAMING:
            value = f"{headers[name]}, {value}"
        headers[name] = value.strip()
    return found, headers


class Reading:
    """One answer. Hand it what was received until `reply` is there. Raises NotHttp and BodyTooLarge.

    `pictures`: those of a good answer are decoded as they come (`providers.body`).
    """

    __slots__ = (
        "_body",
        "_encoding",
        "_headers",
        "_left",
        "_pictures",
        "_status",
        "_take",
        "_text",
        "reply",
        "reusable",
    )

    _status: int
    _headers: Mapping[str, str]
    _encoding: str
    _body: Body

    def __init__(self, *, pictures: bool = False) -> None:
        self.reply: Reply | None = None
        self.reusable = False
        """Whether the connection may carry another request after this answer."""
        self._take = Reading._take_head  # not bound: a cycle would keep each picture until the collector comes
        self._text = bytearray()  # the beginning of a head or of a line
        self._pictures = pictures
        self._left = 0  # bytes of the body to come; or of the chunk, with the line end after it

    def feed(self, data: bytearray, end: int) -> None:
        """The first `end` bytes of `data` were received; they are copied as far as they are needed."""
        at = 0
        while at < end and self.reply is None:
            at = self._take(self, data, at, end)
        if at < end:
            self.reusable = False  # more than the answer: nobody knows what that is

    def closed(self) -> None:
        """The far side has closed: which ends an answer that told no length, and breaks any other."""
        if self.reply is None and self._take is Reading._take_rest:
            self._end()

    def _take_head(self, data: bytearray, at: int, end: int) -> int:
        if not self._text and (usual := _USUAL.match(data, at, min(end, at + HEAD_BYTES_MAX))) is not None:
            self._begin(200, _Headers(data[at : usual.end() - 4]), "")
            self.reusable = True
            if (length := usual[1]) is None:
                self._take = Reading._take_chunks
            else:
                self._expect(int(length))
            return usual.end()
        before = len(self._text)
        self._text += memoryview(data)[at : min(end, at + HEAD_BYTES_MAX)]
        if not b"HTTP/".startswith(self._text[:5]):
            raise NotHttp("it does not begin with HTTP/")
        found = _HEAD_END.search(self._text, max(0, before - 2), HEAD_BYTES_MAX)
        if found is None:
            if len(self._text) >= HEAD_BYTES_MAX:
                raise NotHttp(f"its head is longer than {HEAD_BYTES_MAX >> 10} KiB")
            return end
        head, stop = bytes(self._text[: found.start()]).removesuffix(b"\r"), found.end()
        self._text = bytearray()
        self._read_head(head)
        return at + stop - before

    def _begin(self, status: int, headers: Mapping[str, str], encoding: str) -> None:
        self._status, self._headers, self._encoding = status, headers, encoding
        self._body = Body(looking=self._pictures and status == 200 and encoding in _PLAIN)

    def _read_head(self, head: bytes) -> None:
        found, headers = _parsed(head)
        status = int(found[2])
        if 100 <= status < 200:
            return  # only a word in between: the answer is to come
        self._begin(status, headers, headers.get("content-encoding", "").lower())
        self.reusable = found[1] == "1" and not _CLOSE.search(headers.get("connection", ""))
        coding, length = headers.get("transfer-encoding"), headers.get("content-length")
        if status in (204, 304):
            self._end()
        elif coding is not None:
            if coding.lower() != "chunked":
                raise NotHttp("its transfer encoding is unknown")
            self.reusable = self.reusable and length is None  # whoever tells both, tells one of them wrong
            self._take = Reading._take_chunks
        elif length is not None:
            told = _LENGTH.fullmatch(length)
            if told is None:
                raise NotHttp("its length is no number")
            self._expect(int(told[1]))
        else:
            self.reusable = False
            self._take = Reading._take_rest

    def _expect(self, size: int) -> None:
        self._check(size)
        self._left = size
        self._take = Reading._take_known
        if not size:
            self._end()

    def _take_known(self, data: bytearray, at: int, end: int) -> int:
        stop = min(end, at + self._left)
        self._body.take(data, at, stop)
        self._left -= stop - at
        if not self._left:
            self._end()
        return stop

    def _take_rest(self, data: bytearray, at: int, end: int) -> int:
        self._body.take(data, at, end)
        self._check(self._body.size_bytes)
        return end

    def _take_chunks(self, data: bytearray, at: int, end: int) -> int:
        """What the chunks hold is moved together where it lies, so that the body takes it in one piece: with chunks of
        16 KB, one by one, a JPEG took 80 µs to read; so it takes 35."""
        view = memoryview(data)
        left = self._left
        begins = ends = at  # of what has been moved together
        while at < end:
            if not left:
                line, at = self._line(data, at, end)
                if line is None:
                    break
                left = self._chunk(line, ends - begins)
                if not left:
                    self._take = Reading._take_trailers
                    break
            stop, data_stop = min(end, at + left), max(at, min(end, at + left - 2))
            if begins == ends:
                begins, ends = at, data_stop
            elif at < data_stop:
                ends += data_stop - at
                view[ends - (data_stop - at) : ends] = view[at:data_stop]
            # Chunks that are here whole, and as nearly all are, are followed without a look at each step.
            while left == data_stop - at + 2 and (found := _NEXT_CHUNK.match(data, data_stop, end)) is not None:
                size, following = int(found[1], 16), found.end()
                if not size or following + size + 2 > end:
                    break
                at, data_stop, left = following, following + size, size + 2
                stop = data_stop + 2
                view[ends : ends + size] = view[at:data_stop]
                ends += size
            left -= stop - at
            if left < 2 and data[data_stop:stop] != _LINE_END[2 - left - (stop - data_stop) : 2 - left]:
                raise NotHttp("a chunk does not end where it should")
            at = stop
        self._check(self._body.size_bytes + ends - begins)
        self._body.take(data, begins, ends)
        self._left = left
        return at

    def _chunk(self, line: bytes | bytearray, untaken: int) -> int:
        """What is to come of the chunk that this line announces, with its line end; 0 for the last."""
        found = _CHUNK.fullmatch(line)
        if found is None:
            raise NotHttp("a chunk has no size")
        size = int(found[1], 16)
        self._check(self._body.size_bytes + untaken + size)
        return size + 2 if size else 0

    def _take_trailers(self, data: bytearray, at: int, end: int) -> int:
        line, at = self._line(data, at, end)
        if line in (b"", b"\r"):
            self._end()
        return at

    def _line(self, data: bytearray, at: int, end: int) -> tuple[bytes | bytearray | None, int]:
        """The line that begins here, or began before, without its LF, and where the next begins; None while it has
        not ended."""
        stop = data.find(b"\n", at, end)
        if 0 <= stop - at < LINE_BYTES_MAX and not self._text:
            return data[at:stop], stop + 1
        self._text += memoryview(data)[at : end if stop < 0 else stop]
        if len(self._text) > LINE_BYTES_MAX:
            raise NotHttp("a line between its chunks is too long")
        if stop < 0:
            return None, end
        line = bytes(self._text)
        self._text.clear()
        return line, stop + 1

    def _check(self, size: int) -> None:
        if size > BODY_BYTES_MAX:
            raise BodyTooLarge

    def _end(self) -> None:
        self._body.close()
        body = bytes(self._body.text)
        if body and self._encoding not in _PLAIN:
            body = _inflated(body, self._encoding)
        self.reply = Reply(self._status, self._headers, body, self._body.pictures)


_decompressor: Callable[[int], Any] = zlib.decompressobj
_damaged: tuple[type[Exception], ...] = (zlib.error,)
with suppress(ImportError):  # no wheel for this machine: zlib is as right, and takes half as long again
    _decompressor = importlib.import_module("isal.isal_zlib").decompressobj
    _damaged = (zlib.error, importlib.import_module("isal.igzip_lib").IsalError)


def _inflated(body: bytes, encoding: str) -> bytes:
    """What was compressed, though we asked for it plain; as it came where the word is not one for compression."""
    if encoding in ("br", "zstd", "compress", "x-compress"):
        raise NotHttp("its content encoding is unknown")
    if encoding not in ("gzip", "x-gzip", "deflate"):
        return body
    bare = encoding == "deflate" and body[0] & 15 != zlib.DEFLATED  # some send it without zlib's wrapper
    pieces: list[bytes] = []
    left = BODY_BYTES_MAX
    while body:  # gzip may come in several members, one behind the other
        inflate = _decompressor(-zlib.MAX_WBITS if bare else 32 + zlib.MAX_WBITS)
        try:
            pieces.append(inflate.decompress(body, left + 1))
        except _damaged:
            raise NotHttp("its compression is damaged") from None
        left -= len(pieces[-1])
        if left < 0:
            raise BodyTooLarge
        if not inflate.eof:
            raise NotHttp("its compression breaks off")
        body = inflate.unused_data
    return b"".join(pieces)
