"""A Gemini that is never the bottleneck: prebuilt bytes, no routing, one asyncio protocol.

The simulator (engine.simulator) is the honest far side; this one only leaves the client's cost to be
seen. `python benchmarks/server.py png --port 0` prints its address.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import gzip
import io
import json
import random
import ssl
import sys
import tempfile
from functools import cache
from pathlib import Path

KINDS = ("png", "jpeg", "text")


@cache
def description() -> str:
    """An answer to the metadata stage's default question, about 1 KB."""
    from engine.providers.scripted import answer_to
    from schemas.config import RunConfig
    from schemas.job import Request
    from schemas.metadata import answer_schema

    metadata = RunConfig().metadata
    request = Request(model="x", text="x", answer_schema=answer_schema(metadata, metadata.tasks))
    return answer_to(request).text or ""


@cache
def picture(kind: str) -> bytes:
    """A real PNG of about 1.5 MB, or a real JPEG of about 200 KB, the same ones every time."""
    if kind == "tiny":
        from engine.providers.scripted import tiny_png

        return tiny_png(b"bench")
    import numpy
    from PIL import Image

    chance = numpy.random.default_rng(1)
    side = 704 if kind == "png" else 1024
    ramp = numpy.linspace(0, 255, side)[:, None, None]
    noise = chance.integers(0, 256, (side, side, 3)) if kind == "png" else chance.normal(0, 17, (side, side, 3))
    pixels = noise if kind == "png" else ramp * 0.6 + 40 + noise
    image = Image.fromarray(numpy.clip(pixels, 0, 255).astype("uint8"), "RGB")
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=1) if kind == "png" else image.save(out, "JPEG", quality=65)
    return out.getvalue()


def body(kind: str) -> bytes:
    """What generateContent answers, spaced as Google spaces it."""
    if kind == "text":
        part: dict[str, object] = {"text": description()}
        usage = {"promptTokenCount": 1412, "candidatesTokenCount": 160, "totalTokenCount": 1572}
    else:
        data = base64.b64encode(picture(kind)).decode()
        part = {
            "inlineData": {"mimeType": "image/jpeg" if kind == "jpeg" else "image/png", "data": data},
            "thoughtSignature": "c2ln" * 200,
        }
        usage = {
            "promptTokenCount": 120,
            "candidatesTokenCount": 1120,
            "totalTokenCount": 1240,
            "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1120}],
        }
    answer = {
        "candidates": [{"content": {"parts": [part], "role": "model"}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": usage,
        "modelVersion": "bench-001",
        "responseId": "x" * 22,
    }
    return json.dumps(answer, indent=2).encode()


def reply(kind: str, *, chunked: bool, gzipped: bool) -> bytes:
    """The whole HTTP answer."""
    payload = body(kind)
    head = "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=UTF-8\r\n"
    if gzipped:
        payload = gzip.compress(payload, 6)
        head += "Content-Encoding: gzip\r\n"
    if not chunked:
        return f"{head}Content-Length: {len(payload)}\r\n\r\n".encode() + payload
    size = 16 * 1024
    chunks = [payload[at : at + size] for at in range(0, len(payload), size)]
    framed = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + framed + b"0\r\n\r\n"


class Protocol(asyncio.Protocol):
    """Answers every request alike, by its model: names with `flash-lite` but no `image` get text."""

    def __init__(self, replies: dict[bool, bytes], latency_s: tuple[float, float]) -> None:
        self._replies, self._latency_s = replies, latency_s
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(1 << 26)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._buffer[:end]).lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._buffer) < end + 4 + length:
                return
            del self._buffer[: end + 4 + length]
            line = head.split(b"\r\n", 1)[0]
            said = self._replies[b"flash-lite" in line and b"image" not in line]
            low, high = self._latency_s
            if high <= 0:
                self._write(said)
            else:
                asyncio.get_running_loop().call_later(random.uniform(low, high), self._write, said)

    def _write(self, said: bytes) -> None:
        if self._transport is not None:
            self._transport.write(said)


def tls_context() -> tuple[ssl.SSLContext, str]:
    """A server context with a certificate of its own, and the path of that certificate for clients to trust."""
    import subprocess

    folder = Path(tempfile.mkdtemp(prefix="groundswell-bench-"))
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, str(certificate)


async def serve(options: argparse.Namespace) -> None:
    """Serves until it is killed; prints `{"url", "certificate"}` when it is ready."""
    context, certificate = tls_context() if options.tls else (None, None)
    low, high = (float(part) for part in options.latency.split("-"))
    replies = {
        False: reply("tiny" if options.kind == "text" else options.kind, chunked=options.chunked, gzipped=options.gzip),
        True: reply("text", chunked=options.chunked, gzipped=options.gzip),
    }
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Protocol(replies, (low, high)), "127.0.0.1", options.port, ssl=context, backlog=8192
    )
    port = server.sockets[0].getsockname()[1]
    print(
        json.dumps({"url": f"http{'s' if context else ''}://localhost:{port}", "certificate": certificate}), flush=True
    )
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", default="0-0", help="seconds, low-high")
    parser.add_argument("--chunked", action="store_true")
    parser.add_argument("--gzip", action="store_true")
    parser.add_argument("--tls", action="store_true")
    try:
        asyncio.run(serve(parser.parse_args()))
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()
